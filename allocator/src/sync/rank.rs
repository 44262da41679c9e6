//! The order of locks, checked at run time in debug builds.

use std::marker::PhantomData;

/// Place of a lock in the order of locks; a thread acquires upwards only.
///
/// The table in [`sync`](super) says what each rank protects.
///
/// ```
/// use gfp::sync::LockRank;
///
/// let zone = LockRank::Zone.acquire();
/// let leaf = LockRank::Leaf.acquire(); // Upwards: fine.
/// let tried = LockRank::Registry.acquire_tried(); // Got without waiting: fine.
/// drop((zone, leaf, tried));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LockRank {
    /// Held by whoever finds that memory has run out, while the application does something about it. Others only try it.
    Oom = 1,
    /// The list of all thread caches of an allocator, or of all its shrinkers.
    Registry = 2,
    /// A claim on a thread's cache. Several may be held: a claim is tried, and its wait is bounded.
    PcpClaim = 3,
    /// A zone's lock.
    Zone = 4,
    /// A lock under which nothing else is acquired.
    Leaf = 5,
}

impl LockRank {
    /// Records that the calling thread is about to wait for a lock of this rank.
    ///
    /// # Panics
    ///
    /// In debug builds, when the thread holds a lock of this or a higher rank; the message names both.
    #[inline(always)]
    pub fn acquire(self) -> RankToken {
        #[cfg(debug_assertions)]
        held::check(self);
        self.acquire_tried()
    }

    /// Records a lock that was got without waiting, whose place in the order therefore does not matter.
    #[inline(always)]
    pub fn acquire_tried(self) -> RankToken {
        #[cfg(debug_assertions)]
        held::add(self);
        RankToken {
            #[cfg(debug_assertions)]
            rank: self,
            not_send: PhantomData,
        }
    }
}

/// Proof that the calling thread has recorded a lock; dropping it records the release.
///
/// Bound to its thread. Empty in release builds.
#[derive(Debug)]
#[must_use = "the rank counts as released when the token is dropped"]
pub struct RankToken {
    #[cfg(debug_assertions)]
    rank: LockRank,
    not_send: PhantomData<*mut ()>,
}

#[cfg(debug_assertions)]
impl Drop for RankToken {
    fn drop(&mut self) {
        held::remove(self.rank);
    }
}

#[cfg(debug_assertions)]
mod held {
    use super::LockRank;
    use crate::sync::thread_local;
    use std::cell::Cell;

    const RANKS: [LockRank; 5] =
        [LockRank::Oom, LockRank::Registry, LockRank::PcpClaim, LockRank::Zone, LockRank::Leaf];

    thread_local! {
        /// How many locks of each rank the thread holds.
        static HELD: Cell<[u16; RANKS.len()]> = const { Cell::new([0; RANKS.len()]) };
    }

    // A thread whose locals are gone is not checked: every access goes through `try_with`.
    fn update(f: impl FnOnce(&mut [u16; RANKS.len()])) {
        let _: Result<(), _> = HELD.try_with(|held| {
            let mut counts = held.get();
            f(&mut counts);
            held.set(counts);
        });
    }

    pub(super) fn add(rank: LockRank) {
        update(|counts| counts[rank as usize - 1] += 1);
    }

    pub(super) fn remove(rank: LockRank) {
        update(|counts| counts[rank as usize - 1] = counts[rank as usize - 1].saturating_sub(1));
    }

    pub(super) fn check(rank: LockRank) {
        let refused = |held: LockRank| held > rank || (held == rank && rank != LockRank::PcpClaim);
        let mut found = None;
        update(|counts| {
            found = RANKS.into_iter().find(|&held| counts[held as usize - 1] > 0 && refused(held));
        });
        // A second panic while unwinding would abort and hide the first one.
        if let Some(held) = found.filter(|_| !std::thread::panicking()) {
            panic!("lock order: acquiring {rank:?} while holding {held:?}");
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle)), debug_assertions))]
mod tests {
    use super::LockRank::{Leaf, Oom, PcpClaim, Registry, Zone};

    #[test]
    fn ranks_are_acquired_upwards() {
        let oom = Oom.acquire_tried();
        let registry = Registry.acquire();
        let claim = PcpClaim.acquire();
        let zone = Zone.acquire();
        let _leaf = Leaf.acquire();
        // Releases may come in any order.
        drop((registry, zone, oom, claim));
    }

    #[test]
    #[should_panic(expected = "lock order: acquiring Zone while holding Zone")]
    fn two_zones_are_never_held_together() {
        let _first = Zone.acquire();
        let _second = Zone.acquire();
    }

    #[test]
    #[should_panic(expected = "lock order: acquiring PcpClaim while holding Zone")]
    fn nobody_claims_under_a_zone_lock() {
        let _zone = Zone.acquire();
        let _claim = PcpClaim.acquire();
    }

    #[test]
    fn several_caches_may_be_claimed_and_a_release_counts_once() {
        let first = PcpClaim.acquire();
        let second = PcpClaim.acquire();
        drop(first);
        drop(second);
        drop(Registry.acquire());
    }

    #[test]
    fn a_tried_lock_is_recorded_but_not_checked() {
        let _zone = Zone.acquire();
        let tried = Registry.acquire_tried();
        let refused = std::panic::catch_unwind(|| drop(PcpClaim.acquire()));
        assert!(refused.is_err(), "the zone is still held");
        drop(tried);
    }

    #[test]
    fn a_thread_that_ends_may_still_lock() {
        struct LocksWhenDropped;
        impl Drop for LocksWhenDropped {
            fn drop(&mut self) {
                drop(Zone.acquire());
            }
        }
        std::thread_local! {
            static LATE: LocksWhenDropped = const { LocksWhenDropped };
        }
        let ended = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    LATE.with(|_| ());
                    drop(Zone.acquire());
                })
                .join()
        });
        assert!(ended.is_ok(), "locks are taken while thread-locals are destroyed");
    }
}
