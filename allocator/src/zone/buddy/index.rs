//! Where the free blocks are: for each migrate type and order, a hierarchical bit set over the leaves.

use crate::sync::{ZeroedSlice, ZeroedSliceError};

/// Levels that 2^24 leaves (16 TiB) need with 64 bits a word.
const LEVELS: usize = 4;

/// Bit sets over the leaves of a zone, all of one size.
///
/// A set has a bit for each leaf, and above it levels in which a bit says that a word of the level below is not zero;
/// the first member is found with one count of trailing zeros a level. The sets of one zone lie behind each other.
#[derive(Debug)]
pub(super) struct LeafSets {
    words: ZeroedSlice<u64>,
    /// Words of one set.
    stride: usize,
    /// Where each level of a set begins; level 0 is the leaves' own.
    level: [usize; LEVELS],
    levels: usize,
}

impl LeafSets {
    /// Makes `sets` empty sets over `leaves` leaves.
    pub(super) fn new(sets: usize, leaves: usize) -> Result<Self, ZeroedSliceError> {
        let mut level = [0; LEVELS];
        let (mut levels, mut stride, mut words) = (0, 0, leaves.max(1));
        loop {
            words = words.div_ceil(64);
            level[levels] = stride;
            levels += 1;
            stride += words;
            if words == 1 {
                break;
            }
        }
        Ok(Self { words: ZeroedSlice::new(sets * stride)?, stride, level, levels })
    }

    /// Adds a leaf to a set.
    #[inline]
    pub(super) fn insert(&mut self, set: usize, leaf: usize) {
        let (base, mut at) = (set * self.stride, leaf);
        for level in 0..self.levels {
            let word = &mut self.words[base + self.level[level] + (at >> 6)];
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
    pub(super) fn remove(&mut self, set: usize, leaf: usize) {
        let (base, mut at) = (set * self.stride, leaf);
        for level in 0..self.levels {
            let word = &mut self.words[base + self.level[level] + (at >> 6)];
            *word &= !(1 << (at & 63));
            if *word != 0 {
                return;
            }
            at >>= 6;
        }
    }

    /// Tells whether a leaf is in a set.
    #[inline]
    pub(super) fn contains(&self, set: usize, leaf: usize) -> bool {
        self.words[set * self.stride + (leaf >> 6)] >> (leaf & 63) & 1 == 1
    }

    /// Returns the lowest leaf of a set.
    #[inline]
    pub(super) fn first(&self, set: usize) -> Option<usize> {
        let base = set * self.stride;
        let mut at = 0;
        for level in (0..self.levels).rev() {
            let word = self.words[base + self.level[level] + at];
            if word == 0 {
                // Only the top word can be empty: below it, the level above has promised a bit.
                return None;
            }
            at = at << 6 | word.trailing_zeros() as usize;
        }
        Some(at)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_equals_an_ordered_set(leaves in 1usize..300_000, steps in prop::collection::vec((any::<bool>(), any::<u32>(), 0usize..3), 1..300)) {
            let mut sets = LeafSets::new(3, leaves).expect("small");
            let mut plain = [const { BTreeSet::new() }; 3];
            for (add, leaf, set) in steps {
                let leaf = leaf as usize % leaves;
                if add { sets.insert(set, leaf); plain[set].insert(leaf); } else { sets.remove(set, leaf); plain[set].remove(&leaf); }
                for (set, plain) in plain.iter().enumerate() {
                    prop_assert_eq!(sets.first(set), plain.first().copied());
                    prop_assert_eq!(sets.contains(set, leaf), plain.contains(&leaf));
                }
            }
        }
    }
}
