//! What a fork waits for, and what runs in its child.
//!
//! A fork copies the process piece by piece while other threads run, and the child has none of them: what one of them was in the
//! middle of stays half done there for ever, and a lock that it held stays locked. So that much is done [undivided](undivided),
//! which a fork waits for: what the library's own locks cannot mend in the child, and what libraries lock that know nothing of
//! forks, as hwloc does.

use core::cell::Cell;
use std::sync::LazyLock;

use super::{
    PlatformError,
    error::Asked,
    fault::SystemCall,
    sys::{self, AtFork},
};
use crate::sync::{
    LockRank, SpinGuard, SpinLock,
    atomic::{AtomicBool, Ordering},
    thread_local,
};

/// Held while something is done that no fork may divide, and by who forks.
static UNDIVIDED: LazyLock<SpinLock<()>> = LazyLock::new(|| SpinLock::new(LockRank::Leaf, ()));

thread_local! {
    static FORKING: Cell<Option<SpinGuard<'static, ()>>> = const { Cell::new(None) };
}

/// Has forks that begin from now on wait for what is [undivided].
///
/// # Errors
/// When the system has no memory for it.
pub(crate) fn install() -> Result<(), PlatformError> {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    once(&INSTALLED, [Some(before), Some(after), Some(after)])
}

/// Has a function called in every child that a fork makes, before anything else of the program runs there, once however often
/// it is installed, or a few times if threads install it at the same moment. It sees whole what was done undivided.
///
/// # Errors
/// When the system has no memory for it.
pub(crate) fn install_in_child(installed: &AtomicBool, child: AtFork) -> Result<(), PlatformError> {
    install()?;
    once(installed, [None, None, Some(child)])
}

/// Lets no fork come between, as long as the answer lives. Nobody waits for anything meanwhile. The unlocking asks nothing of
/// anybody, so that the child can do it.
pub(crate) fn undivided() -> SpinGuard<'static, ()> {
    UNDIVIDED.lock()
}

/// Installs what is not installed yet. Of threads that do so at the same moment each installs it: none goes on before it is, and
/// what runs twice around a fork does so without harm.
fn once(installed: &AtomicBool, [before, parent, child]: [Option<AtFork>; 3]) -> Result<(), PlatformError> {
    if installed.load(Ordering::Acquire) {
        return Ok(());
    }
    sys::at_fork(before, parent, child).map_err(|errno| PlatformError::SystemCall {
        call: SystemCall::AtFork,
        asked: Asked::Nothing,
        errno,
    })?;
    installed.store(true, Ordering::Release);
    Ok(())
}

extern "C" fn before() {
    // A thread that forks at its very end keeps nothing: then what another does at that moment is not waited for.
    let _: Result<(), _> =
        FORKING.try_with(|forking| forking.set(Some(forking.take().unwrap_or_else(undivided))));
}

extern "C" fn after() {
    let _: Result<(), _> = FORKING.try_with(|forking| forking.set(None));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    /// Forks the process, and returns the child's exit status, or the signal that ended it.
    fn in_child(status: impl FnOnce() -> i32) -> Result<i32, i32> {
        // SAFETY: the child has no other threads, and only asks for its status.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: a plain system call. Who waits for ever is ended.
            unsafe { libc::alarm(20) };
            let status = status();
            // SAFETY: another.
            unsafe { libc::_exit(status) };
        }
        let mut ended = 0;
        // SAFETY: waits for the child just made.
        let waited = unsafe { libc::waitpid(child, &raw mut ended, 0) };
        assert_eq!(waited, child);
        if libc::WIFEXITED(ended) { Ok(libc::WEXITSTATUS(ended)) } else { Err(libc::WTERMSIG(ended)) }
    }

    #[test]
    fn a_child_sees_nothing_half_done_and_can_go_on() {
        install().expect("memory");
        let (stop, half_done) = (AtomicBool::new(false), AtomicBool::new(false));
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _undivided = undivided();
                    half_done.store(true, Ordering::Relaxed);
                    thread::yield_now();
                    half_done.store(false, Ordering::Relaxed);
                }
            });
            let look = || {
                drop(undivided());
                i32::from(half_done.load(Ordering::Relaxed))
            };
            let seen = (0..50).map(|_| in_child(look)).find(|seen| *seen != Ok(0));
            stop.store(true, Ordering::Relaxed);
            seen
        });
        assert_eq!(seen, None, "1 is something half done, an error the signal that ended a wait");
    }
}
