//! A known slow-down: an allocator that takes a tenth longer, whatever is asked of it.
//!
//! It takes its tenth at the end of each sample. Spread over the calls it would be another program: a few instructions more cost some of
//! the workloads' loops a third of their time, and others nothing, as the processor happens to overlap them.

use std::time::{Duration, Instant};

use crate::rival::{Request, Rival, RivalThread};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "gfp through a handle, and a tenth of its time more: at the end of a sample each thread spins for a tenth of what it took. \
     It is there to see whether a comparison notices 10 %.";

/// What it takes longer: one so-manieth of its time.
const ONE_OF: u32 = 10;

/// A rival, a tenth slower.
#[derive(Debug)]
pub struct Slow<R> {
    name: &'static str,
    rival: R,
}

impl<R> Slow<R> {
    /// Wraps a rival.
    pub const fn new(name: &'static str, rival: R) -> Self {
        Self { name, rival }
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
        SlowThread(self.rival.thread())
    }

    fn base(&self) -> Option<usize> {
        self.rival.base()
    }
}

/// One thread's way in.
#[derive(Debug)]
pub struct SlowThread<T>(T);

impl<T: RivalThread> RivalThread for SlowThread<T> {
    type Block = T::Block;

    const IS_MEMORY: bool = T::IS_MEMORY;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<T::Block> {
        self.0.alloc(request)
    }

    #[inline(always)]
    fn free(&mut self, block: T::Block, order: u32) {
        self.0.free(block, order);
    }

    #[inline(always)]
    fn address(&self, block: &T::Block) -> *mut u8 {
        self.0.address(block)
    }

    #[inline(always)]
    fn alloc_bulk(&mut self, request: Request, places: &mut [Option<T::Block>]) -> usize {
        self.0.alloc_bulk(request, places)
    }

    #[inline(always)]
    fn free_bulk(&mut self, places: &mut [Option<T::Block>], order: u32) {
        self.0.free_bulk(places, order);
    }

    fn end_sample(&mut self, took: Duration) {
        self.0.end_sample(took);
        let end = Instant::now() + took / ONE_OF;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        measure::{Cpus, Plan, Team},
        rivals::{BuddyFrames, Empty},
        workload::Workload,
    };

    #[test]
    fn a_sample_ends_a_tenth_later_and_not_by_half() {
        let slow = Slow::new("slow", Empty::new());
        let mut slow = slow.thread();
        let took = Duration::from_millis(20);
        // A few attempts: what else runs on the machine does not last longer than these.
        let mut end = || {
            let began = Instant::now();
            slow.end_sample(took);
            began.elapsed()
        };
        let later: Vec<Duration> = std::iter::repeat_with(&mut end).take(30).collect();
        assert!(later.iter().all(|&later| later >= took / 10), "{later:?}");
        assert!(later.iter().any(|&later| later < took / 2), "{later:?}");
    }

    /// Frames, with a note of what each sample took when it ended.
    struct Noting {
        frames: BuddyFrames,
        took: Arc<Mutex<Vec<Duration>>>,
    }

    struct NotingThread<'a, T> {
        thread: T,
        took: &'a Mutex<Vec<Duration>>,
    }

    impl Rival for Noting {
        type Thread<'a> = NotingThread<'a, <BuddyFrames as Rival>::Thread<'a>>;

        fn name(&self) -> &'static str {
            "noting"
        }

        fn thread(&self) -> Self::Thread<'_> {
            NotingThread { thread: self.frames.thread(), took: &self.took }
        }

        fn base(&self) -> Option<usize> {
            self.frames.base()
        }
    }

    impl<T: RivalThread> RivalThread for NotingThread<'_, T> {
        type Block = T::Block;

        fn alloc(&mut self, request: Request) -> Option<T::Block> {
            self.thread.alloc(request)
        }

        fn free(&mut self, block: T::Block, order: u32) {
            self.thread.free(block, order);
        }

        fn address(&self, block: &T::Block) -> *mut u8 {
            self.thread.address(block)
        }

        fn end_sample(&mut self, took: Duration) {
            self.took.lock().unwrap().push(took);
        }
    }

    #[test]
    fn each_threads_tenth_is_a_part_of_the_sample() {
        let took = Arc::default();
        let noting = Noting { frames: BuddyFrames::new(64 << 20).unwrap(), took: Arc::clone(&took) };
        let plan = Plan::new(Workload::Batch, 0, 2);
        let mut team = Team::start(plan, &Cpus::allowed().unwrap(), Slow::new("slow", noting));
        let wall = team.sample(200).unwrap();
        let took: Vec<Duration> = took.lock().unwrap().clone();
        assert_eq!(took.len(), 2);
        for took in took {
            assert!(took > Duration::ZERO && wall >= took + took / 10, "{wall:?} {took:?}");
        }
    }
}
