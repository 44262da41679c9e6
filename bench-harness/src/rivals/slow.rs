//! A known slow-down: an allocator that takes a tenth longer, whatever is asked of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::rival::{Migrate, Request, Rival, RivalThread, Zeroing};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "gfp through a handle, and a tenth of its time more: every 10 us a thread counts down for a tenth of what its calls \
     took. It is there to see whether a comparison notices 10 %.";

/// The share of its time that is added.
const SHARE: f64 = 0.1;
/// How long a stretch of calls, allocations and frees, is to be in nanoseconds. The time that is added comes at its end, for all of
/// them at once: a few cycles after each call would vanish among the cache misses of a workload that has some.
const STRETCH_NS: f64 = 10_000.0;
/// The most calls of a stretch, which take about as long where none takes longer.
const MOST_CALLS: u32 = 8192;
/// The calls of a thread's first stretch, before it knows what they take.
const FIRST_CALLS: u32 = 64;
/// A call that takes more than so many times what is usual counts as so many: a thread sleeps between samples, and may be preempted.
/// Work that has become slower is the usual after a few stretches.
const MOST_TIMES_SLOWER: f64 = 16.0;
/// Rounds of the calibration, of which the fastest counts.
const ROUNDS: u32 = 100;

/// A rival, a tenth slower.
#[derive(Debug)]
pub struct Slow<R> {
    name: &'static str,
    rival: R,
    calibration: Calibration,
}

/// What a thread must know to spin for a time. All of it is measured when the rival is made.
#[derive(Clone, Copy, Debug)]
struct Calibration {
    /// What a step of [`count_down`] takes.
    step_ns: f64,
    /// What a call of a pair takes without the wrapper.
    call_ns: f64,
    /// What the wrapper adds to each call by counting it.
    count_ns: f64,
    /// What it adds to each stretch by looking at the clock.
    clock_ns: f64,
}

impl<R: Rival> Slow<R> {
    /// Wraps a rival, and measures pairs of order 0 with and without the wrapper, for a few milliseconds: on another rival of the same
    /// kind, so that this one is as new as others are.
    pub fn new(name: &'static str, rival: R, measured: &R) -> Self {
        let step_ns = fastest(|| count_down(10_000)) / 10_000.0;
        // The clock's cost counts for all that there is, so that nothing is added.
        let never = Calibration { step_ns, call_ns: 1.0, count_ns: 0.0, clock_ns: f64::INFINITY };
        let mut stretch = Stretch::new(never);
        let clock_ns = fastest(|| stretch.end());
        let mut wrapped = SlowThread::new(measured.thread(), never);
        let [call_ns, wrapped_ns] = fastest_calls(&mut measured.thread(), &mut wrapped);
        let count_ns = (wrapped_ns - call_ns - clock_ns / f64::from(MOST_CALLS)).max(0.0);
        Self { name, rival, calibration: Calibration { step_ns, call_ns, count_ns, clock_ns } }
    }
}

/// Returns the nanoseconds of the fastest of some rounds.
fn fastest(mut round: impl FnMut()) -> f64 {
    (0..ROUNDS).map(|_| timed(&mut round)).min().map_or(0.0, nanoseconds)
}

fn timed(round: impl FnOnce()) -> Duration {
    let start = Instant::now();
    round();
    start.elapsed()
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Counts down, each step waiting for the one before.
#[inline(never)]
fn count_down(steps: u64) {
    let mut left = steps;
    while left > 0 {
        left = black_box(left) - 1;
    }
}

/// Returns the nanoseconds of a call of each, where stretches of pairs of order 0 are fastest. They take turns: what disturbs the
/// machine for longer than the rounds of one take would make it alone slower.
fn fastest_calls<A: RivalThread, B: RivalThread>(one: &mut A, other: &mut B) -> [f64; 2] {
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        let times = [timed(|| stretch_of_pairs(one)), timed(|| stretch_of_pairs(other))];
        fastest = [0, 1].map(|which| fastest[which].min(times[which]));
    }
    fastest.map(|time| nanoseconds(time) / f64::from(MOST_CALLS))
}

/// Runs pairs of order 0. A refusal, which an arena without a single frame would give, leaves some out.
fn stretch_of_pairs<T: RivalThread>(thread: &mut T) {
    let request = Request { order: 0, migrate: Migrate::Unmovable, zeroed: Zeroing::Untouched };
    for _ in 0..MOST_CALLS / 2 {
        if let Some(block) = thread.alloc(request) {
            thread.free(black_box(block), 0);
        }
    }
}

impl<R: Rival> Rival for Slow<R> {
    type Thread<'a>
        = SlowThread<R::Thread<'a>>
    where
        R: 'a;

    fn name(&self) -> &'static str {
        self.name
    }

    fn thread(&self) -> Self::Thread<'_> {
        SlowThread::new(self.rival.thread(), self.calibration)
    }

    fn base(&self) -> Option<usize> {
        self.rival.base()
    }
}

/// One thread's way in.
#[derive(Debug)]
pub struct SlowThread<T> {
    thread: T,
    calls_left: u32,
    stretch: Stretch,
}

impl<T> SlowThread<T> {
    fn new(thread: T, calibration: Calibration) -> Self {
        let stretch = Stretch::new(calibration);
        Self { thread, calls_left: stretch.calls, stretch }
    }

    /// Counts a call for many blocks as so many calls.
    #[inline(always)]
    fn count_bulk<B>(&mut self, places: &[Option<B>]) {
        let calls = u32::try_from(places.len()).unwrap_or(u32::MAX);
        self.stretch.not_counted = self.stretch.not_counted.saturating_add(calls.saturating_sub(1));
        self.count(calls);
    }

