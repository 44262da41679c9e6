//! Freeing: what comes back is marked, merged with its free buddies, and listed.

use super::{
    Buddy, LEAF_ORDER, WORD_ORDER,
    counts::{CountsChange, Merges},
    isolate::block_start,
    leaf::Leaf,
};
use crate::{
    frame::{Mobility, Order, Pfn},
    gfp::MigrateType,
};

impl Buddy {
    /// Frees a block and merges it with its free buddies (`__free_one_page`).
    ///
    /// A block of several pageblocks of which not all are of one type is freed pageblock by pageblock, each with its own. Answers
    /// false when a pageblock is met of which some is free already, and leaves it and what is behind it alone: somebody freed the
    /// block twice.
    #[doc(alias = "__free_one_page")]
    #[inline]
    pub fn free(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) -> bool {
        if order.get() < LEAF_ORDER {
            return self.free_in_leaf(pfn, order, taken_for);
        }
        if order <= Order::PAGEBLOCK || self.is_of_one_type(pfn, order) {
            if self.is_used(pfn, order) {
                self.free_leaves(pfn, order, taken_for);
                return true;
            }
            if order <= Order::PAGEBLOCK {
                return false;
            }
        }
        let pageblocks = 1u32 << (order.get() - Order::PAGEBLOCK.get());
        let mut pieces = (0..pageblocks).map(|index| pfn.add(index * Order::PAGEBLOCK.frames()));
        pieces.all(|at| self.free(at, Order::PAGEBLOCK, taken_for))
    }

    /// Tells whether all pageblocks of a block are of one type.
    fn is_of_one_type(&self, pfn: Pfn, order: Order) -> bool {
        let first = self.block_of(pfn);
        let types = &self.types[first..first + (1 << (order.get() - Order::PAGEBLOCK.get()))];
        types.iter().all(|flags| *flags == types[0])
    }

    /// Frees a block of whole leaves of one type, all in use.
    fn free_leaves(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) {
        let migratetype = self.pageblock_type(pfn);
        self.free_frames[migratetype as usize] += u64::from(order.frames());
        if order.get() == LEAF_ORDER {
            let leaf = self.leaf_of(pfn);
            self.leaves[leaf].account_returned(order.frames(), taken_for);
        }
        self.merge_leaves(pfn, order.get(), migratetype);
    }

    /// Frees a block of a part of a leaf.
    #[inline]
    fn free_in_leaf(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) -> bool {
        let migratetype = self.pageblock_type(pfn);
        let (index, offset) = (self.leaf_of(pfn), Self::offset_of(pfn));
        let leaf = &mut self.leaves[index];
        if !leaf.is_used(offset, order.get()) {
            return false;
        }
        self.free_frames[migratetype as usize] += u64::from(order.frames());
        leaf.account_returned(order.frames(), taken_for);
        leaf.mark_free(offset, order.get());
        let merged = leaf.merged_order(offset);
        self.list_merged(index, order.get(), merged, migratetype);
        self.count_merged(index, order.get(), merged, migratetype);
        true
    }

    /// Brings a leaf's counts and the index up to date with a block of it that became free and merged, with all around it that is.
    #[inline]
    fn list_merged(&mut self, leaf: usize, from: u8, to: u8, migratetype: MigrateType) {
        let changed = self.leaves[leaf].change_counts(CountsChange::merge(from, to));
        self.sets.flip(migratetype as usize, changed, leaf);
    }

    /// Counts a block of a leaf that merged, and merges it with others if it is the whole leaf now.
    #[inline]
    fn count_merged(&mut self, leaf: usize, from: u8, to: u8, migratetype: MigrateType) {
        for order in from..to {
            self.count_blocks(order, migratetype, -1);
        }
        if to == LEAF_ORDER {
            self.merge_leaves(self.leaf_start(leaf), LEAF_ORDER, migratetype);
        } else {
            self.count_blocks(to, migratetype, 1);
        }
    }

    /// Tells whether a block, all of one type, has been handed out as one or as smaller ones, and none of it is free.
    pub fn is_used(&self, pfn: Pfn, order: Order) -> bool {
        if order.get() < LEAF_ORDER {
            return self.leaves[self.leaf_of(pfn)].is_used(Self::offset_of(pfn), order.get());
        }
        // Whole leaves: what they are in, or hold, is known to the index.
        let first = self.leaf_of(pfn);
        let leaves = &self.leaves[first..first + (1 << (order.get() - LEAF_ORDER))];
        leaves.iter().all(Leaf::is_whole) && !self.has_free_leaves(pfn, order)
    }

    /// Tells whether some of a block of whole leaves, all of one type, is free, or lies in a free block.
    fn has_free_leaves(&self, pfn: Pfn, order: Order) -> bool {
        let kind = self.pageblock_type(pfn);
        self.large_orders(kind).any(|listed| {
            // Those that begin in the block, or the one that it would lie in.
            let parts = 1u32 << order.get().saturating_sub(listed);
            let mut starts = (0..parts).map(|index| block_start(pfn, listed).add(index << listed));
            starts.any(|start| self.is_listed(start, listed, kind))
        })
    }

