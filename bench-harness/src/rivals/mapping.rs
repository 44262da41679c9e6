//! The memory of the rivals that need some given to them.

use std::ptr::NonNull;

use anyhow::Context;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An anonymous mapping, untouched and without reserved swap, aligned to its alignment in bytes.
#[derive(Debug)]
pub(super) struct Mapping {
    mapped: NonNull<u8>,
    mapped_bytes: usize,
    base: usize,
    bytes: usize,
}

// SAFETY: the mapping is plain memory that belongs to this value.
unsafe impl Send for Mapping {}
// SAFETY: nothing is read or written through it here.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes`, rounded up to whole frames of 4096, at a multiple of 1 GiB.
    ///
    /// # Errors
    /// The system has no such range of addresses.
    pub(super) fn new(bytes: usize) -> anyhow::Result<Self> {
        const ALIGNMENT: usize = 1 << 30;
        let bytes = bytes.next_multiple_of(4096);
        let mapped_bytes = bytes + ALIGNMENT;
        let mapped = map(mapped_bytes).with_context(|| format!("cannot map an arena of {bytes} bytes"))?;
        let base = mapped.as_ptr().expose_provenance().next_multiple_of(ALIGNMENT);
        Ok(Self { mapped, mapped_bytes, base, bytes })
    }

    /// Returns the address of the first byte.
    pub(super) fn base(&self) -> usize {
        self.base
    }

    /// Returns the size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Maps memory, untouched and without reserved swap, at an address that the system chooses.
#[inline(always)]
pub(super) fn map(bytes: usize) -> rustix::io::Result<NonNull<u8>> {
    // SAFETY: a new mapping, at an address that the system chooses, replaces nothing.
    let mapped = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    }?;
    NonNull::new(mapped.cast()).ok_or(rustix::io::Errno::FAULT)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that was mapped, and the allocator over it goes with it.
        let unmapped = unsafe { munmap(self.mapped.as_ptr().cast(), self.mapped_bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}
