//! The highatomic reserve: how much there is of it is asked without the zone's lock, and asked again with it.

use gfp::gfp::{AllocFlags, MigrateType};
use gfp::sync::{Arc, SeededBug, thread};
use gfp::zone::{Freed, Waiting, Zone};
use gfp::{Order, Pfn, frame::PcpList};
use loom_tests::Model;

use crate::zone::{frame_table, zone_with};

pub(crate) const MODELS: &[Model] = &[Model {
    name: "highatomic_reserve",
    property: "the reserve is never more than a hundredth of its zone; its last pageblock stays; no frame is lost",
    bound: "a zone of which a hundredth is two pageblocks: two threads that set one aside and give one up, beside one that is there",
    preemptions: Some(3),
    program: highatomic_reserve,
    bugs: &[
        (SeededBug::HighatomicCapAskedOnce, "more is set aside than may be"),
        (SeededBug::HighatomicLeastAskedOnce, "the last pageblock is gone"),
    ],
}];

const PAGEBLOCK: u64 = 512;
/// A hundredth of it, in whole pageblocks, is two of them.
const FRAMES: u32 = 51_300;

fn highatomic_reserve() {
    let zone = Arc::new(zone_with(frame_table(), FRAMES, Order::PAGEBLOCK));
    let half = Order::new(8);
    let take =
        || zone.rmqueue_buddy(half, MigrateType::Unmovable, AllocFlags::empty()).expect("much is free");
    let halves: [Pfn; 6] = core::array::from_fn(|_| take());
    let [first, second, third] = [0, 2, 4].map(|place| halves[place]);
    for other in [1, 3, 5].map(|place| halves[place]) {
        let freed = zone.free_one(other, half, PcpList::of(half, MigrateType::Unmovable));
        assert_eq!(freed, Freed::Open);
    }
    zone.reserve_highatomic_pageblock(first, half, Waiting::Allowed);
    assert_eq!(zone.reserved_highatomic(), PAGEBLOCK);
    let work = move |zone: &Zone, pfn: Pfn| {
        zone.reserve_highatomic_pageblock(pfn, half, Waiting::Allowed);
        assert!(
            zone.report().pageblocks[MigrateType::HighAtomic.index()] <= 2,
            "more is set aside than may be"
        );
        zone.unreserve_highatomic_pageblock(MigrateType::Unmovable, false);
    };
    let other = {
        let zone = Arc::clone(&zone);
        thread::spawn(move || work(&zone, second))
    };
    work(&zone, third);
    other.join().unwrap();
    let report = zone.report();
    let reserved = u64::from(report.pageblocks[MigrateType::HighAtomic.index()]) * PAGEBLOCK;
    assert!(reserved >= PAGEBLOCK, "the last pageblock is gone");
    assert_eq!(zone.reserved_highatomic(), reserved);
    assert_eq!(report.free + 3 * u64::from(half.frames()), u64::from(FRAMES), "a frame is lost");
}
