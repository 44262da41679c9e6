//! Keeping threads in the trace's order, as far as it matters.
//!
//! Events of one slot happen in the trace's order: each waits for its turn. Events of different slots may overtake each
//! other, but no thread begins an event more than [`WINDOW`] after one that another thread has yet to do; so the memory
//! in use stays near the trace's. The thread with the earliest event left never waits for the window, and the events
//! that its own turn depends on are done: there is no deadlock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::{Backoff, CachePadded};

use super::plan::Step;

/// How many events of the trace threads may be apart.
pub const WINDOW: u64 = 1024;

/// After how many of its own events a thread tells the others where it is.
const PUBLISH_EVERY: usize = 64;

/// What a thread does before and after each event.
pub(super) trait Pace: Sync {
    /// A thread's own part, for one pass.
    type Local: Default;

    /// Waits until the step, the thread's `number`-th, may be done.
    fn enter(&self, local: &mut Self::Local, worker: usize, number: usize, step: &Step);
    /// Lets the slot's next event happen.
    fn leave(&self, step: &Step);
    /// Puts the thread before its first event; to be called before a barrier.
    fn begin(&self, worker: usize, steps: &[Step]);
    /// Says that the thread has no more events.
    fn end(&self, worker: usize);
    /// Forgets all turns; to be called by one thread between passes.
    fn reset(&self);
    /// Waits for the other threads.
    fn barrier(&self);
    /// Tells the other threads to stop waiting, because this one panics.
    fn abandon(&self);
}

/// The pace of a single thread, which waits for nobody.
#[derive(Debug)]
pub(super) struct Alone;

impl Pace for Alone {
    type Local = ();

    #[inline(always)]
    fn enter(&self, (): &mut (), _: usize, _: usize, _: &Step) {}
    #[inline(always)]
    fn leave(&self, _: &Step) {}
    fn begin(&self, _: usize, _: &[Step]) {}
    fn end(&self, _: usize) {}
    fn reset(&self) {}
    fn barrier(&self) {}
    fn abandon(&self) {}
}

/// The pace of several threads.
#[derive(Debug)]
pub(super) struct Together {
    /// How many events each slot has had.
    turns: Vec<AtomicU32>,
    /// No earlier event of this thread is left to do.
    positions: Vec<CachePadded<AtomicU64>>,
    arrived: AtomicUsize,
    abandoned: AtomicBool,
}

impl Together {
    pub(super) fn new(slots: usize, workers: usize) -> Self {
        Self {
            turns: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            positions: (0..workers).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            arrived: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Returns the last event that the window allows now.
    fn limit(&self) -> u64 {
        let earliest = self.positions.iter().map(|position| position.load(Ordering::Relaxed)).min();
        earliest.unwrap_or(0).saturating_add(WINDOW)
    }

    fn publish(&self, worker: usize, step: &Step) {
        self.positions[worker].store(u64::from(step.event), Ordering::Relaxed);
    }

    /// Waits, first spinning, then yielding the CPU, which the others may need.
    #[cold]
    fn wait_until(&self, mut done: impl FnMut() -> bool) {
        let backoff = Backoff::new();
        while !done() {
            assert!(!self.abandoned.load(Ordering::Relaxed), "another thread of the replay panicked");
            backoff.snooze();
        }
    }
}

impl Pace for Together {
    /// The last event that the window allowed when it was last looked at.
    type Local = u64;

    #[inline]
    fn enter(&self, limit: &mut u64, worker: usize, number: usize, step: &Step) {
        if number.is_multiple_of(PUBLISH_EVERY) {
            self.publish(worker, step);
        }
        if u64::from(step.event) > *limit {
            self.publish(worker, step);
            self.wait_until(|| {
                *limit = self.limit();
                u64::from(step.event) <= *limit
            });
        }
        let turn = &self.turns[step.slot as usize];
        if turn.load(Ordering::Acquire) != step.turn {
            self.publish(worker, step);
            self.wait_until(|| turn.load(Ordering::Acquire) == step.turn);
        }
    }

    #[inline]
    fn leave(&self, step: &Step) {
        self.turns[step.slot as usize].store(step.turn + 1, Ordering::Release);
    }

    fn begin(&self, worker: usize, steps: &[Step]) {
        match steps.first() {
            Some(step) => self.publish(worker, step),
            None => self.end(worker),
        }
    }

    fn end(&self, worker: usize) {
        self.positions[worker].store(u64::MAX, Ordering::Relaxed);
    }

    fn reset(&self) {
        for turn in &self.turns {
            turn.store(0, Ordering::Relaxed);
        }
    }

    /// A barrier that spins: all threads are running when it is used, and waking one would take longer than a
    /// thousand events.
    fn barrier(&self) {
        let workers = self.positions.len();
        let ticket = self.arrived.fetch_add(1, Ordering::AcqRel);
        let round_end = ticket - ticket % workers + workers;
        self.wait_until(|| self.arrived.load(Ordering::Acquire) >= round_end);
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::trace::Op;

    fn step(event: u32, slot: u32, turn: u32) -> Step {
        Step { event, slot, turn, order: 0, op: Op::Free }
    }

    #[test]
    fn a_thread_waits_for_the_window() {
        let pace = Together::new(2, 2);
        pace.begin(0, &[step(5000, 0, 0)]);
        pace.begin(1, &[step(0, 1, 0)]);
        let reached = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                pace.enter(&mut 0, 0, 0, &step(5000, 0, 0));
                reached.store(1, Ordering::SeqCst);
            });
            let last_outside = step(5000 - u32::try_from(WINDOW).unwrap() - 1, 1, 0);
            pace.enter(&mut 0, 1, 0, &last_outside);
            assert_eq!(reached.load(Ordering::SeqCst), 0);
            pace.end(1);
        });
        assert_eq!(reached.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn events_of_a_slot_take_turns() {
        let pace = Together::new(1, 2);
        let done = AtomicU64::new(0);
        thread::scope(|scope| {
            for worker in 0..2_u32 {
                let (pace, done) = (&pace, &done);
                scope.spawn(move || {
                    let mut limit = u64::MAX;
                    for turn in (worker..1000).step_by(2) {
                        let step = step(turn, 0, turn);
                        pace.enter(&mut limit, worker as usize, 0, &step);
                        assert_eq!(done.fetch_add(1, Ordering::Relaxed), u64::from(turn));
                        pace.leave(&step);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 1000);
    }

    #[test]
    fn waiting_ends_when_another_thread_gives_up() {
        let pace = Together::new(1, 2);
        pace.abandon();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pace.barrier()));
        assert!(waited.is_err());
    }
}
