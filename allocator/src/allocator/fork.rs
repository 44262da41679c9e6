//! What becomes of allocators in a child that a fork has made.
//!
//! The child has one thread and copies of all locks as they were, some perhaps held by threads that it does not have. So all
//! its allocators are closed before anything else runs there: requests fail with an error, frees do nothing, and nothing
//! waits. The parent notices nothing but that an allocator which begins or ends waits while a fork copies the process: the child
//! must not meet one that is half there.

use crate::{
    pcp::local,
    platform::{PlatformError, fork},
    sync::atomic::AtomicBool,
};

use super::{core::core_at, numbers};

/// Has what runs in a child installed, once for the process.
///
/// # Errors
/// When the system has no memory for it.
pub(super) fn install() -> Result<(), PlatformError> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    fork::install_in_child(&INSTALLED, in_child)
}

/// Closes every allocator of the process, on the child's one thread.
extern "C" fn in_child() {
    local::keep_all();
    numbers::for_each_place(|place| {
        let core = core_at(place);
        core.domain.orphan();
        core.reclaim.shrinkers.orphan();
    });
}
