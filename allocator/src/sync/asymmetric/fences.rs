//! Both sides as full fences, for shuttle, which knows only sequential consistency.

use crate::sync::atomic::{Ordering, fence};

pub(super) fn light() {
    fence(Ordering::SeqCst);
}

pub(super) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    true
}

pub(super) fn available() -> bool {
    true
}

/// Runs `f`; shuttle has nothing to fall back to.
#[cfg(any(test, feature = "fault-injection"))]
pub fn with_fallback<R>(f: impl FnOnce() -> R) -> R {
    f()
}
