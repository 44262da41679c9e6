//! The watermark test: may this request take memory from this zone now?
//!
//! A pure function over a snapshot of the zone, in three versions of the rule. All amounts are frames.

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
fn unusable<C: ?Sized>(rule: WatermarkRule, alloc_flags: AllocFlags, zone: &FreeSnapshot<'_, C>) -> u64 {
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gfp::{Gfp, NR_MIGRATE_TYPES, gfp_to_alloc_flags};

    const MIN: AllocFlags = AllocFlags::from_wmark(WmarkIndex::Min);
    const RULES: [WatermarkRule; 3] =
        [WatermarkRule::HalvePerOrder, WatermarkRule::Harder, WatermarkRule::AnySuitable];

    /// Free blocks by order and type.
    #[derive(Clone, Debug, Default)]
    struct Areas([[u64; NR_MIGRATE_TYPES]; 11]);

    impl FreeCounts for Areas {
        fn nr_free(&self, order: u8) -> u64 {
            self.0[usize::from(order)].iter().sum()
        }

        fn has_type(&self, order: u8, migratetype: MigrateType) -> bool {
            self.0[usize::from(order)][migratetype.index()] > 0
        }
    }

    impl Areas {
        fn with(blocks: &[(usize, MigrateType, u64)]) -> Self {
            let mut areas = Self::default();
            for &(order, migratetype, count) in blocks {
                areas.0[order][migratetype.index()] += count;
            }
            areas
        }
    }

    fn zone(free: u64, counts: &Areas) -> FreeSnapshot<'_, Areas> {
        FreeSnapshot {
            free,
            free_cma: 0,
            free_highatomic: 0,
            reserved_highatomic: 0,
            lowmem_reserve: [0; NR_ZONE_TYPES],
            max_order: 10,
            counts,
        }
    }

    /// Returns the mark that a request is left with: the most free frames that are refused.
    fn effective_mark(rule: WatermarkRule, mark: u64, flags: AllocFlags) -> u64 {
        let areas = Areas::default();
        let passes =
            |free: &u64| zone_watermark_ok(rule, 0, mark, ZoneType::Normal, flags, &zone(*free, &areas));
        (0..).find(passes).unwrap() - 1
    }

    #[test]
    fn reserves_lower_the_mark_by_the_shares_of_their_era() {
        use AllocFlags as F;
        let atomic = F::MIN_RESERVE | F::NON_BLOCK;
        let table = [
            (WatermarkRule::AnySuitable, F::empty(), 1600),
            (WatermarkRule::AnySuitable, F::MIN_RESERVE, 800),
            (WatermarkRule::AnySuitable, F::NON_BLOCK, 1600),
            (WatermarkRule::AnySuitable, F::HIGHATOMIC, 1600),
            (WatermarkRule::AnySuitable, atomic, 600),
            (WatermarkRule::AnySuitable, F::OOM, 800),
            (WatermarkRule::AnySuitable, atomic | F::OOM, 300),
            (WatermarkRule::Harder, F::NON_BLOCK, 1200),
            (WatermarkRule::Harder, atomic, 600),
            (WatermarkRule::Harder, atomic | F::OOM, 400),
            (WatermarkRule::HalvePerOrder, F::NON_BLOCK, 1200),
            (WatermarkRule::HalvePerOrder, atomic, 600),
            (WatermarkRule::HalvePerOrder, F::OOM, 1600),
        ];
        for (rule, flags, mark) in table {
            assert_eq!(effective_mark(rule, 1600, MIN | flags), mark, "{rule:?} {flags:?}");
        }
    }

    #[test]
    fn gfp_atomic_ends_at_three_eighths_in_every_era() {
        for rule in RULES {
            assert_eq!(effective_mark(rule, 8192, gfp_to_alloc_flags(Gfp::ATOMIC, 0)), 3072);
        }
    }

    #[test]
    fn lower_zones_keep_their_reserve_from_higher_requests() {
        let areas = Areas::default();
        let mut dma = zone(1355, &areas);
        dma.lowmem_reserve = [0, 0, 2004, 2004, 2004];
        for rule in RULES {
            assert!(!zone_watermark_ok(rule, 0, 4, ZoneType::Normal, MIN, &dma));
            assert!(zone_watermark_ok(rule, 0, 4, ZoneType::Dma, MIN, &dma));
        }
    }

    #[test]
    fn halving_refuses_although_a_fitting_block_is_free() {
        let areas = Areas::with(&[
            (0, MigrateType::Movable, 1445),
            (1, MigrateType::Movable, 1781),
            (2, MigrateType::Movable, 23),
        ]);
        let zone = zone(5099, &areas);
        let ok = |rule| zone_watermark_ok(rule, 2, 1996, ZoneType::Normal, MIN, &zone);
        assert_eq!(RULES.map(ok), [false, true, true]);
    }

    #[test]
    fn halving_passes_although_no_usable_type_has_a_block() {
        let areas = Areas::with(&[(0, MigrateType::Movable, 100), (4, MigrateType::Isolate, 100)]);
        let zone = zone(1700, &areas);
        let ok = |rule| zone_watermark_ok(rule, 4, 100, ZoneType::Normal, MIN, &zone);
        assert_eq!(RULES.map(ok), [true, false, false]);
    }

    #[test]
    fn special_lists_need_their_flag() {
        let cma = Areas::with(&[(5, MigrateType::Cma, 1)]);
        let highatomic = Areas::with(&[(5, MigrateType::HighAtomic, 1)]);
        let ok = |rule, flags, areas| {
            zone_watermark_ok(rule, 3, 1, ZoneType::Normal, MIN | flags, &zone(10_000, areas))
        };
        for rule in [WatermarkRule::Harder, WatermarkRule::AnySuitable] {
            assert!(!ok(rule, AllocFlags::empty(), &cma));
            assert!(ok(rule, AllocFlags::CMA, &cma));
            assert!(!ok(rule, AllocFlags::CMA, &highatomic));
            assert!(ok(rule, AllocFlags::OOM, &highatomic));
        }
        assert!(ok(WatermarkRule::AnySuitable, AllocFlags::HIGHATOMIC, &highatomic));
        assert!(!ok(WatermarkRule::AnySuitable, AllocFlags::NON_BLOCK, &highatomic));
        assert!(ok(WatermarkRule::Harder, AllocFlags::NON_BLOCK, &highatomic));
    }

    #[test]
    fn highatomic_pages_are_charged_to_those_without_reserves() {
        let areas = Areas::default();
        let mut zone = zone(1000, &areas);
        zone.free_highatomic = 300;
        zone.reserved_highatomic = 512;
        let ok = |rule, mark, flags| zone_watermark_ok(rule, 0, mark, ZoneType::Normal, MIN | flags, &zone);
        assert!(ok(WatermarkRule::AnySuitable, 699, AllocFlags::empty()));
        assert!(!ok(WatermarkRule::AnySuitable, 700, AllocFlags::empty()));
        assert!(ok(WatermarkRule::AnySuitable, 999, AllocFlags::NON_BLOCK));
        assert!(ok(WatermarkRule::Harder, 487, AllocFlags::empty()));
        assert!(!ok(WatermarkRule::Harder, 488, AllocFlags::empty()));
        assert!(ok(WatermarkRule::HalvePerOrder, 999, AllocFlags::empty()));
    }

    #[test]
    fn a_boost_does_not_starve_order_0_requests_with_reserve() {
        let areas = Areas::default();
        let marks = Watermarks { min: 100, low: 200, high: 300, promo: 400, boost: 1000 };
        let ok = |flags: AllocFlags, order| {
            zone_watermark_fast(
                WatermarkRule::AnySuitable,
                order,
                &marks,
                ZoneType::Normal,
                flags,
                &zone(60, &areas),
            )
        };
        assert!(ok(MIN | AllocFlags::MIN_RESERVE, 0));
        assert!(!ok(MIN, 0));
        assert!(!ok(MIN | AllocFlags::MIN_RESERVE, 1));
        assert!(!ok(AllocFlags::from_wmark(WmarkIndex::Low) | AllocFlags::MIN_RESERVE, 0));
    }

    #[test]
    fn every_level_is_boosted() {
        let marks = Watermarks { min: 1, low: 2, high: 3, promo: 4, boost: 10 };
        let all = [WmarkIndex::Min, WmarkIndex::Low, WmarkIndex::High, WmarkIndex::Promo];
        assert_eq!(all.map(|index| wmark_pages(&marks, index)), [11, 12, 13, 14]);
    }

    /// The spec's rules word by word, on signed integers that may go negative, as an oracle.
    fn literal(
        rule: WatermarkRule,
        order: u8,
        mark: i64,
        reserve: i64,
        flags: AllocFlags,
        zone: &FreeSnapshot<'_, Areas>,
    ) -> bool {
        let signed = |n: u64| i64::try_from(n).unwrap();
        let [nonblock, high, oom, cma, highatomic] = [
            AllocFlags::NON_BLOCK,
            AllocFlags::MIN_RESERVE,
            AllocFlags::OOM,
            AllocFlags::CMA,
            AllocFlags::HIGHATOMIC,
        ]
        .map(|flag| flags.contains(flag));
        let mut free = signed(zone.free) - ((1 << order) - 1);
        let free_cma = if cma { 0 } else { signed(zone.free_cma) };
        let mut min = mark;
        if high {
            min -= min / 2;
        }
        let special = match rule {
            WatermarkRule::HalvePerOrder => {
                if nonblock {
                    min -= min / 4;
                }
                if free - free_cma <= min + reserve {
                    return false;
                }
                for o in 0..order {
                    free -= signed(zone.counts.nr_free(o)) << o;
                    min >>= 1;
                    if free <= min {
                        return false;
                    }
                }
                return true;
            }
            WatermarkRule::Harder => {
                if nonblock || oom {
                    min -= if oom { min / 2 } else { min / 4 };
                } else {
                    free -= signed(zone.reserved_highatomic);
                }
                nonblock || oom
            }
            WatermarkRule::AnySuitable => {
                if high && nonblock {
                    min -= min / 4;
                }
                if oom {
                    min -= min / 2;
                }
                if !(nonblock || high || oom || highatomic) {
                    free -= signed(zone.free_highatomic);
                }
                highatomic || oom
            }
        };
        if free - free_cma <= min + reserve {
            return false;
        }
        order == 0
            || (order..=zone.max_order).any(|o| {
                let list = zone.counts.0[usize::from(o)];
                list[0] + list[1] + list[2] > 0 || (cma && list[4] > 0) || (special && list[3] > 0)
            })
    }

    fn any_flags() -> impl Strategy<Value = AllocFlags> {
        any::<u16>().prop_map(|bits| AllocFlags::from_bits_truncate(bits & !0x3))
    }

    fn any_areas() -> impl Strategy<Value = Areas> {
        // Mostly empty lists, so that the question which list has a block matters.
        let count = || prop_oneof![8 => Just(0_u64), 1 => 1..40_u64];
        let lists = move || prop::collection::vec(count(), NR_MIGRATE_TYPES);
        prop::collection::vec(lists(), 11).prop_map(|orders| {
            let mut areas = Areas::default();
            for (order, lists) in orders.iter().enumerate() {
                areas.0[order].copy_from_slice(lists);
            }
            areas
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_answer_is_that_of_the_rules_word_by_word(
            areas in any_areas(),
            order in 0_u8..=10,
            mark in 0_u64..4000,
            reserve in 0_u64..500,
            special in prop::array::uniform3(0_u64..600),
            flags in any_flags(),
            other in 0_u64..3000,
        ) {
            let listed: u64 = (0..=10).map(|o| areas.nr_free(o) << o).sum();
            let mut zone = zone(listed % 8000 + other, &areas);
            [zone.free_cma, zone.free_highatomic, zone.reserved_highatomic] = special;
            zone.lowmem_reserve[ZoneType::Normal.index()] = reserve;
            for rule in RULES {
                let ok = zone_watermark_ok(rule, order, mark, ZoneType::Normal, flags, &zone);
                let signed = |n: u64| i64::try_from(n).unwrap();
                prop_assert_eq!(ok, literal(rule, order, signed(mark), signed(reserve), flags, &zone));
                let marks = Watermarks { min: mark, ..Watermarks::default() };
                let fast = zone_watermark_fast(rule, order, &marks, ZoneType::Normal, flags, &zone);
                prop_assert_eq!(fast, ok, "the fast test differs without boost");
            }
        }
    }
}
