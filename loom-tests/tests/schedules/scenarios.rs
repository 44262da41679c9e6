//! What the threads do.
//!
//! Not planted here are bugs that need weak memory, and those that another rule of the whole allocator covers: caches are claimed
//! under the registry's lock, so that no two who claim or end one meet (in `owned.rs` they do); a core lives as long as who closes it; and a zone's
//! state word that is wrong for a moment breaks no rule that could be checked from outside. They are in `tests/models/`.

use gfp::{DebugModes, sync::SeededBug};
use loom_tests::Model;

use crate::call::Call;
use crate::machine::{End, Room, Scenario, run};
use crate::worker::AREA;

/// Two use the same cache or zone.
pub(crate) const BOTH: &str = "two have the cell at once";
/// Somebody waits for ever, and others for it.
pub(crate) const STUCK: &str = "exceeded max_steps|deadlock!";
/// Frames are counted twice, or not at all.
const COUNT: &str = " = |attempt to add with overflow";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "everything",
        property: "no frame has two owners, counts add up, and in the end the free areas are as in the beginning",
        bound: "8 threads of 6 calls each of all kinds, two nodes of two pageblocks, too little for all",
        schedules: 3_000,
        program: || run(&EVERYTHING),
        bugs: &[(SeededBug::SpinLostCas, BOTH), (SeededBug::FoldOutsideLock, COUNT)],
    },
    Model {
        name: "debug_modes",
        property: "the same, and no debug mode finds anything",
        bound: "as above with page owner, poison and checked frees; 4 calls each",
        schedules: 500,
        program: || run(&DEBUG_MODES),
        bugs: &[],
    },
    Model {
        name: "owners_and_drainers",
        property: "frames that caches hold are neither lost nor had by two while others drain",
        bound: "8 threads of 6 requests, frees and drains each",
        schedules: 1_500,
        program: || run(&OWNERS_AND_DRAINERS),
        bugs: &[
            (SeededBug::OwnerSkipsClaimedCheck, BOTH),
            (SeededBug::TimeoutEntersAnyway, BOTH),
            (SeededBug::TimeoutKeepsClaim, STUCK),
            (SeededBug::SpinLostWake, STUCK),
        ],
    },
    Model {
        name: "close",
        property: "blocks outlive their allocator, which goes with the last of them",
        bound: "8 threads that ask, free and end while the allocator is dropped",
        schedules: 1_500,
        program: || run(&CLOSE),
        bugs: &[
            (SeededBug::KeepForgotten, STUCK),
            (SeededBug::RegisterSkipsClosed, "the allocator went with its last block"),
        ],
    },
    Model {
        name: "ranges",
        property: "what is isolated or offline is nobody's, and comes back whole",
        bound: "8 threads that isolate, take offline and bring back while others ask and free",
        schedules: 1_500,
        program: || run(&RANGES),
        bugs: &[],
    },
    Model {
        name: "shared_blocks",
        property: "a shared block goes once, after its last holder",
        bound: "8 threads that share, get and put, and pass blocks on",
        schedules: 1_000,
        program: || run(&SHARED_BLOCKS),
        bugs: &[(SeededBug::RefPutLostUpdate, COUNT), (SeededBug::PutUnsharesEarly, "misuse: ")],
    },
    Model {
        name: "raw_parts",
        property: "numbers make a block once, whoever tries",
        bound: "8 threads that take blocks apart and put them together",
        schedules: 500,
        program: || run(&RAW_PARTS),
        bugs: &[(SeededBug::ExchangeLostCas, "a block is freed once|misuse: ")],
    },
    Model {
        name: "without_waiting",
        property: "frees that may not wait are all delivered",
        bound: "8 threads that ask and free with and without waiting",
        schedules: 2_000,
        program: || run(&WITHOUT_WAITING),
        bugs: &[(SeededBug::PendingLostBit, COUNT), (SeededBug::PendingClearedLate, COUNT)],
    },
    Model {
        name: "exhaustion",
        property: "the same where there is never enough: requests fail for want of memory, and for no other reason",
        bound: "8 threads that take all there is, and give back",
        schedules: 500,
        program: || run(&EXHAUSTION),
        bugs: &[],
    },
];

