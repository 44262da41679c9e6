//! Free memory that nobody can touch (`debug_pagealloc`).

use crate::{
    error::Flaw,
    frame::Block,
    platform::{Arena, PlatformError, arena::Access},
    sync::atomic::{AtomicU64, Ordering},
};

/// Keeps free memory closed: a block is opened on its way to its owner, and closed when it is back.
///
/// Each change may split a mapping, and the system may refuse that. Then everything is opened, in one call that only joins
/// mappings; so the process is never left at its limit, and an allocation is never refused for want of a mapping.
#[derive(Debug)]
pub(super) struct Guard {
    lifted: AtomicU64,
}

impl Guard {
    /// Closes an arena of which all is free.
    pub(super) fn new(arena: &Arena) -> Result<Self, PlatformError> {
        // SAFETY: nobody has a block of it yet.
        unsafe { arena.set_access(0, arena.len(), Access::None) }?;
        Ok(Self { lifted: AtomicU64::new(0) })
    }

    /// Opens a block for its owner.
    ///
    /// # Errors
    /// [`Flaw::GuardLifted`] when it is open, and all that is free with it; [`Flaw::NotOpened`] when not even that could be
    /// done.
    pub(super) fn open(&self, arena: &Arena, block: Block) -> Result<(), Flaw> {
        // SAFETY: opening takes no access from anybody.
        unsafe { set(arena, block, Access::ReadWrite) }.map_err(|error| self.lift(arena, error))
    }

    /// Closes a block that came back.
    ///
    /// # Errors
    /// [`Flaw::GuardLifted`] or [`Flaw::NotOpened`] when the system has no mapping left for it; the block is open then, as far as
    /// the system lets it.
    pub(super) fn close(&self, arena: &Arena, block: Block) -> Result<(), Flaw> {
        // SAFETY: its owner has given it up.
        unsafe { set(arena, block, Access::None) }.map_err(|error| self.lift(arena, error))
    }

    /// Opens all memory.
    #[cold]
    fn lift(&self, arena: &Arena, error: PlatformError) -> Flaw {
        // SAFETY: opening takes no access from anybody.
        match unsafe { arena.set_access(0, arena.len(), Access::ReadWrite) } {
            Ok(()) => {
                self.lifted.fetch_add(1, Ordering::Relaxed);
                Flaw::GuardLifted(error)
            }
            Err(error) => Flaw::NotOpened(error),
        }
    }

    /// Returns how often all memory was opened.
    pub(super) fn lifted(&self) -> u64 {
        self.lifted.load(Ordering::Relaxed)
    }
}

/// Changes the access to a block's memory.
///
/// # Safety
/// Nobody uses the block, or it is opened.
unsafe fn set(arena: &Arena, block: Block, access: Access) -> Result<(), PlatformError> {
    // SAFETY: by this function's contract.
    unsafe { arena.set_access(block.pfn().offset_bytes(), block.order().bytes(), access) }
}
