//! Times of single operations: a pass of its own, after the samples, in which the workload's own loops run on an allocator whose
//! threads look at a clock before and after each call.
//!
//! An operation is a request and the free of its block, wherever and whenever that is: its time is that of the two calls, without
//! what lies between them. The clock is the processor's time-stamp counter where that is steady (the crate `quanta`): 9 ns a look
//! where `std::time::Instant` took 22. Each call includes one look, so that an operation includes two; `empty` shows them. Nothing
//! keeps the processor from overlapping a short call with what is around it: the distribution's tail is what can be trusted.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use hdrhistogram::Histogram;
use quanta::Clock;
use serde::{Deserialize, Serialize};

use super::{Calibration, Cpus, Fault, Plan, Team};
use crate::rival::{Request, Rival, RivalThread};

/// How many samples long operations are timed, if a sample takes no longer than it should.
const SAMPLES: usize = 10;
/// The longest time that is told from longer ones: 18 minutes.
const MAX_NS: u64 = 1 << 40;

/// What share of operations took no longer than so many nanoseconds; in records, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many operations were timed.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// All.
    pub max: u64,
}

impl Quantiles {
    /// Returns the times with their names, the shortest first.
    #[must_use]
    pub fn times(&self) -> [(&'static str, u64); 6] {
        let Self { count: _, p50, p90, p99, p999, p9999, max } = *self;
        [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("p99.99", p9999), ("max", max)]
    }

    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
        }
    }
}

/// Times the operations of a plan on an allocator, for some samples of this length.
///
/// # Errors
/// The team cannot run the workload.
pub(super) fn measure<R, B>(
    plan: Plan,
    cpus: &Cpus,
    rival: Arc<R>,
    sample: Duration,
) -> Result<Quantiles, Fault>
where
    R: Rival + Send + 'static,
    B: Send + 'static,
    for<'a> R::Thread<'a>: RivalThread<Block = B>,
{
    let times =
        Arc::new(Times { wanted: AtomicBool::new(false), clock: Clock::new(), all: Mutex::new(empty()) });
    let mut team = Team::start(plan, cpus, Timed { rival, times: Arc::clone(&times) });
    // Warms up; the first operations are no more part of the times than those of other samples are.
    let Calibration { cycles, samples } = Calibration::of(&mut team, sample, 1..=SAMPLES)?;
    times.wanted.store(true, Ordering::Relaxed);
    let sampled = (0..samples).try_for_each(|_| team.sample(cycles).map(drop));
    times.wanted.store(false, Ordering::Relaxed);
    // The threads add their times when they end.
    drop(team);
    sampled?;
    let all = times.all.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Quantiles::of(&all))
}

/// A histogram in nanoseconds, with two digits.
fn empty() -> Histogram<u64> {
    Histogram::new_with_max(MAX_NS, 2).expect("two digits of up to 18 minutes")
}

/// The times of all threads.
struct Times {
    /// Whether operations count: not while the team warms up, and not when it gives up what it holds.
    wanted: AtomicBool,
    clock: Clock,
    all: Mutex<Histogram<u64>>,
}

/// An allocator whose calls are timed.
struct Timed<R> {
    rival: Arc<R>,
    times: Arc<Times>,
}

impl<R: Rival + Send> Rival for Timed<R> {
    type Thread<'a>
        = TimedThread<'a, R::Thread<'a>>
    where
        R: 'a;

    fn name(&self) -> &'static str {
        self.rival.name()
    }

    fn thread(&self) -> Self::Thread<'_> {
        TimedThread { thread: self.rival.thread(), times: &self.times, own: empty() }
    }

    fn base(&self) -> Option<usize> {
        self.rival.base()
    }
}

/// A thread's way in, with its times so far.
struct TimedThread<'a, T> {
    thread: T,
    times: &'a Times,
    own: Histogram<u64>,
}

/// A block, and how long its request took, in ticks of the clock.
struct TimedBlock<B> {
    block: B,
    ticks: u64,
}

impl<T: RivalThread> RivalThread for TimedThread<'_, T> {
    type Block = TimedBlock<T::Block>;

    const IS_MEMORY: bool = T::IS_MEMORY;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<Self::Block> {
        let clock = &self.times.clock;
        let start = clock.raw();
        let block = self.thread.alloc(request);
        let ticks = clock.raw().saturating_sub(start);
        block.map(|block| TimedBlock { block, ticks })
    }

    #[inline(always)]
    fn free(&mut self, TimedBlock { block, ticks }: Self::Block, order: u32) {
        let clock = &self.times.clock;
        let start = clock.raw();
        self.thread.free(block, order);
        let ticks = ticks + clock.raw().saturating_sub(start);
        if self.times.wanted.load(Ordering::Relaxed) {
            self.own.saturating_record(clock.delta_as_nanos(0, ticks));
        }
    }

    fn address(&self, block: &Self::Block) -> *mut u8 {
        self.thread.address(&block.block)
    }
}

impl<T> Drop for TimedThread<'_, T> {
    fn drop(&mut self) {
        let mut all = self.times.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(&self.own).expect("both have the same range");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::{BuddyFrames, Empty};
    use crate::workload::Workload;

    const SAMPLE: Duration = Duration::from_millis(40);

    fn times(workload: Workload, threads: usize) -> Quantiles {
        let plan = Plan::new(workload, 0, threads);
        measure(plan, &Cpus::allowed().unwrap(), Arc::new(Empty::new()), SAMPLE).unwrap()
    }

    #[test]
    fn every_operation_of_a_sample_is_timed_once_and_times_rise() {
        for (workload, threads) in [(Workload::Pair, 1), (Workload::Batch, 2), (Workload::Handoff, 2)] {
            let quantiles = times(workload, threads);
            assert!(quantiles.count > 0, "{workload}");
            assert_eq!(quantiles.count % Plan::new(workload, 0, threads).cycle_ops(), 0, "{workload}");
            let times = quantiles.times().map(|(_, ns)| ns);
            assert!(times.is_sorted() && times[5] > 0, "{workload}: {times:?}");
        }
    }

    /// An allocator whose every tenth request takes at least a millisecond.
    struct Hesitant(BuddyFrames);

    struct HesitantThread<T>(T, u32);

    impl Rival for Hesitant {
        type Thread<'a> = HesitantThread<<BuddyFrames as Rival>::Thread<'a>>;

        fn name(&self) -> &'static str {
            "hesitant"
        }

        fn thread(&self) -> Self::Thread<'_> {
            HesitantThread(self.0.thread(), 0)
        }

        fn base(&self) -> Option<usize> {
            self.0.base()
        }
    }

    impl<T: RivalThread> RivalThread for HesitantThread<T> {
        type Block = T::Block;

        fn alloc(&mut self, request: Request) -> Option<T::Block> {
            self.1 += 1;
            if self.1.is_multiple_of(10) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.alloc(request)
        }

        fn free(&mut self, block: T::Block, order: u32) {
            self.0.free(block, order);
        }

        fn address(&self, block: &T::Block) -> *mut u8 {
            self.0.address(block)
        }
    }

    #[test]
    fn one_slow_request_in_ten_is_seen_in_the_tail_and_not_in_the_middle() {
        let plan = Plan::new(Workload::Pair, 0, 1);
        let rival = Arc::new(Hesitant(BuddyFrames::new(64 << 20).unwrap()));
        let times = measure(plan, &Cpus::allowed().unwrap(), rival, SAMPLE).unwrap();
        assert!(times.p50 < 1_000_000, "{times:?}");
        assert!(times.p99 >= 990_000, "{times:?}");
    }
}
