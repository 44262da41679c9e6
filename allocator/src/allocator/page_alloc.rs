//! Blocks for collections that take an allocator.

use core::{
    alloc::Layout,
    borrow::Borrow,
    num::NonZeroUsize,
    ptr::{self, NonNull},
};

use allocator_api2::alloc::{AllocError, Allocator as AllocatorApi};

use super::{Allocator, core::Core, pages::Pages};
use crate::{
    frame::{BadFrame, Block, FRAME_BYTES, FrameState, Order, Pfn, put_together},
    gfp::Gfp,
};

/// An [`allocator_api2::alloc::Allocator`] that serves every layout with a block of its own, up to the allocator's largest order.
///
/// `A` is `&Allocator`, which makes this a [`Copy`] type, or an [`Allocator`] of its own, which keeps it open; anything else
/// that borrows one will do.
///
/// Meant for few and large things: buffers, tables, arenas of objects. **What it wastes**: sizes are rounded up to 4096 × 2^n
/// bytes, so that a box of 16 bytes takes 4 KiB, and a vector that is filled exactly to 5 MiB takes 8 MiB. What a block has
/// beyond the layout is returned with it, for collections that can use it. One that grows by doubling from a power of two wastes
/// nothing of this.
///
/// | call | what happens |
/// |---|---|
/// | allocate | the smallest block that is as large as size and alignment; none for a size of 0 |
/// | grow | in place as long as the block is large enough; else a larger block, to which the content is copied |
/// | shrink | a smaller block, if a lower order will do; in place if it will not, or if there is none to be had |
///
/// Alignments above the arena's own (1 GiB, or 2 MiB for arenas below that; 4 KiB for one in a mapping of the caller's) fail unless
/// the arena happens to begin at such an address. The trait's error says nothing; [`Allocator::alloc_pages`] with the same
/// mask and order says why.
///
/// Blocks are held as addresses, and checked on their way back as raw parts are: a wrong or second free does nothing but
/// call the builder's hook. Unlike with [`Pages`], each takes an atomic exchange for that.
///
/// ```
/// use allocator_api2::{boxed::Box, vec::Vec};
/// use gfp::{Allocator, Gfp, PageAlloc};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let pages = PageAlloc::new(&allocator, Gfp::KERNEL);
/// let mut squares = Vec::new_in(pages);
/// squares.extend((0..10_000_u64).map(|number| number * number));
/// let buffer = Box::new_in([0_u8; 8192], pages);
/// assert_eq!((squares[99], buffer.len()), (9801, 8192));
/// assert_eq!(allocator.conservation().allocated(), 32 + 2);
/// # Ok::<(), std::boxed::Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PageAlloc<A> {
    allocator: A,
    gfp: Gfp,
}

/// Returns the order of the smallest block for a layout; `None` if no allocator has such blocks.
fn order_of(layout: Layout) -> Option<Order> {
    let frames = layout.size().max(layout.align()).div_ceil(FRAME_BYTES);
    Order::try_new(frames.next_power_of_two().ilog2())
}

fn is_aligned(ptr: NonNull<u8>, layout: Layout) -> bool {
    ptr.addr().get().is_multiple_of(layout.align())
}

/// Returns the memory for a layout of no bytes.
fn nothing(layout: Layout) -> NonNull<[u8]> {
    let align = NonZeroUsize::new(layout.align()).unwrap_or(NonZeroUsize::MIN);
    NonNull::slice_from_raw_parts(NonNull::without_provenance(align), 0)
}

impl Core {
    /// Returns the order of the block that is held by its address.
    fn order_at(&self, ptr: NonNull<u8>) -> Option<Order> {
        let found = self.domain.frames().get(self.frame_at(ptr)?)?;
        (found.state() == Some(FrameState::Raw)).then(|| found.order())
    }

    /// Makes a block again of its address.
    fn block_at(&self, ptr: NonNull<u8>) -> Result<Block, BadFrame> {
        let frames = self.domain.frames();
        let pfn = self.frame_at(ptr).unwrap_or(Pfn::new(u32::MAX));
        match frames.get(pfn) {
            Some(found) => put_together(frames, pfn, found.order(), found.generation())
                .and_then(|block| self.return_from_record(block).map(|()| block)),
            None => Err(BadFrame { pfn, found: None }),
        }
    }
}

