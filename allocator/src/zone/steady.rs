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
