//! Fragmentation: what becomes of an arena over time.
//!
//! Blocks of all orders and kinds come and go, most of them soon, some late, while about two thirds of the arena are in use. After
//! every hundredth part of the operations the free memory is looked at: how much of it is of no use to a request, by the request's
//! order, and what the largest free block is. All is seen from outside, by the addresses of the blocks that are held, so that every
//! allocator with an arena is judged alike; what its caches hold counts as free.
//!
//! Requests and lifetimes follow from the seed alone, so that all allocators are asked the same; an allocator that does some work by the
//! clock, as gfp does, has not quite the same series twice. That no two blocks overlap and that all lie in the arena is checked with
//! every block.

use std::collections::BTreeMap;
use std::fmt;

use super::Rng;
use super::frame_map::{FrameMap, Misplaced, Pageblock, unusable_index};
use crate::rival::{Migrate, Request, Rival, RivalThread, Zeroing};
use crate::rivals::Visitor;

/// The name that the command line uses.
pub const NAME: &str = "fragmentation";

/// The largest order that is asked for: a huge page.
const MAX_ORDER: u32 = 9;
/// Blocks wait for others to go before more of the arena is in use than this, in hundredths.
const FULL_PERCENT: usize = 80;
/// Points of a series.
const POINTS: u64 = 100;
/// An order is as often as all larger ones together: 5.5 frames on the average, in halves.
const FRAMES_OF_TWO_BLOCKS: usize = 11;

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What orders, kinds and lifetimes follow from.
    pub seed: u64,
    /// Allocations and frees together.
    pub operations: u64,
    /// Size of the arena in bytes.
    pub bytes: usize,
}

impl Default for Load {
    /// A million operations in 256 MiB.
    fn default() -> Self {
        Self { seed: 1, operations: 1_000_000, bytes: 256 << 20 }
    }
}

/// The arena over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// About a hundred points.
    pub points: Vec<Point>,
    /// The pageblocks in the end, before all blocks are freed.
    pub pageblocks: Vec<Pageblock>,
    /// Requests that got nothing.
    pub failed: u64,
}

/// The arena after some operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Allocations and frees so far.
    pub operations: u64,
    /// Frames in blocks that are held.
    pub live_frames: usize,
    /// The share of the free frames that a request of an order has no use for, from 0 to 1, for orders 0 to 10.
    pub unusable_index: Vec<f64>,
    /// The order of the largest free block, 10 at the most; nothing when no frame is free.
    pub largest_free_order: Option<usize>,
}

/// A defect of an allocator: a block that is not where it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The block's address.
    pub address: usize,
    /// What is wrong.
    pub misplaced: Misplaced,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.misplaced {
            Misplaced::Outside => write!(f, "the block at {:#x} is no frame of the arena", self.address),
            Misplaced::Overlap => write!(f, "the block at {:#x} overlaps a live one", self.address),
        }
    }
}

impl std::error::Error for Defect {}

/// What is drawn for one request.
struct Draw {
    request: Request,
    /// For how many requests the block lives.
    lifetime: u64,
}

/// A block that is held.
struct Held<B> {
    block: B,
    order: u32,
}

impl Load {
    /// Runs the load on an allocator; nothing comes of one that has no arena.
    ///
    /// # Errors
    /// The allocator handed out a block that is not where it must be.
    pub fn run<R: Rival>(&self, rival: &R) -> Option<Result<Series, Defect>> {
        let map = FrameMap::new(rival.base()?, self.bytes);
        let mut run = Run {
            thread: rival.thread(),
            map,
            held: BTreeMap::new(),
            rng: Rng::new(self.seed),
            requests: 0,
            series: Series { points: Vec::new(), pageblocks: Vec::new(), failed: 0 },
        };
        let done = run.all(self.operations);
        run.free_all();
        Some(done.map(|()| run.series))
    }
}

impl Visitor for Load {
    type Output = Option<Result<Series, Defect>>;

    fn visit<R, B>(self, rival: R) -> Self::Output
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        self.run(&rival)
    }
}

/// A load on its way.
struct Run<T: RivalThread> {
    thread: T,
    map: FrameMap,
    /// By the request at which it ends, and that which it came from.
    held: BTreeMap<(u64, u64), Held<T::Block>>,
    rng: Rng,
    requests: u64,
    series: Series,
}

impl<T: RivalThread> Run<T> {
    fn all(&mut self, operations: u64) -> Result<(), Defect> {
        let (mut done, interval) = (0, (operations / POINTS).max(1));
        while done < operations {
            if !self.step()? {
                continue;
            }
            done += 1;
            if done % interval == 0 {
                let point = self.point(done);
                self.series.points.push(point);
            }
        }
        self.series.pageblocks = self.map.pageblocks();
        Ok(())
    }

    /// Frees a block whose time has come, or asks for one; says whether either was done.
    fn step(&mut self) -> Result<bool, Defect> {
        if let Some(ended) = self.held.first_entry().filter(|entry| entry.key().0 <= self.requests) {
            let held = ended.remove();
            self.free(held);
            return Ok(true);
        }
        self.requests += 1;
        let Draw { request, lifetime } = self.draw();
        if (self.map.used() + (1 << request.order)) * 100 > self.map.frames() * FULL_PERCENT {
            return Ok(false);
        }
        let Some(block) = self.thread.alloc(request) else {
            self.series.failed += 1;
            return Ok(true);
        };
        let address = self.thread.address(&block).addr();
        if let Err(misplaced) = self.map.enter(address, request.order, request.migrate) {
            // Not freed: part of it may be another block.
            std::mem::forget(block);
            return Err(Defect { address, misplaced });
        }
        self.held.insert((self.requests + lifetime, self.requests), Held { block, order: request.order });
        Ok(true)
    }

