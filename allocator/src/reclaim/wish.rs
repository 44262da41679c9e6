//! What a kswapd is asked for.

use crate::{
    frame::{MAX_MAX_ORDER, Order},
    gfp::ZoneType,
};

/// An order, and the highest zone that those who asked for it may use (`kswapd_order`, `kswapd_highest_zoneidx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) order: Order,
    pub(super) highest: ZoneType,
}

/// Where the bits of zone types begin; those of orders are below.
const ZONES_AT: u32 = 24;
const _: () = assert!((MAX_MAX_ORDER as u32) < ZONES_AT);

/// Wishes as bits, one for each order and one for each type of zone: many are added up by or-ing them, which nobody waits for.
///
/// | bits | meaning |
/// |---|---|
/// | 0–18 | order |
/// | 24–28 | type of the highest zone, by its number |
impl Wish {
    /// Returns the wish as bits.
    pub(super) fn bits(self) -> u32 {
        1 << self.order.get() | 1 << (ZONES_AT as usize + self.highest.index())
    }

    /// Returns the largest order and the highest zone of all that was wished for; `None` if nothing was.
    pub(super) fn of_bits(bits: u32) -> Option<Self> {
        let orders = bits & ((1 << ZONES_AT) - 1);
        let highest =
            ZoneType::ALL.into_iter().rev().find(|kind| bits >> ZONES_AT >> kind.index() & 1 == 1)?;
        let order = orders.checked_ilog2()?;
        Some(Self { order: Order::try_new(order)?, highest })
    }

    /// Returns what both wish for.
    pub(super) fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { order: self.order.max(other.order), highest: self.highest.max(other.highest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_wish() -> impl Strategy<Value = Wish> {
        (0..=MAX_MAX_ORDER, prop::sample::select(ZoneType::ALL.to_vec()))
            .prop_map(|(order, highest)| Wish { order: Order::new(order), highest })
    }

    proptest! {
        #[test]
        fn many_wishes_are_the_largest_order_and_the_highest_zone(wishes in prop::collection::vec(any_wish(), 1..10)) {
            let bits = wishes.iter().fold(0, |bits, wish| bits | wish.bits());
            let all = wishes[1..].iter().fold(wishes[0], |all, &wish| all.and(Some(wish)));
            prop_assert_eq!(Wish::of_bits(bits), Some(all));
        }
    }

    #[test]
    fn no_bits_are_no_wish() {
        assert_eq!(Wish::of_bits(0), None);
    }
}
