//! What each call that a build makes is answered with when it fails: a table for each way to build.

use core::ops::RangeInclusive;
use std::ptr::NonNull;

use gfp::{
    Allocator, Bound, Builder, DebugModes, Maintain, Spread,
    fault::SystemCall::{self, *},
    platform::{ArenaSource, Backing, Binding, Downgrade, DumpPolicy, Prefault, Topology, arena::Residency},
};

/// What comes of a call that fails.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Nothing is built: an error names this step.
    Fails(&'static str),
    /// It is built, and says what it lacks.
    Reports(fn(&Allocator) -> bool),
    /// It is built, and lacks nothing that was asked for.
    Works,
    /// Nothing is built, and an error names this step; or it is built and says what it lacks: the call is made on the way to
    /// huge pages, and again where there are none.
    Either(&'static str, fn(&Allocator) -> bool),
    /// Unmapping: what sticks out of an aligned range, which this step needs; or what a build that failed for another reason
    /// gives back, and then it stays.
    Unmaps(&'static str),
}
use Answer::{Either, Fails, Reports, Unmaps, Works};

/// A call, which of its kind, and what comes of it.
pub(crate) type Row = (SystemCall, RangeInclusive<u32>, Answer);

/// A way to build.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Whether some machines cannot build it: then their refusal goes for an answer.
    pub(crate) may_be_refused: bool,
    pub(crate) builder: fn(&Topology) -> Builder,
    pub(crate) rows: &'static [Row],
}

const ANY: RangeInclusive<u32> = 0..=u32::MAX;
const LATER: RangeInclusive<u32> = 1..=u32::MAX;

const ARENA: Answer = Fails("mapping the arena");
const TABLES: Answer = Fails("reserving the frame table");
const DMA: Answer = Fails("making the DMA zone resident");
const TRIMS: Answer = Unmaps("mapping the arena");

const NOT_NAMED: Answer = Reports(|built| !built.arena().obtained().named);
const NOT_LOCKED: Answer =
    Reports(|built| matches!(built.arena().obtained().residency, Residency::Refused(_)));
const IN_DUMPS: Answer = Reports(|built| !built.arena().obtained().left_out_of_dumps);
const NOT_BOUND: Answer = Reports(|built| matches!(built.nodes()[0].bound, Bound::Refused(_)));

/// Tells whether what was obtained is what was asked, or the reason is given.
fn pages_are_explained(built: &Allocator) -> bool {
    let obtained = built.arena().obtained();
    (obtained.backing != obtained.backing_asked) == obtained.backing_downgrade.is_some()
}

/// Large enough for the tables to be mappings; little of it is touched.
fn gibibyte(topology: &Topology) -> Builder {
    Allocator::builder(1 << 30).dma(1 << 20).topology(topology.clone()).maintain(Maintain::ByHand)
}

/// So small that no table is a mapping.
fn small(topology: &Topology) -> Builder {
    Allocator::builder(8 << 20).dma(0).topology(topology.clone()).maintain(Maintain::ByHand)
}

/// Every way to build whose calls differ.
pub(crate) const SHAPES: [Shape; 13] = [
    Shape {
        name: "plain",
        may_be_refused: false,
        builder: |topology| gibibyte(topology).maintain(Maintain::EverySecond),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Mmap, LATER, TABLES),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, 0..=0, Works),
            (Mlock, ANY, NOT_LOCKED),
            // Where it could not be locked, it is made resident at least.
            (Madvise, LATER, DMA),
            (ThreadSpawn, ANY, Fails("starting a background thread")),
        ],
    },
    Shape {
        name: "a file in memory",
        may_be_refused: false,
        builder: |topology| gibibyte(topology).source(ArenaSource::Memfd),
        rows: &[
            (Mmap, 0..=1, ARENA),
            (Mmap, LATER, TABLES),
            (Munmap, ANY, TRIMS),
            // The file has the name.
            (NameMapping, ANY, Works),
            (MemfdCreate, ANY, ARENA),
            (Ftruncate, ANY, ARENA),
            (AddSeals, ANY, ARENA),
            (Madvise, 0..=0, Works),
            (Mlock, ANY, NOT_LOCKED),
            (Madvise, LATER, DMA),
        ],
    },
    Shape {
        name: "resident, and not in core dumps",
        may_be_refused: false,
        builder: |topology| small(topology).prefault(Prefault::All).dump(DumpPolicy::Exclude),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, 0..=0, Works),
            (Madvise, 1..=1, IN_DUMPS),
            (Madvise, 2..=2, ARENA),
        ],
    },
    Shape {
        name: "transparent huge pages",
        may_be_refused: false,
        builder: |topology| small(topology).backing(Backing::Thp),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, ANY, Reports(|built| built.arena().obtained().backing_downgrade.is_some())),
            (ReadFile, ANY, Reports(pages_are_explained)),
        ],
    },
    Shape {
        name: "transparent huge pages or nothing",
        may_be_refused: true,
        builder: |topology| small(topology).backing(Backing::Thp).downgrade(Downgrade::Forbidden),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, ANY, ARENA),
            (ReadFile, ANY, Either("mapping the arena", pages_are_explained)),
        ],
    },
    Shape {
        name: "pages of 2 MiB, or others",
        may_be_refused: false,
        builder: |topology| small(topology).backing(Backing::Huge2M),
        rows: HUGE,
    },
    Shape {
        name: "a file of pages of 2 MiB, or others",
        may_be_refused: false,
        builder: |topology| small(topology).backing(Backing::Huge2M).source(ArenaSource::Memfd),
        rows: HUGE,
    },
    Shape {
        name: "pages of 2 MiB or nothing",
        may_be_refused: true,
        builder: |topology| small(topology).backing(Backing::Huge2M).downgrade(Downgrade::Forbidden),
        rows: HUGE,
    },
    Shape {
        name: "tied to all nodes, and verified",
        may_be_refused: true,
        builder: |topology| {
            let spread = small(topology).nodes(Spread::AllNodes).bind(Binding::Strict);
            spread.prefault(Prefault::All).verify_binding(true)
        },
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, 0..=0, Works),
            (Madvise, LATER, ARENA),
            (Mbind, ANY, ARENA),
            (MovePages, ANY, Fails("verifying where memory lies")),
        ],
    },
    Shape {
        name: "on all nodes if these like",
        may_be_refused: true,
        builder: |topology| small(topology).nodes(Spread::AllNodes).bind(Binding::Preferred),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            (Madvise, ANY, Works),
            (Mbind, 0..=0, NOT_BOUND),
            (Mbind, LATER, Works),
        ],
    },
    Shape {
        name: "the caller's mapping",
        may_be_refused: false,
        builder: |topology| {
            // SAFETY: nobody else uses the mapping.
            unsafe { gibibyte(topology).from_raw(lent()) }
        },
        rows: &[(Mmap, ANY, TABLES), (Munmap, ANY, TRIMS)],
    },
    Shape {
        name: "debug modes",
        may_be_refused: false,
        builder: |topology| gibibyte(topology).debug(DebugModes::all()),
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Mmap, 1..=2, TABLES),
            (Mmap, 3..=u32::MAX, Fails("reserving a table of a debug mode")),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, 0..=0, ARENA),
            (Mprotect, LATER, Fails("closing the arena's free memory")),
            (Madvise, 0..=0, Works),
            (Mlock, ANY, NOT_LOCKED),
            (Madvise, LATER, DMA),
        ],
    },
    Shape {
        name: "room to grow, areas, and four made-up nodes",
        may_be_refused: false,
        builder: |_| {
            let nodes = Topology::synthetic("numa:4 core:2 pu:1").expect("a machine");
            let spread = gibibyte(&nodes).nodes(Spread::AllNodes).bind(Binding::Strict);
            spread.maximum(8 << 30).cma("area", 64 << 20).movable(1 << 30)
        },
        rows: &[
            (Mmap, 0..=0, ARENA),
            (Mmap, LATER, TABLES),
            (Munmap, ANY, TRIMS),
            (NameMapping, ANY, NOT_NAMED),
            (Mprotect, ANY, ARENA),
            // There are no such nodes.
            (Mbind, ANY, ARENA),
            (Madvise, 0..=0, Works),
            (Mlock, ANY, NOT_LOCKED),
            (Madvise, LATER, DMA),
        ],
    },
];

