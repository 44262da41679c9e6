//! The asymmetric fence over `membarrier(2)`.

use crate::sync::atomic::{AtomicU8, Ordering, fence};
use rustix::thread::{MembarrierCommand, membarrier};

/// Whether the system orders light fences: 0 not asked yet, 1 yes, 2 no.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const AVAILABLE: u8 = 1;
const REFUSED: u8 = 2;

#[inline(always)]
#[expect(clippy::disallowed_methods, reason = "the one door to the original")]
pub(super) fn light() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

pub(super) fn heavy() -> bool {
    // For threads that run SeqCst fences because their cell fell back.
    fence(Ordering::SeqCst);
    if !available() {
        return false;
    }
    // The call is a full fence for the caller as well, and the compiler moves no access over it. Registration
    // belongs to the process; asking twice costs a call that returns at once.
    let run = || membarrier(MembarrierCommand::PrivateExpedited).is_ok();
    let register = || membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
    let fenced = run() || (register() && run());
    if !fenced {
        // Cells made from now on fall back; those made before can no longer be drained by others.
        STATE.store(REFUSED, Ordering::Relaxed);
    }
    fenced
}

pub(super) fn available() -> bool {
    #[cfg(any(test, feature = "fault-injection"))]
    if FALLBACK.get() {
        return false;
    }
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            // Two threads may both ask: the answers agree, and registering twice is allowed.
            let registered = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
            STATE.store(if registered { AVAILABLE } else { REFUSED }, Ordering::Relaxed);
            registered
        }
        state => state == AVAILABLE,
    }
}

#[cfg(any(test, feature = "fault-injection"))]
std::thread_local! {
    static FALLBACK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f` as on a system that refuses membarrier: what the calling thread makes meanwhile falls back.
///
/// ```
/// use gfp::sync::{Owner, asymmetric};
///
/// let owner = asymmetric::with_fallback(|| {
///     assert!(!asymmetric::available());
///     Owner::new(1)
/// });
/// assert!(owner.enter().is_ok(), "it runs a fence of its own from now on");
/// ```
#[cfg(any(test, feature = "fault-injection"))]
pub fn with_fallback<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FALLBACK.set(self.0);
        }
    }
    let _restore = Restore(FALLBACK.replace(true));
    f()
}