/// All calls there are.
static EVERYTHING: Scenario = Scenario {
    nodes: &[2, 2],
    options: |builder| builder.cma(AREA, 2 << 20),
    mix: &[
        (10, Call::Alloc),
        (5, Call::AllocFrame),
        (5, Call::AllocFrom),
        (3, Call::AllocBulk),
        (3, Call::AllocExact),
        (3, Call::AllocNolock),
        (3, Call::AllocContig),
        (5, Call::AllocFragment),
        (15, Call::Free),
        (3, Call::FreeNolock),
        (3, Call::FreeBulk),
        (3, Call::Parts),
        (1, Call::Exhaust),
        (5, Call::Share),
        (5, Call::Leave),
        (5, Call::Fetch),
        (2, Call::LeaveToEnd),
        (5, Call::Drain),
        (2, Call::Isolate),
        (2, Call::Offline),
        (2, Call::Trim),
        (2, Call::Nodes),
        (2, Call::Scope),
        (4, Call::Report),
    ],
    calls: 6,
    end: End::Last,
    room: Room::Scarce,
};

/// As above, with blocks looked at when they go to their owners and when they come back.
static DEBUG_MODES: Scenario = Scenario {
    options: |builder| {
        let modes = DebugModes::PAGE_OWNER | DebugModes::PAGE_POISON | DebugModes::CHECK_PAGES;
        builder.cma(AREA, 2 << 20).debug(modes)
    },
    calls: 4,
    ..EVERYTHING
};

/// Frames come from caches and go there while others drain and count, and threads end.
static OWNERS_AND_DRAINERS: Scenario = Scenario {
    nodes: &[2],
    options: |builder| builder,
    mix: &[
        (10, Call::AllocFrame),
        (10, Call::Free),
        (2, Call::AllocBulk),
        (8, Call::Drain),
        (2, Call::Report),
    ],
    calls: 6,
    end: End::Last,
    room: Room::Ample,
};

/// The allocator is dropped while threads have its blocks, free them, and end.
static CLOSE: Scenario = Scenario {
    nodes: &[2],
    options: |builder| builder,
    mix: &[
        (10, Call::Alloc),
        (3, Call::AllocFragment),
        (2, Call::AllocContig),
        (5, Call::Free),
        (3, Call::FreeNolock),
        (3, Call::Share),
        (5, Call::Leave),
        (5, Call::Fetch),
        (3, Call::LeaveToEnd),
        (3, Call::Drain),
        (6, Call::LetGo),
    ],
    calls: 6,
    end: End::Early,
    room: Room::Scarce,
};

/// Pageblocks come and go while others allocate and free in them.
static RANGES: Scenario = Scenario {
    nodes: &[2, 2],
    options: |builder| builder.cma(AREA, 2 << 20),
    mix: &[
        (10, Call::Alloc),
        (5, Call::AllocFrame),
        (4, Call::AllocContig),
        (15, Call::Free),
        (3, Call::Leave),
        (3, Call::Fetch),
        (5, Call::Isolate),
        (5, Call::Offline),
        (4, Call::Trim),
        (2, Call::Report),
    ],
    calls: 5,
    end: End::Last,
    room: Room::Scarce,
};

/// Blocks have many holders, and pages many pieces.
static SHARED_BLOCKS: Scenario = Scenario {
    nodes: &[2],
    options: |builder| builder,
    mix: &[
        (5, Call::AllocFrame),
        (5, Call::AllocFragment),
        (15, Call::Share),
        (5, Call::Free),
        (5, Call::Leave),
        (10, Call::Fetch),
    ],
    calls: 10,
    end: End::Last,
    room: Room::Ample,
};

/// Several free the same block.
static RAW_PARTS: Scenario = Scenario {
    nodes: &[1],
    options: |builder| builder,
    mix: &[(5, Call::AllocFrame), (10, Call::Parts)],
    calls: 6,
    end: End::Last,
    room: Room::Ample,
};

/// Requests and frees do not wait for the zone's lock, and leave work to who holds it.
static WITHOUT_WAITING: Scenario = Scenario {
    nodes: &[1],
    options: |builder| builder,
    mix: &[
        (5, Call::Alloc),
        (5, Call::AllocNolock),
        (10, Call::FreeNolock),
        (2, Call::Drain),
        (1, Call::Isolate),
    ],
    calls: 6,
    end: End::Last,
    room: Room::Scarce,
};

/// There is never enough.
static EXHAUSTION: Scenario = Scenario {
    nodes: &[1],
    options: |builder| builder,
    mix: &[
        (5, Call::Exhaust),
        (5, Call::Alloc),
        (3, Call::AllocBulk),
        (10, Call::Free),
        (1, Call::Drain),
        (1, Call::Report),
    ],
    calls: 5,
    end: End::Last,
    room: Room::Scarce,
};
