//! The lock of a zone: spins briefly, then parks.

use super::atomic::{AtomicU32, Ordering};
use super::cell::{Exclusive, UnsafeCell};
use super::park::Parker;
use super::rank::{LockRank, RankToken};
use super::seeded::{SeededBug, seeded};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[cfg(feature = "lock-stats")]
mod stats;
#[cfg(feature = "lock-stats")]
pub use stats::LockStats;

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const SLEEPERS: u32 = 2;
/// Spin hints before each look that a waiter takes at the lock; after the last it sleeps.
#[cfg(not(any(loom, shuttle)))]
const PAUSES: [u32; 8] = [192, 384, 384, 384, 384, 384, 384, 384];

/// A lock around a `T`: short bounded spinning with long pauses, then parking.
///
/// In user space a holder can lose its CPU, so that endless spinning would burn the time slices of everybody
/// who waits for it; and a system call for every contended acquisition would cost more than most critical
/// sections.
///
/// | word | meaning | leaves it by |
/// |---|---|---|
/// | 0 | unlocked | compare-exchange to 1; a thread that slept swaps in 2 |
/// | 1 | locked, nobody sleeps | swap to 0; a thread about to sleep swaps in 2 |
/// | 2 | locked, somebody may sleep | swap to 0, then one wake-up |
///
/// A thread that slept takes the lock with 2, because others may sleep as well; at worst that costs one
/// needless wake-up. The unlocking swap is the last access to the lock: after it another thread may have
/// freed the lock, and the wake-up goes by address alone (Drepper, "Futexes Are Tricky", 2011, mutex 2).
///
/// The word has a cache line pair of its own (128 bytes), so that spinning does not disturb the holder's
/// data.
///
/// ```
/// use gfp::sync::{LockRank, SpinLock};
///
/// let mut lock = SpinLock::new(LockRank::Leaf, 1);
/// let mut guard = lock.lock();
/// *guard += 1;
/// assert!(!guard.contended(), "nobody had it");
/// assert!(lock.try_lock().is_none());
/// drop(guard);
/// assert!(lock.try_lock().is_some_and(|guard| *guard == 2));
/// *lock.get_mut() += 1;
/// assert_eq!(lock.into_inner(), 3);
/// ```
pub struct SpinLock<T> {
    head: CachePadded<Head>,
    value: UnsafeCell<T>,
}

struct Head {
    word: AtomicU32,
    rank: LockRank,
    parker: Parker,
    #[cfg(feature = "lock-stats")]
    stats: stats::Counters,
}

// SAFETY: the lock hands the value to one thread at a time, which moves it between threads.
unsafe impl<T: Send> Send for SpinLock<T> {}
// SAFETY: as above; shared access gives only a guard, and one guard exists at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// Access to what a [`SpinLock`] protects; dropping it unlocks.
///
/// ```
/// use gfp::sync::{LockRank, SpinLock};
///
/// let lock = SpinLock::new(LockRank::Leaf, 1);
/// assert!(!lock.lock().contended(), "nobody had it");
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    access: Exclusive<T>,
    contended: bool,
    #[cfg(feature = "lock-stats")]
    since: std::time::Instant,
    _rank: RankToken,
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives only `&T`; the guard itself stays on its thread, where its rank was recorded.
unsafe impl<T: Sync> Sync for SpinGuard<'_, T> {}

impl<T> SpinLock<T> {
    /// Makes an unlocked lock around `value` with its place in the order of locks.
    pub fn new(rank: LockRank, value: T) -> Self {
        Self {
            head: CachePadded::new(Head {
                word: AtomicU32::new(UNLOCKED),
                rank,
                parker: Parker::new(),
                #[cfg(feature = "lock-stats")]
                stats: stats::Counters::default(),
            }),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    ///
    /// In debug builds, when the caller holds a lock of the same or a higher rank.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let rank = self.head.rank.acquire();
        let contended = !self.try_word();
        if contended {
            self.lock_slow();
        }
        self.guard(rank, contended)
    }

    /// Unlocks it whoever holds it: for the child of a fork, which has not got that thread. One store. What the lock protects may
    /// then be half changed.
    ///
    /// ```
    /// use gfp::sync::{LockRank, SpinLock};
    ///
    /// let lock = SpinLock::new(LockRank::Leaf, 1);
    /// // The parent's copy of this guard is dropped by a thread that the child has not got.
    /// core::mem::forget(lock.lock());
    /// lock.orphan();
    /// assert!(lock.try_lock().is_some());
    /// ```
    pub fn orphan(&self) {
        self.head.word.store(UNLOCKED, Ordering::Relaxed);
    }

    /// Takes the lock if nobody holds it; does not check the order of locks, because it cannot deadlock.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.try_word().then(|| self.guard(self.head.rank.acquire_tried(), false))
    }

