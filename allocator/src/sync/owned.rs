//! Data of one thread that others may drain: the handshake between owner and drainer.
//!
//! The owner enters and leaves its cell with plain loads and stores; who pays is the drainer, with one
//! `membarrier` for all the cells that it claims ([`asymmetric`]).
//!
//! ```text
//! owner                               drainer
//!   inside := 1                         claimed := CLAIM    (compare-exchange)
//!   light fence                         heavy fence         (membarrier, one for many claims)
//!   claimed = 0 ?  yes: it is inside    inside = 0 ?        yes: it has the cell; no: wait, or give up
//!   ...                                 ...
//!   inside := 0    (release)            claimed := 0        (release)
//! ```
//!
//! Each side stores before it loads, with a fence between, so that at least one sees the other. An owner that
//! finds its cell claimed goes away at once and never waits; a drainer waits for a bounded time.

use super::asymmetric;
use super::atomic::{AtomicU32, Ordering, fence};
use super::cell::{Exclusive, UnsafeCell};
use super::rank::{LockRank, RankToken};
use super::seeded::{SeededBug, seeded};
use super::{Arc, spin_until, thread};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

mod claim;
pub use claim::{Claim, Claimed, ClaimsFenced, fence_claims};

/// A drainer, or a thread that ends, has the cell.
const CLAIM: u32 = 1;
/// The claim is for ever.
const KEPT: u32 = 2;
/// Membarrier was refused when the cell was made: the owner runs a SeqCst fence on its cold path.
const FALLBACK: u32 = 4;

/// A `T` that one thread uses without waiting and without locked instructions, and that others may drain.
///
/// | `claimed` | meaning |
/// |---|---|
/// | 0 | the owner may enter |
/// | CLAIM (1) | a drainer claimed it; once `inside` is 0 after its heavy fence, it has the `T` |
/// | CLAIM + KEPT (2) | claimed for ever: the allocator was closed, or the owner's thread ended |
/// | FALLBACK (4) | constant from construction, beside the others: both sides run SeqCst fences |
///
/// | `inside` | meaning | written by |
/// |---|---|---|
/// | 0 | the owner does not use the `T` | owner |
/// | 1 | the owner uses the `T`, or is about to look whether it may | owner |
///
/// Aligned to 128 bytes (two lines, which x86 prefetches in pairs), so that no two owners share a line. The
/// hot words and the beginning of the `T` share the first line.
///
/// ```
/// use core::{num::NonZeroUsize, time::Duration};
/// use gfp::sync::{NotEntered, Owner, fence_claims};
///
/// let owner = Owner::with_key(NonZeroUsize::MIN, vec![1, 2]);
/// let mut inside = owner.enter().expect("nobody has claimed it");
/// inside.push(3);
/// assert_eq!(owner.enter().map(drop), Err(NotEntered::Reentered));
/// drop(inside);
/// assert_eq!((owner.is_inside(), owner.cell().key()), (false, 1));
///
/// // Another thread claims the cell, pays for both fences, and waits a bounded time until the owner has left.
/// let cell = owner.cell();
/// let claim = cell.try_claim().expect("nobody else has");
/// assert_eq!(owner.enter().map(drop), Err(NotEntered::Claimed));
/// let mut claimed = claim.wait(&fence_claims(), Duration::MAX).expect("the owner is outside");
/// assert_eq!(claimed.drain(..).sum::<i32>(), 6);
/// drop(claimed);
/// assert!(owner.enter().is_ok_and(|inside| inside.is_empty()));
///
/// // When the thread ends, it keeps the cell for ever.
/// assert_eq!(owner.retire(|rest| rest.len()), Some(0));
/// assert!(cell.is_kept() && cell.try_claim().is_none());
/// ```
#[repr(C, align(128))]
pub struct OwnedCell<T> {
    /// By what the owner finds the cell again ([`OwnerSlot`](super::OwnerSlot)), or 0. Stands first, so that it is read
    /// without knowing the `T`.
    key: usize,
    inside: AtomicU32,
    claimed: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the handshake lets one thread at a time reach the value, which moves it between threads.
unsafe impl<T: Send> Sync for OwnedCell<T> {}

/// The owner's side of an [`OwnedCell`]; stays on its thread, as do its clones.
///
/// ```
/// use core::num::NonZeroUsize;
/// use gfp::sync::Owner;
///
/// let owner = Owner::new(7);
/// assert!(!owner.is_inside());
/// assert_eq!(owner.enter().map(|inside| *inside), Ok(7));
/// assert_eq!((owner.cell().key(), Owner::with_key(NonZeroUsize::MIN, 7).cell().key()), (0, 1));
/// assert_eq!(owner.retire(|value| *value), Some(7));
/// assert!(owner.enter().is_err());
/// ```
pub struct Owner<T> {
    cell: Arc<OwnedCell<T>>,
    _not_send: PhantomData<*mut ()>,
}

/// Why an owner did not enter its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEntered {
    /// The thread is inside already: this is a signal handler, or a callback.
    Reentered,
    /// A drainer has the cell, or it is closed.
    Claimed,
}