    /// Frees a block of at most order 5, and merges it with its free buddies; what became of those inside of its word of the
    /// map is left to be counted.
    #[inline(always)]
    fn free_in_word(&mut self, pfn: Pfn, order: Order, taken_for: Mobility, merges: &mut Merges) -> bool {
        let migratetype = self.pageblock_type(pfn);
        let index = self.leaf_of(pfn);
        let leaf = &mut self.leaves[index];
        let offset = Self::offset_of(pfn);
        if !leaf.is_used(offset, order.get()) {
            return false;
        }
        // Not at the end: a merge of pageblocks takes what is free there from one type to another.
        self.free_frames[migratetype as usize] += u64::from(order.frames());
        leaf.account_returned(order.frames(), taken_for);
        leaf.mark_free(offset, order.get());
        if leaf.is_free(offset ^ order.frames(), order.get()) {
            self.merge_in_word(index, offset, migratetype, merges);
            return true;
        }
        // Where a zone is well filled, most blocks that come back stay what they are.
        merges.note(migratetype, order.get());
        let (before, _) = leaf.count(order.get(), 1);
        if before == 0 {
            self.sets.insert(Self::set_of(order.get(), migratetype), index);
        }
        true
    }

    /// Merges a block with its buddies, of which the first is free.
    #[inline(never)]
    fn merge_in_word(&mut self, index: usize, offset: u32, migratetype: MigrateType, merges: &mut Merges) {
        let merged = self.leaves[index].merged_order(offset);
        merges.note(migratetype, merged.min(WORD_ORDER));
        self.list_merged(index, merges.order.get(), merged, migratetype);
        if merged >= WORD_ORDER {
            self.count_merged(index, WORD_ORDER, merged, migratetype);
        }
    }

    /// Counts the blocks that merges in words made and used up.
    fn count_merges(&mut self, merges: &Merges) {
        for (kind, became) in merges.by_type() {
            let mut frees = 0;
            // From the top: a block that became larger has used up a buddy of each order below.
            for order in (merges.order.get()..=WORD_ORDER).rev() {
                let here = if order < WORD_ORDER { became[usize::from(order)].cast_signed() } else { 0 };
                self.count_blocks(order, kind, here - frees);
                frees += became[usize::from(order)].cast_signed();
            }
        }
    }

    /// Frees blocks of one order, the same as so many calls of [`free`](Self::free), but runs of single frames a word at a
    /// time. Returns how many were free already.
    pub fn free_batch(&mut self, blocks: &[u32], order: Order, taken_for: Mobility) -> u64 {
        if order.get() >= WORD_ORDER {
            return count_bad(blocks, |pfn| self.free(pfn, order, taken_for));
        }
        let mut merges = Merges::new(order);
        let bad = if order == Order::ZERO {
            self.free_frames_in_words(blocks, taken_for, &mut merges)
        } else {
            count_bad(blocks, |pfn| self.free_in_word(pfn, order, taken_for, &mut merges))
        };
        self.count_merges(&merges);
        bad
    }

    fn free_frames_in_words(&mut self, frames: &[u32], taken_for: Mobility, merges: &mut Merges) -> u64 {
        let mut rest = frames;
        let mut bad = 0;
        while let Some(&first) = rest.first() {
            let run = run_in_word(rest);
            let length = match run {
                Some((mask, length)) if self.free_word(Pfn::new(first), mask, length, taken_for) => length,
                _ => {
                    let was_used = self.free_in_word(Pfn::new(first), Order::ZERO, taken_for, merges);
                    bad += u64::from(!was_used);
                    1
                }
            };
            rest = &rest[length as usize..];
        }
        bad
    }

    /// Frees frames of one word, unless one of them is free already.
    fn free_word(&mut self, pfn: Pfn, mask: u64, frames: u32, taken_for: Mobility) -> bool {
        let migratetype = self.pageblock_type(pfn);
        let index = self.leaf_of(pfn);
        let word = Self::offset_of(pfn) as usize >> 6;
        let leaf = &mut self.leaves[index];
        if !leaf.is_mask_used(word, mask) {
            return false;
        }
        self.free_frames[migratetype as usize] += u64::from(frames);
        leaf.account_returned(frames, taken_for);
        let grown = leaf.mark_mask_free(word, mask);
        let whole_word = leaf.is_free_word(word);
        for (order, change) in (0u8..).zip(grown) {
            if change != 0 {
                self.list(index, order, migratetype, change);
            }
        }
        if whole_word {
            let merged = self.leaves[index].merged_order(Self::offset_of(pfn));
            self.list_merged(index, WORD_ORDER, merged, migratetype);
            self.count_merged(index, WORD_ORDER, merged, migratetype);
        }
        true
    }

