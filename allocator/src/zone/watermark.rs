//! The watermark test: may this request take memory from this zone now?
//!
//! A pure function over a snapshot of the zone, in three versions of the rule. All amounts are frames.
//!
//! ```
//! use gfp::{Gfp, gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType, gfp_to_alloc_flags}};
//! use gfp::zone::watermark::{
//!     FreeCounts, FreeSnapshot, WatermarkRule, Watermarks, wmark_pages, zone_watermark_fast, zone_watermark_ok,
//! };
//!
//! /// A zone whose free memory is all single frames.
//! struct Single(u64);
//! impl FreeCounts for Single {
//!     fn nr_free(&self, order: u8) -> u64 {
//!         if order == 0 { self.0 } else { 0 }
//!     }
//!     fn has_type(&self, order: u8, _: MigrateType) -> bool {
//!         self.nr_free(order) > 0
//!     }
//! }
//!
//! let zone = |counts| FreeSnapshot {
//!     free: 100,
//!     free_cma: 0,
//!     free_highatomic: 0,
//!     reserved_highatomic: 0,
//!     lowmem_reserve: [0; 5],
//!     max_order: 10,
//!     counts,
//! };
//! let marks = Watermarks { min: 80, low: 100, high: 120, promo: 140, boost: 16 };
//! assert_eq!((wmark_pages(&marks, WmarkIndex::Min), marks.unboosted(WmarkIndex::Min)), (96, 80));
//!
//! let passes = |order, mark, flags| {
//!     zone_watermark_ok(WatermarkRule::AnySuitable, order, mark, ZoneType::Normal, flags, &zone(&Single(100)))
//! };
//! let none = AllocFlags::empty();
//! assert!(passes(0, 99, none) && !passes(0, 100, none), "more than the mark must remain");
//! assert!(!Single(100).has_type(1, MigrateType::Movable) && !passes(1, 50, none), "no block is large enough");
//! assert!(passes(0, 120, gfp_to_alloc_flags(Gfp::ATOMIC, 0)), "who cannot wait may use a part of the reserve");
//!
//! let (rule, low) = (WatermarkRule::AnySuitable, AllocFlags::from_wmark(WmarkIndex::Low));
//! assert!(!zone_watermark_fast(rule, 0, &marks, ZoneType::Normal, low, &zone(&Single(100))));
//! ```

use crate::gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES, WmarkIndex, ZoneType};

/// A version of the watermark test.
///
/// They agree for order 0 apart from how reserves count, and differ in how they judge fragmentation.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum WatermarkRule {
    /// Linux 3.x to 4.3: discards every order below the request and halves the mark each time.
    ///
    /// It can refuse although a fitting block is free, and pass although no list of a usable type has one.
    HalvePerOrder,
    /// Linux 4.4 to 6.2: asks for one fitting block of a usable type; `ALLOC_HARDER` lowers the mark by itself, and
    /// others are charged for all highatomic pageblocks, in use or not.
    Harder,
    /// Linux 6.3 on: as above, but a request that cannot block gets a lower mark only together with
    /// `ALLOC_MIN_RESERVE`, and only free highatomic pages are charged.
    #[default]
    AnySuitable,
}

/// Counts of free blocks by order and migrate type.
///
/// Implemented by the free areas of a zone, under the zone's lock or not: the test tolerates counts that change.
pub trait FreeCounts {
    /// Returns the number of free blocks of exactly `order`, of all types.
    fn nr_free(&self, order: u8) -> u64;

    /// Tells whether a free block of exactly `order` is on the list of `migratetype`.
    fn has_type(&self, order: u8, migratetype: MigrateType) -> bool;
}

/// What the watermark test needs to know of a zone; amounts in frames.
#[derive(Copy, Clone, Debug)]
pub struct FreeSnapshot<'a, C: ?Sized> {
    /// All free frames, of every type.
    #[doc(alias = "NR_FREE_PAGES")]
    pub free: u64,
    /// Free frames in CMA pageblocks.
    #[doc(alias = "NR_FREE_CMA_PAGES")]
    pub free_cma: u64,
    /// Free frames in highatomic pageblocks.
    #[doc(alias = "nr_free_highatomic")]
    pub free_highatomic: u64,
    /// Frames of highatomic pageblocks, free or not.
    #[doc(alias = "nr_reserved_highatomic")]
    pub reserved_highatomic: u64,
    /// What is kept from requests that could use a higher zone, by their highest zone type.
    pub lowmem_reserve: [u64; NR_ZONE_TYPES],
    /// The largest order of the zone.
    pub max_order: u8,
    /// Free blocks by order and type.
    pub counts: &'a C,
}

