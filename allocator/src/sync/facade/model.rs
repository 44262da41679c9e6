//! The facade over loom or shuttle.
//!
//! The locks have `parking_lot`'s face (no poisoning, guards passed by reference to a condition variable),
//! because that is what the code outside of models uses.

#[cfg(loom)]
use loom as backend;
#[cfg(shuttle)]
use shuttle as backend;

pub use backend::hint;
pub use backend::sync::atomic;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A shared owner; loom's finds leaks.
#[cfg_attr(
    shuttle,
    expect(clippy::disallowed_types, reason = "shuttle has std's, and this is the one door to it")
)]
pub type Arc<T> = backend::sync::Arc<T>;

/// `std::thread_local!` in its `const` form: the threads of a model are not threads of the system.
#[doc(hidden)]
#[macro_export]
macro_rules! model_thread_local {
    ($(#[$attr:meta])* static $name:ident: $type:ty = const $init:block;) => {
        $crate::sync::backend_thread_local! { $(#[$attr])* static $name: $type = $init; }
    };
}
#[doc(hidden)]
pub use backend::thread_local as backend_thread_local;
pub use model_thread_local as thread_local;

/// Threads.
pub mod thread {
    pub use super::backend::thread::{
        Builder, JoinHandle, LocalKey, Thread, ThreadId, current, panicking, park, spawn, yield_now,
    };

    /// Gives way once: a model has no time.
    pub fn park_timeout(_timeout: std::time::Duration) {
        yield_now();
    }
}

/// A mutual exclusion lock with the face of `parking_lot::Mutex`.
#[derive(Debug, Default)]
pub struct Mutex<T>(backend::sync::Mutex<T>);

/// Access to what a [`Mutex`] protects.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<backend::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    /// Makes an unlocked lock around `value`.
    pub fn new(value: T) -> Self {
        Self(backend::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("no model panics with a lock held and goes on")))
    }

    /// Takes the lock if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }

    /// Reaches the value through exclusive access to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("no model panics with a lock held and goes on")
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0.into_inner().expect("no model panics with a lock held and goes on")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("only a wait takes the guard, and puts it back")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only a wait takes the guard, and puts it back")
    }
}

/// A condition variable with the face of `parking_lot::Condvar`.
#[derive(Debug, Default)]
pub struct Condvar(backend::sync::Condvar);

/// Says whether a timed wait ended without a notification.
#[derive(Debug, Clone, Copy)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Answers whether the wait ended without a notification.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Makes a condition variable on which nobody waits.
    pub fn new() -> Self {
        Self(backend::sync::Condvar::new())
    }

    /// Unlocks, waits for a notification, and locks again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("only a wait takes the guard, and puts it back");
        guard.0 = Some(self.0.wait(inner).expect("no model panics with a lock held and goes on"));
    }

    /// Unlocks, gives way, and locks again: in a model every timed wait may time out.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitTimeoutResult {
        let inner = guard.0.take().expect("only a wait takes the guard, and puts it back");
        let (inner, result) =
            self.0.wait_timeout(inner, timeout).expect("no model panics with a lock held and goes on");
        guard.0 = Some(inner);
        WaitTimeoutResult(result.timed_out())
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