impl<A: Borrow<Allocator>> PageAlloc<A> {
    /// Serves layouts with blocks of `allocator`, asked for with `gfp`.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, PageAlloc};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let borrowed = PageAlloc::new(&allocator, Gfp::KERNEL);
    /// let owned = PageAlloc::new(allocator.clone(), Gfp::KERNEL | Gfp::RECLAIMABLE);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(allocator: A, gfp: Gfp) -> Self {
        Self { allocator, gfp }
    }

    /// Returns the allocator.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order, PageAlloc};
    /// let pages = PageAlloc::new(Allocator::builder(64 << 20).build()?, Gfp::KERNEL);
    /// assert_eq!(pages.allocator().max_order(), Order::new(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocator(&self) -> &Allocator {
        self.allocator.borrow()
    }

    fn core(&self) -> &Core {
        self.allocator().core()
    }

    fn take(&self, layout: Layout, gfp: Gfp) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        // A block is aligned to its size from the arena's start on.
        if !is_aligned(self.core().arena.base(), layout) {
            return Err(AllocError);
        }
        let order = order_of(layout).ok_or(AllocError)?;
        let pages = self.allocator().alloc_pages(gfp, order).map_err(|_| AllocError)?;
        let memory = NonNull::slice_from_raw_parts(pages.as_ptr(), pages.len());
        let _ = pages.into_raw_parts();
        Ok(memory)
    }

    /// Moves the content of a block to another one.
    ///
    /// # Safety
    /// `ptr` is a block of this allocator's for which `old` fits, and `memory` another one; both have `bytes` bytes.
    unsafe fn carry_over(&self, ptr: NonNull<u8>, old: Layout, memory: NonNull<[u8]>, bytes: usize) {
        // SAFETY: both have as many bytes, and as both are in use, they do not overlap.
        unsafe { ptr::copy_nonoverlapping(ptr.as_ptr(), memory.cast().as_ptr(), bytes) };
        // SAFETY: the caller promises that it is a block of this allocator's.
        unsafe { self.deallocate(ptr, old) };
    }

    /// Grows a block; what is added is cleared if the mask says so.
    ///
    /// # Safety
    /// As [`AllocatorApi::grow`].
    unsafe fn grow_into(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        gfp: Gfp,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let room = if old.size() == 0 { None } else { self.core().order_at(ptr).map(Order::bytes) };
        let Some(room) = room.filter(|room| new.size() <= *room && is_aligned(ptr, new)) else {
            let memory = self.take(new, gfp)?;
            // SAFETY: the caller promises that the old block is one, and at most as large as the new one.
            unsafe { self.carry_over(ptr, old, memory, old.size()) };
            return Ok(memory);
        };
        if gfp.contains(Gfp::ZERO) {
            // SAFETY: the block has `room` bytes, which are not less than the old ones.
            let end = unsafe { ptr.add(old.size()) };
            // SAFETY: as above.
            unsafe { end.write_bytes(0, room - old.size()) };
        }
        Ok(NonNull::slice_from_raw_parts(ptr, room))
    }
}

// SAFETY: a block is given to one holder at a time, and stays valid, whatever becomes of this value, its copies and the allocator,
// until it is given back: it keeps its mapping.
unsafe impl<A: Borrow<Allocator>> AllocatorApi for PageAlloc<A> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.take(layout, self.gfp)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.take(layout, self.gfp | Gfp::ZERO)
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let core = self.core();
        match core.block_at(ptr) {
            Ok(block) => Pages::new(block).free(None),
            Err(bad) => core.report_misuse(bad, order_of(layout).unwrap_or(Order::ZERO)),
        }
    }

    unsafe fn grow(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { self.grow_into(ptr, old, new, self.gfp) }
    }

    unsafe fn grow_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller promises the same.
        unsafe { self.grow_into(ptr, old, new, self.gfp | Gfp::ZERO) }
    }

    unsafe fn shrink(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if new.size() == 0 {
            // SAFETY: the caller promises that it is a block of this allocator's.
            unsafe { self.deallocate(ptr, old) };
            return Ok(nothing(new));
        }
        let order = self.core().order_at(ptr).filter(|_| is_aligned(ptr, new));
        let in_place = order.map(|order| NonNull::slice_from_raw_parts(ptr, order.bytes()));
        if let Some(memory) = in_place.filter(|_| order_of(new) >= order) {
            return Ok(memory);
        }
        match self.allocate(new) {
            Ok(memory) => {
                // SAFETY: the caller promises that the old block is one, and it is not smaller than what is asked for now.
                unsafe { self.carry_over(ptr, old, memory, new.size()) };
                Ok(memory)
            }
            Err(error) => in_place.ok_or(error),
        }
    }
}
