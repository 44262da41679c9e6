//! Sleeping on a word: the futex, and its emulation in models.

/// Why a wait with a limit has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The time was up.
    Over,
    /// Another reason, or none.
    Perhaps,
}

impl Waited {
    /// Tells whether the time was up.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }
}

#[cfg(any(loom, shuttle))]
pub(super) use emulation::Parker;
#[cfg(not(any(loom, shuttle)))]
pub(super) use system::Parker;

#[cfg(not(any(loom, shuttle)))]
mod system {
    use super::Waited;
    use crate::sync::atomic::AtomicU32;
    use core::time::Duration;
    use rustix::thread::futex;

    /// The system's queue of sleepers, found by the address of the word.
    #[derive(Debug, Default)]
    pub(in crate::sync) struct Parker;

    impl Parker {
        /// Makes a queue without sleepers.
        pub(in crate::sync) const fn new() -> Self {
            Self
        }

        /// Sleeps until woken if `word` still holds `expected`; may return for no reason.
        pub(in crate::sync) fn wait(&self, word: &AtomicU32, expected: u32) {
            // EAGAIN says that the word changed, EINTR that a signal came: either way the caller looks again.
            let _: rustix::io::Result<()> = futex::wait(word, futex::Flags::PRIVATE, expected, None);
        }

        /// Sleeps until woken or for `at_most` if `word` still holds `expected`; may return for no reason.
        pub(in crate::sync) fn wait_for(&self, word: &AtomicU32, expected: u32, at_most: Duration) -> Waited {
            let limit = futex::Timespec {
                tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: at_most.subsec_nanos().into(),
            };
            match futex::wait(word, futex::Flags::PRIVATE, expected, Some(&limit)) {
                Err(rustix::io::Errno::TIMEDOUT) => Waited::Over,
                _ => Waited::Perhaps,
            }
        }

        /// Prepares a wake-up that needs nothing of the lock but the address of its word.
        #[inline(always)]
        pub(in crate::sync) fn waker(&self, word: &AtomicU32) -> Waker {
            Waker { address: word.as_ptr() }
        }
    }

    /// A wake-up by address.
    #[derive(Debug)]
    pub(in crate::sync) struct Waker {
        address: *mut u32,
    }

    impl Waker {
        /// Wakes one sleeper.
        ///
        /// The word may be gone: whoever was let in by the unlocking store may have freed the lock. The
        /// system only looks the address up; EFAULT is nobody to wake, and a stranger that sleeps at a reused
        /// address wakes for no reason, which every futex user must expect.
        #[cold]
        pub(in crate::sync) fn wake_one(self) {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: FUTEX_WAKE takes an address, an operation and a count, and does not read the memory.
            unsafe { libc::syscall(libc::SYS_futex, self.address, operation, 1) };
        }
    }
}

#[cfg(any(loom, shuttle))]
mod emulation {
    use super::Waited;
    use crate::sync::atomic::{AtomicU32, Ordering};
    use crate::sync::{Arc, Condvar, Mutex, thread};
    use core::time::Duration;

    /// A queue of sleepers that lives as long as its users: a futex queue belongs to the system, not to the
    /// lock.
    #[derive(Debug)]
    pub(in crate::sync) struct Parker(Arc<Queue>);

    #[derive(Debug)]
    struct Queue {
        lock: Mutex<()>,
        sleepers: Condvar,
    }

    impl Parker {
        /// Makes a queue without sleepers.
        pub(in crate::sync) fn new() -> Self {
            Self(Arc::new(Queue { lock: Mutex::new(()), sleepers: Condvar::new() }))
        }

        /// Sleeps until woken if `word` still holds `expected`.
        pub(in crate::sync) fn wait(&self, word: &AtomicU32, expected: u32) {
            let mut guard = self.0.lock.lock();
            if word.load(Ordering::Relaxed) == expected {
                self.0.sleepers.wait(&mut guard);
            }
        }

        /// Gives way once, and then the time is up: a model has no clock.
        pub(in crate::sync) fn wait_for(&self, word: &AtomicU32, expected: u32, _: Duration) -> Waited {
            thread::yield_now();
            if word.load(Ordering::Relaxed) == expected { Waited::Over } else { Waited::Perhaps }
        }

        /// Prepares a wake-up that needs nothing of the lock.
        pub(in crate::sync) fn waker(&self, _word: &AtomicU32) -> Waker {
            Waker(Arc::clone(&self.0))
        }
    }

    /// A wake-up.
    #[derive(Debug)]
    pub(in crate::sync) struct Waker(Arc<Queue>);

    impl Waker {
        /// Wakes one sleeper.
        pub(in crate::sync) fn wake_one(self) {
            let _guard = self.0.lock.lock();
            self.0.sleepers.notify_one();
        }
    }
}
