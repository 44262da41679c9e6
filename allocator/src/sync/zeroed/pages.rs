//! The memory of a slice: from 64 KiB on a mapping of its own, which the system zeroes page by page when it is touched.
//!
//! Not `alloc_zeroed` for all: after a large block was freed, malloc serves the next one from recycled heap, and clears it.

use super::{Zeroable, ZeroedSliceError};
use crate::fault::{Errno, SystemCall, check};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

const LINE: usize = 64;
/// From this size on a slice is a mapping.
const LARGE: usize = 64 << 10;

/// A slice and where its memory comes from.
pub(super) struct Memory<T> {
    start: NonNull<T>,
    len: usize,
    origin: Origin,
}

#[derive(Clone, Copy)]
enum Origin {
    /// There are no bytes.
    Nowhere,
    Heap(Layout),
    /// A mapping of so many bytes.
    Mapping(usize),
}

// SAFETY: the memory is owned by this value alone.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: shared access gives only `&[T]`.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Zeroable> Memory<T> {
    pub(super) fn new(len: usize) -> Result<Self, ZeroedSliceError> {
        const { assert!(!std::mem::needs_drop::<T>(), "elements are never dropped") };
        const { assert!(align_of::<T>() <= LINE, "no element is aligned to more than a line") };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(refusal(usize::MAX))?;
        let (start, origin) = match bytes {
            0 => (NonNull::<T>::dangling().cast(), Origin::Nowhere),
            1..LARGE => from_heap(bytes)?,
            _ => (map(bytes)?, Origin::Mapping(bytes)),
        };
        Ok(Self { start: start.cast(), len, origin })
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

/// Returns the error of a size that no memory is there for.
const fn refusal(bytes: usize) -> ZeroedSliceError {
    ZeroedSliceError { bytes, errno: Errno::NOMEM }
}

fn from_heap(bytes: usize) -> Result<(NonNull<u8>, Origin), ZeroedSliceError> {
    let layout = Layout::from_size_align(bytes, LINE).map_err(|_| refusal(bytes))?;
    // SAFETY: the layout has a size above zero.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(refusal(bytes))?;
    Ok((start, Origin::Heap(layout)))
}

fn map(bytes: usize) -> Result<NonNull<u8>, ZeroedSliceError> {
    let refused = |errno| ZeroedSliceError { bytes, errno };
    check(SystemCall::Mmap).map_err(refused)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address that the system chooses replaces nothing.
    let start =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags) };
    NonNull::new(start.map_err(refused)?.cast()).ok_or(refused(Errno::FAULT))
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        match self.origin {
            Origin::Nowhere => {}
            // SAFETY: it was allocated in `from_heap` with this layout, and nobody else frees it.
            Origin::Heap(layout) => unsafe { dealloc(self.start.as_ptr().cast(), layout) },
            Origin::Mapping(bytes) => {
                if check(SystemCall::Munmap).is_ok() {
                    // The system may have joined it with its neighbours, and then lacks a mapping to part them
                    // (`vm.max_map_count`): nobody could be told from here.
                    // SAFETY: it was mapped in `map` with this size, and nobody else uses it.
                    let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
                }
            }
        }
    }
}
