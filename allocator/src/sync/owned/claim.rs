//! The drainer's side of the handshake.

use super::*;

/// Numbers claims and fences, so that a wait can tell whether a fence came after the claim. Both stay on
/// their thread, so that their numbers follow the program. Not one of the model's atomics: the numbers order
/// nothing.
#[expect(clippy::disallowed_types, reason = "invisible to models on purpose")]
static SEQUENCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn next_number() -> u64 {
    SEQUENCE.fetch_add(1, Ordering::Relaxed)
}

/// A claimed cell whose owner may still be inside; dropping it gives the claim up.
///
/// ```
/// use core::time::Duration;
/// use gfp::sync::{Owner, fence_claims};
///
/// // Two cells, one fence.
/// let owners = [Owner::new(1), Owner::new(2)];
/// let claims = owners.each_ref().map(|owner| owner.cell().try_claim().expect("nobody has"));
/// let fenced = fence_claims();
/// let values = claims.map(|claim| *claim.wait(&fenced, Duration::MAX).expect("the owners are outside"));
/// assert_eq!(values, [1, 2]);
///
/// // A claim may stay for ever, whether its owner has left or not.
/// let inside = owners[0].enter().expect("it was given back");
/// owners[0].cell().try_claim().expect("nobody has").keep();
/// drop(inside);
/// assert!(owners[0].enter().is_err());
/// ```
#[derive(Debug)]
#[must_use = "the claim is given up when this is dropped"]
pub struct Claim<'a, T> {
    cell: &'a OwnedCell<T>,
    number: u64,
    /// Dropping leaves the claim word alone.
    given_up: bool,
    _rank: RankToken,
}

/// Proof that the calling thread ran a heavy fence; covers the claims that it made before.
#[derive(Debug)]
pub struct ClaimsFenced {
    number: u64,
    /// Owners whose cells have not fallen back are ordered too.
    light_ordered: bool,
    _not_send: PhantomData<*mut ()>,
}

/// Exclusive access to the `T` of a claimed cell; dropping it lets the owner in again.
///
/// ```
/// use core::time::Duration;
/// use gfp::sync::{Owner, fence_claims};
///
/// let owner = Owner::new(1);
/// let claim = owner.cell().try_claim().expect("nobody has");
/// let claimed = claim.wait(&fence_claims(), Duration::MAX).expect("the owner is outside");
/// assert_eq!(*claimed, 1);
/// claimed.keep();
/// assert!(owner.enter().is_err());
/// ```
#[must_use = "the cell is given back when this is dropped"]
pub struct Claimed<'a, T> {
    access: Exclusive<T>,
    claim: Claim<'a, T>,
}

/// Runs one heavy fence (0.4 to 10 µs) for all the claims that the calling thread has made.
///
/// ```
/// use core::time::Duration;
/// use gfp::sync::{Owner, fence_claims};
///
/// let owner = Owner::new(1);
/// let claim = owner.cell().try_claim().expect("nobody has");
/// assert!(claim.wait(&fence_claims(), Duration::ZERO).is_some(), "the owner is outside");
/// ```
#[must_use = "the waits of the claims want it"]
pub fn fence_claims() -> ClaimsFenced {
    let number = next_number();
    ClaimsFenced { number, light_ordered: asymmetric::heavy(), _not_send: PhantomData }
}

impl<T> OwnedCell<T> {
    /// Claims the cell, unless somebody has; the owner may still be inside. Never waits.
    ///
    /// # Panics
    ///
    /// In debug builds, when the caller holds a zone's lock.
    pub fn try_claim(&self) -> Option<Claim<'_, T>> {
        let rank = LockRank::PcpClaim.acquire();
        let seen = self.claimed.load(Ordering::Relaxed);
        let won = seen & CLAIM == 0 && self.change(seen, seen | CLAIM);
        (won || (seeded(SeededBug::ClaimLostCas) && seen & CLAIM == 0)).then(|| Claim {
            cell: self,
            number: next_number(),
            given_up: false,
            _rank: rank,
        })
    }

    /// Gives the cell back; called by whoever claimed it, so that nobody else writes the word meanwhile.
    fn release(&self, order: Ordering) {
        let fallback = self.claimed.load(Ordering::Relaxed) & FALLBACK;
        self.claimed.store(fallback, order);
    }
}

impl<'a, T> Claim<'a, T> {
    /// Waits until the owner is outside, at most `timeout`; then the caller has the `T`.
    ///
    /// `after` is a fence that the caller ran after it made this claim; for an older one the wait runs its
    /// own. On a time-out (the owner was switched out inside, say) the claim is given up and the answer is
    /// `None`; the same if the system refuses membarrier although it had agreed to it when the cell was made.
    ///
    /// In models, which have no time, `Duration::MAX` waits and any other time-out passes after two looks.
    pub fn wait(mut self, after: &ClaimsFenced, timeout: Duration) -> Option<Claimed<'a, T>> {
        let own_fence;
        let fenced = if after.number > self.number || seeded(SeededBug::WaitTakesOlderFence) {
            after
        } else {
            own_fence = fence_claims();
            &own_fence
        };
        let fell_back = self.cell.claimed.load(Ordering::Relaxed) & FALLBACK != 0;
        let ordered = fenced.light_ordered || fell_back;
        if !ordered || !(self.owner_left(timeout) || seeded(SeededBug::TimeoutEntersAnyway)) {
            self.given_up = seeded(SeededBug::TimeoutKeepsClaim);
            return None;
        }
        Some(Claimed { access: Exclusive::begin(&self.cell.value), claim: self })
    }

    /// Leaves the cell claimed for ever without waiting for its owner, who never enters again once it has
    /// left.
    ///
    /// Nobody reaches the `T` any more. For a child after fork, in which the owners are no more.
    pub fn keep(mut self) {
        self.stay();
    }

    fn stay(&mut self) {
        let fallback = self.cell.claimed.load(Ordering::Relaxed) & FALLBACK;
        self.cell.claimed.store(CLAIM | KEPT | fallback, Ordering::Release);
        self.given_up = true;
    }

    #[cfg(not(any(loom, shuttle)))]
    fn owner_left(&self, timeout: Duration) -> bool {
        let outside = || self.cell.inside.load(Ordering::Acquire) == 0;
        if outside() {
            return true;
        }
        let start = std::time::Instant::now();
        let backoff = crossbeam_utils::Backoff::new();
        while start.elapsed() < timeout {
            backoff.snooze();
            if outside() {
                return true;
            }
        }
        false
    }

    #[cfg(any(loom, shuttle))]
    fn owner_left(&self, timeout: Duration) -> bool {
        let outside = || self.cell.inside.load(Ordering::Acquire) == 0;
        if timeout == Duration::MAX {
            spin_until(outside);
            return true;
        }
        // No yield between the looks: it would let the owner leave in every schedule.
        outside() || outside()
    }
}

impl<T> Claimed<'_, T> {
    /// Leaves the cell claimed for ever: its owner goes elsewhere from now on.
    pub fn keep(mut self) {
        self.access.end();
        if !seeded(SeededBug::KeepForgotten) {
            self.claim.stay();
        }
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        if self.given_up {
            return;
        }
        // Releases also when nothing was written: an owner that acquires from this store must see what the
        // drainer before this one did.
        let order =
            if seeded(SeededBug::ClaimReleasedRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.cell.release(order);
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the claim keeps other drainers out, and the owner, which was outside after the heavy fence,
        // sees the claim before it goes inside again.
        unsafe { &*self.access.pointer(&self.claim.cell.value) }
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference that came from the guard.
        unsafe { &mut *self.access.pointer(&self.claim.cell.value) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Claimed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
