//! Linux's physical page allocator over an mmap'd arena in user space.

pub mod alloc;
pub mod error;
pub mod frame;
pub mod gfp;
pub mod node;
pub mod pcp;
#[cfg(not(any(loom, shuttle)))]
pub mod platform;
pub mod stats;
pub mod sync;
pub mod zone;