/// The owner's access to its `T`; dropping it leaves the cell.
#[must_use = "the cell is left when this is dropped"]
pub struct Inside<'a, T> {
    cell: &'a OwnedCell<T>,
    access: Exclusive<T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T> Owner<T> {
    /// Makes a cell that the calling thread owns.
    pub fn new(value: T) -> Self {
        Self::make(0, value)
    }

    /// Makes a cell that the calling thread owns, and finds again by `key`.
    pub fn with_key(key: NonZeroUsize, value: T) -> Self {
        Self::make(key.get(), value)
    }

    fn make(key: usize, value: T) -> Self {
        let fallback = if asymmetric::available() { 0 } else { FALLBACK };
        let cell = OwnedCell {
            key,
            inside: AtomicU32::new(0),
            claimed: AtomicU32::new(fallback),
            value: UnsafeCell::new(value),
        };
        Self { cell: Arc::new(cell), _not_send: PhantomData }
    }

    /// Gives what others need in order to drain the cell.
    #[inline(always)]
    #[must_use]
    pub fn cell(&self) -> &Arc<OwnedCell<T>> {
        &self.cell
    }

    /// Enters the cell: four plain memory accesses, no locked instruction.
    ///
    /// # Errors
    ///
    /// When the thread is inside already, or a drainer has the cell; never waits.
    #[inline(always)]
    pub fn enter(&self) -> Result<Inside<'_, T>, NotEntered> {
        // SAFETY: an owner stays on its thread.
        unsafe { self.cell.enter_by_owner() }
    }

    /// Enters the cell, as soon as no drainer has it.
    ///
    /// ```
    /// use core::num::NonZeroUsize;
    /// use gfp::sync::{NotEntered, Owner};
    ///
    /// let owner = Owner::with_key(NonZeroUsize::MIN, 7);
    /// assert_eq!(owner.enter_behind_drainer().map(|value| *value), Ok(7));
    /// owner.retire(|value| *value);
    /// assert_eq!(owner.enter_behind_drainer().map(drop), Err(NotEntered::Claimed));
    /// ```
    ///
    /// # Errors
    ///
    /// When the thread is inside already, or the cell is closed.
    pub fn enter_behind_drainer(&self) -> Result<Inside<'_, T>, NotEntered> {
        loop {
            match self.enter() {
                Err(NotEntered::Claimed) if !self.cell.is_kept() => thread::yield_now(),
                entered => return entered,
            }
        }
    }

    /// Answers whether the thread is inside.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.cell.inside_by_owner() != 0
    }

    /// Claims the cell for ever and calls `f` with its value; for the thread's end, on the owner's own
    /// thread.
    ///
    /// Waits for a drainer that has claimed it: a drainer holds a claim for a bounded time. Returns `None`,
    /// and does not call `f`, when the cell was kept by somebody else, or when the thread is inside.
    ///
    /// # Panics
    ///
    /// In debug builds, when the caller holds a zone's lock.
    pub fn retire<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _rank = LockRank::PcpClaim.acquire();
        let cell: &OwnedCell<T> = &self.cell;
        if cell.inside.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let mut kept = false;
        spin_until(|| {
            let seen = cell.claimed.load(Ordering::Relaxed);
            kept = seen & KEPT != 0;
            if seeded(SeededBug::ExitSkipsClaim) {
                cell.claimed.store(seen | CLAIM | KEPT, Ordering::Relaxed);
                return true;
            }
            kept || (seen & CLAIM == 0 && cell.change(seen, seen | CLAIM | KEPT))
        });
        if kept {
            return None;
        }
        // No fence: `inside` is this thread's own, and it was 0.
        let mut access = Exclusive::begin(&cell.value);
        // SAFETY: the claim, which is never given back, keeps drainers out, and the owner, whose thread this
        // is, is not inside; whoever enters from within `f` finds the cell claimed.
        let result = f(unsafe { &mut *access.pointer(&cell.value) });
        access.end();
        Some(result)
    }
}

