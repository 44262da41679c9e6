//! Free memory on its way to the system and back, against a plain set of the pageblocks that are to go.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{table, zone_of};
use crate::{
    frame::{Order, Pfn},
    gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES},
    zone::{
        Freed, PAGEBLOCK_FRAMES, REPORTING_CAPACITY, ReportGoal, Reported, Zone,
        watermark::{WatermarkRule, Watermarks},
    },
};

/// How many pageblocks are looked at in a row.
const WINDOW: u32 = 1024;

fn at(pageblock: u32) -> Pfn {
    Pfn::new(pageblock * PAGEBLOCK_FRAMES)
}

/// Returns how many pageblocks may be out at a time.
fn most(zone: &Zone, goal: ReportGoal) -> usize {
    let free = zone.nr_free_pages();
    match goal {
        ReportGoal::AboveLow if free <= zone.watermarks().low + 32 * 512 => 0,
        ReportGoal::AboveLow => 32,
        ReportGoal::Everything => usize::try_from(free / 8 / 512).expect("few").clamp(1, 32),
    }
}

/// Returns which pageblocks are to be taken of those that may hold something, from `start` on, and where to go on.
fn expected(unreported: &BTreeSet<u32>, start: u32, end: u32, most: usize) -> (Vec<u32>, Option<Pfn>) {
    if most == 0 {
        return (Vec::new(), None);
    }
    let stop = (start + WINDOW).min(end);
    let mut inside = unreported.range(start.min(stop)..stop).copied();
    let taken = inside.by_ref().take(most).collect();
    (taken, inside.next().or((stop < end).then_some(stop)).map(at))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_free_and_may_hold_something_goes_to_the_system_once_and_comes_back(
        pageblocks in prop_oneof![1u32..300, 1000u32..2200],
        held in 0usize..100, above_low in 0u64..3,
        steps in prop::collection::vec((0u32..2200, any::<bool>(), prop::bool::weighted(0.8), 1usize..40), 1..6),
    ) {
        let frames = table(pageblocks * PAGEBLOCK_FRAMES);
        let zone = zone_of(frames, WatermarkRule::AnySuitable, Watermarks::default(), [0; NR_ZONE_TYPES]);
        let mut unreported: BTreeSet<u32> = (0..pageblocks).collect();
        for _ in 0..held {
            let taken = zone.rmqueue_buddy(Order::PAGEBLOCK, MigrateType::Movable, AllocFlags::empty());
            unreported.retain(|&pageblock| Some(at(pageblock)) != taken);
        }
        zone.forget_contents();
        // One frame below what lets memory go, as many, or one above.
        let free = zone.nr_free_pages();
        let low = (free + 1).saturating_sub(32 * 512 + above_low);
        zone.set_watermarks(Watermarks { low, ..Watermarks::default() }, [0; NR_ZONE_TYPES]);
        let (mut given_back, mut refused) = (0, 0);
        for (start, is_above_low, is_taken, turns) in steps {
            let goal = if is_above_low { ReportGoal::AboveLow } else { ReportGoal::Everything };
            let reported = if is_taken { Reported::GivenBack } else { Reported::Refused };
            let mut start = start.min(pageblocks);
            for _ in 0..turns {
                let most = most(&zone, goal);
                prop_assert!(most <= REPORTING_CAPACITY);
                let (expected, rest) = expected(&unreported, start, pageblocks, most);
                let taken = zone.take_unreported(&(at(start)..at(pageblocks)), goal);
                let ranges: Vec<_> = taken.ranges().collect();
                let numbers = |range: &core::ops::Range<Pfn>| range.start.get() / 512..range.end.get() / 512;
                prop_assert_eq!(ranges.iter().flat_map(numbers).collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(taken.rest(), rest);
                let mut out = u64::from(PAGEBLOCK_FRAMES) * expected.len() as u64;
                for range in &ranges {
                    prop_assert!(zone.is_reporting());
                    prop_assert_eq!((zone.nr_free_pages(), zone.report().isolated), (free - out, out));
                    prop_assert_eq!(zone.put_reported(range, reported), Freed::Open);
                    let back = u64::from(range.end.get() - range.start.get());
                    out -= back;
                    *(if is_taken { &mut given_back } else { &mut refused }) += back;
                }
                prop_assert!(!zone.is_reporting());
                if is_taken {
                    expected.iter().for_each(|pageblock| _ = unreported.remove(pageblock));
                }
                let events = zone.report().events;
                prop_assert_eq!((events.reported_frames, events.refused_frames), (given_back, refused));
                let Some(rest) = rest else { break };
                start = rest.get() / PAGEBLOCK_FRAMES;
            }
            prop_assert_eq!(zone.count_unreported(&(at(0)..at(pageblocks))), unreported.len() as u64);
            let behind = unreported.range(start.min(pageblocks)..).count() as u64;
            prop_assert_eq!(zone.count_unreported(&(at(start)..at(pageblocks))), behind);
        }
    }
}
