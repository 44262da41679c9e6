//! The end of a closed allocator: its last frame takes it away, after everybody is done with it.

use gfp::pcp::Ledger;
use gfp::sync::{Arc, Mutex, SeededBug, UnsafeCell, thread};
use loom_tests::Model;

/// The memory goes while somebody uses it.
const RACE: &str = "Causality violation";

pub(crate) const MODELS: &[Model] = &[Model {
    name: "close_and_last_frames",
    property: "a closed allocator goes once, after everybody has let go of its frames and the closer is done",
    bound: "a closer and two threads with a frame each",
    preemptions: None,
    program: close_and_last_frames,
    bugs: &[(SeededBug::LedgerRelaxed, RACE), (SeededBug::LedgerUnbiased, RACE)],
}];

/// What the last frame takes away: a place for each thread, and what the zone's lock protects.
struct Memory {
    places: [UnsafeCell<u32>; 3],
    zone: Mutex<Zone>,
    ledger: Ledger,
}

struct Zone {
    closed: bool,
    out: u64,
}

// SAFETY: each thread writes its own place, and whoever takes the memory away reads them; loom checks that.
unsafe impl Sync for Memory {}
// SAFETY: the places are plain data, and the rest may be sent.
unsafe impl Send for Memory {}

impl Memory {
    fn write(&self, thread: usize) {
        // SAFETY: nobody else uses this thread's place before the memory goes.
        self.places[thread].with_mut(|place| unsafe { *place = 1 });
    }

    /// Sums up the places, as whoever takes the memory away.
    fn sum(&self) -> u32 {
        // SAFETY: everybody else is done with its place.
        self.places.iter().map(|place| place.with(|place| unsafe { *place })).sum()
    }

    /// Uses a frame and frees it.
    fn free(&self, thread: usize) {
        self.write(thread);
        let closed = {
            let mut zone = self.zone.lock();
            zone.out -= 1;
            zone.closed
        };
        if closed {
            self.ledger.settle(1);
        }
    }
}

fn close_and_last_frames() {
    let memory = Arc::new(Memory {
        places: [0; 3].map(UnsafeCell::new),
        zone: Mutex::new(Zone { closed: false, out: 2 }),
        ledger: Ledger::default(),
    });
    let gone = Arc::new(Mutex::new(0));
    let others = [1, 2].map(|thread| {
        let memory = Arc::clone(&memory);
        thread::spawn(move || memory.free(thread))
    });
    let on_last = Box::new({
        let (memory, gone) = (Arc::clone(&memory), Arc::clone(&gone));
        move || {
            *gone.lock() += 1;
            assert_eq!(memory.sum(), 3, "everybody was done before the memory went");
        }
    });
    let count = || {
        let mut zone = memory.zone.lock();
        zone.closed = true;
        zone.out
    };
    memory.ledger.close(on_last, count, || memory.write(0));
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(*gone.lock(), 1, "the memory goes, and once");
}
