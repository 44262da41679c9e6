//! The process's own allocator as a rival.

use std::{
    alloc::{self, Layout},
    ptr::NonNull,
};

use crate::rival::{Request, Rival, RivalThread, Zeroing};

/// The process's own allocator, asked for blocks of 4096 << order bytes at alignment 4096 << order.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// A block of [`System`].
#[derive(Debug)]
pub struct SystemBlock {
    address: NonNull<u8>,
}

// SAFETY: the block is owned, and the process's allocator takes frees from any thread.
unsafe impl Send for SystemBlock {}

impl Rival for System {
    type Thread<'a> = Self;

    fn name(&self) -> &'static str {
        "system"
    }

    fn thread(&self) -> Self {
        Self
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

impl RivalThread for System {
    type Block = SystemBlock;

    #[inline]
    fn alloc(&mut self, request: Request) -> Option<SystemBlock> {
        let layout = layout(request.order)?;
        let address = match request.zeroed {
            // SAFETY: the size is not 0.
            Zeroing::Untouched => unsafe { alloc::alloc(layout) },
            // SAFETY: the size is not 0.
            Zeroing::Zeroed => unsafe { alloc::alloc_zeroed(layout) },
        };
        NonNull::new(address).map(|address| SystemBlock { address })
    }

    #[inline]
    fn free(&mut self, block: SystemBlock, order: u32) {
        if let Some(layout) = layout(order) {
            // SAFETY: `alloc` took the block from the same allocator, with the layout of this order.
            unsafe { alloc::dealloc(block.address.as_ptr(), layout) };
        }
    }

    #[inline]
    fn address(&self, block: &SystemBlock) -> *mut u8 {
        block.address.as_ptr()
    }
}

/// Returns the layout of a block, or `None` when the address space has no room for it.
#[inline]
fn layout(order: u32) -> Option<Layout> {
    let size = 4096_usize.checked_shl(order)?;
    Layout::from_size_align(size, size).ok()
}
