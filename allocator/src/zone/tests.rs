//! A zone against what its own numbers say it should answer.

use super::{
    FirstFor, Freed, Grouping, PAGEBLOCK_FRAMES, Zone, ZoneReport, ZoneSpan, ZoneState,
    watermark::{FreeCounts, FreeSnapshot, Watermarks, wmark_pages, zone_watermark_fast, zone_watermark_ok},
};
use crate::{
    frame::{
        AllocatorNumber, FrameBatch, FrameTable, Mobility, Nid, Order, PcpList, Pfn, ZoneNumber,
        free_pages_prepare, prep_new_page,
    },
    gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES, WmarkIndex, ZoneType},
    zone::watermark::WatermarkRule,
};
use proptest::prelude::*;

mod reporting;

const FRAMES: u32 = 4096;

/// What a request may be entitled to.
const RESERVES: [AllocFlags; 4] = [
    AllocFlags::empty(),
    AllocFlags::CMA,
    AllocFlags::MIN_RESERVE.union(AllocFlags::NON_BLOCK),
    AllocFlags::RESERVES,
];

fn table(frames: u32) -> FrameTable {
    FrameTable::new(AllocatorNumber::new(1).expect("not 0"), frames as usize).expect("4 bytes a frame")
}

fn zone(rule: WatermarkRule, marks: Watermarks, reserve: [u64; NR_ZONE_TYPES]) -> Zone {
    zone_of(table(FRAMES), rule, marks, reserve)
}

fn zone_of(
    frames: FrameTable,
    rule: WatermarkRule,
    marks: Watermarks,
    reserve: [u64; NR_ZONE_TYPES],
) -> Zone {
    let end = Pfn::new(u32::try_from(frames.len()).expect("few"));
    let span = ZoneSpan {
        kind: ZoneType::Normal,
        node: Nid::new(0),
        number: ZoneNumber::new(0),
        start: Pfn::new(0),
        end,
        online_end: end,
    };
    let first_for = FirstFor::collect(|highest| highest >= ZoneType::Normal);
    let zone = Zone::new(span, Order::new(10), rule, frames, first_for, Grouping::ByMobility).expect("small");
    zone.set_watermarks(marks, reserve);
    zone
}

/// Takes a block, if that is asked for or none is held, or frees one that is.
fn take_or_free(zone: &Zone, held: &mut Vec<(Pfn, Order, MigrateType)>, order: u8, kind: usize, take: bool) {
    let (order, kind) = (Order::new(order), MigrateType::PCP[kind]);
    if take || held.is_empty() {
        let flags = AllocFlags::from_wmark(WmarkIndex::Low);
        held.extend(zone.rmqueue_buddy(order, kind, flags).map(|pfn| (pfn, order, kind)));
    } else {
        let (pfn, order, kind) = held.swap_remove(usize::from(order.get()) % held.len());
        let _ = zone.free_one(pfn, order, PcpList::of(order, kind));
    }
}

/// Gives a pageblock a type that not every request may use, or takes it back.
fn set_special(zone: &Zone, pageblock: u8, kind: usize) {
    let special = [MigrateType::Cma, MigrateType::HighAtomic, MigrateType::Movable][kind];
    let at = Pfn::new(u32::from(pageblock) * PAGEBLOCK_FRAMES);
    zone.with_areas(|areas| areas.buddy.set_migratetype(at, special));
}

/// The word as the zone's own watermark test gives it, bit by bit.
fn expected_state(zone: &Zone) -> ZoneState {
    ZoneState::of(FirstFor::collect(|highest| highest >= ZoneType::Normal), |highest, mark, flags| {
        zone.watermark_ok(Order::ZERO, highest, flags | AllocFlags::from_wmark(mark))
    })
}

/// Free blocks as a report has them.
struct Reported<'a>(&'a ZoneReport);

