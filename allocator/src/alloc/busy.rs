//! Whether the calling thread is on a slow path already.

use core::{cell::Cell, marker::PhantomData};

use crate::{sync::thread_local, zone::Waiting};

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
