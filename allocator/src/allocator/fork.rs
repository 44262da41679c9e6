//! What becomes of allocators in a child that a fork has made.
//!
//! The child has one thread and copies of all locks as they were, some perhaps held by threads that it does not have. So all
//! its allocators are closed before anything else runs there: requests fail with an error, frees do nothing, and nothing
//! waits. The parent notices nothing but that an allocator which begins or ends waits while a fork copies the process: the child
//! must not meet one that is half there.

use core::cell::Cell;

use crate::{
    pcp::local,
    platform::{PlatformError, at_fork},
    sync::{
        SpinGuard,
        atomic::{AtomicBool, Ordering},
        thread_local,
    },
};

use super::{core::core_at, numbers};

thread_local! {
    static FORKING: Cell<Option<SpinGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Has what runs around a fork installed, once for the process.
///
/// # Errors
/// When the system has no memory for it.
pub(super) fn install() -> Result<(), PlatformError> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    at_fork(before, in_parent, in_child).inspect_err(|_| INSTALLED.store(false, Ordering::Relaxed))
}

extern "C" fn before() {
    // A thread that forks at its very end keeps nothing: then an allocator that ends at that moment is not waited for.
    let _: Result<(), _> = FORKING.try_with(|forking| forking.set(Some(numbers::hold())));
}

extern "C" fn in_parent() {
    let _: Result<(), _> = FORKING.try_with(|forking| forking.set(None));
}

/// Closes every allocator of the process, on the child's one thread.
extern "C" fn in_child() {
    local::keep_all();
    numbers::for_each_place(|place| {
        let core = core_at(place);
        core.domain.orphan();
        core.reclaim.shrinkers.orphan();
    });
    in_parent();
}
