//! The system itself: a mapping for each block.

use std::ptr::NonNull;

use rustix::mm::munmap;

use super::mapping;
use crate::rival::{Request, Rival, RivalThread};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "No allocator: mmap for each block and munmap when it is freed. Blocks are always zero, and each frame costs a page \
     fault at its first touch; a process may have vm.max_map_count mappings, and is stopped where blocks lie more scattered.";

/// The system's mappings.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemCalls;

impl Rival for SystemCalls {
    type Thread<'a> = SystemCallsThread;

    fn name(&self) -> &'static str {
        "mmap"
    }

    fn thread(&self) -> SystemCallsThread {
        SystemCallsThread
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

/// One thread's way in: the system finds out by itself who calls.
#[derive(Clone, Copy, Debug)]
pub struct SystemCallsThread;

/// An owned mapping, named by its first byte.
#[derive(Debug)]
pub struct MappedBlock(NonNull<u8>);

// SAFETY: it owns the mapping, which any thread of the process may use and unmap.
unsafe impl Send for MappedBlock {}

impl RivalThread for SystemCallsThread {
    type Block = MappedBlock;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<MappedBlock> {
        // Zeroed or not: the system clears all that it hands out.
        mapping::map(4096 << request.order).ok().map(MappedBlock)
    }

    #[inline(always)]
    fn free(&mut self, block: MappedBlock, order: u32) {
        // SAFETY: the block is owned, and this is the range that was mapped for it.
        let unmapped = unsafe { munmap(block.0.as_ptr().cast(), 4096 << order) };
        // Nothing else can fail here: a hole makes two mappings of one.
        unmapped.expect("munmap: vm.max_map_count is too small for so many scattered blocks");
    }

    #[inline(always)]
    fn address(&self, block: &MappedBlock) -> *mut u8 {
        block.0.as_ptr()
    }
}
