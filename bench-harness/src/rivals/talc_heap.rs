//! talc: a spinlock around a heap of boundary tags and bins.

use anyhow::Context;
use spinning_top::RawSpinlock;
use talc::{TalcLock, source::Manual};

use super::global::GlobalThread;
use super::mapping::Mapping;
use crate::rival::Rival;

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "A word behind every block, so that a block of one frame, aligned to a frame, takes two of its arena; lists of free \
     blocks are linked through free memory, whose frames they touch. One spinlock, no thread caches.";

/// The locked heap, with the lock of talc's own documentation.
type Lock = TalcLock<RawSpinlock, Manual>;

/// A locked talc over an arena of its own.
pub struct TalcHeap {
    heap: Lock,
    arena: Mapping,
}

impl std::fmt::Debug for TalcHeap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TalcHeap").field("arena", &self.arena).finish_non_exhaustive()
    }
}

impl TalcHeap {
    /// Makes a heap over a new arena.
    ///
    /// # Errors
    /// The arena cannot be mapped, or is too small for talc's own lists.
    pub fn new(arena_bytes: usize) -> anyhow::Result<Self> {
        let arena = Mapping::new(arena_bytes)?;
        let heap = Lock::new(Manual);
        let base = std::ptr::with_exposed_provenance_mut(arena.base());
        // SAFETY: the range is mapped, used by nothing else, and lives as long as the heap; `Manual` leaves heaps to its user.
        unsafe { heap.lock().claim(base, arena.bytes()) }
            .with_context(|| format!("an arena of {arena_bytes} bytes is too small for talc"))?;
        Ok(Self { heap, arena })
    }
}

impl Rival for TalcHeap {
    type Thread<'a> = GlobalThread<'a, Lock>;

    fn name(&self) -> &'static str {
        "talc"
    }

    fn thread(&self) -> Self::Thread<'_> {
        GlobalThread(&self.heap)
    }

    fn base(&self) -> Option<usize> {
        Some(self.arena.base())
    }
}
