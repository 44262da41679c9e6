//! Planted bugs: the models prove that they would notice.
//!
//! A protocol asks [`seeded`] at the place where a mistake is plausible, for example `let order = if
//! seeded(SeededBug::SpinUnlockRelaxed) { Relaxed } else { Release }`. Outside of models the answer is a
//! constant `false` and the branch disappears.

/// A mistake that a model can plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// The unlocking swap of a [`SpinLock`](super::SpinLock) does not release.
    SpinUnlockRelaxed,
    /// A lock whose compare-exchange lost is taken all the same.
    SpinLostCas,
    /// An unlocker forgets the sleepers.
    SpinLostWake,
    /// Two owners rely on their light fences alone.
    LightMeetsLight,
    /// The owner's fence is missing where membarrier is refused.
    FallbackSkipsFence,
    /// The owner's half of the asymmetric fence is missing.
    OwnerSkipsFence,
    /// The drainer's half of the asymmetric fence is missing.
    DrainerSkipsFence,
    /// The owner does not look whether its cell is claimed.
    OwnerSkipsClaimedCheck,
    /// The owner leaves without releasing what it wrote.
    OwnerLeavesRelaxed,
    /// A drainer that lost the claim to another one goes on.
    ClaimLostCas,
    /// A drainer gives the cell back without releasing what it wrote.
    ClaimReleasedRelaxed,
    /// A drainer's wait relies on a fence that is older than its claim.
    WaitTakesOlderFence,
    /// A drainer whose wait timed out goes on.
    TimeoutEntersAnyway,
    /// A drainer whose wait timed out leaves its claim behind.
    TimeoutKeepsClaim,
    /// A closer gives the cell back instead of keeping it.
    KeepForgotten,
    /// A thread that ends does not wait for the drainer of its cell.
    ExitSkipsClaim,
    /// A thread registers without looking whether the registry was closed.
    RegisterSkipsClosed,
    /// A summary of a pending map is cleared after what it sums up instead of before.
    PendingClearedLate,
    /// A pending word is read and cleared in two steps.
    PendingLostBit,
    /// A sleeper looks for work before it says that it sleeps.
    SleeperLooksEarly,
    /// A sleeper looks for work without a fence behind its saying that it sleeps.
    SleeperSkipsFence,
    /// Whoever rings looks whether the sleeper sleeps before the wishes are left.
    RingerLooksEarly,
    /// Whoever rings looks whether the sleeper sleeps without a fence behind the work.
    RingerSkipsFence,
    /// An exiting thread's counters are folded before the registry lock is taken.
    FoldOutsideLock,
    /// Whoever lost the exchange of a descriptor goes on as if it had won.
    ExchangeLostCas,
    /// A reference is given back by a load and a store.
    RefPutLostUpdate,
    /// A putter does not release what it wrote.
    RefPutRelaxed,
    /// Whoever finds that it has the only reference does not acquire what the others did.
    RefUniqueRelaxed,
    /// Every putter says that the block is no longer shared, not only the last.
    PutUnsharesEarly,
    /// A record is written without a fence behind the value that says so.
    SeqWriterSkipsFence,
    /// A record's writer does not release what it wrote.
    SeqWrittenRelaxed,
    /// A reader's second look at a record's value may come before its reads.
    SeqReaderSkipsFence,
    /// A reader takes what it saw while somebody wrote.
    SeqReaderTakesOdd,
    /// Whoever lost a number to another one takes it all the same.
    PlaceLostCas,
    /// Whoever takes a number does not acquire what the one before did.
    PlaceTakenRelaxed,
    /// A request that failed does not look whether the allowed nodes have changed.
    CpusetSkipsRetry,
    /// A request that failed looks only at which nodes are allowed, not at how often that has changed.
    CpusetUncounted,
    /// A token is cancelled without releasing what was done before.
    CancelRelaxed,
    /// A request that is cancelled after it has taken a block forgets the block.
    CancelTakesBack,
    /// Whether a zone is admitted is asked before its lock is taken.
    AdmittedAskedEarly,
    /// A zone is counted as isolated after the caches were emptied instead of before.
    IsolatedCountedLate,
    /// A cache that is new keeps the limits that it was made with.
    NewCacheKeepsLimits,
    /// Whoever sets a pageblock aside does not look again, with the zone's lock held, whether there is room for it.
    HighatomicCapAskedOnce,
    /// Whoever gives up a pageblock does not look again, with the zone's lock held, whether it is the last.
    HighatomicLeastAskedOnce,
    /// A zone's state word is written after the lock was given back.
    StatePublishedUnlocked,
    /// A zone's state word is written before the change that it answers for.
    StatePublishedEarly,
    /// A zone's state word is written in two steps.
    StatePublishedInParts,
    /// A pageblock that goes to an owner is still said to hold zeroes.
    KnownZeroKept,
    /// Memory is given back to the system while it lies in the free areas.
    ReportedInPlace,
    /// Memory is said to be zero before the system has answered.
    ReportedNotedEarly,
    /// Whoever settles does not release what it did with its frames.
    LedgerRelaxed,
    /// The closer charges what is out without one more for itself.
    LedgerUnbiased,
    /// Whoever revokes a value does not wait until its users have left it.
    RevokeSkipsUsers,
    /// A value is used without a look whether it was revoked.
    RevokedIsEntered,
    /// A user does not release what it did with a value.
    AccessLeftRelaxed,
    /// The last user of a revoked value forgets who waits for that.
    RevokerNotWoken,
    /// Of those who find a revoked value without users, each takes it.
    RevokedTakenTwice,
}

/// Answers whether `bug` is planted in this run; a constant `false` outside of models.
///
/// ```
/// use gfp::sync::{SeededBug, seeded};
///
/// assert!(!seeded(SeededBug::SpinLostWake));
/// ```
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
#[must_use]
pub const fn seeded(_bug: SeededBug) -> bool {
    false
}

#[cfg(any(loom, shuttle))]
mod planted {
    use super::SeededBug;
    use std::cell::Cell;

    // Both backends run all threads of a model on one thread of the system, so a thread-local reaches all of them and
    // models on other threads are not disturbed.
    std::thread_local! {
        static PLANTED: Cell<Option<SeededBug>> = const { Cell::new(None) };
    }

    /// Answers whether `bug` is planted in this run.
    #[must_use]
    pub fn seeded(bug: SeededBug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs `f` with `bug` planted; the bug is gone afterwards, also when `f` panics.
    pub fn with_seeded_bug<R>(bug: SeededBug, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<SeededBug>);
        impl Drop for Restore {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _restore = Restore(PLANTED.replace(Some(bug)));
        f()
    }
}
#[cfg(any(loom, shuttle))]
pub use planted::{seeded, with_seeded_bug};
