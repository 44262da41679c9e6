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
        $(#[$attr])*
        static $name: $crate::sync::thread::LocalKey<$type> = {
            $crate::sync::backend_thread_local! { static KEY: $type = $init; }
            $crate::sync::thread::LocalKey::new(&KEY, || $init)
        };
    };
}
#[doc(hidden)]
pub use backend::thread_local as backend_thread_local;
pub use model_thread_local as thread_local;

/// Threads.
pub mod thread {
    use super::backend::thread as backend;
    pub use super::backend::thread::{
        AccessError, Builder, JoinHandle, Thread, ThreadId, current, panicking, park, spawn, yield_now,
    };
    use std::cell::Cell;

    /// A value of each thread.
    ///
    /// As with `std`, one without a destructor is there until the thread is gone, also for the destructors of others: the
    /// backends take it away when its turn comes, and from then on it is as it began.
    #[derive(Debug)]
    pub struct LocalKey<T: 'static> {
        key: &'static backend::LocalKey<T>,
        init: fn() -> T,
    }

    impl<T: 'static> LocalKey<T> {
        #[doc(hidden)]
        pub const fn new(key: &'static backend::LocalKey<T>, init: fn() -> T) -> Self {
            Self { key, init }
        }

        /// Calls `f` with the calling thread's value.
        ///
        /// # Panics
        ///
        /// When the value has been destroyed.
        pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
            self.try_with(f).expect("it has not been destroyed")
        }

        /// Calls `f` with the calling thread's value.
        ///
        /// # Errors
        ///
        /// When the value has been destroyed.
        pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
            let mut f = Some(f);
            let mut call = |value: &T| f.take().map(|f| f(value)).expect("called once");
            self.key.try_with(&mut call).or_else(|error| {
                if std::mem::needs_drop::<T>() { Err(error) } else { Ok(call(&(self.init)())) }
            })
        }
    }

    impl<T: Copy> LocalKey<Cell<T>> {
        /// Replaces the calling thread's value.
        pub fn set(&'static self, value: T) {
            self.with(|cell| cell.set(value));
        }

        /// Replaces the calling thread's value, and returns the one before.
        pub fn replace(&'static self, value: T) -> T {
            self.with(|cell| cell.replace(value))
        }
    }

    /// Gives way once: a model has no time.
    pub fn sleep(_duration: std::time::Duration) {
        yield_now();
    }

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
