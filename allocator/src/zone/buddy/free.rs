//! Freeing: what comes back is marked, merged with its free buddies, and listed.

use super::{
    Buddy, LEAF_ORDER, WORD_ORDER,
    counts::{CountsChange, Merges, Orders},
};
use crate::{
    frame::{Mobility, Order, Pfn},
    gfp::MigrateType,
};

impl Buddy {
    /// Frees a block and merges it with its free buddies (`__free_one_page`).
    ///
    /// A block of several pageblocks is freed pageblock by pageblock, each with its own type. Answers false when a pageblock is
    /// met of which some is free already, and leaves it and what is behind it alone: somebody freed the block twice.
    #[doc(alias = "__free_one_page")]
    #[inline]
    pub fn free(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) -> bool {
        let piece = order.min(Order::PAGEBLOCK);
        let mut pieces =
            (0..1u32 << (order.get() - piece.get())).map(|index| pfn.add(index * piece.frames()));
        pieces.all(|at| self.free_piece(at, piece, taken_for))
    }

    fn free_piece(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) -> bool {
        if order.get() < WORD_ORDER {
            let mut merges = Merges::new(order);
            let was_used = self.free_in_word(pfn, order, taken_for, &mut merges);
            self.count_merges(&merges);
            return was_used;
        }
        if !self.is_used(pfn, order) {
            return false;
        }
        let migratetype = self.pageblock_type(pfn);
        self.free_frames[migratetype as usize] += u64::from(order.frames());
        if order.get() > LEAF_ORDER {
            self.merge_leaves(pfn, order.get(), migratetype);
            return true;
        }
        let index = self.leaf_of(pfn);
        let leaf = &mut self.leaves[index];
        leaf.account_returned(order.frames(), taken_for);
        if order.get() < LEAF_ORDER {
            leaf.mark_free(Self::offset_of(pfn), order.get());
        }
        self.merge_words(index, Self::offset_of(pfn), order.get(), migratetype);
        true
    }

    /// Tells whether a block of at most a pageblock has been handed out as one or as smaller ones, and none of it is free.
    pub fn is_used(&self, pfn: Pfn, order: Order) -> bool {
        if order.get() < LEAF_ORDER {
            return self.leaves[self.leaf_of(pfn)].is_used(Self::offset_of(pfn), order.get());
        }
        // Whole leaves: what they are in, or hold, is known to the index.
        let mut leaves = (0..order.frames() >> LEAF_ORDER).map(|leaf| pfn.add(leaf << LEAF_ORDER));
        leaves.all(|at| self.leaves[self.leaf_of(at)].is_whole() && self.free_block_around(at).is_none())
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
            self.sets.insert(self.set_of(order.get(), migratetype), index);
        }
        true
    }

    /// Merges a block with its buddies, of which the first is free.
    #[inline(never)]
    fn merge_in_word(&mut self, index: usize, offset: u32, migratetype: MigrateType, merges: &mut Merges) {
        let merged = self.leaves[index].merged_order(offset);
        merges.note(migratetype, merged);
        let changed = self.leaves[index].change_counts(CountsChange::merge(merges.order.get(), merged));
        self.index_orders(index, migratetype, changed);
        if merged == WORD_ORDER {
            self.merge_words(index, offset & !63, WORD_ORDER, migratetype);
        }
    }

    /// Brings the index up to date with those orders of a leaf that have blocks now and had none, or the other way round.
    #[inline]
    fn index_orders(&mut self, leaf: usize, migratetype: MigrateType, orders: Orders) {
        if !orders.is_empty() {
            let counts = self.leaves[leaf].counts();
            for order in orders {
                let set = self.set_of(order, migratetype);
                if counts.get(order) > 0 {
                    self.sets.insert(set, leaf);
                } else {
                    self.sets.remove(set, leaf);
                }
            }
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
            self.merge_words(index, Self::offset_of(pfn) & !63, WORD_ORDER, migratetype);
        }
        true
    }

    /// Merges a block of whole words of the map, all marked free, buddy by buddy, and lists what it has become.
    fn merge_words(&mut self, index: usize, offset: u32, order: u8, migratetype: MigrateType) {
        let (mut at, mut order) = (offset, order);
        let start = self.leaf_start(index);
        while order < LEAF_ORDER {
            let buddy = at ^ 1 << order;
            if !self.leaves[index].is_free(buddy, order) {
                return self.insert(start.add(at), order, migratetype);
            }
            // All free and beside a block that was in use until now: it is one block of exactly this order.
            self.remove(start.add(buddy), order, migratetype);
            at &= !(1 << order);
            order += 1;
        }
        self.merge_leaves(start, LEAF_ORDER, migratetype);
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
            if !self.sets.contains(self.set_of(order, buddy_type), self.leaf_of(buddy)) {
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
