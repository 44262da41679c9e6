//! Blocks that are left out of circulation.

use super::frame_map::FrameMap;
use crate::{
    frame::{Block, FrameTable, bring_back, withhold},
    sync::{
        ZeroedSliceError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Blocks that nobody gets any more, until the allocator closes: the mapping goes with the last block.
///
/// Their descriptors say what they are.
#[derive(Debug)]
pub(super) struct Withheld {
    /// Where they begin.
    heads: FrameMap,
    blocks: AtomicU64,
    frames: AtomicU64,
}

impl Withheld {
    /// Makes the map of an allocator with so many frames.
    pub(super) fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        Ok(Self { heads: FrameMap::new(frames)?, blocks: AtomicU64::new(0), frames: AtomicU64::new(0) })
    }

    /// Leaves a block out that is between its owners.
    #[cold]
    pub(super) fn add(&self, table: &FrameTable, block: Block) {
        if withhold(table, block).is_ok() {
            self.blocks.fetch_add(1, Ordering::Relaxed);
            self.frames.fetch_add(u64::from(block.order().frames()), Ordering::Relaxed);
            self.heads.insert(block.pfn());
        }
    }

    /// Brings all blocks back, for the end of the allocator.
    pub(super) fn release(&self, table: &FrameTable, free: impl FnMut(Block)) {
        if self.blocks() > 0 {
            self.heads.iter().filter_map(|pfn| bring_back(table, pfn).ok()).for_each(free);
        }
    }

    /// Returns how many blocks were left out.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Returns how many frames these have.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}
