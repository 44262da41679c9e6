//! The zone's state word: rewritten under the zone's lock, read without it.

use gfp::gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES, ZoneType};
use gfp::sync::{Arc, LockRank, SeededBug, SpinLock, seeded, thread};
use gfp::zone::watermark::{
    FreeCounts, FreeSnapshot, WatermarkRule, Watermarks, wmark_pages, zone_watermark_ok,
};
use gfp::zone::{FirstFor, Freed, Grouping, SharedZoneState, Zone, ZoneSpan, ZoneState};
use gfp::{
    Order, Pfn,
    frame::{AllocatorNumber, FrameTable, Nid, PcpList, ZoneNumber, free_pages_prepare, prep_new_page},
};
use loom_tests::Model;

/// The word was written over by one that answers for an earlier count, or is behind.
const STALE: &str = "the word answers for the last count";
/// The reader saw a word between two.
const TORN: &str = "a word that no holder published";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "watermark_state_word",
        property: "the state word is one that a holder of the lock published, and in the end answers for the last count",
        bound: "two threads that free, a reader that looks twice",
        preemptions: None,
        program: watermark_state_word,
        bugs: &[
            (SeededBug::StatePublishedUnlocked, STALE),
            (SeededBug::StatePublishedEarly, STALE),
            (SeededBug::StatePublishedInParts, TORN),
        ],
    },
    Model {
        name: "zone_state_word",
        property: "the same of a real zone",
        bound: "a zone of eight frames: two threads that free, a reader that looks twice",
        preemptions: None,
        program: zone_state_word,
        bugs: &[(SeededBug::StatePublishedInParts, TORN), (SeededBug::SpinLostCas, "Causality violation")],
    },
    Model {
        name: "zone_and_a_free_that_may_not_wait",
        property: "a free that may not wait is in the free areas when it returns, or when the next holder of the lock does",
        bound: "a zone of eight frames: two threads that free one without waiting, one that takes one",
        preemptions: Some(3),
        program: zone_and_a_free_that_may_not_wait,
        bugs: &[(SeededBug::PendingLostBit, "only pending blocks are in the pending map")],
    },
];

/// Counts of 4 and 5 lie between the marks: no holder leaves one behind.
const MARKS: Watermarks = Watermarks { min: 1, low: 3, high: 5, promo: 7, boost: 0 };
const FIRST_FREE: u64 = 2;

/// Only for order 0, for which the blocks are not looked at.
struct NoBlocks;

impl FreeCounts for NoBlocks {
    fn nr_free(&self, _order: u8) -> u64 {
        0
    }

    fn has_type(&self, _order: u8, _migratetype: MigrateType) -> bool {
        false
    }
}

fn first_for() -> FirstFor {
    FirstFor::collect(|kind| kind >= ZoneType::Normal)
}

/// The word of a zone with `free` frames, all of one type and without reserves.
fn state_of(free: u64) -> ZoneState {
    let zone = FreeSnapshot {
        free,
        free_cma: 0,
        free_highatomic: 0,
        reserved_highatomic: 0,
        lowmem_reserve: [0; NR_ZONE_TYPES],
        max_order: 3,
        counts: &NoBlocks,
    };
    ZoneState::of(first_for(), |highest, mark, flags| {
        zone_watermark_ok(WatermarkRule::default(), 0, wmark_pages(&MARKS, mark), highest, flags, &zone)
    })
}

/// Asserts that `seen` is the word of one of the counts that holders leave behind, and not older than `before`.
fn assert_published(seen: [ZoneState; 2]) {
    let (little, much) = (state_of(FIRST_FREE), state_of(FIRST_FREE + 4));
    assert!(seen.iter().all(|state| [little, much].contains(state)), "a word that no holder published");
    assert!(seen != [much, little], "frames were only freed, but the word went back");
}

/// A zone as far as the word goes.
struct Counted {
    free: SpinLock<u64>,
    state: SharedZoneState,
}

impl Counted {
    fn free(&self, frames: u64) {
        let mut free = self.free.lock();
        let before = *free;
        *free += frames;
        let after = *free;
        if seeded(SeededBug::StatePublishedUnlocked) {
            drop(free);
            self.state.publish(state_of(after));
            return;
        }
        self.state.publish(state_of(if seeded(SeededBug::StatePublishedEarly) { before } else { after }));
    }
}