impl FreeCounts for Reported<'_> {
    fn nr_free(&self, order: u8) -> u64 {
        self.0.nr_free.iter().map(|blocks| u64::from(blocks[usize::from(order)])).sum()
    }

    fn has_type(&self, order: u8, migratetype: MigrateType) -> bool {
        self.0.nr_free[migratetype.index()][usize::from(order)] > 0
    }
}

impl<'a> Reported<'a> {
    /// What the report says as the watermark tests take it.
    fn snapshot(&'a self) -> FreeSnapshot<'a, Self> {
        FreeSnapshot {
            free: self.0.free,
            free_cma: self.0.free_cma,
            free_highatomic: self.0.free_highatomic,
            reserved_highatomic: u64::from(self.0.pageblocks[MigrateType::HighAtomic.index()])
                * u64::from(PAGEBLOCK_FRAMES),
            lowmem_reserve: self.0.lowmem_reserve,
            max_order: 10,
            counts: self,
        }
    }
}

/// The watermark test on what a report says.
fn by_report(rule: WatermarkRule, report: &ZoneReport, order: u8, flags: AllocFlags) -> bool {
    let reported = Reported(report);
    zone_watermark_fast(rule, order, &report.marks, ZoneType::Normal, flags, &reported.snapshot())
}

proptest! {
    #[test]
    fn the_state_word_is_always_what_the_watermark_test_says(
        rule in prop::sample::select(vec![WatermarkRule::HalvePerOrder, WatermarkRule::Harder, WatermarkRule::AnySuitable]),
        min in 0u64..800, gap in 0u64..800, reserve in 0u64..800,
        steps in prop::collection::vec((0u8..10, 0usize..3, any::<bool>(), 0u32..100), 1..200),
    ) {
        let marks = Watermarks { min, low: min + gap, high: min + 2 * gap, promo: min + 3 * gap, boost: 0 };
        let zone = zone(rule, marks, [0, 0, 0, reserve / 2, reserve]);
        let mut held = Vec::new();
        for (order, kind, take, word) in steps {
            if word < 10 {
                // Some requests may no longer count on what is free in this pageblock, or may again.
                set_special(&zone, order.min(7), kind);
                prop_assert_eq!(zone.state(), expected_state(&zone));
            }
            take_or_free(&zone, &mut held, order, kind, take);
            if zone.watermarks().boost > 0 && held.len() % 7 == 0 {
                zone.end_boost(zone.watermarks().boost);
            }
            prop_assert_eq!(zone.state(), expected_state(&zone));
            prop_assert_eq!(zone.nr_free_pages(), zone.report().free);
        }
        zone.close();
        prop_assert_eq!(zone.state(), ZoneState::default());
    }

    #[test]
    fn what_is_missing_is_the_least_that_lets_a_frame_pass(
        rule in prop::sample::select(vec![WatermarkRule::HalvePerOrder, WatermarkRule::Harder, WatermarkRule::AnySuitable]),
        min in 0u64..2000, gap in 0u64..800, reserve in 0u64..800, order in 0u8..=10,
        steps in prop::collection::vec((0u8..=10, 0usize..3, prop::bool::weighted(0.8)), 1..30),
    ) {
        let marks = Watermarks { min, low: min + gap, high: min + 2 * gap, promo: min + 3 * gap, boost: 0 };
        let zone = zone(rule, marks, [0, 0, 0, reserve / 2, reserve]);
        zone.with_areas(|areas| areas.buddy.set_migratetype(Pfn::new(512), MigrateType::Cma));
        let (mut held, flags) = (Vec::new(), AllocFlags::empty());
        for (order, kind, take) in steps {
            take_or_free(&zone, &mut held, order, kind, take);
        }
        let (report, marks) = (zone.report(), zone.watermarks());
        for (index, highest) in [(WmarkIndex::Min, ZoneType::Normal), (WmarkIndex::High, ZoneType::Movable)] {
            let (mark, missing) = (wmark_pages(&marks, index), zone.missing(index, highest));
            let passes = |more| zone.would_pass(Order::ZERO, mark, highest, flags, more);
            prop_assert!(passes(missing) && (missing == 0 || !passes(missing - 1)), "{} {:?}", missing, report);
            for more in [0, missing, u64::MAX] {
                let counted = Reported(&report);
                let then = FreeSnapshot { free: report.free.saturating_add(more), ..counted.snapshot() };
                let expected = zone_watermark_ok(rule, order, mark, highest, flags, &then);
                prop_assert_eq!(zone.would_pass(Order::new(order), mark, highest, flags, more), expected);
            }
        }
    }

    #[test]
    fn what_is_read_without_the_lock_answers_as_a_report_does(
        rule in prop::sample::select(vec![WatermarkRule::HalvePerOrder, WatermarkRule::Harder, WatermarkRule::AnySuitable]),
        min in 0u64..600, gap in 0u64..600, reserve in 0u64..800,
        special in prop::collection::vec((0u8..8, 0usize..3), 0..6),
        steps in prop::collection::vec((0u8..=10, 0usize..3, prop::bool::weighted(0.7)), 1..60),
    ) {
        let marks = Watermarks { min, low: min + gap, high: min + 2 * gap, promo: min + 3 * gap, boost: 0 };
        let zone = zone(rule, marks, [0, 0, reserve, reserve, reserve]);
        special.into_iter().for_each(|(pageblock, kind)| set_special(&zone, pageblock, kind));
        let mut held = Vec::new();
        for (order, kind, take) in steps {
            take_or_free(&zone, &mut held, order, kind, take);
            let report = zone.report();
            prop_assert_eq!((zone.watermarks(), zone.lowmem_reserve()), (report.marks, report.lowmem_reserve));
            for (order, reserves) in (0..=10).flat_map(|order| RESERVES.map(|reserves| (order, reserves))) {
                for mark in [WmarkIndex::Min, WmarkIndex::Low, WmarkIndex::High, WmarkIndex::Promo] {
                    let flags = AllocFlags::from_wmark(mark) | reserves;
                    let answer = zone.watermark_ok(Order::new(order), ZoneType::Normal, flags);
                    prop_assert_eq!(answer, by_report(rule, &report, order, flags), "{} {:?}", order, flags);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn what_waits_for_the_lock_is_freed_and_counted_once_by_its_next_holder(
        orders in prop::collection::vec((0u8..=10, any::<bool>()), 1..12),
    ) {
        let frames = table(FRAMES);
        let zone = zone_of(frames.clone(), WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
        let kind = MigrateType::Unmovable;
        let take = |(order, is_freed_twice)| {
            let order = Order::new(order);
            let pfn = zone.rmqueue_buddy(order, kind, AllocFlags::empty())?;
            Some((pfn, order, is_freed_twice))
        };
        let held: Vec<_> = orders.into_iter().filter_map(take).collect();
        let before = zone.report().events;
        let mut areas = zone.areas.lock();
        let mut once = 0;
        for &(pfn, order, is_freed_twice) in &held {
            let block = prep_new_page(&frames, pfn, PcpList::of(order, kind), zone.span().number, order);
            prop_assert_eq!(free_pages_prepare(&frames, block), Ok(()));
            prop_assert_eq!(zone.free_without_waiting(pfn), Freed::Pending);
            if is_freed_twice {
                prop_assert!(areas.buddy.free(pfn, order, Mobility::Fixed));
            } else {
                once += u64::from(order.frames());
            }
        }
        drop(areas);
        let report = zone.report();
        prop_assert_eq!(report.free, u64::from(FRAMES));
        prop_assert_eq!(report.events.pending_frees - before.pending_frees, held.len() as u64);
        prop_assert_eq!(report.events.freed_frames - before.freed_frames, once);
        let twice = held.iter().filter(|(_, _, is_freed_twice)| *is_freed_twice).count();
        prop_assert_eq!(report.events.bad_pages - before.bad_pages, twice as u64);
    }

    #[test]
    fn frames_that_a_cache_gives_up_twice_are_counted_and_change_nothing(
        wanted in 1u32..200, again in prop::collection::vec(0usize..200, 1..4)
    ) {
        let zone = zone(WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
        let (list, kind) = (PcpList::MOVABLE, MigrateType::Movable);
        let mut batch = FrameBatch::new();
        zone.rmqueue_bulk(Order::ZERO, wanted..=wanted, kind, AllocFlags::empty(), &mut batch);
        prop_assert_eq!(batch.len(), wanted as usize);
        prop_assert_eq!(zone.free_bulk(list, &batch), Freed::Open);
        let mut bad = 0;
        for from in again {
            let mut some = FrameBatch::new();
            batch.iter().skip(from).for_each(|pfn| some.push(pfn));
            prop_assert_eq!(zone.free_bulk(list, &some), Freed::Open);
            bad += some.len() as u64;
            let report = zone.report();
            prop_assert_eq!((report.events.bad_pages, report.free), (bad, u64::from(FRAMES)));
        }
    }

    #[test]
    fn what_was_freed_past_the_caches_less_what_was_taken_past_them_is_the_balance(
        steps in prop::collection::vec((0u8..=10, 0usize..3, any::<bool>(), 0usize..40), 1..60),
    ) {
        let zone = zone(WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
        let (mut held, mut cached) = (Vec::new(), Vec::new());
        for (order, kind, take, count) in steps {
            take_or_free(&zone, &mut held, order, kind, take);
            // A cache's batches do not count.
            let mut batch = FrameBatch::new();
            if take {
                let kind = MigrateType::PCP[kind];
                zone.rmqueue_bulk(Order::ZERO, 1..=20, kind, AllocFlags::empty(), &mut batch);
                cached.extend(batch.iter().map(|pfn| (pfn, kind)));
            } else if let Some(&(_, kind)) = cached.last() {
                let alike = cached.iter().rev().take(count).take_while(|(_, of)| *of == kind).count();
                cached.drain(cached.len() - alike..).for_each(|(pfn, _)| batch.push(pfn));
                prop_assert_eq!(zone.free_bulk(PcpList::of(Order::ZERO, kind), &batch), Freed::Open);
            }
            let out: i64 = held.iter().map(|(_, order, _)| i64::from(order.frames())).sum();
            prop_assert_eq!(zone.balance_past_caches(), -out);
        }
        for (pfn, order, kind) in held {
            prop_assert_eq!(zone.free_one(pfn, order, PcpList::of(order, kind)), Freed::Open);
        }
        prop_assert_eq!(zone.balance_past_caches(), 0);
    }
}

#[test]
fn reclaim_is_told_to_caches_with_the_same_answers_and_until_it_ends() {
    let marks = Watermarks { min: 100, low: 200, high: 300, promo: 400, boost: 0 };
    let zone = zone(WatermarkRule::AnySuitable, marks, [0; NR_ZONE_TYPES]);
    let take = || zone.rmqueue_buddy(Order::new(8), MigrateType::Movable, AllocFlags::empty());
    zone.set_reclaim_active(true);
    while take().is_some() {
        let expected = expected_state(&zone);
        assert_eq!(zone.state(), expected.with_reclaim_active());
        assert!(zone.state().is_reclaim_active() && !expected.is_reclaim_active());
        let [told, asked] =
            [zone.state(), expected].map(|state| state.above_low(ZoneType::Normal, AllocFlags::empty()));
        assert_eq!(told, asked);
    }
    zone.set_admitted(|| false);
    assert_eq!(zone.state(), ZoneState::default().with_reclaim_active());
    zone.set_admitted(|| true);
    zone.set_reclaim_active(false);
    assert_eq!(zone.state(), expected_state(&zone));
}

#[test]
fn a_boost_is_told_of_once_if_who_boosts_may_wake_somebody_and_ends_as_far_as_is_said() {
    let marks = Watermarks { min: 1, low: 2, high: 3, promo: 4, boost: 0 };
    for (flags, is_told) in [(AllocFlags::empty(), false), (AllocFlags::KSWAPD, true)] {
        let zone = zone(WatermarkRule::AnySuitable, marks, [0; NR_ZONE_TYPES]);
        let halves: Vec<_> =
            core::iter::from_fn(|| zone.rmqueue_buddy(Order::new(8), MigrateType::Movable, flags)).collect();
        let list = PcpList::of(Order::new(8), MigrateType::Movable);
        assert_eq!(zone.free_one(halves[0], Order::new(8), list), Freed::Open);
        assert!(!zone.take_boosted());
        assert!(zone.rmqueue_buddy(Order::ZERO, MigrateType::Unmovable, flags).is_some());
        assert!(zone.watermarks().boost > 0);
        assert_eq!((zone.take_boosted(), zone.take_boosted()), (is_told, false));
        let boost = zone.watermarks().boost;
        for (done, left) in [(0, boost), (1, boost - 1), (boost, 0)] {
            zone.end_boost(done);
            assert_eq!(zone.watermarks().boost, left);
        }
    }
}

#[test]
fn only_a_change_from_the_high_mark_to_more_is_a_rise() {
    let marks = Watermarks { min: 1000, low: 2000, high: 3000, promo: 4000, boost: 0 };
    let zone = zone(WatermarkRule::AnySuitable, marks, [0; NR_ZONE_TYPES]);
    let before = zone.rises();
    let take =
        || zone.rmqueue_buddy(Order::new(10), MigrateType::Movable, AllocFlags::empty()).expect("room");
    let give = |pfn| zone.free_one(pfn, Order::new(10), PcpList::of(Order::new(10), MigrateType::Movable));
    // 3072 frames are free, then 2048.
    let first = take();
    let second = take();
    // Neither who is let in nor whether memory is reclaimed changes how much there is.
    for now in [true, false] {
        zone.set_reclaim_active(now);
        zone.set_admitted(|| now);
        zone.set_admitted(|| true);
    }
    assert_eq!(zone.rises(), before);
    assert_eq!(give(second), Freed::Open);
    assert_eq!(zone.rises(), before + 1);
    assert_eq!(give(first), Freed::Open);
    zone.set_admitted(|| false);
    zone.set_admitted(|| true);
    assert_eq!(zone.rises(), before + 1);
}

#[test]
fn the_highatomic_reserve_is_the_last_resort_of_those_who_cannot_wait() {
    let zone = zone(WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
    (0..8).for_each(|pageblock| set_special(&zone, pageblock, 1));
    let entitled = [AllocFlags::OOM, AllocFlags::NON_BLOCK, AllocFlags::HIGHATOMIC];
    for (flags, is_served) in [(AllocFlags::empty(), false), (AllocFlags::CMA, false)]
        .into_iter()
        .chain(entitled.map(|flags| (flags, true)))
    {
        let pfn = zone.rmqueue_buddy(Order::new(3), MigrateType::Unmovable, flags);
        assert_eq!(pfn.is_some(), is_served, "{flags:?}");
    }
}

#[test]
fn marks_that_are_set_end_a_boost() {
    let marks = Watermarks { min: 1, low: 2, high: 3, promo: 4, boost: 5 };
    let zone = zone(WatermarkRule::AnySuitable, marks, [0; NR_ZONE_TYPES]);
    assert_eq!(zone.watermarks(), Watermarks { boost: 0, ..marks });
}

#[test]
fn who_asks_whether_a_frame_is_free_does_not_wait() {
    let zone = zone(WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
    let taken = zone.rmqueue_buddy(Order::ZERO, MigrateType::Movable, AllocFlags::empty()).expect("room");
    let answers = || [taken, taken.add(1)].map(|pfn| zone.is_free(pfn));
    assert_eq!(answers(), [Some(false), Some(true)]);
    let held = zone.areas.lock();
    assert_eq!(answers(), [None; 2]);
    drop(held);
    assert_eq!(answers(), [Some(false), Some(true)]);
}
