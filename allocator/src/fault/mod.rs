//! The seam through which a test makes a system call fail.
//!
//! Every call that the library makes first asks `check` here. Faults belong to the thread that asked for them, so that
//! tests may run in parallel, and to the threads that the library starts from there while they are planned.
//! Without `cfg(test)` and without the feature `fault-injection` the check is an empty function. loom's models make no calls; under
//! shuttle each is a moment at which others run.

mod call;
#[cfg(all(any(test, feature = "fault-injection"), not(any(loom, shuttle))))]
mod plan;

pub use self::call::SystemCall;
#[cfg(all(any(test, feature = "fault-injection"), not(any(loom, shuttle))))]
pub use self::plan::{FaultGuard, Occurrence, fail};
#[cfg(all(any(test, feature = "fault-injection"), not(any(loom, shuttle))))]
pub(crate) use self::plan::{Inherited, check};
pub use rustix::io::Errno;

/// Returns the error that a test planned for this call on this thread, if there is one.
///
/// # Errors
///
/// The planned `errno`; the caller must then report it as if the call had returned it.
#[cfg(not(any(test, feature = "fault-injection", loom, shuttle)))]
#[inline]
pub(crate) const fn check(_call: SystemCall) -> Result<(), Errno> {
    Ok(())
}

/// Lets others run before the call: what happens meanwhile is for the schedules to find out.
#[cfg(shuttle)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may be an error")]
pub(crate) fn check(call: SystemCall) -> Result<(), Errno> {
    // That is called once in a process, not in each schedule: a schedule must be the same when it alone is run again.
    if call != SystemCall::AtFork {
        shuttle::thread::yield_now();
    }
    Ok(())
}

/// The plans that a new thread takes over: none.
#[cfg(any(shuttle, not(any(test, feature = "fault-injection", loom))))]
pub(crate) struct Inherited;

#[cfg(any(shuttle, not(any(test, feature = "fault-injection", loom))))]
impl Inherited {
    /// Returns those of the calling thread.
    pub(crate) const fn of_this_thread() -> Self {
        Self
    }

    /// Makes them the calling thread's.
    pub(crate) const fn adopt(self) {}
}
