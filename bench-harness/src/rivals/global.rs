//! Allocators of the `GlobalAlloc` kind, called directly and never installed as the global allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use crate::rival::{Request, Rival, RivalThread, Zeroing};

/// What mimalloc does that others do not, or the reverse; see [`bias`](super::bias).
#[cfg(feature = "rivals")]
pub(super) const MIMALLOC_BIAS: &str = "Links free blocks through their own first words, and so touches a frame when it is freed; no headers. Keeps thread caches \
     of all sizes up to some MiB, gives memory back after a while, and aligns to 4096 only, as it is asked to.";

/// The same for jemalloc.
#[cfg(feature = "rivals")]
pub(super) const JEMALLOC_BIAS: &str = "Keeps the addresses of free blocks beside them: it touches none, and puts no headers before them. Its thread caches hold \
     sizes up to 32 KiB (order 3), and unused memory goes back to the system after 10 s.";

/// The same for snmalloc.
#[cfg(feature = "rivals")]
pub(super) const SNMALLOC_BIAS: &str = "Links free blocks through their own first words, and so touches a frame when it is freed; no headers. Blocks that another \
     thread frees go back to their owner in batches.";

/// The same for the C library's malloc.
pub(super) const GLIBC_BIAS: &str = "A header before every block, in the frame before it where a block is aligned to frames: a block of one frame takes two. \
     Blocks from 128 KiB on are mappings of their own until the first such is freed, which raises that threshold.";

/// A general-purpose allocator, asked for size 4096 << order at alignment 4096.
#[derive(Debug)]
pub struct Global<A> {
    name: &'static str,
    allocator: A,
}

impl<A> Global<A> {
    /// Gives the allocator its name in the reports.
    #[must_use]
    pub fn new(name: &'static str, allocator: A) -> Self {
        Self { name, allocator }
    }
}

impl<A: GlobalAlloc + Sync> Rival for Global<A> {
    type Thread<'a>
        = GlobalThread<'a, A>
    where
        A: 'a;

    fn name(&self) -> &'static str {
        self.name
    }

    fn thread(&self) -> GlobalThread<'_, A> {
        GlobalThread(&self.allocator)
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

/// One thread's way in: such allocators keep their thread caches to themselves.
#[derive(Debug)]
pub struct GlobalThread<'a, A>(pub(super) &'a A);

/// An owned block of a general-purpose allocator.
#[derive(Debug)]
pub struct OwnedBlock(NonNull<u8>);

// SAFETY: it owns the block, and `GlobalAlloc` lets any thread free what any thread allocated.
unsafe impl Send for OwnedBlock {}

/// Returns the layout that stands for an order.
#[inline(always)]
fn layout(order: u32) -> Layout {
    // SAFETY: 4096 is a power of two, and the sizes asked for are far below isize::MAX.
    unsafe { Layout::from_size_align_unchecked(4096 << order, 4096) }
}

impl<A: GlobalAlloc> RivalThread for GlobalThread<'_, A> {
    type Block = OwnedBlock;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<OwnedBlock> {
        let layout = layout(request.order);
        let address = match request.zeroed {
            // SAFETY: the layout's size is not zero.
            Zeroing::Untouched => unsafe { self.0.alloc(layout) },
            // SAFETY: the layout's size is not zero.
            Zeroing::Zeroed => unsafe { self.0.alloc_zeroed(layout) },
        };
        NonNull::new(address).map(OwnedBlock)
    }

    #[inline(always)]
    fn free(&mut self, block: OwnedBlock, order: u32) {
        // SAFETY: the block is owned, came from this allocator, and has the order that it is freed with.
        unsafe { self.0.dealloc(block.0.as_ptr(), layout(order)) }
    }

    #[inline(always)]
    fn address(&self, block: &OwnedBlock) -> *mut u8 {
        block.0.as_ptr()
    }
}