    /// Counts calls, and spins for them once they are a stretch.
    #[inline(always)]
    fn count(&mut self, calls: u32) {
        if self.calls_left > calls {
            self.calls_left -= calls;
        } else {
            self.stretch.end();
            self.calls_left = self.stretch.calls;
        }
    }
}

/// The calls since a thread spun last.
#[derive(Debug)]
struct Stretch {
    calibration: Calibration,
    /// What a call takes of late.
    call_ns: f64,
    /// How many calls it has.
    calls: u32,
    /// How many of them were no call of their own, and cost no counting.
    not_counted: u32,
    began: Instant,
}

impl Stretch {
    fn new(calibration: Calibration) -> Self {
        let call_ns = calibration.call_ns;
        Self { calibration, call_ns, calls: FIRST_CALLS, not_counted: 0, began: Instant::now() }
    }

    #[cold]
    #[inline(never)]
    fn end(&mut self) {
        count_down(self.steps(nanoseconds(self.began.elapsed())));
        self.began = Instant::now();
    }

    /// Returns how far to count after a stretch that took so long, and sets how many calls the next one has.
    #[expect(clippy::cast_possible_truncation, reason = "a time in steps, and a number within bounds")]
    fn steps(&mut self, took_ns: f64) -> u64 {
        let calls = f64::from(self.calls);
        let counted = calls - f64::from(std::mem::take(&mut self.not_counted)).min(calls);
        self.calls = (STRETCH_NS * calls / took_ns).clamp(2.0, f64::from(MOST_CALLS)) as u32;
        self.call_ns = (took_ns / calls).min(MOST_TIMES_SLOWER * self.call_ns);
        let Calibration { step_ns, count_ns, clock_ns, .. } = self.calibration;
        let counting_ns = count_ns * counted;
        let own_ns = (self.call_ns * calls - counting_ns).max(0.0);
        ((SHARE * own_ns - counting_ns - clock_ns).max(0.0) / step_ns) as u64
    }
}

impl<T: RivalThread> RivalThread for SlowThread<T> {
    type Block = T::Block;

    const IS_MEMORY: bool = T::IS_MEMORY;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<T::Block> {
        self.count(1);
        self.thread.alloc(request)
    }

    #[inline(always)]
    fn free(&mut self, block: T::Block, order: u32) {
        self.count(1);
        self.thread.free(block, order);
    }

    #[inline(always)]
    fn address(&self, block: &T::Block) -> *mut u8 {
        self.thread.address(block)
    }

    #[inline(always)]
    fn alloc_bulk(&mut self, request: Request, places: &mut [Option<T::Block>]) -> usize {
        self.count_bulk(places);
        self.thread.alloc_bulk(request, places)
    }

    #[inline(always)]
    fn free_bulk(&mut self, places: &mut [Option<T::Block>], order: u32) {
        self.count_bulk(places);
        self.thread.free_bulk(places, order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::{Memory, WithHandle};

    /// A stretch of calls that take 5 ns, where a step takes half of one.
    fn stretch(count_ns: f64, clock_ns: f64) -> Stretch {
        let calibration = Calibration { step_ns: 0.5, call_ns: 5.0, count_ns, clock_ns };
        Stretch { calls: 1000, ..Stretch::new(calibration) }
    }

    #[test]
    fn a_tenth_of_a_stretch_is_added_less_what_the_counting_cost() {
        assert_eq!(stretch(0.0, 0.0).steps(5000.0), 1000);
        // 4900 of the 5000 ns are the allocator's: 490 are to be added, of which 100 and 40 are there.
        assert_eq!(stretch(0.1, 40.0).steps(5000.0), 700);
        assert_eq!(stretch(1.0, 0.0).steps(5000.0), 0);
    }

    #[test]
    fn calls_for_many_blocks_were_counted_once() {
        let many = Stretch { not_counted: 900, ..stretch(0.1, 0.0) };
        // 4990 of the 5000 ns are the allocator's; counting took 10.
        assert_eq!({ many }.steps(5000.0), 978);
    }

    #[test]
    fn a_sleep_is_not_spun_for() {
        let mut stretch = stretch(0.0, 0.0);
        assert_eq!(stretch.steps(1e9), 16_000, "as if each call had taken 80 ns");
        assert_eq!(stretch.calls, 2, "to find out what is usual");
        assert_eq!(stretch.steps(10.0), 2);
        assert_eq!(stretch.calls, 2000, "of 5 ns");
    }

    #[test]
    fn slower_work_is_the_usual_after_a_few_stretches() {
        let mut stretch = stretch(0.0, 0.0);
        let steps =
            std::iter::repeat_with(|| stretch.steps(100_000.0 * f64::from(stretch.calls))).take(6).last();
        assert_eq!((steps, stretch.calls), (Some(40_000), 2));
    }

    #[test]
    fn pairs_take_longer_than_without_it_but_not_by_half() {
        let gfp = || WithHandle::new(Memory::from(64 << 20)).unwrap();
        let (plain, slow) = (gfp(), Slow::new("gfp-slow", gfp(), &gfp()));
        let (mut plain, mut slow) = (plain.thread(), slow.thread());
        // The fastest of some rounds each, and a few attempts: what else runs on the machine does not last longer than these.
        let ratio = || {
            let [plain_ns, slow_ns] = fastest_calls(&mut plain, &mut slow);
            slow_ns / plain_ns
        };
        let ratios: Vec<f64> = std::iter::repeat_with(ratio).take(30).collect();
        assert!(ratios.iter().any(|ratio| (1.04..1.3).contains(ratio)), "{ratios:?}");
    }
}
