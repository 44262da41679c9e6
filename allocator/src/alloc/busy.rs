//! Whether the calling thread is on a slow path already.

use core::{cell::Cell, marker::PhantomData};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{gfp::MemallocScope, sync::thread_local, zone::Waiting};

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// A thread's stay on a slow path, where it may hold a zone's lock, or be about to register its cache.
///
/// Who enters while the thread is there already is a signal handler that interrupted it, and must not wait for anything: it
/// might wait for itself.
#[derive(Debug)]
pub(crate) struct Busy {
    waiting: Waiting,
    /// Bound to its thread.
    _not_send: PhantomData<*mut ()>,
}

impl Busy {
    /// Enters a slow path.
    pub(crate) fn enter() -> Self {
        let interrupted = BUSY.replace(true);
        let waiting = if interrupted { Waiting::Never } else { Waiting::Allowed };
        Self { waiting, _not_send: PhantomData }
    }

    /// Tells whether the caller may wait for locks.
    pub(crate) const fn waiting(&self) -> Waiting {
        self.waiting
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.waiting == Waiting::Allowed {
            BUSY.set(false);
        }
    }
}

/// A pause of the thread's stay on a slow path: it holds nothing, and calls somebody who may ask for memory and free it as any other.
#[derive(Debug)]
struct SteppedOut {
    was_busy: bool,
    /// Bound to its thread.
    _not_send: PhantomData<*mut ()>,
}

impl SteppedOut {
    /// Leaves the slow path until the guard is dropped.
    fn step_out() -> Self {
        Self { was_busy: BUSY.replace(false), _not_send: PhantomData }
    }
}

impl Drop for SteppedOut {
    fn drop(&mut self) {
        BUSY.set(self.was_busy);
    }
}

/// Calls the application's code from a slow path, with nothing held: it may ask for memory and free it as any other, but its requests may
/// use all reserves and never reclaim. `None` if it panicked.
pub(crate) fn call_application<R>(code: impl FnOnce() -> R) -> Option<R> {
    let _free_to_act = (SteppedOut::step_out(), MemallocScope::enter());
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|payload| {
            // What it panicked with may panic when it is dropped; the next one is kept.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            dropped.unwrap_or_else(core::mem::forget);
        })
        .ok()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Enters a slow path for each `true` and calls the application's code for each `false`, one inside the other. Tells whether, before
    /// and after what is inside, those who come in may wait as they should.
    fn nest(levels: &[bool], busy: bool) -> bool {
        let as_it_should = || (Busy::enter().waiting() == Waiting::Never) == busy;
        let before = as_it_should();
        let inside = match levels {
            [] => call_application(|| panic!("the application's own")).is_none(),
            [true, rest @ ..] => {
                let _stay = Busy::enter();
                nest(rest, true)
            }
            [false, rest @ ..] => call_application(|| nest(rest, false)) == Some(true),
        };
        before && inside && as_it_should()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn only_who_comes_into_a_slow_path_may_not_wait_however_it_called_the_application(
            levels in prop::collection::vec(any::<bool>(), 0..8)
        ) {
            prop_assert!(nest(&levels, false));
        }
    }
}
