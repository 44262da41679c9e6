//! The memory of a slice: pages that the system zeroes when they are first touched.

use super::{Zeroable, ZeroedSliceError};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

const LINE: usize = 64;
const PAGE: usize = 4096;
/// From this size on a slice starts on a page of its own.
const LARGE: usize = 64 << 10;
/// The largest alignment for which the system's allocator takes zeroed memory from `calloc`. Above it, std
/// allocates and then writes zeroes, which would touch every page; so the alignment is made here, by hand.
const CALLOC_ALIGN: usize = 16;

/// An aligned slice inside an allocation.
pub(super) struct Memory<T> {
    /// The first element.
    start: NonNull<T>,
    len: usize,
    /// What was allocated; `None` when the slice has no bytes.
    allocation: Option<(NonNull<u8>, Layout)>,
}

// SAFETY: the memory is owned by this value alone.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: shared access gives only `&[T]`.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Zeroable> Memory<T> {
    pub(super) fn new(len: usize) -> Result<Self, ZeroedSliceError> {
        const { assert!(!std::mem::needs_drop::<T>(), "elements are never dropped") };
        let refused = |bytes| ZeroedSliceError { bytes };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(refused(usize::MAX))?;
        if bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), len, allocation: None });
        }
        let align = align_of::<T>().max(if bytes >= LARGE { PAGE } else { LINE });
        let padded = bytes.checked_add(align - CALLOC_ALIGN).ok_or(refused(bytes))?;
        let layout = Layout::from_size_align(padded, CALLOC_ALIGN).map_err(|_| refused(bytes))?;
        // SAFETY: the layout has a size above zero.
        let allocated = unsafe { alloc_zeroed(layout) };
        let allocated = NonNull::new(allocated).ok_or(refused(bytes))?;
        let gap = allocated.addr().get().next_multiple_of(align) - allocated.addr().get();
        // SAFETY: the gap is at most `align - CALLOC_ALIGN`, because the allocation is aligned to
        // CALLOC_ALIGN; so gap + bytes lie inside the allocation.
        let start = unsafe { allocated.add(gap) }.cast();
        Ok(Self { start, len, allocation: Some((allocated, layout)) })
    }

    #[inline(always)]
    pub(super) fn slice(&self) -> &[T] {
        // SAFETY: `len` elements from `start` are allocated, aligned, and valid from the beginning by
        // `Zeroable`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    #[inline(always)]
    pub(super) fn slice_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`, and `&mut self` makes the reference unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if let Some((allocated, layout)) = self.allocation {
            // SAFETY: it was allocated in `new` with this layout, and nobody else frees it.
            unsafe { dealloc(allocated.as_ptr(), layout) };
        }
    }
}
