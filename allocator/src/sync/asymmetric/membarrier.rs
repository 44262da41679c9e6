//! The asymmetric fence over `membarrier(2)`.

use crate::fault::{self, SystemCall};
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
    let run = || {
        let asked = fault::check(SystemCall::Membarrier);
        asked.and_then(|()| membarrier(MembarrierCommand::PrivateExpedited)).is_ok()
    };
    let fenced = run() || (register() && run());
    if !fenced {
        // Cells made from now on fall back; those made before can no longer be drained by others.
        STATE.store(REFUSED, Ordering::Relaxed);
    }
    fenced
}

pub(super) fn available() -> bool {
    // Before what is remembered: a test's refusal is its thread's alone, and the remembered answer the process's.
    if fault::check(SystemCall::MembarrierRegister).is_err() {
        return false;
    }
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            // Two threads may both ask: the answers agree, and registering twice is allowed.
            let registered = register();
            STATE.store(if registered { AVAILABLE } else { REFUSED }, Ordering::Relaxed);
            registered
        }
        state => state == AVAILABLE,
    }
}

fn register() -> bool {
    membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
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
    let _refused =
        fault::fail(SystemCall::MembarrierRegister, fault::Occurrence::Always, fault::Errno::NOSYS);
    f()
}
