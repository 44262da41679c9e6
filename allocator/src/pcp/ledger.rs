//! What is still out after an allocator was closed.

use crate::sync::{
    Mutex, SeededBug,
    atomic::{AtomicU64, Ordering},
    seeded,
};

/// What is done when the last frame has come back.
pub type OnLast = Box<dyn FnOnce() + Send>;

/// Counts the frames of a closed allocator that have not come back, and acts when the last one does.
///
/// Before the allocator is closed nothing is counted. Frees into a zone that is closed already may come before the
/// closer has added up what is out: the count is below 0 then, and reaches 0 only after the closer's addition.
///
/// ```
/// use gfp::pcp::Ledger;
///
/// let (gone, is_gone) = std::sync::mpsc::channel();
/// let ledger = Ledger::default();
/// ledger.close(Box::new(move || gone.send(()).expect("somebody waits")), || 3, || ());
/// ledger.settle(2);
/// assert!(is_gone.try_recv().is_err(), "a frame is out");
/// ledger.settle(1);
/// assert!(is_gone.try_recv().is_ok());
/// ```
#[derive(Default)]
pub struct Ledger {
    outstanding: AtomicU64,
    on_last: Mutex<Option<OnLast>>,
}

impl Ledger {
    /// Closes: `count` stops circulation and tells how many frames are out, `rest` does what is left to be done, and when
    /// the last frame has come back, which may be now, `on_last` runs. It may free the ledger.
    pub fn close(&self, on_last: OnLast, count: impl FnOnce() -> u64, rest: impl FnOnce()) {
        *self.on_last.lock() = Some(on_last);
        // One more than is out, so that nobody else acts on the last frame before the rest is done.
        let closer = if seeded(SeededBug::LedgerUnbiased) { 0 } else { 1 };
        self.change(count().wrapping_add(closer));
        rest();
        if closer > 0 {
            self.settle(closer);
        }
    }

    /// Takes off frames that came back. The last access to whatever `on_last` gives away.
    pub fn settle(&self, frames: u64) {
        self.change(frames.wrapping_neg());
    }

    /// Adds `frames`, modulo 2^64: more came back than was charged so far is a number close to 2^64.
    fn change(&self, frames: u64) {
        // Acquire and release: whoever sees 0 sees all that the others did with their frames.
        let order = if seeded(SeededBug::LedgerRelaxed) { Ordering::Relaxed } else { Ordering::AcqRel };
        if self.outstanding.fetch_add(frames, order).wrapping_add(frames) == 0 {
            let on_last = self.on_last.lock().take();
            if let Some(on_last) = on_last {
                on_last();
            }
        }
    }
}

impl core::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ledger").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    /// Returns what runs on the last frame, and how often it did.
    fn on_last() -> (OnLast, Arc<AtomicU64>) {
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        (Box::new(move || _ = counted.fetch_add(1, Ordering::Relaxed)), runs)
    }

    #[test]
    fn the_last_frame_of_a_closed_allocator_runs_what_was_left_to_be_done_once() {
        let (last, runs) = on_last();
        let ledger = Ledger::default();
        // One frame came back before the closer had counted.
        ledger.settle(1);
        ledger.close(last, || 3, || assert_eq!(runs.load(Ordering::Relaxed), 0));
        ledger.settle(1);
        assert_eq!(runs.load(Ordering::Relaxed), 0, "a frame is out");
        assert!(format!("{ledger:?}").contains("outstanding: 1"), "{ledger:?}");
        ledger.settle(1);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn with_nothing_out_it_runs_after_the_rest_was_done() {
        let (last, runs) = on_last();
        let seen = Arc::clone(&runs);
        Ledger::default().close(last, || 0, || assert_eq!(seen.load(Ordering::Relaxed), 0));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
