//! An aligned piece of address space that unmaps itself.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::sys;
use super::super::{Errno, PAGE_SIZE};

/// How often an address is chosen for a file before another thread's mappings in between are an error.
const ATTEMPTS: usize = 16;

/// An address range of this process that belongs to nobody else.
#[derive(Debug)]
pub(super) struct Reservation {
    base: NonNull<u8>,
    len: usize,
}

impl Reservation {
    /// Reserves `len` bytes at a multiple of `align`, both multiples of 4096; nothing can be accessed yet.
    ///
    /// mmap aligns to a page, so more is reserved and what sticks out is given back.
    pub(super) fn aligned(len: usize, align: usize) -> Result<Self, PlatformError> {
        let wide_len = len + align - PAGE_SIZE;
        let mmap_error = |errno| PlatformError::call(SystemCall::Mmap, Asked::Bytes(wide_len), errno);
        let mut range = Self { base: sys::reserve(wide_len).map_err(mmap_error)?, len: wide_len };
        let head = range.base.addr().get().next_multiple_of(align) - range.base.addr().get();
        range.give_back_head(head)?;
        range.give_back_tail(range.len - len)?;
        Ok(range)
    }

    /// Maps the first `len` bytes of a file, readable and writable, at a multiple of `align`.
    ///
    /// A file of hugetlb pages is not mapped over a reservation: where the pool refuses, the range would be left without any
    /// mapping, for another thread's to appear there.
    pub(super) fn of_file(
        file: BorrowedFd<'_>,
        len: usize,
        align: usize,
        flags: sys::MapFlags,
    ) -> Result<Self, PlatformError> {
        let mmap_error = |errno| PlatformError::call(SystemCall::Mmap, Asked::Bytes(len), errno);
        for _ in 0..ATTEMPTS {
            // Only its address is of use, which is free again at the end of the statement.
            let base = Self::aligned(len, align)?.base();
            match sys::map_file_at(base, len, flags, file) {
                Err(Errno::EXIST) => {}
                mapped => return mapped.map(|()| Self { base, len }).map_err(mmap_error),
            }
        }
        Err(mmap_error(Errno::EXIST))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn give_back_head(&mut self, bytes: usize) -> Result<(), PlatformError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is ours, longer than `bytes`, and cannot be in use, since it cannot be accessed.
        unsafe { sys::unmap(self.base, bytes) }.map_err(|errno| munmap_error(bytes, errno))?;
        // SAFETY: `bytes` is less than the length of the range.
        self.base = unsafe { self.base.add(bytes) };
        self.len -= bytes;
        Ok(())
    }

    fn give_back_tail(&mut self, bytes: usize) -> Result<(), PlatformError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: `bytes` is less than the length of the range.
        let tail = unsafe { self.base.add(self.len - bytes) };
        // SAFETY: the tail is ours, and cannot be in use, since it cannot be accessed.
        unsafe { sys::unmap(tail, bytes) }.map_err(|errno| munmap_error(bytes, errno))?;
        self.len -= bytes;
        Ok(())
    }
}

fn munmap_error(bytes: usize, errno: Errno) -> PlatformError {
    PlatformError::call(SystemCall::Munmap, Asked::Bytes(bytes), errno)
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours; its addresses are given out as raw pointers only, and who uses one
        // must keep the arena alive. An error cannot be reported from here.
        let _ = unsafe { sys::unmap(self.base, self.len) };
    }
}
