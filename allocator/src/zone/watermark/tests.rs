//! The watermark test against hand-made zones and against its rules word by word.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

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
    let passes = |free: &u64| zone_watermark_ok(rule, 0, mark, ZoneType::Normal, flags, &zone(*free, &areas));
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