/// The levels of a zone in frames.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Watermarks {
    /// Below it only requests with a right to reserves are served.
    pub min: u64,
    /// Below it the background thread is woken.
    pub low: u64,
    /// Above it the background thread sleeps.
    pub high: u64,
    /// Above it pages are promoted to this zone.
    pub promo: u64,
    /// What is added to every level for a while, after requests had to mix types in a pageblock.
    #[doc(alias = "watermark_boost")]
    pub boost: u64,
}

impl Watermarks {
    /// Returns level `index` without boost.
    #[inline]
    #[must_use]
    pub const fn unboosted(&self, index: WmarkIndex) -> u64 {
        match index {
            WmarkIndex::Min => self.min,
            WmarkIndex::Low => self.low,
            WmarkIndex::High => self.high,
            WmarkIndex::Promo => self.promo,
        }
    }
}

/// Returns level `index` in frames, boost included (kernel: `wmark_pages`).
#[doc(alias = "min_wmark_pages")]
#[doc(alias = "low_wmark_pages")]
#[doc(alias = "high_wmark_pages")]
#[doc(alias = "promo_wmark_pages")]
#[inline]
#[must_use]
pub const fn wmark_pages(marks: &Watermarks, index: WmarkIndex) -> u64 {
    marks.unboosted(index) + marks.boost
}

/// Tells whether a block of `order` may be taken from the zone so that more than `mark` frames remain.
///
/// `mark` is in frames and boosted as the caller wants it; `highest_zone` is the highest type that the request could
/// use. `ALLOC_NO_WATERMARKS` has no effect: whoever has that right ignores the answer.
///
/// Needs no lock: it reads plain counts, and a count that changes meanwhile makes the answer late, not wrong.
#[doc(alias = "__zone_watermark_ok")]
#[must_use]
pub fn zone_watermark_ok<C: FreeCounts + ?Sized>(
    rule: WatermarkRule,
    order: u8,
    mark: u64,
    highest_zone: ZoneType,
    alloc_flags: AllocFlags,
    zone: &FreeSnapshot<'_, C>,
) -> bool {
    // The kernel's difference is signed. No threshold is below 0 and reaching it must be exceeded, so a difference
    // that would be negative may stop at 0.
    let block_rest = (1 << order) - 1;
    let usable = zone.free.saturating_sub(block_rest).saturating_sub(unusable(rule, alloc_flags, zone));
    let min = lowered_mark(rule, mark, alloc_flags);
    if usable <= min + zone.lowmem_reserve[highest_zone.index()] {
        return false;
    }
    match rule {
        WatermarkRule::HalvePerOrder => {
            // Lower orders are discarded from all free frames, CMA included, as that era did.
            enough_above_each_order(order, min, zone.free.saturating_sub(block_rest), zone.counts)
        }
        WatermarkRule::Harder => {
            order == 0 || any_suitable(order, alloc_flags, AllocFlags::NON_BLOCK | AllocFlags::OOM, zone)
        }
        WatermarkRule::AnySuitable => {
            order == 0 || any_suitable(order, alloc_flags, AllocFlags::HIGHATOMIC | AllocFlags::OOM, zone)
        }
    }
}

/// Answers as [`zone_watermark_ok`] at the level that `alloc_flags` names, cheaply for order 0.
///
/// One difference: an order-0 request with `ALLOC_MIN_RESERVE` at the minimum level, refused while the zone is
/// boosted, is judged again without the boost, so that boosting cannot starve those who cannot wait.
#[must_use]
pub fn zone_watermark_fast<C: FreeCounts + ?Sized>(
    rule: WatermarkRule,
    order: u8,
    marks: &Watermarks,
    highest_zone: ZoneType,
    alloc_flags: AllocFlags,
    zone: &FreeSnapshot<'_, C>,
) -> bool {
    let index = alloc_flags.wmark();
    let mark = wmark_pages(marks, index);
    if order == 0 {
        let usable = zone.free.saturating_sub(unusable(rule, alloc_flags, zone));
        if usable > mark + zone.lowmem_reserve[highest_zone.index()] {
            return true;
        }
    }
    if zone_watermark_ok(rule, order, mark, highest_zone, alloc_flags, zone) {
        return true;
    }
    let boosted_reserve = order == 0
        && marks.boost > 0
        && index == WmarkIndex::Min
        && alloc_flags.contains(AllocFlags::MIN_RESERVE);
    boosted_reserve && zone_watermark_ok(rule, order, marks.min, highest_zone, alloc_flags, zone)
}

