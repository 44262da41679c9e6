//! A value that may be taken away while others use it.

use super::atomic::{AtomicU32, Ordering};
use super::cell::{Shared, UnsafeCell};
use super::park::Parker;
use super::seeded::{SeededBug, seeded};
use super::thread_local;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// Nobody may begin to use the value any more.
const REVOKED: u32 = 1 << 31;
/// It was revoked by somebody who could not wait: the last user to leave drops it.
const LEFT_BEHIND: u32 = 1 << 30;
/// Somebody has taken the value out.
const TAKEN: u32 = 1 << 29;
/// How many use it.
const USERS: u32 = TAKEN - 1;

thread_local! {
    /// Whether the thread uses a value.
    static USES_ONE: Cell<bool> = const { Cell::new(false) };
}

/// A `T` that any number of threads may use, until somebody takes it away (Rust for Linux: `Revocable`).
///
/// Once [`revoke`](Self::revoke) has returned, nobody uses the value any more and it may end: it waits for those who do. Only
/// a thread that uses a revocable value itself, this one or another, does not wait, because somebody may wait for it: a callback may
/// remove itself, and two may remove each other. Then nobody begins to use the value any more, and its last user drops it.
///
/// A thread uses one revocable value at a time: where it does already, [`try_access`](Self::try_access) refuses, so that no
/// callback can lead into another one.
///
/// | `state` | meaning |
/// |---|---|
/// | `n` below 2^29 | `n` threads use the value, and others may |
/// | `n` + REVOKED (2^31) | nobody else may; whoever revoked it waits until `n` is 0 |
/// | `n` + REVOKED + LEFT_BEHIND (2^30) | as above, but when `n` becomes 0 the last user drops the value |
/// | REVOKED + TAKEN (2^29), LEFT_BEHIND or not | the value is out |
///
/// ```
/// use gfp::sync::Revocable;
///
/// let numbers = Revocable::new(vec![1, 2, 3]);
/// let access = numbers.try_access().expect("nobody has revoked it");
/// assert_eq!(access.len(), 3);
/// assert!(numbers.try_access().is_none(), "this thread uses it already");
/// drop(access);
/// assert_eq!(numbers.revoke(), Some(vec![1, 2, 3]));
/// assert!(numbers.is_revoked() && numbers.try_access().is_none());
/// assert_eq!(numbers.revoke(), None, "it is gone");
///
/// // Without waiting for those who use it.
/// let later = Revocable::new(7);
/// let access = later.try_access().expect("nobody has revoked it");
/// later.revoke_later();
/// assert_eq!((*access, later.is_revoked()), (7, true));
/// drop(access);
///
/// // From inside: it goes when the last access ends.
/// let itself = Revocable::new(String::from("callback"));
/// let access = itself.try_access().expect("nobody has revoked it");
/// assert_eq!(itself.revoke(), None);
/// assert_eq!(*access, "callback");
/// ```
pub struct Revocable<T> {
    state: AtomicU32,
    parker: Parker,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is reached by reference from several threads, and taken out by any of them.
unsafe impl<T: Send + Sync> Sync for Revocable<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for Revocable<T> {}

/// The use of a [`Revocable`] value; dropping it ends the use.
///
/// Bound to its thread. If the value was revoked by one of its users and this is the last access, dropping it drops the value.
#[must_use = "the use ends when this is dropped"]
pub struct Access<'a, T> {
    of: &'a Revocable<T>,
    shared: Shared<Option<T>>,
    _not_send: PhantomData<*mut ()>,
}

impl<T> Revocable<T> {
    /// Makes a value that may be used.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { state: AtomicU32::new(0), parker: Parker::new(), value: UnsafeCell::new(Some(value)) }
    }

    /// Begins to use the value; `None` when it was revoked, or the thread uses one already. Never waits.
    pub fn try_access(&self) -> Option<Access<'_, T>> {
        if USES_ONE.with(Cell::get) {
            return None;
        }
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            if seen & REVOKED != 0 && !seeded(SeededBug::RevokedIsEntered) {
                return None;
            }
            let entered =
                self.state.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed);
            match entered {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        USES_ONE.set(true);
        Some(Access { of: self, shared: Shared::begin(&self.value), _not_send: PhantomData })
    }

    /// Ends all use of the value, and returns it if nobody else has taken it out.
    ///
    /// Waits until nobody uses it, unless the calling thread uses a revocable value: then `None`, and the last to leave drops it.
    pub fn revoke(&self) -> Option<T> {
        let may_wait = !USES_ONE.with(Cell::get);
        let bits = if may_wait { REVOKED } else { REVOKED | LEFT_BEHIND };
        let mut seen = self.state.fetch_or(bits, Ordering::Acquire) | bits;
        while seen & USERS != 0 && !seeded(SeededBug::RevokeSkipsUsers) {
            if !may_wait {
                return None;
            }
            self.parker.wait(&self.state, seen);
            seen = self.state.load(Ordering::Acquire);
        }
        // One waiter is woken by the last user, the next one here.
        self.parker.waker(&self.state).wake_one();
        self.take()
    }

    /// Takes the value away without waiting: nobody begins to use it any more, and the last of those who do drops it.
    pub fn revoke_later(&self) {
        let before = self.state.fetch_or(REVOKED | LEFT_BEHIND, Ordering::Acquire);
        if before & USERS == 0 {
            drop(self.take());
        }
    }

    /// Tells whether nobody may begin to use the value any more.
    pub fn is_revoked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & REVOKED != 0
    }

    /// Takes the value out, after it was revoked and its last user has left.
    fn take(&self) -> Option<T> {
        let before = self.state.fetch_or(TAKEN, Ordering::AcqRel);
        if before & TAKEN != 0 && !seeded(SeededBug::RevokedTakenTwice) {
            return None;
        }
        // SAFETY: nobody uses the value and nobody can begin to; and whoever sets the bit is the only one to get here.
        self.value.with_mut(|value| unsafe { (*value).take() })
    }

    /// Ends a use.
    fn leave(&self) {
        let order = if seeded(SeededBug::AccessLeftRelaxed) { Ordering::Relaxed } else { Ordering::AcqRel };
        let before = self.state.fetch_sub(1, order);
        if before & REVOKED != 0 && before & USERS == 1 {
            self.left_last(before);
        }
    }

    /// Does what the last user of a revoked value has to.
    #[cold]
    fn left_last(&self, before: u32) {
        if !seeded(SeededBug::RevokerNotWoken) {
            self.parker.waker(&self.state).wake_one();
        }
        if before & LEFT_BEHIND != 0 {
            drop(self.take());
        }
    }
}