impl<T> OwnedCell<T> {
    /// Returns the key, 0 for none.
    #[must_use]
    pub const fn key(&self) -> usize {
        self.key
    }

    /// Enters the cell: see [`Owner::enter`].
    ///
    /// # Safety
    ///
    /// The calling thread is the owner's.
    #[inline(always)]
    pub(super) unsafe fn enter_by_owner(&self) -> Result<Inside<'_, T>, NotEntered> {
        // A handler that interrupts between this load and the store comes and goes as a whole.
        if self.inside_by_owner() != 0 {
            return Err(NotEntered::Reentered);
        }
        self.inside.store(1, Ordering::Relaxed);
        asymmetric::light();
        // Acquires what the last drainer did.
        if self.claimed.load(Ordering::Acquire) != 0 {
            self.enter_claimed()?;
        }
        Ok(Inside { cell: self, access: Exclusive::begin(&self.value), _not_send: PhantomData })
    }

    /// Claims the cell for ever without waiting and without looking inside; for the owner's thread, when nobody else is left who
    /// could have claimed it: after a fork.
    ///
    /// ```
    /// let owner = gfp::sync::Owner::new(());
    /// owner.cell().keep_by_owner();
    /// assert!(owner.cell().is_kept() && owner.enter().is_err());
    /// ```
    pub fn keep_by_owner(&self) {
        self.claimed.store(CLAIM | KEPT, Ordering::Relaxed);
    }

    /// Answers whether the cell was claimed for ever.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.claimed.load(Ordering::Acquire) & KEPT != 0
    }

    /// Reads `inside` on the owner's thread, the only one that writes it: an ordinary read, which the compiler may fold into
    /// the comparison that follows.
    #[inline(always)]
    fn inside_by_owner(&self) -> u32 {
        #[cfg(any(loom, shuttle))]
        return self.inside.load(Ordering::Relaxed);
        #[cfg(not(any(loom, shuttle)))]
        // SAFETY: the pointer is valid, and no other thread writes, so that nothing races with this read.
        unsafe {
            *self.inside.as_ptr()
        }
    }

    /// Decides what a nonzero claim word means for an owner that has said that it is inside.
    #[cold]
    #[inline(never)]
    fn enter_claimed(&self) -> Result<(), NotEntered> {
        if seeded(SeededBug::OwnerSkipsClaimedCheck) {
            return Ok(());
        }
        let mut seen = self.claimed.load(Ordering::Acquire);
        if seen & CLAIM == 0 && seen & FALLBACK != 0 {
            // The light fence was nothing: this one meets the drainer's.
            if !seeded(SeededBug::FallbackSkipsFence) {
                fence(Ordering::SeqCst);
            }
            seen = self.claimed.load(Ordering::Acquire);
        }
        if seen & CLAIM == 0 {
            return Ok(());
        }
        self.inside.store(0, Ordering::Release);
        Err(NotEntered::Claimed)
    }

    /// Replaces the claim word if it is still `seen`; acquires what the last claimant did.
    fn change(&self, seen: u32, next: u32) -> bool {
        self.claimed.compare_exchange(seen, next, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl<T> Clone for Owner<T> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), _not_send: PhantomData }
    }
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the handshake keeps drainers out while `inside` is 1, and a second entry of this thread is
        // refused.
        unsafe { &*self.access.pointer(&self.cell.value) }
    }
}

impl<T> DerefMut for Inside<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference that came from the guard.
        unsafe { &mut *self.access.pointer(&self.cell.value) }
    }
}

impl<T> Drop for Inside<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.access.end();
        let order = if seeded(SeededBug::OwnerLeavesRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.cell.inside.store(0, order);
    }
}

impl<T> fmt::Debug for OwnedCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedCell").field("kept", &self.is_kept()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Owner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("cell", &self.cell).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Inside<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