/// Returns the free frames that a request with `alloc_flags` may not count on.
#[doc(alias = "__zone_watermark_unusable_free")]
#[inline]
pub(super) fn unusable<C: ?Sized>(
    rule: WatermarkRule,
    alloc_flags: AllocFlags,
    zone: &FreeSnapshot<'_, C>,
) -> u64 {
    let highatomic = match rule {
        WatermarkRule::HalvePerOrder => 0,
        WatermarkRule::Harder => {
            if alloc_flags.intersects(AllocFlags::NON_BLOCK | AllocFlags::OOM) {
                0
            } else {
                zone.reserved_highatomic
            }
        }
        WatermarkRule::AnySuitable => {
            if alloc_flags.intersects(AllocFlags::RESERVES) {
                0
            } else {
                zone.free_highatomic
            }
        }
    };
    let cma = if alloc_flags.contains(AllocFlags::CMA) { 0 } else { zone.free_cma };
    highatomic + cma
}

/// Returns `mark` less the part of the reserve that `alloc_flags` give a right to.
///
/// Each step takes a share of what the one before left, rounded down. GFP_ATOMIC ends at ⅜ of the mark in all three.
#[inline]
fn lowered_mark(rule: WatermarkRule, mark: u64, alloc_flags: AllocFlags) -> u64 {
    let mut min = mark;
    if alloc_flags.contains(AllocFlags::MIN_RESERVE) {
        min -= min / 2;
    }
    match rule {
        WatermarkRule::HalvePerOrder => {
            if alloc_flags.contains(AllocFlags::NON_BLOCK) {
                min -= min / 4;
            }
        }
        WatermarkRule::Harder => {
            if alloc_flags.contains(AllocFlags::OOM) {
                min -= min / 2;
            } else if alloc_flags.contains(AllocFlags::NON_BLOCK) {
                min -= min / 4;
            }
        }
        WatermarkRule::AnySuitable => {
            if alloc_flags.contains(AllocFlags::MIN_RESERVE | AllocFlags::NON_BLOCK) {
                min -= min / 4;
            }
            if alloc_flags.contains(AllocFlags::OOM) {
                min -= min / 2;
            }
        }
    }
    min
}

/// Applies the oldest rule: without the blocks of each order below the request, more than the mark, halved for
/// every such order, must remain.
fn enough_above_each_order<C: FreeCounts + ?Sized>(order: u8, min: u64, free: u64, counts: &C) -> bool {
    let mut free = free;
    let mut min = min;
    for lower in 0..order {
        free = free.saturating_sub(counts.nr_free(lower) << lower);
        min >>= 1;
        if free <= min {
            return false;
        }
    }
    true
}

/// Tells whether a block of `order` or more is on a list that the request may use.
///
/// The request's own type plays no part: falling back to another one is assumed to work.
fn any_suitable<C: FreeCounts + ?Sized>(
    order: u8,
    alloc_flags: AllocFlags,
    highatomic_rights: AllocFlags,
    zone: &FreeSnapshot<'_, C>,
) -> bool {
    let cma = alloc_flags.contains(AllocFlags::CMA);
    let highatomic = alloc_flags.intersects(highatomic_rights);
    (order..=zone.max_order).filter(|&o| zone.counts.nr_free(o) > 0).any(|o| {
        MigrateType::PCP.into_iter().any(|migratetype| zone.counts.has_type(o, migratetype))
            || (cma && zone.counts.has_type(o, MigrateType::Cma))
            || (highatomic && zone.counts.has_type(o, MigrateType::HighAtomic))
    })
}

#[cfg(test)]
mod tests;
