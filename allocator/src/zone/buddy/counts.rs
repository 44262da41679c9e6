//! Numbers of free blocks by order, eight orders in one word.

use crate::{
    frame::Order,
    gfp::{MigrateType, NR_MIGRATE_TYPES},
    sync::zeroable,
};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

zeroable! {
    /// For each order below 8 a number of blocks, one byte each, order 0 lowest.
    ///
    /// Several orders change by one addition: a merge makes one block more of one order and one less of each order between,
    /// a split the other way round. Each number stays in its byte, so what one addition borrows another gives back: a leaf
    /// has at most 128 maximal blocks of an order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(transparent)]
    pub(super) struct OrderCounts(u64);
}

/// What is to be added to counts; numbers of blocks that are gone are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CountsChange(u64);

impl CountsChange {
    /// Returns a change by `blocks` blocks of an order, at most 7.
    #[inline]
    pub(super) const fn of(order: u8, blocks: i32) -> Self {
        Self((blocks as i64 as u64).wrapping_shl(8 * (order & 7) as u32))
    }

    /// Returns the change when a block of order `from` becomes free and merges up to order `to`, at most 8: its buddies are
    /// gone, and there is one of that order, unless it is 8, of which a leaf keeps no count.
    #[inline]
    pub(super) const fn merge(from: u8, to: u8) -> Self {
        Self(one_of(to).wrapping_sub(below(to) - below(from)))
    }

    /// Returns the change when a block of order `to`, at most 8, is split down to order `from`: an upper half of each order on the
    /// way is free.
    #[inline]
    pub(super) const fn split(to: u8, from: u8) -> Self {
        Self(below(to) - below(from))
    }
}

/// Returns one block of an order, at most 7; of order 8 none.
#[inline]
const fn one_of(order: u8) -> u64 {
    const ONE: [u64; 16] =
        [1, 1 << 8, 1 << 16, 1 << 24, 1 << 32, 1 << 40, 1 << 48, 1 << 56, 0, 0, 0, 0, 0, 0, 0, 0];
    ONE[order as usize & 15]
}

/// Returns one block of each order below `order`, at most 8.
#[inline]
const fn below(order: u8) -> u64 {
    // The next power of 256, less one, wraps to all ones where there is none.
    ONES & one_of(order).wrapping_sub(1)
}

impl OrderCounts {
    /// Returns the number of blocks of an order, at most 7.
    #[inline]
    pub(super) const fn get(self, order: u8) -> u8 {
        (self.0 >> (8 * (order & 7))).to_le_bytes()[0]
    }

    /// Returns the counts after a change.
    #[inline]
    pub(super) const fn changed_by(self, change: CountsChange) -> Self {
        Self(self.0.wrapping_add(change.0))
    }

    /// Returns the orders that have blocks in one of the two and none in the other.
    #[inline]
    pub(super) const fn appeared_or_vanished(self, other: Self) -> Orders {
        Orders(self.empty() ^ other.empty())
    }

    /// Returns the highest bit of the byte of each order that has no block.
    #[inline]
    const fn empty(self) -> u64 {
        let low_bits = (self.0 & !HIGH_BITS) + !HIGH_BITS;
        !(low_bits | self.0) & HIGH_BITS
    }
}

/// How many of the blocks of one order that a batch freed became which order, by type, as far as words of the map tell: the
/// zone's own counts are brought up to date once for all.
#[derive(Debug)]
pub(super) struct Merges {
    /// The order that was freed.
    pub(super) order: Order,
    became: [[u32; 8]; NR_MIGRATE_TYPES],
    /// A bit for each type that something was noted of.
    types: u8,
}

impl Merges {
    #[inline]
    pub(super) const fn new(order: Order) -> Self {
        Self { order, became: [[0; 8]; NR_MIGRATE_TYPES], types: 0 }
    }

    /// Notes a block that became one of order `merged`, at most 6.
    #[inline]
    pub(super) const fn note(&mut self, migratetype: MigrateType, merged: u8) {
        self.became[migratetype as usize][merged as usize & 7] += 1;
        self.types |= 1 << migratetype as u8;
    }

    /// Returns how many blocks became each order, for each type that there is anything of.
    pub(super) fn by_type(&self) -> impl Iterator<Item = (MigrateType, &[u32; 8])> {
        let noted = |&(kind, _): &(MigrateType, _)| self.types >> kind as u8 & 1 == 1;
        MigrateType::ALL.into_iter().zip(&self.became).filter(noted)
    }
}

/// A set of orders below 8; lowest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders(u64);

impl Orders {
    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns those of which `keep` says so.
    #[inline(always)]
    pub(super) fn retain(self, mut keep: impl FnMut(u8) -> bool) -> Self {
        let (mut left, mut kept) = (self.0, 0);
        while left != 0 {
            let order = (left.trailing_zeros() / 8).to_le_bytes()[0];
            let without = left & (left - 1);
            if keep(order) {
                kept |= left ^ without;
            }
            left = without;
        }
        Self(kept)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(numbers: [u8; 8]) -> OrderCounts {
        OrderCounts(u64::from_le_bytes(numbers))
    }

    fn listed(orders: Orders) -> Vec<u8> {
        let mut listed = Vec::new();
        let none = orders.retain(|order| {
            listed.push(order);
            false
        });
        assert!(none.is_empty());
        listed
    }

    proptest! {
        #[test]
        fn every_order_has_a_number_of_its_own(from in prop::array::uniform8(0u8..=128), to in prop::array::uniform8(0u8..=128)) {
            let mut since = counts(from);
            for order in 0u8..8 {
                let k = usize::from(order);
                let change = CountsChange::of(order, i32::from(to[k]) - i32::from(from[k]));
                let next = since.changed_by(change);
                prop_assert!(listed(since.appeared_or_vanished(next)).into_iter().eq(((from[k] == 0) != (to[k] == 0)).then_some(order)));
                since = next;
            }
            prop_assert_eq!(since, counts(to));
            prop_assert!((0..8).all(|order| since.get(order) == to[usize::from(order)]));
        }

        #[test]
        fn a_merge_uses_up_one_buddy_of_each_order_between_and_a_split_frees_it(from in 0u8..8, levels in 0u8..=8) {
            let to = (from + levels).min(8);
            let since = counts([9; 8]).changed_by(CountsChange::merge(from, to));
            for order in 0..8 {
                let expected = 9 - u8::from((from..to).contains(&order)) + u8::from(order == to);
                prop_assert_eq!(since.get(order), expected);
            }
            let whole = if to < 8 { CountsChange::of(to, -1) } else { CountsChange::of(0, 0) };
            prop_assert_eq!(since.changed_by(whole).changed_by(CountsChange::split(to, from)), counts([9; 8]));
        }
    }
}
