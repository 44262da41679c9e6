//! How far a zone's free frames may change before its state word must be written again.

use core::ops::Range;

use super::{
    mirror::Special,
    watermark::{Watermarks, wmark_pages},
};
use crate::gfp::{NR_ZONE_TYPES, WmarkIndex};

/// While the free frames stay in this range, and those of them that not every request may use are as many, the state word is as
/// it was published. At first, and after all else that the word follows from has changed, no number is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Steady {
    free: Range<u64>,
    special: Special,
}

impl Steady {
    /// Returns the range around `free` in which no order-0 watermark test changes its answer.
    ///
    /// A test passes above its threshold, which is a mark plus a reserve plus what the request may not count on: one of `charges`.
    pub(super) fn around(
        free: u64,
        special: Special,
        charges: [u64; 2],
        marks: &Watermarks,
        lowmem_reserve: &[u64; NR_ZONE_TYPES],
    ) -> Self {
        let mut steady = 0..u64::MAX;
        for mark in [WmarkIndex::Low, WmarkIndex::High] {
            for reserve in lowmem_reserve {
                for charge in charges {
                    let threshold = wmark_pages(marks, mark) + reserve + charge;
                    if free > threshold {
                        steady.start = steady.start.max(threshold + 1);
                    } else {
                        steady.end = steady.end.min(threshold + 1);
                    }
                }
            }
        }
        Self { free: steady, special }
    }

    /// Tells whether the state word is as it was published.
    pub(super) fn holds(&self, free: u64, special: Special) -> bool {
        self.free.contains(&free) && self.special == special
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_test_changes_its_answer_inside_and_one_does_at_each_end(
            free in 0..4000u64,
            charges in prop::array::uniform2(0..500u64),
            (low, high, boost) in (0..1000u64, 1000..2000u64, 0..500u64),
            reserves in prop::array::uniform5(0..1000u64),
        ) {
            let marks = Watermarks { low, high, boost, ..Watermarks::default() };
            let answers = |free: u64| -> Vec<bool> {
                let marks = [low + boost, high + boost];
                let charged = charges.map(|charge| reserves.map(|reserve| marks.map(|mark| mark + reserve + charge)));
                charged.as_flattened().as_flattened().iter().map(|&threshold| free > threshold).collect()
            };
            let steady = Steady::around(free, Special::default(), charges, &marks, &reserves);
            let Range { start, end } = steady.free.clone();
            prop_assert!(steady.holds(free, Special::default()));
            for inside in [start, end.min(10_000) - 1] {
                prop_assert!(steady.holds(inside, Special::default()));
                prop_assert_eq!(answers(inside), answers(free));
            }
            for outside in [start.checked_sub(1), Some(end).filter(|&end| end < u64::MAX)].into_iter().flatten() {
                prop_assert!(!steady.holds(outside, Special::default()));
                prop_assert_ne!(answers(outside), answers(free));
            }
        }
    }

    #[test]
    fn nothing_holds_at_first_or_when_other_frames_are_special() {
        let special = Special { free_cma: 1, ..Special::default() };
        assert!(!Steady::default().holds(0, Special::default()));
        let steady = Steady::around(7, special, [0; 2], &Watermarks::default(), &[0; NR_ZONE_TYPES]);
        assert!(steady.holds(7, special) && !steady.holds(7, Special::default()));
    }
}