impl<T> Deref for Access<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the value is taken out only when it has no user; this is one.
        let value = unsafe { &*self.shared.pointer(&self.of.value) };
        value.as_ref().expect("it is there while somebody uses it")
    }
}

impl<T> Drop for Access<'_, T> {
    fn drop(&mut self) {
        self.shared.end();
        USES_ONE.set(false);
        self.of.leave();
    }
}

impl<T> fmt::Debug for Revocable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocable").field("revoked", &self.is_revoked()).finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Access<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use std::sync::{Barrier, mpsc};
    use std::thread;

    #[test]
    fn whoever_revokes_waits_for_all_users_and_gets_the_value() {
        let value = Revocable::new(Arc::new(7));
        thread::scope(|scope| {
            let (entered, has_entered) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel::<()>();
            let user = scope.spawn({
                let value = &value;
                move || {
                    let access = value.try_access().expect("nobody has revoked it");
                    entered.send(()).expect("somebody waits");
                    may_leave.recv().expect("somebody sends");
                    assert_eq!(**access, 7);
                }
            });
            has_entered.recv().expect("the user sends");
            let revoker = scope.spawn(|| value.revoke());
            while !value.is_revoked() {
                crate::sync::thread::yield_now();
            }
            assert!(value.try_access().is_none());
            assert!(!revoker.is_finished(), "it has a user");
            leave.send(()).expect("the user waits");
            assert_eq!(revoker.join().expect("it does not panic").as_deref(), Some(&7));
            user.join().expect("it does not panic");
        });
    }

    #[test]
    fn a_value_that_was_revoked_from_inside_goes_with_its_last_user() {
        let (kept, value) = {
            let kept = Arc::new(());
            (Arc::clone(&kept), Revocable::new(kept))
        };
        let mine = value.try_access().expect("nobody has revoked it");
        thread::scope(|scope| {
            let (entered, has_entered) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel::<()>();
            let other = scope.spawn({
                let value = &value;
                move || {
                    let access = value.try_access().expect("nobody has revoked it");
                    entered.send(()).expect("somebody waits");
                    may_leave.recv().expect("somebody sends");
                    drop(access);
                }
            });
            has_entered.recv().expect("the other sends");
            assert_eq!(value.revoke(), None);
            drop(mine);
            assert_eq!(Arc::strong_count(&kept), 2, "the other uses it");
            leave.send(()).expect("the other waits");
            other.join().expect("it does not panic");
        });
        assert_eq!(Arc::strong_count(&kept), 1);
        assert_eq!(value.revoke(), None);
    }

    #[test]
    fn whoever_uses_a_value_waits_for_no_other() {
        let (first, second, third) = (Revocable::new(1), Revocable::new(2), Revocable::new(3));
        let both = Barrier::new(2);
        let remove_the_other = |mine: &Revocable<i32>, other: &Revocable<i32>| {
            let access = mine.try_access().expect("nobody has revoked it");
            both.wait();
            assert_eq!(other.revoke(), None, "it has a user");
            both.wait();
            drop(access);
        };
        thread::scope(|scope| {
            scope.spawn(|| remove_the_other(&first, &second));
            scope.spawn(|| remove_the_other(&second, &first));
        });
        assert_eq!((first.revoke(), second.revoke()), (None, None));
        let third_value = third.try_access().map(|_access| first.revoke());
        assert_eq!((third_value, third.revoke()), (Some(None), Some(3)));
    }

    #[test]
    fn a_thread_uses_one_value_at_a_time_also_after_a_panic() {
        let (first, second) = (Revocable::new(1), Revocable::new(2));
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _access = first.try_access().expect("nobody has revoked it");
            assert!(second.try_access().is_none());
            panic!("unwinding through the access");
        }));
        assert!(unwound.is_err());
        assert_eq!(second.try_access().as_deref(), Some(&2));
        assert_eq!(first.revoke(), Some(1));
    }
}
