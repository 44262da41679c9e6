//! Fallback pollution: how many pageblocks end up with more than one kind of block in them, with grouping by type and without.
//!
//! A pageblock with a few blocks that cannot move among many that can is lost to compaction and to huge pages. The load keeps
//! movable, unmovable and reclaimable blocks of orders 0 to 3, and frees any of them, so that no pageblock empties by itself. How many
//! are of each kind changes all the time. Nothing is reclaimed and nothing moved: what is mixed once stays so for long, and
//! in an arena that is so full that a kind cannot grow within its own pageblocks, all become mixed in the end.

use anyhow::{Context, Result};
use gfp::{Allocator, Gfp, Handle, Maintain, Order, Pages, zone::Grouping};

use crate::workload::Rng;

/// Frames of a pageblock.
const PAGEBLOCK: u32 = 512;
/// So many operations a phase lasts, in which one request of ten is of one kind.
const PHASE: u64 = 100_000;
/// How full the arena is, in hundredths, from one run to the next.
pub const FULL_PERCENT: [u64; 4] = [60, 70, 80, 90];
/// Every so many operations the pageblocks are looked at.
const SAMPLE: u64 = 50_000;
/// Every so many operations a second is over, for what an allocator does by time.
const SECOND: u64 = 10_000;

/// The kinds of blocks: three in five, and twice one in five of the requests; while its phase lasts, a kind has more.
const KINDS: [Gfp; 3] = [Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL, Gfp::KERNEL.union(Gfp::RECLAIMABLE)];

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What random numbers follow from.
    pub seed: u64,
    /// Allocations and frees together.
    pub operations: u64,
    /// Size of the arena in bytes.
    pub bytes: usize,
}

impl Default for Load {
    /// 10⁷ operations in 256 MiB.
    fn default() -> Self {
        Self { seed: 1, operations: 10_000_000, bytes: 256 << 20 }
    }
}

/// What became of the pageblocks, on the average over the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pollution {
    /// Pageblocks that held something, of all samples.
    pub used: u64,
    /// Those of them that held more than one kind.
    pub mixed: u64,
    /// Requests that got nothing.
    pub failed: u64,
}

impl Pollution {
    /// Adds what became of the pageblocks of another run.
    pub const fn add(&mut self, other: Self) {
        self.used += other.used;
        self.mixed += other.mixed;
        self.failed += other.failed;
    }

    /// Returns the share of mixed pageblocks among those that hold something.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of pageblocks")]
    pub fn share(&self) -> f64 {
        if self.used == 0 { 0.0 } else { self.mixed as f64 / self.used as f64 }
    }
}

/// A block that is out, and the place of its kind in [`KINDS`].
struct Held {
    pages: Pages,
    kind: usize,
}

impl Load {
    /// Runs the load on an allocator of its own of which so many hundredths are in use, and looks at the pageblocks from the time on when the arena is full.
    ///
    /// # Errors
    /// When the allocator cannot be built.
    pub fn run(&self, grouping: Grouping, full_percent: u64) -> Result<Pollution> {
        let allocator = Allocator::builder(self.bytes)
            .dma(0)
            .cpus(1)
            .grouping(grouping)
            .maintain(Maintain::ByHand)
            .build()
            .context("cannot build the allocator")?;
        let handle = allocator.handle().context("cannot make a handle")?;
        let frames = allocator.arena().frames();
        let mut rng = Rng::new(self.seed);
        let (mut held, mut in_use) = (Vec::new(), 0);
        let (mut pollution, mut was_full) = (Pollution::default(), false);
        for operation in 0..self.operations {
            if operation % SECOND == 0 {
                allocator.age();
            }
            let is_full = in_use * 100 >= frames * full_percent;
            was_full |= is_full;
            if was_full && operation % SAMPLE == 0 {
                pollution.look(&held, frames);
            }
            // About as many of each, so that what is in use goes up and down around the mark.
            if is_full || (was_full && rng.below(100) < 48) {
                let Held { pages, .. }: Held = held.swap_remove(rng.below(held.len()));
                in_use -= u64::from(pages.order().frames());
                handle.free_pages(pages);
            } else if let Some(new) = ask(&handle, &mut rng, operation) {
                in_use += u64::from(new.pages.order().frames());
                held.push(new);
            } else {
                pollution.failed += 1;
            }
        }
        Ok(pollution)
    }
}

/// Asks for a block.
fn ask(handle: &Handle, rng: &mut Rng, operation: u64) -> Option<Held> {
    let phase = usize::try_from(operation / PHASE % 3).expect("below 3");
    let kind = if rng.below(10) == 0 { phase } else { [0, 0, 0, 1, 2][rng.below(5)] };
    // Small ones more often: 8 of 15, 4, 2 and 1.
    let order = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3][rng.below(15)];
    let pages = handle.alloc_pages(KINDS[kind], Order::new(order)).ok()?;
    Some(Held { pages, kind })
}

impl Pollution {
    /// Counts the pageblocks that hold something, and those that hold several kinds, by what the load holds.
    fn look(&mut self, held: &[Held], frames: u64) {
        let pageblocks = usize::try_from(frames.div_ceil(u64::from(PAGEBLOCK))).expect("an arena's");
        let mut kinds = vec![0_u8; pageblocks];
        for Held { pages, kind } in held {
            kinds[(pages.pfn().get() / PAGEBLOCK) as usize] |= 1 << kind;
        }
        self.used += kinds.iter().filter(|&&kinds| kinds != 0).count() as u64;
        self.mixed += kinds.iter().filter(|&&kinds| kinds.count_ones() > 1).count() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_at_least_halves_the_share_of_mixed_pageblocks() {
        let load = Load { operations: 1_000_000, bytes: 64 << 20, ..Load::default() };
        let run = |grouping| load.run(grouping, 70).unwrap();
        let [with, without] = [Grouping::ByMobility, Grouping::Disabled].map(run);
        assert!(without.mixed > 0 && with.used > 0, "{with:?} {without:?}");
        assert!(2.0 * with.share() <= without.share(), "{with:?} {without:?}");
        assert_eq!(with, run(Grouping::ByMobility), "it follows from the seed");
    }
}
