//! What tells the allocators of a process apart.

use crate::sync::atomic::{AtomicU64, Ordering};

/// The number of an allocator in its process; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct AllocatorId(u64);

impl AllocatorId {
    /// Returns the next number.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
