//! The facade over `std` and `parking_lot`.
//!
//! Aliases and wrapping functions rather than re-exports: clippy's `disallowed-types` resolves a re-export to
//! the original and would refuse it at every use.

#[expect(clippy::disallowed_types, reason = "the one door to the original")]
mod types {
    /// `std::sync::Arc`.
    pub type Arc<T> = std::sync::Arc<T>;

    /// Atomic integers and fences.
    ///
    /// ```
    /// use gfp::sync::atomic::{AtomicU32, Ordering, fence};
    ///
    /// static WORD: AtomicU32 = AtomicU32::new(0);
    /// WORD.store(1, Ordering::Relaxed);
    /// // Before it the store, behind it the load, as every thread sees them.
    /// fence(Ordering::SeqCst);
    /// assert_eq!(WORD.load(Ordering::Relaxed), 1);
    /// ```
    pub mod atomic {
        pub use core::sync::atomic::Ordering;
        /// `core::sync::atomic::AtomicBool`.
        pub type AtomicBool = core::sync::atomic::AtomicBool;
        /// `core::sync::atomic::AtomicU8`.
        pub type AtomicU8 = core::sync::atomic::AtomicU8;
        /// `core::sync::atomic::AtomicU16`.
        pub type AtomicU16 = core::sync::atomic::AtomicU16;
        /// `core::sync::atomic::AtomicU32`.
        pub type AtomicU32 = core::sync::atomic::AtomicU32;
        /// `core::sync::atomic::AtomicU64`.
        pub type AtomicU64 = core::sync::atomic::AtomicU64;
        /// `core::sync::atomic::AtomicUsize`.
        pub type AtomicUsize = core::sync::atomic::AtomicUsize;
        /// `core::sync::atomic::AtomicPtr`.
        pub type AtomicPtr<T> = core::sync::atomic::AtomicPtr<T>;

        /// Orders memory accesses as `core::sync::atomic::fence` does.
        #[inline(always)]
        #[expect(clippy::disallowed_methods, reason = "the one door to the original")]
        pub fn fence(order: Ordering) {
            core::sync::atomic::fence(order);
        }
    }
}
pub use parking_lot::{Condvar, Mutex, MutexGuard};
pub use std::thread_local;
pub use types::{Arc, atomic};

/// Hints to the processor.
///
/// ```
/// for _ in 0..8 {
///     gfp::sync::hint::spin_loop();
/// }
/// ```
pub mod hint {
    /// Tells the processor that the caller spins.
    #[inline(always)]
    #[expect(clippy::disallowed_methods, reason = "the one door to the original")]
    pub fn spin_loop() {
        core::hint::spin_loop();
    }
}

/// Threads.
///
/// ```
/// use gfp::sync::thread;
///
/// let sleeper = thread::spawn(|| {
///     thread::park();
///     thread::yield_now();
///     42
/// });
/// sleeper.thread().unpark();
/// assert_eq!(sleeper.join().expect("it does not panic"), 42);
///
/// thread::sleep(std::time::Duration::from_millis(1));
/// thread::current().unpark();
/// thread::park_timeout(std::time::Duration::MAX); // At once: the wake-up came first.
/// ```
#[expect(clippy::disallowed_methods, reason = "the one door to the originals")]
pub mod thread {
    pub use std::thread::{Builder, JoinHandle, LocalKey, Thread, ThreadId, current, panicking};
    use std::time::Duration;

    /// Starts a thread, as `std::thread::spawn` does.
    pub fn spawn<F, T>(f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::thread::spawn(f)
    }

    /// Gives the rest of the time slice to another thread.
    pub fn yield_now() {
        std::thread::yield_now();
    }

    /// Blocks until another thread unparks the caller.
    pub fn park() {
        std::thread::park();
    }

    /// Blocks for a while, whoever unparks the caller: that is for somebody else's `park`.
    pub fn sleep(duration: Duration) {
        std::thread::sleep(duration);
    }

    /// Blocks until another thread unparks the caller, at most `timeout`.
    pub fn park_timeout(timeout: Duration) {
        std::thread::park_timeout(timeout);
    }
}
