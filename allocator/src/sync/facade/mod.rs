//! The names that differ between `std`, loom and shuttle.

#[cfg(any(loom, shuttle))]
mod model;
#[cfg(not(any(loom, shuttle)))]
mod system;

#[cfg(any(loom, shuttle))]
pub use model::{Arc, Condvar, Mutex, MutexGuard, atomic, backend_thread_local, hint, thread, thread_local};
#[cfg(not(any(loom, shuttle)))]
pub use system::{Arc, Condvar, Mutex, MutexGuard, atomic, hint, thread, thread_local};

/// Waits until `ready` answers true, giving way to other threads in between.
///
/// Under loom an unfair schedule, in which the waiter alone runs, is abandoned after three turns.
///
/// ```
/// use gfp::sync::{Arc, atomic::{AtomicBool, Ordering}, spin_until, thread};
///
/// let ready = Arc::new(AtomicBool::new(false));
/// let other = thread::spawn({
///     let ready = Arc::clone(&ready);
///     move || ready.store(true, Ordering::Release)
/// });
/// spin_until(|| ready.load(Ordering::Acquire));
/// other.join().expect("it does not panic");
/// ```
pub fn spin_until(mut ready: impl FnMut() -> bool) {
    #[cfg(not(any(loom, shuttle)))]
    {
        let backoff = crossbeam_utils::Backoff::new();
        while !ready() {
            backoff.snooze();
        }
    }
    #[cfg(loom)]
    {
        let mut turns = 0;
        while !ready() {
            turns += 1;
            if turns > 3 {
                loom::skip_branch();
            }
            thread::yield_now();
        }
    }
    #[cfg(shuttle)]
    while !ready() {
        thread::yield_now();
    }
}
