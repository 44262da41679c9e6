//! The arena: one range of addresses in which all frames lie.
//!
//! Building one touches no memory: a reservation is mapped without swap accounting (`MAP_NORESERVE`), and
//! a page is committed when it is first touched. Only hugetlb pages are all taken at once. An arena of 1 GiB or more begins on
//! a 1 GiB boundary, so that every page size of the hardware can back it.

mod backing;
mod binding;
mod build;
mod file;
mod hugetlb;
mod options;
mod placement;
mod reservation;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

pub use self::backing::{Obtained, Residency};
pub use self::binding::{Binding, NodeSpan, Tied};
pub use self::options::{ArenaOptions, Downgrade, DumpPolicy, Prefault};
pub use self::placement::Placement;
use self::reservation::Reservation;
use super::error::{Asked, PlatformError};
use super::fault::SystemCall;
pub use super::pages::{ArenaSource, Backing, BackingDowngrade, UnknownBacking};
use super::{Errno, PAGE_SIZE, sys};
use crate::sync::atomic::Ordering;

/// One readable and writable mapping of whole frames, all zero at first unless the caller lent it.
///
/// The arena gives out addresses and never touches contents, except where a method says so: who may access
/// which byte when is the business of whoever hands out its frames.
///
/// ```
/// use gfp::platform::{Arena, ArenaOptions, Backing};
///
/// let arena = Arena::new(&ArenaOptions::new(4 << 20))?;
/// assert_eq!((arena.len(), arena.frames(), arena.is_lent()), (4 << 20, 1024, false));
/// assert_eq!((arena.ptr_at(0), arena.obtained().backing), (arena.base(), Backing::FourK));
///
/// // A page costs memory, and a fault, at its first touch, unless it is made resident before.
/// arena.prefault_range(0, 1 << 20)?;
/// let byte = arena.ptr_at(5000);
/// // SAFETY: the byte lies in the arena, which nobody else uses.
/// unsafe { byte.write(7) };
/// // SAFETY: nobody relies on what is there.
/// unsafe { arena.discard(4096, 4096) }?;
/// // SAFETY: as above.
/// assert_eq!(unsafe { byte.read() }, 0);
///
/// // Where pages lie, as far as the system says.
/// if let Ok(found) = arena.placement(0, 4 << 20, 0) {
///     assert_eq!(found.here + found.elsewhere + found.unknown, 1024);
///     assert_eq!(arena.locate(&[2 << 20])?, [None], "never touched");
/// }
/// # Ok::<(), gfp::platform::PlatformError>(())
/// ```
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    memory: Memory,
    obtained: Obtained,
}

/// What may be done with memory of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
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
    pub(crate) fn record_residency(&mut self, residency: Residency) {
        self.obtained.residency = residency;
    }

    /// Returns the file behind a [`ArenaSource::Memfd`] arena, to be passed to another process.
    ///
    /// The file cannot be shortened, so that no access to the arena raises SIGBUS for that reason. Whoever gets it must leave
    /// its hugetlb pages in it: a hole that is punched gives them back to the pool.
    ///
    /// ```
    /// use gfp::platform::{Arena, ArenaOptions, ArenaSource};
    ///
    /// let options = ArenaOptions { source: ArenaSource::Memfd, ..ArenaOptions::new(2 << 20) };
    /// assert!(Arena::new(&options)?.file().is_some());
    /// # Ok::<(), gfp::platform::PlatformError>(())
    /// ```
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
        if self.is_in_huge_pages() {
            return Ok(());
        }
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
    pub(crate) fn lock_range(&self, offset: usize, len: usize) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        // Hugetlb pages stay where they are, and mlock(2) would only ask for a limit that they do not count against.
        if self.is_in_huge_pages() {
            return Ok(());
        }
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
    pub(crate) unsafe fn set_access(
        &self,
        offset: usize,
        len: usize,
        access: Access,
    ) -> Result<(), PlatformError> {
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
    /// A range that is not one of whole frames in the arena, a range that is locked, hugetlb pages, or an arena in a
    /// mapping that the caller lent: what discarding does depends on its kind, which nobody knows here.
    ///
    /// # Safety
    ///
    /// Nobody accesses the range during the call, or relies on its contents afterwards.
    pub unsafe fn discard(&self, offset: usize, len: usize) -> Result<(), PlatformError> {
        let Some(start) = self.range_start(offset, len)? else { return Ok(()) };
        if let Some(error) = self.keeps_memory() {
            return Err(error);
        }
        // The system would take memory of a file's away from under the lock.
        if offset < self.locked_bytes() {
            return Err(PlatformError::Locked { bytes: self.locked_bytes() });
        }
        let (call, discarded) = match &self.memory {
            Memory::Anonymous { .. } => {
                // SAFETY: the range is the mapping's, and by this function's contract nobody relies on its contents.
                (SystemCall::Madvise, unsafe { sys::advise(start, len, sys::Advice::LinuxDontNeed) })
            }
            // Dropping the pages of a shared mapping would leave them in the file: only a hole frees them. And not through the
            // mapping, which may be closed to all access at the moment.
            Memory::Memfd { file, .. } => {
                // SAFETY: as above: the file begins where the mapping does.
                (SystemCall::Fallocate, unsafe { sys::punch_hole(file.as_fd(), offset, len) })
            }
            Memory::Lent => return Err(PlatformError::ForeignMapping),
        };
        discarded.map_err(|errno| PlatformError::call(call, Asked::Range { offset, len }, errno))
    }

    /// Tells why no memory of the arena is ever given back before it is dropped, if that is so.
    pub(crate) fn keeps_memory(&self) -> Option<PlatformError> {
        match self.memory {
            _ if self.is_in_huge_pages() => Some(PlatformError::HugetlbPages),
            Memory::Lent => Some(PlatformError::ForeignMapping),
            Memory::Anonymous { .. } | Memory::Memfd { .. } => None,
        }
    }

    /// Returns how many bytes from the arena's start on are locked in memory.
    pub(crate) const fn locked_bytes(&self) -> usize {
        match self.obtained.residency {
            Residency::Locked { bytes } => bytes,
            Residency::NotAsked | Residency::Refused(_) => 0,
        }
    }

    /// Tells whether all of the arena lies in hugetlb pages, which it has taken.
    fn is_in_huge_pages(&self) -> bool {
        self.obtained.backing.huge_page_size().is_some()
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

/// A byte of the arena, which is plain memory also where the atomics of a model are not.
#[expect(clippy::disallowed_types, reason = "what happens to the arena's memory is no part of a protocol")]
type AtomicByte = core::sync::atomic::AtomicU8;

/// Writes to every page of a range without changing it, even while others write there.
#[cold]
fn touch(start: NonNull<u8>, len: usize) {
    for offset in (0..len).step_by(PAGE_SIZE) {
        // SAFETY: the caller passes a range of the mapping, and the offset lies inside of it.
        let byte = unsafe { start.add(offset) };
        // SAFETY: the byte is mapped and writable; an atomic of one byte needs no alignment, and adding no
        // bits to it changes nothing that anyone could see.
        let byte = unsafe { AtomicByte::from_ptr(byte.as_ptr()) };
        // Opaque: an addition of nothing that is known to be nothing would be left out.
        byte.fetch_or(core::hint::black_box(0), Ordering::Relaxed);
    }
}
