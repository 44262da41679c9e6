//! Which frames of an arena are in use, seen from outside: by the addresses of the blocks that are held.

use gfp::Order;
use gfp::stats::{ContigPageInfo, unusable_free_index};

use crate::rival::Migrate;

const FRAME_BYTES: usize = 4096;
/// The largest order that is looked for, the kernel's.
pub(super) const MAX_ORDER: u32 = 10;
/// Frames of a pageblock: a huge page.
const PAGEBLOCK: usize = 512;

/// Why a block cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// It does not lie in the arena, or begins inside a frame.
    Outside,
    /// It shares a frame with a block that is held.
    Overlap,
}

/// A byte for each frame: 0 for free, else the kind of the block in it.
#[derive(Debug)]
pub(super) struct FrameMap {
    base: usize,
    frames: Vec<u8>,
    used: usize,
}

/// A pageblock of the map: 512 frames, or what is left at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pageblock {
    /// The kind of the blocks in it: a migrate type, `mixed`, or `free`.
    pub kind: &'static str,
    /// Frames of it that are in use.
    pub used_frames: usize,
}

/// The bit of a migrate type.
const fn bit(migrate: Migrate) -> u8 {
    1 << migrate as u8
}

impl FrameMap {
    pub(super) fn new(base: usize, bytes: usize) -> Self {
        Self { base, frames: vec![0; bytes / FRAME_BYTES], used: 0 }
    }

    /// Returns how many frames there are.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Returns how many of them are in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Enters a block that was handed out.
    pub(super) fn enter(&mut self, address: usize, order: u32, migrate: Migrate) -> Result<(), Misplaced> {
        let frames = self.block(address, order).ok_or(Misplaced::Outside)?;
        if frames.iter().any(|&kind| kind != 0) {
            return Err(Misplaced::Overlap);
        }
        frames.fill(bit(migrate));
        self.used += 1 << order;
        Ok(())
    }

    /// Takes a block out that was entered.
    pub(super) fn leave(&mut self, address: usize, order: u32) {
        if let Some(frames) = self.block(address, order) {
            frames.fill(0);
            self.used -= 1 << order;
        }
    }

    fn block(&mut self, address: usize, order: u32) -> Option<&mut [u8]> {
        let offset = address.checked_sub(self.base).filter(|offset| offset.is_multiple_of(FRAME_BYTES))?;
        let first = offset / FRAME_BYTES;
        self.frames.get_mut(first..first.checked_add(1 << order)?)
    }

    /// Counts the free blocks by order, each as large as it can be: aligned to its size, up to order 10.
    pub(super) fn free_blocks(&self) -> Vec<u64> {
        let mut level: Vec<bool> = self.frames.iter().map(|&kind| kind == 0).collect();
        let mut counts = Vec::new();
        for order in 0..=MAX_ORDER {
            let above: Vec<bool> = level.chunks_exact(2).map(|pair| pair[0] && pair[1]).collect();
            let is_part = |index: usize| order < MAX_ORDER && above.get(index / 2).is_some_and(|&free| free);
            let whole = level.iter().enumerate().filter(|&(index, &free)| free && !is_part(index));
            counts.push(whole.count() as u64);
            level = above;
        }
        counts
    }

    /// Returns the pageblocks in the order of their addresses.
    pub(super) fn pageblocks(&self) -> Vec<Pageblock> {
        let pageblock = |frames: &[u8]| {
            let kinds = frames.iter().fold(0, |kinds, kind| kinds | kind);
            let kind = match kinds {
                0 => "free",
                _ if kinds == bit(Migrate::Unmovable) => "unmovable",
                _ if kinds == bit(Migrate::Movable) => "movable",
                _ if kinds == bit(Migrate::Reclaimable) => "reclaimable",
                _ => "mixed",
            };
            Pageblock { kind, used_frames: frames.iter().filter(|&&kind| kind != 0).count() }
        };
        self.frames.chunks(PAGEBLOCK).map(pageblock).collect()
    }
}

/// Returns the share of the free frames that a request has no use for, from 0 to 1, by the request's order from 0 to 10.
pub(super) fn unusable_index(free_blocks: &[u64]) -> Vec<f64> {
    let of = |order| f64::from(unusable_free_index(order, &ContigPageInfo::new(free_blocks, order))) / 1000.0;
    (0..=MAX_ORDER).filter_map(Order::try_new).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 1 << 30;

    fn at(frame: usize) -> usize {
        BASE + frame * FRAME_BYTES
    }

    #[test]
    fn free_blocks_are_as_large_as_they_can_be() {
        let mut map = FrameMap::new(BASE, 4 << 20);
        assert_eq!(map.free_blocks()[10], 1);
        assert_eq!(unusable_index(&map.free_blocks()), [0.0; 11]);
        map.enter(at(0), 0, Migrate::Movable).unwrap();
        // Beside one frame in use: blocks of orders 0 to 9, one of each.
        assert_eq!(map.free_blocks(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        map.enter(at(512), 9, Migrate::Movable).unwrap();
        assert_eq!(map.free_blocks(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
        let unusable = unusable_index(&map.free_blocks());
        assert_eq!((unusable[0], unusable[9], unusable[10]), (0.0, 1.0, 1.0));
        // A request for 256 frames has use for 256 of 511.
        assert_eq!(unusable[8], 0.499);
        map.leave(at(0), 0);
        map.leave(at(512), 9);
        assert_eq!((map.used(), map.free_blocks()[10]), (0, 1));
    }

    #[test]
    fn an_arena_that_ends_inside_a_block_of_the_largest_order_is_counted_to_its_end() {
        let map = FrameMap::new(BASE, (1024 + 3) * FRAME_BYTES);
        assert_eq!(map.free_blocks(), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_block_that_is_not_where_it_must_be_is_refused() {
        let mut map = FrameMap::new(BASE, 4 << 20);
        map.enter(at(8), 3, Migrate::Movable).unwrap();
        assert_eq!(map.enter(at(15), 0, Migrate::Movable), Err(Misplaced::Overlap));
        assert_eq!(map.enter(at(0), 4, Migrate::Movable), Err(Misplaced::Overlap));
        for address in [BASE - FRAME_BYTES, at(1024), at(1023) + 8, 0] {
            assert_eq!(map.enter(address, 0, Migrate::Movable), Err(Misplaced::Outside));
        }
        assert_eq!(map.enter(at(1023), 1, Migrate::Movable), Err(Misplaced::Outside));
        assert_eq!(map.used(), 8);
    }

    #[test]
    fn a_pageblock_is_of_the_kind_of_its_blocks_or_mixed() {
        let mut map = FrameMap::new(BASE, 8 << 20);
        map.enter(at(0), 3, Migrate::Movable).unwrap();
        map.enter(at(512), 0, Migrate::Unmovable).unwrap();
        map.enter(at(1024), 0, Migrate::Unmovable).unwrap();
        map.enter(at(1030), 1, Migrate::Reclaimable).unwrap();
        let pageblocks: Vec<_> =
            map.pageblocks().into_iter().map(|block| (block.kind, block.used_frames)).collect();
        assert_eq!(pageblocks, [("movable", 8), ("unmovable", 1), ("mixed", 3), ("free", 0)]);
    }
}