    /// Reaches the value through exclusive access to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: nobody else has access to the lock, so the pointer is valid and unique as long as `&mut
        // self`.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Reads the lock's statistics; exact when nobody holds it.
    ///
    /// ```
    /// use gfp::sync::{LockRank, SpinLock};
    ///
    /// let lock = SpinLock::new(LockRank::Leaf, 1);
    /// drop(lock.lock());
    /// let stats = lock.stats();
    /// assert_eq!((stats.acquisitions, stats.contended), (1, 0));
    /// ```
    #[cfg(feature = "lock-stats")]
    pub fn stats(&self) -> LockStats {
        self.head.stats.read()
    }

    #[inline(always)]
    fn try_word(&self) -> bool {
        self.head.word.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            || seeded(SeededBug::SpinLostCas)
    }

    #[inline(always)]
    fn guard(&self, rank: RankToken, contended: bool) -> SpinGuard<'_, T> {
        SpinGuard {
            lock: self,
            access: Exclusive::begin(&self.value),
            contended,
            #[cfg(feature = "lock-stats")]
            since: std::time::Instant::now(),
            _rank: rank,
            _not_send: PhantomData,
        }
    }

    #[cold]
    fn lock_slow(&self) {
        let word = &self.head.word;
        // Spinning adds nothing to a model but schedules: there the thread goes to sleep at once.
        #[cfg(not(any(loom, shuttle)))]
        {
            // The first look comes after some ten critical sections, not one: each look takes the word's line from the holder,
            // and a lock that changes hands takes all that it protects with it. So a thread does several operations in a row
            // on lines that it has, which for two threads that do nothing else took half of the time (Anderson, "The
            // Performance of Spin Lock Alternatives", 1990, delays between looks).
            //
            // About 3000 hints in all, 30 to 150 µs on x86: several times what a refill holds the lock for, and little of a
            // time slice if the holder has lost its CPU. Shorter, or with a yield, it gives the CPU to a thread whose data
            // has left the caches: of 32 threads on 2 CPUs each then ran for 0.2 ms.
            for pause in PAUSES {
                for _ in 0..pause {
                    super::hint::spin_loop();
                }
                let seen = word.load(Ordering::Relaxed);
                if seen == UNLOCKED && self.try_word() {
                    return;
                }
                // Somebody has waited for so long already: the holder has lost its CPU.
                if seen == SLEEPERS {
                    break;
                }
            }
        }
        while word.swap(SLEEPERS, Ordering::Acquire) != UNLOCKED {
            self.head.parker.wait(word, SLEEPERS);
        }
    }
}

