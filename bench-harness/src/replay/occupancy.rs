//! Which frames are in use, and how large a block could be had.

use std::{collections::HashMap, ops::Range};

use super::bits::bits_of;

/// The largest order that is looked for: 4 MiB, as kernels have it.
pub(super) const MAX_ORDER: u32 = 10;
const BLOCK_FRAMES: u64 = 1 << MAX_ORDER;
const WORDS: usize = 1 << (MAX_ORDER - 6);

/// The frames in use of a region of whole 4 MiB blocks.
#[derive(Clone, Debug)]
pub(super) struct Occupancy {
    /// A bit for each frame in use, of the blocks that ever had one.
    blocks: HashMap<u64, [u64; WORDS]>,
    /// How many blocks the region has.
    region: usize,
}

impl Occupancy {
    /// Makes an unused region of this size in frames; what is left of the last 4 MiB does not count.
    pub(super) fn of_arena(frames: u64) -> Self {
        Self { blocks: HashMap::new(), region: usize::try_from(frames / BLOCK_FRAMES).unwrap_or(usize::MAX) }
    }

    /// Makes a region of the 4 MiB blocks in which these frames lie.
    pub(super) fn around(blocks: impl Iterator<Item = Range<u64>>) -> Self {
        let mut occupancy = Self { blocks: HashMap::new(), region: 0 };
        blocks.for_each(|frames| occupancy.visit(frames, |_, _| ()));
        occupancy.region = occupancy.blocks.len();
        occupancy
    }

    /// Notes that frames are used from now on.
    pub(super) fn take(&mut self, frames: Range<u64>) {
        self.visit(frames, |word, bits| *word |= bits);
    }

    /// Notes that frames are not used any more.
    pub(super) fn give(&mut self, frames: Range<u64>) {
        self.visit(frames, |word, bits| *word &= !bits);
    }

    fn visit(&mut self, frames: Range<u64>, visit: impl Fn(&mut u64, u64)) {
        for (block, word, bits) in bits_of::<WORDS>(frames) {
            visit(&mut self.blocks.entry(block).or_default()[word], bits);
        }
    }

    /// Returns the largest order of which an aligned block without a used frame exists, up to 10; `None` where every frame is used.
    pub(super) fn highest_free_order(&self) -> Option<u32> {
        if self.blocks.len() < self.region {
            return Some(MAX_ORDER);
        }
        self.blocks.values().filter_map(highest_free_order).max()
    }
}

/// Returns the largest order of a block without a used frame in 4 MiB.
fn highest_free_order(words: &[u64; WORDS]) -> Option<u32> {
    let whole_words =
        |order: u32| words.chunks(1 << (order - 6)).any(|chunk| chunk.iter().all(|&word| word == 0));
    if let Some(order) = (6..=MAX_ORDER).rev().find(|&order| whole_words(order)) {
        return Some(order);
    }
    (0..6).rev().find(|&order| words.iter().any(|&used| has_free_block(!used, order)))
}

/// Tells whether a word of free frames has a block of this order, which is below 6.
fn has_free_block(mut free: u64, order: u32) -> bool {
    for half in 0..order {
        free &= free >> (1 << half);
    }
    // Only aligned ones count.
    let mut aligned = 1_u64;
    for half in (order..6).rev() {
        aligned |= aligned << (1 << half);
    }
    free & aligned != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_highest_free_order_is_that_of_the_frames_one_by_one(
            used in prop::collection::vec((0_usize..2048, 1_usize..700), 0..12),
            singles in prop::collection::vec(0_usize..2048, 0..400),
            given in prop::collection::vec((0_usize..2048, 1_usize..90), 0..4),
        ) {
            let mut occupancy = Occupancy::of_arena(2048);
            let mut plain = [false; 2048];
            let used = used.into_iter().chain(singles.into_iter().map(|frame| (frame, 1)));
            let changes = used.map(|range| (range, true)).chain(given.into_iter().map(|range| (range, false)));
            for ((start, length), is_used) in changes {
                let range = start..(start + length).min(2048);
                plain[range.clone()].fill(is_used);
                let range = range.start as u64..range.end as u64;
                if is_used { occupancy.take(range) } else { occupancy.give(range) }
            }
            let has = |order: u32| plain.chunks(1 << order).any(|block| block.iter().all(|used| !used));
            prop_assert_eq!(occupancy.highest_free_order(), (0..=MAX_ORDER).rev().find(|&order| has(order)));
        }
    }

    #[test]
    fn a_region_around_blocks_is_the_4_mib_that_they_lie_in() {
        let mut occupancy = Occupancy::around([1000..1030, 5000..5001].into_iter());
        assert_eq!(occupancy.highest_free_order(), Some(10));
        occupancy.take(0..2048);
        assert_eq!(occupancy.highest_free_order(), Some(10));
        occupancy.take(4096..5120);
        assert_eq!(occupancy.highest_free_order(), None);
        occupancy.give(1023..1025);
        assert_eq!(occupancy.highest_free_order(), Some(0));
    }
}
