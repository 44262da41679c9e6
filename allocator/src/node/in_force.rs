//! Whether the calling thread has a memory policy.

use core::{cell::Cell, marker::PhantomData};

use crate::sync::thread_local;

thread_local! {
    static IN_FORCE: Cell<u32> = const { Cell::new(0) };
}

/// Says, while it lives, that the calling thread has a policy in one of its caches: one that cannot look into its cache for a
/// moment must wait then.
#[derive(Debug)]
pub(crate) struct InForce {
    /// Counted for its thread.
    _not_send: PhantomData<*const ()>,
}

impl InForce {
    /// Begins.
    pub(crate) fn begin() -> Self {
        IN_FORCE.with(|count| count.set(count.get() + 1));
        Self { _not_send: PhantomData }
    }

    /// Tells whether there is one on the calling thread.
    pub(crate) fn any() -> bool {
        IN_FORCE.with(Cell::get) > 0
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        IN_FORCE.with(|count| count.set(count.get() - 1));
    }
}
