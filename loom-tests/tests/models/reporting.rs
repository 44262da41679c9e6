//! Free memory that goes to the system and back, against those who use it.

use gfp::gfp::{AllocFlags, MigrateType, ZoneType};
use gfp::sync::{Arc, Doorbell, SeededBug, UnsafeCell, thread};
use gfp::zone::watermark::WatermarkRule;
use gfp::zone::{Content, FREED, FirstFor, Freed, Grouping, ReportGoal, Reported, Zone, ZoneSpan};
use gfp::{
    Order, Pfn,
    frame::{AllocatorNumber, FrameTable, Nid, PcpList, ZoneNumber},
};
use loom_tests::Model;

/// Two have the memory of a block at once: one of them is the system.
const SHARED: &str = "Causality violation";
/// Memory was said to be zero, and was not.
const NOT_ZERO: &str = "a block that is known to be zero holds something";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "reporting_and_allocation_of_the_block",
        property: "memory that goes to the system is nobody's meanwhile, and what is said to be zero is",
        bound: "a zone of one pageblock that was written to: one thread that gives it back, one that takes it, writes to it and frees it",
        preemptions: None,
        program: || reporting_and_allocation(Reported::GivenBack),
        bugs: &[
            (SeededBug::ReportedInPlace, SHARED),
            (SeededBug::KnownZeroKept, NOT_ZERO),
            (SeededBug::SpinUnlockRelaxed, SHARED),
        ],
    },
    Model {
        name: "refused_reporting_and_allocation_of_the_block",
        property: "memory that the system refuses is not said to be zero, and is there again",
        bound: "as above, and the system refuses",
        preemptions: None,
        program: || reporting_and_allocation(Reported::Refused),
        bugs: &[(SeededBug::ReportedNotedEarly, NOT_ZERO), (SeededBug::KnownZeroKept, NOT_ZERO)],
    },
    Model {
        name: "bell_rung_once_under_a_lock",
        property: "what is left under a lock is found, although only one of those who leave something rings",
        bound: "two threads that leave something and ring unless somebody has, a listener that sleeps until it has found both",
        preemptions: Some(3),
        program: bell_rung_once_under_a_lock,
        bugs: &[(SeededBug::SleeperLooksEarly, "deadlock"), (SeededBug::RingerLooksEarly, "deadlock")],
    },
];

const ORDER: Order = Order::PAGEBLOCK;
const MOVABLE: MigrateType = MigrateType::Movable;

/// A zone of one pageblock, and what is in its memory, as far as a model goes: one number.
struct Memory {
    zone: Zone,
    content: UnsafeCell<u32>,
}

// SAFETY: what the zone hands out has one owner at a time; loom looks whether that is so.
unsafe impl Sync for Memory {}

impl Memory {
    fn new() -> Self {
        let kind = ZoneType::Normal;
        let (node, number, end) = (Nid::new(0), ZoneNumber::new(0), Pfn::new(512));
        let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
        // Nobody looks at a descriptor here.
        let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 1).expect("models have memory");
        let first_for = FirstFor::collect(|highest| highest >= kind);
        let rule = WatermarkRule::default();
        let zone = Zone::new(span, ORDER, rule, frames, first_for, Grouping::ByMobility);
        Self { zone: zone.expect("models have memory"), content: UnsafeCell::new(0) }
    }

    fn get(&self) -> u32 {
        // SAFETY: as above.
        self.content.with(|content| unsafe { *content })
    }

    fn set(&self, value: u32) {
        // SAFETY: as above.
        self.content.with_mut(|content| unsafe { *content = value });
    }

    /// Takes the block if it is there, looks at it, writes to it, and frees it.
    fn use_it(&self) -> bool {
        let Some((pfn, content)) = self.zone.rmqueue_pageblocks(ORDER, MOVABLE, AllocFlags::empty()) else {
            return false;
        };
        assert!(
            content == Content::Unknown || self.get() == 0,
            "a block that is known to be zero holds something"
        );
        self.set(self.get() + 1);
        assert_eq!(self.zone.free_one(pfn, ORDER, PcpList::of(ORDER, MOVABLE)), Freed::Open);
        true
    }

    /// Gives the block back to the system if it is there, which does what is said.
    fn report(&self, reported: Reported) {
        let all = Pfn::new(0)..Pfn::new(512);
        for range in self.zone.take_unreported(&all, ReportGoal::Everything).ranges() {
            match reported {
                Reported::GivenBack => self.set(0),
                // It may have looked at it.
                Reported::Refused => assert_ne!(self.get(), 0, "somebody wrote to it"),
            }
            assert_eq!(self.zone.put_reported(&range, reported), Freed::Open);
        }
    }
}

fn reporting_and_allocation(reported: Reported) {
    let memory = Arc::new(Memory::new());
    assert!(memory.use_it(), "all is free");
    let reporter = thread::spawn({
        let memory = Arc::clone(&memory);
        move || memory.report(reported)
    });
    memory.use_it();
    reporter.join().unwrap();
    assert!(memory.use_it(), "the block is back");
    assert_eq!(memory.zone.report().free, 512);
}

fn bell_rung_once_under_a_lock() {
    use gfp::sync::{LockRank, SpinLock};

    let shared = Arc::new((SpinLock::new(LockRank::Zone, 0), Doorbell::new()));
    let ringers = [(); 2].map(|()| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (there, bell) = &*shared;
            let mut there = there.lock();
            *there += 1;
            bell.ring_once(FREED);
        })
    });
    let (there, bell) = &*shared;
    let mut found = 0;
    while found < 2 {
        bell.sleep(None, |wishes| wishes == 0);
        bell.take();
        found = *there.lock();
    }
    for ringer in ringers {
        ringer.join().unwrap();
    }
}
