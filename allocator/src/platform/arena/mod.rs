//! The arena: one range of addresses in which all frames lie.
//!
//! Building one touches no memory: a reservation is mapped without swap accounting (`MAP_NORESERVE`), and
//! a page is committed when it is first touched. An arena of 1 GiB or more begins on a 1 GiB boundary, so
//! that every page size of the hardware can back it.

mod backing;
mod binding;
mod options;
mod reservation;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

pub use self::backing::{BackingDowngrade, Obtained, Residency};
pub use self::binding::Binding;
pub use self::options::{ArenaOptions, ArenaSource, Backing, DumpPolicy, Prefault};
use self::options::{alignment_for, check_host_page, check_size};
use self::reservation::Reservation;
use super::error::{Asked, PlatformError};
use super::fault::SystemCall;
use super::{Errno, PAGE_SIZE, sys};
use crate::sync::atomic::{AtomicU8, Ordering};

/// One readable and writable mapping of whole frames, all zero at first unless the caller lent it.
///
/// The arena gives out addresses and never touches contents, except where a method says so: who may access
/// which byte when is the business of whoever hands out its frames.
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    memory: Memory,
    obtained: Obtained,
}

/// What may be done with memory of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing.
    ReadWrite,
    /// Nothing: whoever tries gets SIGSEGV.
    None,
}

/// Who owns the mapping of an arena.
#[derive(Debug)]
enum Memory {
    /// A private mapping, kept for its drop.
    Anonymous { _mapping: Reservation },
    /// A shared mapping of a file.
    Memfd { _mapping: Reservation, file: OwnedFd },
    /// The caller, who also unmaps it.
    Lent,
}