fn watermark_state_word() {
    assert_ne!(state_of(FIRST_FREE), state_of(FIRST_FREE + 4), "the marks tell the counts apart");
    assert_eq!(state_of(FIRST_FREE), state_of(FIRST_FREE + 1), "one frame alone does not reach the mark");
    let zone =
        Arc::new(Counted { free: SpinLock::new(LockRank::Zone, FIRST_FREE), state: SharedZoneState::new() });
    zone.state.publish(state_of(FIRST_FREE));
    let others = [1, 4].map(|frames| {
        let zone = Arc::clone(&zone);
        thread::spawn(move || zone.free(frames))
    });
    assert_published([zone.state.get(), zone.state.get()]);
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(zone.state.get(), state_of(*zone.free.lock()), "the word answers for the last count");
}

/// Makes a zone of eight frames, all free, with marks of 0.
pub(crate) fn small_zone() -> Zone {
    zone_of(frame_table())
}

pub(crate) fn frame_table() -> FrameTable {
    FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 8).expect("models have memory")
}

fn zone_of(frames: FrameTable) -> Zone {
    zone_with(frames, 8, Order::new(3))
}

/// Makes a zone of so many frames, all free, with marks of 0; the table has descriptors for those that anybody looks at.
pub(crate) fn zone_with(table: FrameTable, frames: u32, max_order: Order) -> Zone {
    let span = ZoneSpan {
        kind: ZoneType::Normal,
        node: Nid::new(0),
        number: ZoneNumber::new(0),
        start: Pfn::new(0),
        end: Pfn::new(frames),
        online_end: Pfn::new(frames),
    };
    Zone::new(span, max_order, WatermarkRule::default(), table, first_for(), Grouping::ByMobility)
        .expect("models have memory")
}

/// The zone itself: eight frames, of which one thread frees four and another one.
fn zone_state_word() {
    let zone = small_zone();
    let take = |order| {
        zone.rmqueue_buddy(Order::new(order), MigrateType::Movable, AllocFlags::empty())
            .expect("eight frames are enough")
    };
    let blocks = [(take(0), 0), (take(2), 2)];
    take(0);
    zone.set_watermarks(MARKS, [0; NR_ZONE_TYPES]);
    assert_eq!((zone.nr_free_pages(), zone.state()), (FIRST_FREE, state_of(FIRST_FREE)));

    let zone = Arc::new(zone);
    let others = blocks.map(|(pfn, order)| {
        let zone = Arc::clone(&zone);
        thread::spawn(move || {
            let freed =
                zone.free_one(pfn, Order::new(order), PcpList::of(Order::new(order), MigrateType::Movable));
            assert_eq!(freed, Freed::Open);
        })
    });
    let cache = zone.shared_state();
    assert_published([cache.get(), cache.get()]);
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(zone.nr_free_pages(), FIRST_FREE + 5);
    assert_eq!(cache.get(), state_of(zone.nr_free_pages()), "the word answers for the last count");
}

fn zone_and_a_free_that_may_not_wait() {
    let frames = frame_table();
    let zone = Arc::new(zone_of(frames.clone()));
    let list = PcpList::of(Order::ZERO, MigrateType::Movable);
    let take = |zone: &Zone| zone.rmqueue_buddy(Order::ZERO, MigrateType::Movable, AllocFlags::empty());
    let others = [(); 2].map(|()| {
        let pfn = take(&zone).expect("eight frames are enough");
        let block = prep_new_page(&frames, pfn, list, ZoneNumber::new(0), Order::ZERO);
        let (zone, frames) = (Arc::clone(&zone), frames.clone());
        thread::spawn(move || {
            free_pages_prepare(&frames, block).expect("it has an owner");
            let freed = zone.free_without_waiting(block.pfn());
            assert!(matches!(freed, Freed::Open | Freed::Pending), "the zone is open");
        })
    });
    take(&zone).expect("six frames are free");
    for other in others {
        other.join().unwrap();
    }
    // Takes the lock once more, and frees what was left to it.
    assert_eq!(zone.report().free, 7, "a frame that was freed is gone");
}
