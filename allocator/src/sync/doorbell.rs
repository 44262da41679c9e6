//! Where one thread sleeps until somebody has work for it.

use core::time::Duration;

use super::atomic::{AtomicU32, Ordering, fence};
use super::park::Parker;
use super::seeded::{SeededBug, seeded};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// What came of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The sleeper is awake: it will see what it was rung for before it sleeps.
    Awake,
    /// It sleeps on: the caller thought better of it.
    LetSleep,
    /// It slept and has been woken.
    Woken,
}

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// It did not begin: there was something to do.
    NotAtAll,
    /// The time was up.
    TimedOut,
    /// Somebody rang.
    Woken,
}

/// A bell at the bed of one thread, which any thread may ring without waiting for anybody: two atomic words, a fence, and where
/// the sleeper must be woken one system call.
///
/// Who rings leaves wishes, a set of bits, and then looks whether the sleeper sleeps; who goes to sleep says so, and then looks at the
/// wishes and at whatever else there may be to do. Between the two steps of each stands a full fence, so that one of them sees the
/// other: no work is left lying while the sleeper sleeps.
///
/// | state | meaning | leaves it by |
/// |---|---|---|
/// | 0 | awake | swap to 1, by the sleeper |
/// | 1 | asleep, or about to be | compare-exchange to 0 by who rings, then one wake-up; swap to 0 by the sleeper |
///
/// The state is changed by read-modify-writes only, so that the sleeper has seen what was done by whoever woke it, also if it has woken by
/// itself in the same moment.
///
/// It begins asleep. Where there is no thread, [`is_awake`](Self::is_awake) tells whether somebody has rung since the last
/// [`rest`](Self::rest).
///
/// ```
/// use gfp::sync::{Doorbell, Rung, Slept};
///
/// let bell = Doorbell::new();
/// assert_eq!(bell.ring(1, || false), Rung::LetSleep);
/// assert_eq!(bell.ring(2, || true), Rung::Woken);
/// assert_eq!(bell.ring(4, || unreachable!("it is awake")), Rung::Awake);
/// assert!(bell.is_awake());
///
/// // The sleeper:
/// assert_eq!(bell.sleep(None, |wishes| wishes == 0), Slept::NotAtAll);
/// assert_eq!(bell.take(), 1 | 2 | 4);
/// let at_most = std::time::Duration::from_millis(1);
/// assert_eq!(bell.sleep(Some(at_most), |wishes| wishes == 0), Slept::TimedOut);
/// assert!(bell.rest(|_| true) && !bell.is_awake());
/// ```
#[derive(Debug)]
pub struct Doorbell {
    wishes: AtomicU32,
    state: AtomicU32,
    parker: Parker,
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl Doorbell {
    /// Makes the bell of a thread that sleeps.
    #[must_use]
    pub fn new() -> Self {
        Self { wishes: AtomicU32::new(0), state: AtomicU32::new(ASLEEP), parker: Parker::new() }
    }

    /// Leaves wishes, and wakes the sleeper if it sleeps and `is_worth_it`.
    ///
    /// What the caller did before is seen by the sleeper before it sleeps again.
    pub fn ring(&self, wishes: u32, is_worth_it: impl FnOnce() -> bool) -> Rung {
        let early = seeded(SeededBug::RingerLooksEarly).then(|| self.state.load(Ordering::Relaxed));
        self.wishes.fetch_or(wishes, Ordering::Release);
        if !seeded(SeededBug::RingerSkipsFence) {
            fence(Ordering::SeqCst);
        }
        if early.unwrap_or_else(|| self.state.load(Ordering::Relaxed)) != ASLEEP {
            return Rung::Awake;
        }
        if !is_worth_it() {
            return Rung::LetSleep;
        }
        match self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                self.parker.waker(&self.state).wake_one();
                Rung::Woken
            }
            Err(_) => Rung::Awake,
        }
    }

    /// As [`ring`](Self::ring), and wakes the sleeper in any case; but where the wishes lie there already, it only looks.
    ///
    /// For who holds a lock that the sleeper takes after it has [taken](Self::take) the wishes: either the sleeper will have the lock
    /// later, or the caller sees that the wishes are gone.
    ///
    /// ```
    /// use gfp::sync::Doorbell;
    ///
    /// let bell = Doorbell::new();
    /// bell.ring_once(1);
    /// bell.ring_once(1);
    /// assert_eq!((bell.take(), bell.take()), (1, 0));
    /// ```
    pub fn ring_once(&self, wishes: u32) {
        if self.wishes.load(Ordering::Relaxed) & wishes != wishes {
            self.ring(wishes, || true);
        }
    }

    /// Takes the wishes.
    pub fn take(&self) -> u32 {
        self.wishes.swap(0, Ordering::Acquire)
    }

    /// Tells whether the sleeper is awake, or was rung for.
    pub fn is_awake(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Lies down unless there is something to do, which `may_rest` tells when it is shown the wishes; for the sleeper. Returns
    /// whether it lies.
    pub fn rest(&self, may_rest: impl FnOnce(u32) -> bool) -> bool {
        let look = || self.wishes.load(Ordering::Acquire);
        if seeded(SeededBug::SleeperLooksEarly) {
            let may = may_rest(look());
            self.state.swap(if may { ASLEEP } else { AWAKE }, Ordering::Acquire);
            return may;
        }
        self.state.swap(ASLEEP, Ordering::Acquire);
        if !seeded(SeededBug::SleeperSkipsFence) {
            fence(Ordering::SeqCst);
        }
        let may = may_rest(look());
        if !may {
            self.state.swap(AWAKE, Ordering::Acquire);
        }
        may
    }

    /// Sleeps until somebody rings, or for a while, unless there is something to do; for the sleeper.
    pub fn sleep(&self, at_most: Option<Duration>, may_sleep: impl FnOnce(u32) -> bool) -> Slept {
        if !self.rest(may_sleep) {
            return Slept::NotAtAll;
        }
        while self.state.load(Ordering::Acquire) == ASLEEP {
            match at_most {
                None => self.parker.wait(&self.state, ASLEEP),
                Some(at_most) if self.parker.wait_for(&self.state, ASLEEP, at_most).is_over() => break,
                Some(_) => {}
            }
        }
        // Whoever rings in this moment finds it awake, or has been counted.
        match self.state.swap(AWAKE, Ordering::Acquire) {
            ASLEEP => Slept::TimedOut,
            _ => Slept::Woken,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::thread::yield_now;
    use std::thread;

    #[test]
    fn all_that_is_rung_for_is_done_and_the_sleeper_sleeps_between() {
        const RINGERS: u32 = 4;
        const RINGS: u32 = 500;
        let (bell, done) = (Doorbell::new(), AtomicU32::new(0));
        let (wanted, sleeps) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < RINGERS * RINGS {
                    done.fetch_add(wanted.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                    let may_sleep = |_| {
                        wanted.load(Ordering::Relaxed) == 0 && done.load(Ordering::Relaxed) < RINGERS * RINGS
                    };
                    if bell.sleep(None, may_sleep) == Slept::Woken {
                        sleeps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            for _ in 0..RINGERS {
                scope.spawn(|| {
                    for _ in 0..RINGS {
                        wanted.fetch_add(1, Ordering::Relaxed);
                        bell.ring(1, || true);
                        yield_now();
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), RINGERS * RINGS);
        assert!(sleeps.into_inner() > 0);
    }

    #[test]
    fn a_nap_ends_when_somebody_rings() {
        let bell = Doorbell::new();
        let napped = thread::scope(|scope| {
            let sleeper = scope.spawn(|| bell.sleep(Some(Duration::from_secs(3600)), |wishes| wishes == 0));
            while bell.ring(1, || true) == Rung::Awake {
                yield_now();
            }
            sleeper.join().expect("no panic")
        });
        assert_ne!(napped, Slept::TimedOut);
    }
}
