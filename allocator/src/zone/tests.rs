//! A zone against what its own numbers say it should answer.

use super::{FirstFor, Grouping, Zone, ZoneSpan, ZoneState, watermark::Watermarks};
use crate::{
    frame::{AllocatorNumber, FrameTable, Nid, Order, PcpList, Pfn, ZoneNumber},
    gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES, WmarkIndex, ZoneType},
    zone::watermark::WatermarkRule,
};
use proptest::prelude::*;

const FRAMES: u32 = 4096;

fn zone(rule: WatermarkRule, marks: Watermarks, reserve: [u64; NR_ZONE_TYPES]) -> Zone {
    let span = ZoneSpan {
        kind: ZoneType::Normal,
        node: Nid::new(0),
        number: ZoneNumber::new(0),
        start: Pfn::new(0),
        end: Pfn::new(FRAMES),
        online_end: Pfn::new(FRAMES),
    };
    let first_for = FirstFor::collect(|highest| highest >= ZoneType::Normal);
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), FRAMES as usize).expect("16 KiB");
    let zone = Zone::new(span, Order::new(10), rule, frames, first_for, Grouping::ByMobility).expect("small");
    zone.set_watermarks(marks, reserve);
    zone
}

/// The word as the zone's own watermark test gives it, bit by bit.
fn expected_state(zone: &Zone) -> ZoneState {
    ZoneState::of(FirstFor::collect(|highest| highest >= ZoneType::Normal), |highest, mark, flags| {
        zone.watermark_ok(Order::ZERO, highest, flags | AllocFlags::from_wmark(mark))
    })
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
                let special = [MigrateType::Cma, MigrateType::HighAtomic, MigrateType::Movable][kind];
                let at = Pfn::new(u32::from(order.min(7)) * 512);
                zone.with_areas(|areas| areas.buddy.set_migratetype(at, special));
                prop_assert_eq!(zone.state(), expected_state(&zone));
            }
            let (order, kind) = (Order::new(order), MigrateType::PCP[kind]);
            if take || held.is_empty() {
                let flags = AllocFlags::from_wmark(WmarkIndex::Low);
                held.extend(zone.rmqueue_buddy(order, kind, flags).map(|pfn| (pfn, order, kind)));
            } else {
                let (pfn, order, kind) = held.swap_remove(usize::from(order.get()) % held.len());
                let _ = zone.free_one(pfn, order, PcpList::of(order, kind));
            }
            if zone.watermarks().boost > 0 && held.len() % 7 == 0 {
                zone.end_boost(zone.watermarks().boost);
            }
            prop_assert_eq!(zone.state(), expected_state(&zone));
            prop_assert_eq!(zone.nr_free_pages(), zone.report().free);
        }
        zone.close();
        prop_assert_eq!(zone.state(), ZoneState::default());
    }
}
