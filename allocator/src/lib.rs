//! Linux's physical page allocator over an mmap'd arena in user space.
pub mod sync;
