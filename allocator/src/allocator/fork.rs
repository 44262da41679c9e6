//! What becomes of allocators in a child that a fork has made.
//!
//! The child has one thread and copies of all locks as they were, some perhaps held by threads that it does not have. So all
//! its allocators are closed before anything else runs there: requests fail with an error, frees do nothing, and nothing
//! waits. The parent notices nothing.

use crate::{pcp::local, platform::at_fork_in_child, sync::atomic::AtomicBool, sync::atomic::Ordering};

use super::{core::core_at, numbers};

/// Has what follows a fork installed, once for the process.
///
/// # Errors
/// When the system has no memory for it.
pub(super) fn install() -> Result<(), crate::platform::PlatformError> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    at_fork_in_child(orphan_all).inspect_err(|_| INSTALLED.store(false, Ordering::Relaxed))
}

/// Closes every allocator of the process; runs in the child, on its one thread.
extern "C" fn orphan_all() {
    local::keep_all();
    numbers::for_each_place(|place| core_at(place).domain.orphan());
}
