//! `buddy_system_allocator`'s heap: a spinlock around free lists that are linked through free memory.

use buddy_system_allocator::LockedHeap;

use super::global::GlobalThread;
use super::mapping::Mapping;
use crate::rival::Rival;

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "Free lists linked through free memory: each free writes to the first line of the block, and touches its frame. \
     One spinlock, no thread caches, no migrate types; a merge searches a list from its head.";

/// Free lists up to 2^39 bytes, enough for any arena here.
const ORDERS: usize = 40;

/// A `LockedHeap` over an arena of its own.
pub struct BuddyHeap {
    heap: LockedHeap<ORDERS>,
    arena: Mapping,
}

impl std::fmt::Debug for BuddyHeap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The heap's own form walks its free lists.
        f.debug_struct("BuddyHeap").field("arena", &self.arena).finish_non_exhaustive()
    }
}

impl BuddyHeap {
    /// Makes a heap over a new arena.
    ///
    /// # Errors
    /// The arena cannot be mapped.
    pub fn new(arena_bytes: usize) -> anyhow::Result<Self> {
        let arena = Mapping::new(arena_bytes)?;
        let heap = LockedHeap::new();
        // SAFETY: the range is mapped, used by nothing else, and lives as long as the heap.
        unsafe { heap.lock().init(arena.base(), arena.bytes()) };
        Ok(Self { heap, arena })
    }
}

impl Rival for BuddyHeap {
    type Thread<'a> = GlobalThread<'a, LockedHeap<ORDERS>>;

    fn name(&self) -> &'static str {
        "buddy-heap"
    }

    fn thread(&self) -> Self::Thread<'_> {
        GlobalThread(&self.heap)
    }

    fn base(&self) -> Option<usize> {
        Some(self.arena.base())
    }
}
