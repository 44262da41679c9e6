//! Linux's physical page allocator over an mmap'd arena in user space.

pub mod error;
pub mod gfp;
pub mod pcp;
pub mod stats;
pub mod zone;

/// Stands in for the facade until its branch is merged.
mod sync {
    pub(crate) use std::sync::atomic;
}
