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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_in_force_on_its_thread_until_the_last_one_is_dropped() {
        assert!(!InForce::any());
        let (first, second) = (InForce::begin(), InForce::begin());
        assert!(InForce::any());
        drop(first);
        assert!(InForce::any());
        let elsewhere = crate::sync::thread::spawn(InForce::any).join().expect("no panic");
        assert!(!elsewhere);
        drop(second);
        assert!(!InForce::any());
    }
}