// SAFETY: an arena is a range of addresses; its methods only read its fields and make system calls that are
// safe on any thread.
unsafe impl Send for Arena {}
// SAFETY: as above; no method changes a field through a shared reference.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps an arena; the time does not depend on its size unless it is prefaulted.
    ///
    /// # Errors
    ///
    /// A size outside of the limits, a host whose pages are not 4 KiB, or a refused call. Nothing stays
    /// mapped. Huge pages, the name and the dump policy are wishes: see [`obtained`](Self::obtained).
    pub fn new(options: &ArenaOptions) -> Result<Self, PlatformError> {
        check_host_page()?;
        check_size(options.bytes)?;
        let len = options.bytes;
        let mapping = Reservation::aligned(len, alignment_for(len))?;
        let base = mapping.base();
        let mut named = match options.name {
            // SAFETY: the range is the reservation's.
            Some(name) => unsafe { sys::name_mapping(base, len, name) }.is_ok(),
            None => false,
        };
        let memory = match options.source {
            ArenaSource::Anonymous => {
                // SAFETY: the range is the reservation's.
                unsafe { sys::make_accessible(base, len) }
                    .map_err(|errno| PlatformError::call(SystemCall::Mprotect, Asked::Bytes(len), errno))?;
                Memory::Anonymous { _mapping: mapping }
            }
            ArenaSource::Memfd => {
                let file = memory_file(options)?;
                // SAFETY: the range is the reservation's, and nobody has its addresses yet.
                unsafe { sys::map_file(base, len, file.as_fd()) }
                    .map_err(|errno| PlatformError::call(SystemCall::Mmap, Asked::Bytes(len), errno))?;
                named = true;
                Memory::Memfd { _mapping: mapping, file }
            }
        };
        // SAFETY: the range is the mapping's.
        let backing_downgrade = unsafe { backing::request(base, len, options.source, options.backing) };
        let left_out_of_dumps = match options.dump {
            DumpPolicy::Include => false,
            // SAFETY: the range is the mapping's; the advice discards nothing.
            DumpPolicy::Exclude => unsafe { sys::advise(base, len, sys::Advice::LinuxDontDump) }.is_ok(),
        };
        let obtained = Obtained {
            backing_asked: options.backing,
            backing: if backing_downgrade.is_none() { options.backing } else { Backing::FourK },
            backing_downgrade,
            named,
            left_out_of_dumps,
            residency: Residency::NotAsked,
        };
        let arena = Self { base, len, memory, obtained };
        match options.prefault {
            Prefault::None => {}
            Prefault::All => arena.prefault_range(0, len)?,
        }
        Ok(arena)
    }

    /// Uses a mapping of the caller's as an arena, without changing or ever unmapping it.
    ///
    /// # Errors
    ///
    /// An address off the page boundary, a size outside of the limits, or a host whose pages are not 4 KiB.
    ///
    /// # Safety
    ///
    /// 1. `[base, base + len)` is mapped, readable and writable, until the arena is dropped.
    /// 2. Until then nobody accesses it but through what the arena's user hands out.
    /// 3. Where the range maps a file, the file is never shortened below it.
    pub unsafe fn from_raw(base: NonNull<u8>, len: usize) -> Result<Self, PlatformError> {
        check_host_page()?;
        check_size(len)?;
        let address = base.addr().get();
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(PlatformError::UnalignedMapping { address });
        }
        let obtained = Obtained {
            backing_asked: Backing::FourK,
            backing: Backing::FourK,
            backing_downgrade: Some(BackingDowngrade::LentMapping),
            named: false,
            left_out_of_dumps: false,
            residency: Residency::NotAsked,
        };
        Ok(Self { base, len, memory: Memory::Lent, obtained })
    }

    /// Returns the address of the first byte.
    #[inline]
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the length in bytes, a multiple of 4096 and never 0.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an arena is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of frames, 1 to 2³².
    #[inline]
    #[must_use]
    pub fn frames(&self) -> u64 {
        (self.len / PAGE_SIZE) as u64
    }

    /// Returns the address of the byte at an offset.
    ///
    /// # Panics
    ///
    /// Panics if the offset lies outside of the arena.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn ptr_at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "offset {offset:#x} lies outside of an arena of {:#x} bytes", self.len);
        // SAFETY: the offset lies inside of the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Returns what the system granted of what was asked.
    #[must_use]
    pub fn obtained(&self) -> &Obtained {
        &self.obtained
    }

    /// Records what came of locking the part that must stay resident.
    pub fn record_residency(&mut self, residency: Residency) {
        self.obtained.residency = residency;
    }

    /// Returns the file behind a [`ArenaSource::Memfd`] arena, to be passed to another process.
    ///
    /// The file cannot be shortened, so that no access to the arena raises SIGBUS for that reason.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.memory {
            Memory::Memfd { file, .. } => Some(file.as_fd()),
            Memory::Anonymous { .. } | Memory::Lent => None,
        }
    }

    /// Makes a range resident and writable without a later fault; its contents stay as they are.
    ///
    /// # Errors
    ///
    /// A range that is not one of whole frames in the arena, or a system that has too little memory.
    pub fn prefault_range(&self, offset: usize, len: usize) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        // SAFETY: the range is the mapping's; the advice keeps its contents.
        match unsafe { sys::advise(start, len, sys::Advice::LinuxPopulateWrite) } {
            Ok(()) => Ok(()),
            // Kernels before 5.14 do not know the advice.
            Err(Errno::INVAL) => {
                touch(start, len);
                Ok(())
            }
            Err(errno) => Err(PlatformError::call(SystemCall::Madvise, Asked::Range { offset, len }, errno)),
        }
    }

    /// Locks a range in memory, so that it is resident and never paged out; the arena's drop unlocks it.
    ///
    /// # Errors
    ///
    /// A range that is not one of whole frames in the arena, or a limit of the system, which the error names.
    pub fn lock_range(&self, offset: usize, len: usize) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        // SAFETY: the range is the mapping's.
        unsafe { sys::lock(start, len) }
            .map_err(|errno| PlatformError::call(SystemCall::Mlock, Asked::Range { offset, len }, errno))
    }

    /// Tells whether the mapping is the caller's of [`from_raw`](Self::from_raw).
    #[must_use]
    pub const fn is_lent(&self) -> bool {
        matches!(self.memory, Memory::Lent)
    }

    /// Changes what may be done with a range; its contents stay.
    ///
    /// Where neighbouring memory has another access, the system needs a mapping more, of which a process has 65530 unless told
    /// otherwise (`vm.max_map_count`).
    ///
    /// # Errors
    ///
    /// A range that is not one of whole frames in the arena, a mapping that the caller lent, or a limit of the system; the
    /// access to a part of the range may have changed then.
    ///
    /// # Safety
    ///
    /// While access is forbidden, nobody uses the range.
    pub unsafe fn set_access(&self, offset: usize, len: usize, access: Access) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        if self.is_lent() {
            return Err(PlatformError::ForeignMapping);
        }
        let changed = match access {
            // SAFETY: the range is the mapping's.
            Access::ReadWrite => unsafe { sys::make_accessible(start, len) },
            // SAFETY: the range is the mapping's, and by this function's contract nobody uses it.
            Access::None => unsafe { sys::make_inaccessible(start, len) },
        };
        changed
            .map_err(|errno| PlatformError::call(SystemCall::Mprotect, Asked::Range { offset, len }, errno))
    }

    /// Gives the memory of a range back to the system; it reads as zero afterwards.
    ///
    /// # Errors
    ///
    /// A range that is not one of whole frames in the arena, a range that is locked, or an arena in a
    /// mapping that the caller lent: what discarding does depends on its kind, which nobody knows here.
    ///
    /// # Safety
    ///
    /// Nobody accesses the range during the call, or relies on its contents afterwards.
    pub unsafe fn discard(&self, offset: usize, len: usize) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        let advice = match self.memory {
            Memory::Anonymous { .. } => sys::Advice::LinuxDontNeed,
            // Dropping the pages of a shared mapping would leave them in the file: only a hole frees them.
            Memory::Memfd { .. } => sys::Advice::LinuxRemove,
            Memory::Lent => return Err(PlatformError::ForeignMapping),
        };
        // SAFETY: the range is the mapping's, and by this function's contract nobody relies on its contents.
        unsafe { sys::advise(start, len, advice) }
            .map_err(|errno| PlatformError::call(SystemCall::Madvise, Asked::Range { offset, len }, errno))
    }

    /// Returns the address of a range of whole frames, or `None` if it is empty.
    fn range_start(&self, offset: usize, len: usize) -> Result<Option<NonNull<u8>>, PlatformError> {
        let whole = offset.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE);
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if !whole || !inside {
            return Err(PlatformError::Range { offset, len, arena_len: self.len });
        }
        Ok((len > 0).then(|| self.ptr_at(offset)))
    }
}

