//! Linux's physical page allocator over an mmap'd arena in user space.

pub mod error;
pub mod gfp;
pub mod pcp;
pub mod stats;
pub mod zone;

/// Stands in for the facade until its branch is merged.
mod sync {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic;
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::atomic;
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) use std::sync::atomic;
}
