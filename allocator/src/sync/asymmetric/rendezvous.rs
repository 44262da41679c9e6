//! The asymmetric fence for loom: a meeting on one cell a thread.
//!
//! A light fence is a read-modify-write of the thread's own cell, a heavy one of every cell: so each
//! light–heavy and heavy–heavy pair is ordered one way or the other, as membarrier orders them, and
//! light–light pairs are not. With SeqCst fences on both sides loom would order two owners as well, and hide
//! code that relies on that.

use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::seeded::{SeededBug, seeded};
use std::cell::Cell;

/// loom runs at most five threads; the models here use at most four.
const THREADS: usize = 4;

struct Meeting {
    cells: [AtomicUsize; THREADS],
    /// Threads that have a cell. Not one of loom's atomics: to hand out numbers orders nothing.
    taken: Cell<usize>,
}

// SAFETY: loom runs the threads of a model one at a time on one thread of the system.
unsafe impl Sync for Meeting {}

loom::lazy_static! {
    static ref MEETING: Meeting = Meeting {
        cells: std::array::from_fn(|_| AtomicUsize::new(0)),
        taken: Cell::new(0),
    };
}

loom::thread_local! {
    static NUMBER: usize = {
        let number = MEETING.taken.get();
        MEETING.taken.set(number + 1);
        number
    };
}

std::thread_local! {
    static FALLBACK: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn light() {
    if FALLBACK.get() || seeded(SeededBug::OwnerSkipsFence) {
        return;
    }
    let number = NUMBER.with(|number| *number);
    MEETING.cells[number].fetch_add(1, Ordering::AcqRel);
}

pub(super) fn heavy() -> bool {
    if seeded(SeededBug::DrainerSkipsFence) {
        return true;
    }
    if FALLBACK.get() {
        fence(Ordering::SeqCst);
        return false;
    }
    for cell in &MEETING.cells {
        cell.fetch_add(1, Ordering::AcqRel);
    }
    true
}

pub(super) fn available() -> bool {
    // Made here, before a cell of its user is shared: its initialisation would order threads.
    let _ = &MEETING.cells;
    !FALLBACK.get()
}

/// Runs `f` as on a system that refuses membarrier.
pub fn with_fallback<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FALLBACK.set(self.0);
        }
    }
    let _restore = Restore(FALLBACK.replace(true));
    f()
}
