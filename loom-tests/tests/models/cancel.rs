//! A request that is cancelled while it looks for a block.

use gfp::gfp::{CancelToken, Stop, current_stop, unless_stopped};
use gfp::sync::atomic::{AtomicU32, Ordering};
use gfp::sync::{Arc, SeededBug, UnsafeCell, spin_until, thread};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[Model {
    name: "cancellation_and_success",
    property: "a request that is cancelled returns the block that it took, or has taken none, and knows what was done before",
    bound: "a request; another thread that frees a block and then cancels it",
    preemptions: None,
    program: cancellation_and_success,
    bugs: &[
        (SeededBug::CancelTakesBack, "a block is handed out or was never taken"),
        (SeededBug::CancelRelaxed, "Causality violation"),
    ],
}];

/// Free blocks, and what the other thread has written before it cancelled.
struct World {
    free: AtomicU32,
    note: UnsafeCell<u32>,
}

// SAFETY: the note is written before the request is cancelled and read after; loom checks that.
unsafe impl Sync for World {}
// SAFETY: the note is plain data.
unsafe impl Send for World {}

impl World {
    fn take(&self) -> Option<u32> {
        self.free.compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed).ok()
    }
}

/// Tries until it is served or cancelled.
fn request(world: &World) -> Result<u32, Stop> {
    let mut outcome = Ok(None);
    spin_until(|| {
        outcome = unless_stopped(world.take(), current_stop);
        outcome != Ok(None)
    });
    outcome.map(|taken| taken.expect("it tried until there was something"))
}

fn cancellation_and_success() {
    let world = Arc::new(World { free: AtomicU32::new(0), note: UnsafeCell::new(0) });
    let token = CancelToken::new();
    let other = thread::spawn({
        let (world, token) = (Arc::clone(&world), token.clone());
        move || {
            world.free.store(1, Ordering::Release);
            world.note.with_mut(|note| {
                // SAFETY: the request reads it only after it was cancelled.
                unsafe { *note = 7 };
            });
            token.cancel();
        }
    });
    let scope = token.enter();
    let taken = match request(&world) {
        Ok(taken) => taken,
        Err(stop) => {
            assert_eq!(stop, Stop::Cancelled);
            let note = world.note.with(|note| {
                // SAFETY: whoever cancelled wrote it before.
                unsafe { *note }
            });
            assert_eq!(note, 7);
            0
        }
    };
    drop(scope);
    other.join().unwrap();
    let left = world.free.load(Ordering::Acquire);
    assert_eq!(taken + left, 1, "a block is handed out or was never taken");
}