    /// Merges a block of whole leaves upward and lists what it has become.
    pub(super) fn merge_leaves(&mut self, pfn: Pfn, order: u8, migratetype: MigrateType) {
        let (mut at, mut order) = (pfn, order);
        while order < self.max_order.get() {
            let buddy = Pfn::new(at.get() ^ 1 << order);
            if buddy < self.start || buddy >= self.end {
                break;
            }
            let buddy_type = self.pageblock_type(buddy);
            // Below a pageblock, both halves are of one type.
            if buddy_type != migratetype && !(buddy_type.is_mergeable() && migratetype.is_mergeable()) {
                break;
            }
            if !self.sets.contains(Self::set_of(order, buddy_type), self.leaf_of(buddy)) {
                break;
            }
            self.remove(buddy, order, buddy_type);
            if buddy_type != migratetype {
                self.retag(buddy, order, migratetype);
                self.free_frames[buddy_type as usize] -= 1 << order;
                self.free_frames[migratetype as usize] += 1 << order;
            }
            at = at.min(buddy);
            order += 1;
        }
        self.insert(at, order, migratetype);
        self.notify_free(order);
    }
}

/// Frees blocks and counts those that were free already.
fn count_bad(blocks: &[u32], mut free: impl FnMut(Pfn) -> bool) -> u64 {
    blocks.iter().map(|&pfn| u64::from(!free(Pfn::new(pfn)))).sum()
}

/// Returns the frames of one word of the map that `frames` begins with, if there are enough of them to count the word anew
/// instead of merging one by one.
#[inline]
fn run_in_word(frames: &[u32]) -> Option<(u64, u32)> {
    const WORTH_COUNTING: u32 = 4;
    let (&first, behind) = frames.split_first()?;
    let is_near = |pfn: &u32| pfn >> 6 == first >> 6;
    if !behind.get(WORTH_COUNTING as usize - 2).is_some_and(is_near) {
        return None;
    }
    // What was taken in order mostly comes back in order; without a branch for each, it is compared many at a time.
    let rest = 64 - (first & 63);
    if let Some(word) = frames.get(..rest as usize)
        && word.iter().zip(first..).fold(0, |differs, (pfn, expected)| differs | (pfn ^ expected)) == 0
    {
        return Some((!0 << (first & 63), rest));
    }
    let run = behind.iter().take_while(|pfn| is_near(pfn));
    let (mask, length) =
        run.fold((1u64 << (first & 63), 1), |(mask, length), pfn| (mask | 1 << (pfn & 63), length + 1));
    (length >= WORTH_COUNTING && mask.count_ones() == length).then_some((mask, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A word of the map.
    const WORD: u32 = 7;

    /// Says the same of frames one by one: those of the first one's word, if there are some and none comes twice.
    fn one_by_one(frames: &[u32]) -> Option<(u64, u32)> {
        let near = frames.iter().take_while(|&&pfn| pfn / 64 == frames[0] / 64);
        let mask = near.clone().fold(0u64, |mask, &pfn| mask | 1 << (pfn % 64));
        let length = u32::try_from(near.count()).expect("few");
        (length >= 4 && mask.count_ones() == length).then_some((mask, length))
    }

    /// Frames near a word: in order from somewhere on, or not.
    fn frames() -> impl Strategy<Value = Vec<u32>> {
        let few = proptest::collection::vec(0..72u32, 0..8);
        (0..80u32, 0..80u32, few, any::<bool>()).prop_map(|(first, length, others, others_first)| {
            let in_order: Vec<u32> = (first..first + length).collect();
            let parts = if others_first { [others, in_order] } else { [in_order, others] };
            parts.concat().into_iter().map(|pfn| WORD * 64 + pfn).collect()
        })
    }

    #[test]
    fn frames_that_share_no_bit_with_the_ones_expected_are_not_taken_for_them() {
        // The first of all frames, then one of its word among those of others.
        let mut frames: Vec<u32> = (0..64).map(|word| 64 * word).collect();
        frames[3] = 4;
        assert_eq!(run_in_word(&frames), None);
    }

    proptest! {
        #[test]
        fn frames_of_a_word_are_taken_together_if_none_comes_twice(frames in frames()) {
            match run_in_word(&frames) {
                None => prop_assert_eq!(one_by_one(&frames), None),
                Some((mask, length)) => {
                    let taken = &frames[..length as usize];
                    let bits = taken.iter().fold(0u64, |mask, pfn| mask | 1 << (pfn % 64));
                    prop_assert_eq!((mask, mask.count_ones()), (bits, length));
                    prop_assert!(taken.iter().all(|pfn| pfn / 64 == taken[0] / 64));
                    // A whole rest of a word is one, whatever follows it.
                    let rest = 64 - frames[0] % 64;
                    prop_assert!(length == rest || one_by_one(&frames) == Some((mask, length)));
                }
            }
        }
    }
}