impl<T> SpinGuard<'_, T> {
    /// Answers whether the lock was held by another thread when it was asked for; a contended refill takes
    /// more.
    #[inline(always)]
    #[must_use]
    pub fn contended(&self) -> bool {
        self.contended
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock, so nobody else reaches the value; `&mut` needs `&mut self`.
        unsafe { &*self.access.pointer(&self.lock.value) }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, so nobody else reaches the value, and `&mut self` makes this the
        // only reference that came from the guard.
        unsafe { &mut *self.access.pointer(&self.lock.value) }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.access.end();
        let head = &self.lock.head;
        #[cfg(feature = "lock-stats")]
        head.stats.record(self.contended, self.since.elapsed());
        let order = if seeded(SeededBug::SpinUnlockRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        let waker = head.parker.waker(&head.word);
        // From here on the lock may be gone.
        if head.word.swap(UNLOCKED, order) == SLEEPERS && !seeded(SeededBug::SpinLostWake) {
            waker.wake_one();
        }
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").field("rank", &self.head.rank).finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for SpinGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn one_thread_at_a_time_holds_the_lock() {
        const TURNS: u64 = 20_000;
        let lock = SpinLock::new(LockRank::Zone, (0, 0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        let mut value = lock.lock();
                        value.0 += 1;
                        value.1 += 1;
                        assert_eq!(value.0, value.1);
                    }
                });
            }
        });
        assert_eq!(lock.into_inner(), (8 * TURNS, 8 * TURNS));
    }

    #[test]
    fn a_parked_waiter_gets_the_lock_and_knows_that_it_waited() {
        let lock = SpinLock::new(LockRank::Zone, 0);
        let guard = lock.lock();
        assert!(!guard.contended(), "nobody else had it");
        assert!(lock.try_lock().is_none());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut value = lock.lock();
                *value += 1;
                value.contended()
            });
            while lock.head.word.load(Ordering::Relaxed) != SLEEPERS {
                crate::sync::thread::yield_now();
            }
            crate::sync::thread::sleep(Duration::from_millis(5));
            drop(guard);
            assert!(waiter.join().unwrap(), "it waited");
        });
        assert_eq!(*lock.try_lock().expect("nobody has it"), 1);
    }

    #[test]
    fn whoever_gets_the_lock_may_free_it() {
        // The last of two holders frees the lock while the other may still be inside its unlock.
        struct Shared(NonNullLock);
        type NonNullLock = std::ptr::NonNull<SpinLock<u32>>;
        // SAFETY: the lock is shared by reference, and freed by whoever comes last.
        unsafe impl Send for Shared {}
        let use_up = |shared: Shared| {
            // SAFETY: this thread has not counted itself out yet, so nobody has freed the lock.
            let lock = unsafe { shared.0.as_ref() };
            let mut left = lock.lock();
            *left -= 1;
            let last = *left == 0;
            drop(left);
            if last {
                // SAFETY: the other thread has released the lock, which is its last access.
                drop(unsafe { Box::from_raw(shared.0.as_ptr()) });
            }
        };
        let (sender, receiver) = mpsc::channel::<Shared>();
        thread::scope(|scope| {
            scope.spawn(move || receiver.into_iter().for_each(use_up));
            for _ in 0..5_000 {
                let lock = std::ptr::NonNull::from(Box::leak(Box::new(SpinLock::new(LockRank::Zone, 2))));
                sender.send(Shared(lock)).unwrap();
                use_up(Shared(lock));
            }
            drop(sender);
        });
    }

    #[test]
    fn the_word_has_lines_of_its_own() {
        let mut lock = SpinLock::new(LockRank::Zone, 7_u64);
        assert_eq!(size_of_val(&*lock.head), size_of::<Head>());
        assert_eq!(size_of_val(&lock), 256);
        *lock.get_mut() += 1;
        assert_eq!(lock.into_inner(), 8);
    }

    #[cfg(feature = "lock-stats")]
    #[test]
    fn statistics_count_every_acquisition() {
        let lock = SpinLock::new(LockRank::Zone, ());
        for _ in 0..3 {
            let guard = lock.lock();
            crate::sync::thread::sleep(Duration::from_millis(1));
            drop(guard);
        }
        let stats = lock.stats();
        assert_eq!((stats.acquisitions, stats.contended), (3, 0));
        assert!(stats.hold_ns_max >= 1_000_000 && stats.hold_ns_total >= 3_000_000);
    }

    #[test]
    fn a_look_at_a_held_lock_does_not_wait_for_it() {
        let lock = SpinLock::new(LockRank::Zone, 7);
        let guard = lock.lock();
        assert_eq!(format!("{lock:?}"), "SpinLock { rank: Zone, .. }");
        assert_eq!(format!("{guard:?}"), "7");
    }

    #[test]
    fn a_lock_without_its_holder_can_be_had_again() {
        let lock = SpinLock::new(LockRank::Leaf, 1);
        std::mem::forget(lock.try_lock());
        assert!(lock.try_lock().is_none());
        lock.orphan();
        assert_eq!(lock.try_lock().as_deref(), Some(&1));
    }
}