/// Where a pool has pages, a call for them may fail, and where it has none, one for others.
const HUGE: &[Row] = &[
    (Mmap, ANY, Either("mapping the arena", pages_are_explained)),
    (Munmap, ANY, TRIMS),
    (NameMapping, ANY, Reports(|built| !built.arena().obtained().named || built.arena().file().is_some())),
    (Mprotect, ANY, ARENA),
    (MemfdCreate, ANY, Either("mapping the arena", pages_are_explained)),
    (Ftruncate, ANY, Either("mapping the arena", pages_are_explained)),
    (AddSeals, ANY, Either("mapping the arena", pages_are_explained)),
    (Madvise, ANY, Either("mapping the arena", pages_are_explained)),
    (ReadFile, ANY, Either("mapping the arena", pages_are_explained)),
];

/// Returns a mapping of 1 GiB that is never unmapped.
fn lent() -> NonNull<u8> {
    static MAPPED: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let address = *MAPPED.get_or_init(|| {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping at an address that the system chooses replaces nothing.
        let mapped = unsafe { libc::mmap(core::ptr::null_mut(), 1 << 30, protection, flags, -1, 0) };
        assert_ne!(mapped, libc::MAP_FAILED);
        mapped.expose_provenance()
    });
    NonNull::new(core::ptr::with_exposed_provenance_mut(address)).expect("it was mapped")
}