    /// Draws a request: each order half as often as the one below, three of five blocks movable, one unmovable and one reclaimable. Of
    /// ten blocks one lives long. Lifetimes are such that two thirds of the arena are in use in the long run.
    fn draw(&mut self) -> Draw {
        let order = self.rng.next().trailing_zeros().min(MAX_ORDER);
        let migrate = match self.rng.below(5) {
            0 => Migrate::Unmovable,
            1 => Migrate::Reclaimable,
            _ => Migrate::Movable,
        };
        let blocks = self.map.frames() * 2 / 3 * 2 / FRAMES_OF_TWO_BLOCKS;
        // A quarter of the mean for nine of ten, and for one what makes the mean.
        let mean = if self.rng.below(10) == 0 { blocks * 31 / 4 } else { blocks / 4 };
        let lifetime = 1 + self.rng.below(2 * mean.max(1)) as u64;
        Draw { request: Request { order, migrate, zeroed: Zeroing::Untouched }, lifetime }
    }

    fn point(&self, operations: u64) -> Point {
        let free = self.map.free_blocks();
        Point {
            operations,
            live_frames: self.map.used(),
            unusable_index: unusable_index(&free),
            largest_free_order: free.iter().rposition(|&blocks| blocks > 0),
        }
    }

    fn free(&mut self, Held { block, order }: Held<T::Block>) {
        self.map.leave(self.thread.address(&block).addr(), order);
        self.thread.free(block, order);
    }

    fn free_all(&mut self) {
        while let Some((_, held)) = self.held.pop_first() {
            self.free(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::{BuddyFrames, BuddyHeap, Empty, Memory, TalcHeap, WithHandle};

    const LOAD: Load = Load { seed: 7, operations: 120_000, bytes: 32 << 20 };

    fn run<R: Rival>(rival: &R) -> Series {
        LOAD.run(rival).expect("it has an arena").unwrap()
    }

    fn check(series: &Series) {
        assert_eq!(series.points.len(), 100);
        let steady = &series.points[50..];
        let frames = LOAD.bytes / 4096;
        for point in steady {
            assert!((frames / 4..=frames * 8 / 10).contains(&point.live_frames), "{point:?}");
            assert_eq!((point.unusable_index.len(), point.unusable_index[0]), (11, 0.0));
            assert!(point.unusable_index.is_sorted() && point.unusable_index[10] <= 1.0, "{point:?}");
        }
        // Two thirds, less what had to wait because some blocks are a sixteenth of so small an arena.
        let mean = steady.iter().map(|point| point.live_frames).sum::<usize>() / steady.len();
        assert!((frames * 45 / 100..=frames * 70 / 100).contains(&mean), "{mean}");
        assert!(steady.iter().any(|point| point.unusable_index[9] > 0.0), "nothing is fragmented");
        assert_eq!(series.pageblocks.len(), frames / 512);
        let used: usize = series.pageblocks.iter().map(|block| block.used_frames).sum();
        assert_eq!(used, series.points[99].live_frames);
    }

    #[test]
    fn every_arena_has_its_series_and_the_seed_decides_it() {
        check(&run(&WithHandle::new(Memory::from(LOAD.bytes)).unwrap()));
        let frames = || run(&BuddyFrames::new(LOAD.bytes).unwrap());
        let series = frames();
        check(&series);
        assert!(series == frames(), "another series");
        check(&run(&BuddyHeap::new(LOAD.bytes).unwrap()));
        check(&run(&TalcHeap::new(LOAD.bytes).unwrap()));
    }

    #[test]
    fn without_an_arena_there_is_nothing_to_see() {
        assert_eq!(LOAD.run(&Empty::new()), None);
    }

    /// Hands the same few blocks out again and again.
    struct Forgetful(std::sync::atomic::AtomicUsize);

    impl Rival for Forgetful {
        type Thread<'a> = &'a Self;

        fn name(&self) -> &'static str {
            "forgetful"
        }

        fn thread(&self) -> &Self {
            self
        }

        fn base(&self) -> Option<usize> {
            Some(1 << 30)
        }
    }

    impl RivalThread for &Forgetful {
        type Block = usize;

        fn alloc(&mut self, _: Request) -> Option<usize> {
            let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some((1 << 30) + calls % 8 * (2 << 20))
        }

        fn free(&mut self, _: usize, _: u32) {}

        fn address(&self, block: &usize) -> *mut u8 {
            std::ptr::without_provenance_mut(*block)
        }
    }

    #[test]
    fn a_block_that_is_handed_out_twice_is_a_defect() {
        let defect = LOAD.run(&Forgetful(0.into())).unwrap().unwrap_err();
        assert_eq!(defect, Defect { address: 1 << 30, misplaced: Misplaced::Overlap });
        assert!(defect.to_string().contains("0x40000000 overlaps"), "{defect}");
    }
}