/// Creates the file of an arena: of its full length, which can never shrink.
fn memory_file(options: &ArenaOptions) -> Result<OwnedFd, PlatformError> {
    let len = options.bytes;
    let failed = |call, asked| move |errno| PlatformError::call(call, asked, errno);
    let file = sys::memfd_create(options.name.unwrap_or(ArenaOptions::DEFAULT_NAME))
        .map_err(failed(SystemCall::MemfdCreate, Asked::Nothing))?;
    sys::ftruncate(file.as_fd(), len as u64).map_err(failed(SystemCall::Ftruncate, Asked::Bytes(len)))?;
    sys::seal_against_shrinking(file.as_fd()).map_err(failed(SystemCall::AddSeals, Asked::Nothing))?;
    Ok(file)
}

/// Writes to every page of a range without changing it, even while others write there.
#[cold]
fn touch(start: NonNull<u8>, len: usize) {
    for offset in (0..len).step_by(PAGE_SIZE) {
        // SAFETY: the caller passes a range of the mapping, and the offset lies inside of it.
        let byte = unsafe { start.add(offset) };
        // SAFETY: the byte is mapped and writable; an atomic of one byte needs no alignment, and adding no
        // bits to it changes nothing that anyone could see.
        let byte = unsafe { AtomicU8::from_ptr(byte.as_ptr()) };
        // Opaque: an addition of nothing that is known to be nothing would be left out.
        byte.fetch_or(core::hint::black_box(0), Ordering::Relaxed);
    }
}
