//! Linux's physical page allocator over an mmap'd arena in user space.

#[cfg(not(any(loom, shuttle)))]
pub mod platform;
