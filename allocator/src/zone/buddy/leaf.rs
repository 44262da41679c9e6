//! One leaf of the buddy: 1 MiB of frames in one cache line.

use super::counts::{CountsChange, OrderCounts, Orders};
use crate::{frame::Mobility, sync::zeroable};

/// log2 of the frames of a leaf.
pub(super) const LEAF_ORDER: u8 = 8;
/// Frames of a leaf.
pub(super) const LEAF_FRAMES: u32 = 1 << LEAF_ORDER;

/// The lowest bit of every aligned run of 2^k bits in a word.
const STARTS: [u64; 7] = [
    !0,
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
    1,
];

zeroable! {
    /// The free map of 256 frames, for blocks of order 0 to 7.
    ///
    /// A leaf is *whole* when its map is all-zero: it then is, or lies in, one block of order 8 and more, which the index
    /// of the buddy knows to be free or not. A zeroed leaf is therefore a valid initial state that costs no memory. A
    /// leaf of which some frame is in use is *split*: its map says which, and `counts` how many of its maximal
    /// free blocks have which order.
    #[derive(Debug)]
    #[repr(C, align(64))]
    pub(super) struct Leaf {
        /// A set bit is a frame in use.
        used: [u64; 4],
        /// Maximal free blocks.
        counts: OrderCounts,
        /// Frames in use that were taken for movable data.
        movable: u16,
    }
}

/// Returns a block of at most order 6 as the index of its word and the mask in it; of order 7, its first word.
const fn mask_of(offset: u32, order: u8) -> (usize, u64) {
    let ones = if order >= 6 { !0 } else { (1u64 << (1u32 << order)) - 1 };
    ((offset >> 6) as usize & 3, ones << (offset & 63))
}

/// Returns how many aligned runs of 2^k bits of `free` are all set, for each k from 0 to 6.
fn runs(free: u64) -> [u32; 7] {
    let mut counts = [free.count_ones(); 7];
    let mut mask = free;
    for k in 1..=6 {
        mask &= mask >> (1 << (k - 1));
        mask &= STARTS[k];
        counts[k] = mask.count_ones();
    }
    counts
}

/// Returns the lowest bits of those aligned free runs of 2^order bits whose buddy is not all free; order at most 5.
const fn maximal(free: u64, order: u8) -> u64 {
    let mut mask = free;
    let mut k = 0;
    while k < order {
        mask &= mask >> (1u32 << k);
        k += 1;
    }
    mask &= STARTS[order as usize & 7];
    let shift = 1u32 << order;
    let pairs = mask & mask >> shift & STARTS[(order as usize + 1) & 7];
    mask & !(pairs | pairs << shift)
}

impl Leaf {
    /// Tells whether no frame of the map is in use.
    pub(super) const fn is_whole(&self) -> bool {
        self.used[0] | self.used[1] | self.used[2] | self.used[3] == 0
    }

    /// Returns the number of free frames of a split leaf.
    pub(super) const fn free_frames(&self) -> u32 {
        LEAF_FRAMES
            - self.used[0].count_ones()
            - self.used[1].count_ones()
            - self.used[2].count_ones()
            - self.used[3].count_ones()
    }

    /// Returns the frames in use that were taken for movable data.
    pub(super) const fn movable_frames(&self) -> u32 {
        self.movable as u32
    }

    /// Notes that frames were taken for, or came back from, movable data.
    #[inline]
    pub(super) const fn account_taken(&mut self, frames: u32, mobility: Mobility) {
        if matches!(mobility, Mobility::Movable) {
            self.movable += (frames & 0x1ff) as u16;
        }
    }

    /// Notes that frames taken for movable data came back.
    #[inline]
    pub(super) const fn account_returned(&mut self, frames: u32, mobility: Mobility) {
        if matches!(mobility, Mobility::Movable) {
            self.movable -= (frames & 0x1ff) as u16;
        }
    }

    /// Returns the maximal free blocks.
    #[inline]
    pub(super) const fn counts(&self) -> OrderCounts {
        self.counts
    }

    /// Counts so many blocks of an order more, or less, and returns how many there were and are.
    #[inline]
    pub(super) const fn count(&mut self, order: u8, blocks: i32) -> (u8, u8) {
        let before = self.counts.get(order);
        self.counts = self.counts.changed_by(CountsChange::of(order, blocks));
        (before, self.counts.get(order))
    }

    /// Changes the counts, and returns the orders that have blocks now and had none, or the other way round.
    #[inline]
    pub(super) const fn change_counts(&mut self, change: CountsChange) -> Orders {
        let since = self.counts.changed_by(change);
        let orders = self.counts.appeared_or_vanished(since);
        self.counts = since;
        orders
    }

    /// Returns the offset of the lowest maximal free block of `order`, at most 7.
    #[inline]
    pub(super) fn find(&self, order: u8) -> Option<u32> {
        let found = match order {
            0..=5 => self.used.iter().enumerate().find_map(|(word, &used)| {
                let starts = maximal(!used, order);
                (starts != 0).then(|| (word, starts.trailing_zeros()))
            }),
            6 => (0..4).find(|&word| self.used[word] == 0 && self.used[word ^ 1] != 0).map(|word| (word, 0)),
            // Only one half of a split leaf can be free, or it would be whole.
            _ => [0, 2]
                .into_iter()
                .find(|&word| self.used[word] | self.used[word + 1] == 0)
                .map(|word| (word, 0)),
        };
        found.map(|(word, bit)| u32::try_from(word * 64).expect("below 256") + bit)
    }

