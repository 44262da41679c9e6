//! Where the free blocks are: for each migrate type and order, a hierarchical bit set over the leaves.

use super::counts::Orders;
use crate::sync::{ZeroedSlice, ZeroedSliceError};

/// Levels that 2^24 leaves (16 TiB) need with 64 bits a word.
const LEVELS: usize = 4;
/// Words of a cache line.
const LINE: usize = 8;

/// One of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// The number of the migrate type.
    pub(super) kind: usize,
    pub(super) order: usize,
}

/// Bit sets over the leaves of a zone, all of one size.
///
/// A set has a bit for each leaf, and above it levels in which a bit says that a word of the level below is not zero;
/// the first member is found with one count of trailing zeros a level. The words of all orders for the same 64 bits lie side by side:
/// a block that is split or merged changes several orders there, and with the zone's lock their lines go from CPU to CPU.
#[derive(Debug)]
pub(super) struct LeafSets {
    words: ZeroedSlice<u64>,
    /// Words of a row, one for each order: whole lines.
    row: usize,
    /// Level 0 is the leaves' own.
    level: [Level; LEVELS],
    levels: usize,
}

/// A level of all sets: for each type, a row for every 64 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Where its rows begin.
    start: usize,
    /// How many of them a type has.
    rows: usize,
}

impl LeafSets {
    /// Makes empty sets, one for each of so many types and orders, over `leaves` leaves.
    pub(super) fn new(kinds: usize, orders: usize, leaves: usize) -> Result<Self, ZeroedSliceError> {
        let mut level = [Level::default(); LEVELS];
        let (mut levels, mut start, mut rows) = (0, 0, leaves.max(1));
        loop {
            rows = rows.div_ceil(64);
            level[levels] = Level { start, rows };
            levels += 1;
            start += kinds * rows;
            if rows == 1 {
                break;
            }
        }
        let row = orders.next_multiple_of(LINE);
        Ok(Self { words: ZeroedSlice::new(start * row)?, row, level, levels })
    }

    /// Returns which word of a set has a bit of a level.
    #[inline(always)]
    fn word(&self, Level { start, rows }: Level, set: Set, bit: usize) -> usize {
        (start + set.kind * rows + (bit >> 6)) * self.row + set.order
    }

    /// Adds a leaf to a set.
    #[inline]
    pub(super) fn insert(&mut self, set: Set, leaf: usize) {
        let mut at = leaf;
        for level in 0..self.levels {
            let index = self.word(self.level[level], set, at);
            let word = &mut self.words[index];
            let was = *word;
            *word = was | 1 << (at & 63);
            if was != 0 {
                return;
            }
            at >>= 6;
        }
    }

    /// Removes a leaf from a set.
    #[inline]
    pub(super) fn remove(&mut self, set: Set, leaf: usize) {
        let mut at = leaf;
        for level in 0..self.levels {
            let index = self.word(self.level[level], set, at);
            let word = &mut self.words[index];
            *word &= !(1 << (at & 63));
            if *word != 0 {
                return;
            }
            at >>= 6;
        }
    }

    /// Adds a leaf to those sets of a type, of some orders, that it is not in, and removes it from the others.
    #[inline]
    pub(super) fn flip(&mut self, kind: usize, orders: Orders, leaf: usize) {
        let (mut orders, mut at) = (orders, leaf);
        for level in 0..self.levels {
            let start = self.word(self.level[level], Set { kind, order: 0 }, at);
            let row = self.words[start..].first_chunk_mut::<LINE>().expect("a row is whole lines");
            // A bit of the level above follows from whether the word is zero.
            orders = orders.retain(|order| {
                let word = &mut row[usize::from(order) & (LINE - 1)];
                let was = *word;
                *word = was ^ 1 << (at & 63);
                was == 0 || *word == 0
            });
            if orders.is_empty() {
                return;
            }
            at >>= 6;
        }
    }

    /// Tells whether a leaf is in a set.
    #[inline]
    pub(super) fn contains(&self, set: Set, leaf: usize) -> bool {
        self.words[self.word(self.level[0], set, leaf)] >> (leaf & 63) & 1 == 1
    }

    /// Returns the lowest leaf of a set.
    #[inline]
    pub(super) fn first(&self, set: Set) -> Option<usize> {
        self.way_to_first(set).map(|(first, _)| first)
    }

    /// Removes the lowest leaf of a set, and returns it.
    #[inline]
    pub(super) fn take_first(&mut self, set: Set) -> Option<usize> {
        let (first, way) = self.way_to_first(set)?;
        for index in &way[..self.levels] {
            // The lowest bit of each word is what led here.
            let word = &mut self.words[*index];
            *word &= *word - 1;
            if *word != 0 {
                break;
            }
        }
        Some(first)
    }

    /// Returns the lowest leaf of a set, and which word of each level led to it.
    #[inline(always)]
    fn way_to_first(&self, set: Set) -> Option<(usize, [usize; LEVELS])> {
        let (mut at, mut way) = (0, [0; LEVELS]);
        for level in (0..self.levels).rev() {
            way[level] = self.word(self.level[level], set, at << 6);
            let word = self.words[way[level]];
            if word == 0 {
                // Only the top word can be empty: below it, the level above has promised a bit.
                return None;
            }
            at = at << 6 | word.trailing_zeros() as usize;
        }
        Some((at, way))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_equals_an_ordered_set(leaves in 1usize..300_000, steps in prop::collection::vec((any::<bool>(), any::<u32>(), 0usize..22), 1..300)) {
            let mut sets = LeafSets::new(2, 11, leaves).expect("small");
            let mut plain = [const { BTreeSet::new() }; 22];
            let number = |set| Set { kind: set / 11, order: set % 11 };
            for (add, leaf, set) in steps {
                let leaf = leaf as usize % leaves;
                if add { sets.insert(number(set), leaf); plain[set].insert(leaf); } else { sets.remove(number(set), leaf); plain[set].remove(&leaf); }
                for (set, plain) in plain.iter().enumerate() {
                    prop_assert_eq!(sets.first(number(set)), plain.first().copied());
                    let taken = sets.take_first(number(set));
                    prop_assert_eq!(taken, plain.first().copied());
                    prop_assert_eq!(sets.first(number(set)), plain.iter().nth(1).copied());
                    taken.into_iter().for_each(|leaf| sets.insert(number(set), leaf));
                    prop_assert_eq!(sets.contains(number(set), leaf), plain.contains(&leaf));
                }
            }
        }
    }
}
