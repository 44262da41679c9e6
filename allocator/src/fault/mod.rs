//! The seam through which a test makes a system call fail.
//!
//! Every call that the library makes first asks `check` here. Faults belong to the thread that asked for them, so that
//! tests may run in parallel, and to the threads that the library starts from there while they are planned.
//! Without `cfg(test)` and without the feature `fault-injection` the check is an empty function. Models make no calls.

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

/// The plans that a new thread takes over: none.
#[cfg(not(any(test, feature = "fault-injection", loom, shuttle)))]
pub(crate) struct Inherited;

#[cfg(not(any(test, feature = "fault-injection", loom, shuttle)))]
impl Inherited {
    /// Returns those of the calling thread.
    pub(crate) const fn of_this_thread() -> Self {
        Self
    }

    /// Makes them the calling thread's.
    pub(crate) const fn adopt(self) {}
}