    /// Tells whether all frames of the block are free; order at most 7.
    #[inline]
    pub(super) const fn is_free(&self, offset: u32, order: u8) -> bool {
        let (word, mask) = mask_of(offset, order);
        self.used[word] & mask == 0 && (order < 7 || self.used[word | 1] == 0)
    }

    /// Tells whether all frames of the block are in use; order at most 7.
    pub(super) const fn is_used(&self, offset: u32, order: u8) -> bool {
        let (word, mask) = mask_of(offset, order);
        self.used[word] & mask == mask && (order < 7 || self.used[word | 1] == !0)
    }

    /// Marks a block in use; order at most 7.
    #[inline]
    pub(super) const fn mark_used(&mut self, offset: u32, order: u8) {
        let (word, mask) = mask_of(offset, order);
        self.used[word] |= mask;
        if order == 7 {
            self.used[word | 1] = !0;
        }
    }

    /// Marks a block free; order at most 7.
    #[inline]
    pub(super) const fn mark_free(&mut self, offset: u32, order: u8) {
        let (word, mask) = mask_of(offset, order);
        self.used[word] &= !mask;
        if order == 7 {
            self.used[word | 1] = 0;
        }
    }

    /// Marks all frames in use.
    pub(super) const fn mark_all_used(&mut self) {
        self.used = [!0; 4];
    }

    /// Marks the low `frames` of a block in use: a refill takes a part of it.
    #[inline]
    pub(super) const fn mark_run_used(&mut self, offset: u32, frames: u32) {
        let mut at = offset;
        let mut left = frames;
        while left > 0 {
            let inside = at & 63;
            let here = if left < 64 - inside { left } else { 64 - inside };
            let ones = if here == 64 { !0 } else { (1u64 << here) - 1 };
            self.used[(at >> 6) as usize & 3] |= ones << inside;
            at += here;
            left -= here;
        }
    }

    /// Returns, in one word of the map, the lowest frames of the maximal free blocks of `order`, at most 5.
    #[inline]
    pub(super) const fn starts(&self, word: usize, order: u8) -> u64 {
        maximal(!self.used[word & 3], order)
    }

    /// Marks frames of one word in use.
    #[inline]
    pub(super) const fn mark_mask_used(&mut self, word: usize, mask: u64) {
        self.used[word & 3] |= mask;
    }

    /// Marks frames of one word free, and returns by how much the number of maximal blocks of order 0 to 5 in it grew. If the
    /// word is all free since, it has none: it is a part of a larger block.
    #[inline]
    pub(super) fn mark_mask_free(&mut self, word: usize, mask: u64) -> [i32; 6] {
        let old = runs(!self.used[word & 3]);
        self.used[word & 3] &= !mask;
        let new = runs(!self.used[word & 3]);
        let maximal = |runs: &[u32; 7], k: usize| (runs[k] - 2 * runs[k + 1]).cast_signed();
        core::array::from_fn(|k| maximal(&new, k) - maximal(&old, k))
    }

    /// Tells whether all of a word is free.
    #[inline]
    pub(super) const fn is_free_word(&self, word: usize) -> bool {
        self.used[word & 3] == 0
    }

    /// Returns the order of the largest aligned block around the free block at `offset` that is all free: 8 is the whole leaf.
    #[inline]
    pub(super) const fn merged_order(&self, offset: u32) -> u8 {
        match self.merged_order_in_word(offset) {
            6 if self.is_whole() => LEAF_ORDER,
            6 if self.is_free(offset & !127, 7) => 7,
            order => order,
        }
    }

    /// Returns the same as far as one word of the map tells: 6 stands for the whole word and what may be free beyond it.
    ///
    /// A block around a frame is free if it does not reach the nearest frame in use on either side, and it reaches frame q
    /// if it is larger than the highest bit in which the numbers of the two frames differ. No branch: whether a frame's
    /// buddies are free is not to be guessed.
    #[inline]
    const fn merged_order_in_word(&self, offset: u32) -> u8 {
        let (used, bit) = (self.used[(offset >> 6) as usize & 3], offset & 63);
        // Beyond the word, where nothing is in use, lies a number that differs in bit 6 or above.
        let above = bit + (used >> bit).trailing_zeros();
        let below = bit.wrapping_sub((used << (63 - bit)).leading_zeros());
        let (above, below) = (above ^ bit, below ^ bit);
        let nearest = if above < below { above } else { below };
        let order = nearest.ilog2();
        (if order > 6 { 6 } else { order }).to_le_bytes()[0]
    }

    /// Tells whether all of `mask` in one word is in use.
    #[inline]
    pub(super) const fn is_mask_used(&self, word: usize, mask: u64) -> bool {
        self.used[word & 3] & mask == mask
    }
}
