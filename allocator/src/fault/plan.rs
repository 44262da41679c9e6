//! Planned faults.

// These lie below `sync`, which asks here too, and are no part of what its models check.
#![expect(clippy::disallowed_types, reason = "below the door to the originals")]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Errno, SystemCall};

thread_local! {
    static PLANS: RefCell<Vec<Arc<Plan>>> = const { RefCell::new(Vec::new()) };
}

/// Which calls of a kind fail, counted from the moment of planning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// Only the call with this number, the first being 0.
    Nth(u32),
    /// Every call.
    Always,
    /// None: its guard [counts the calls](FaultGuard::calls).
    Never,
}

#[derive(Debug)]
struct Plan {
    call: SystemCall,
    occurrence: Occurrence,
    errno: Errno,
    calls_seen: AtomicU32,
    failures: AtomicU32,
    cancelled: AtomicBool,
}

/// A planned fault; dropping it cancels the plan.
///
/// ```
/// use gfp::fault::{self, Errno, Occurrence, SystemCall};
/// use gfp::platform::Topology;
///
/// let guard = fault::fail(SystemCall::SchedGetaffinity, Occurrence::Always, Errno::PERM);
/// assert!(Topology::load().is_err());
/// assert_eq!(guard.failures(), guard.calls());
/// ```
#[derive(Debug)]
#[must_use = "the plan is cancelled when the guard is dropped"]
pub struct FaultGuard {
    plan: Arc<Plan>,
    /// A plan belongs to its thread, so its guard must not leave it.
    not_send: PhantomData<*const ()>,
}

/// Makes calls of a kind fail with `errno` on this thread, and on those that the library starts from here meanwhile, until the
/// guard is dropped.
///
/// ```
/// use gfp::fault::{self, Errno, Occurrence, SystemCall};
/// use gfp::platform::{Arena, ArenaOptions};
///
/// let map = || Arena::new(&ArenaOptions::new(1 << 20)).is_ok();
/// let guard = fault::fail(SystemCall::Mmap, Occurrence::Always, Errno::NOMEM);
/// assert!(!map());
/// drop(guard);
/// assert!(map());
/// ```
pub fn fail(call: SystemCall, occurrence: Occurrence, errno: Errno) -> FaultGuard {
    let (calls_seen, failures) = (AtomicU32::new(0), AtomicU32::new(0));
    let cancelled = AtomicBool::new(false);
    let plan = Arc::new(Plan { call, occurrence, errno, calls_seen, failures, cancelled });
    PLANS.with_borrow_mut(|plans| plans.push(Arc::clone(&plan)));
    FaultGuard { plan, not_send: PhantomData }
}

impl FaultGuard {
    /// Returns how many calls of its kind the plan has seen, those that failed among them.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.plan.calls_seen.load(Ordering::Relaxed)
    }

    /// Returns how many calls the plan has made fail.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.plan.failures.load(Ordering::Relaxed)
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.plan.cancelled.store(true, Ordering::Relaxed);
        // On a thread that is going away its plans may be gone before the guard.
        let _ = PLANS.try_with(|plans| plans.borrow_mut().retain(|plan| !Arc::ptr_eq(plan, &self.plan)));
    }
}

/// The plans that a new thread takes over from the one that starts it.
pub(crate) struct Inherited(Vec<Arc<Plan>>);

impl Inherited {
    /// Returns those of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self(PLANS.with_borrow(Clone::clone))
    }

    /// Makes them the calling thread's, which has none.
    pub(crate) fn adopt(self) {
        PLANS.set(self.0);
    }
}

pub(crate) fn check(call: SystemCall) -> Result<(), Errno> {
    PLANS.try_with(|plans| strike(&plans.borrow(), call)).unwrap_or(Ok(()))
}

/// Counts a call with every plan for its kind, and returns the error of the first that wants it to fail.
fn strike(plans: &[Arc<Plan>], call: SystemCall) -> Result<(), Errno> {
    let mut outcome = Ok(());
    for plan in plans.iter().filter(|plan| plan.call == call && !plan.cancelled.load(Ordering::Relaxed)) {
        let seen = plan.calls_seen.fetch_add(1, Ordering::Relaxed);
        let due = match plan.occurrence {
            Occurrence::Nth(n) => seen == n,
            Occurrence::Always => true,
            Occurrence::Never => false,
        };
        if due && outcome.is_ok() {
            plan.failures.fetch_add(1, Ordering::Relaxed);
            outcome = Err(plan.errno);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn nth_strikes_once_and_only_its_own_call() {
        let guard = fail(SystemCall::Mmap, Occurrence::Nth(1), Errno::NOMEM);
        assert_eq!(check(SystemCall::Munmap), Ok(()));
        assert_eq!(check(SystemCall::Mmap), Ok(()));
        assert_eq!(check(SystemCall::Mmap), Err(Errno::NOMEM));
        assert_eq!(check(SystemCall::Mmap), Ok(()));
        assert_eq!((guard.calls(), guard.failures()), (3, 1));
    }

    #[test]
    fn a_plan_that_never_strikes_counts() {
        let guard = fail(SystemCall::Mmap, Occurrence::Never, Errno::NOMEM);
        assert_eq!(check(SystemCall::Mmap), Ok(()));
        assert_eq!((guard.calls(), guard.failures()), (1, 0));
    }

    #[test]
    fn a_dropped_guard_cancels_its_plan() {
        let guard = fail(SystemCall::Mlock, Occurrence::Always, Errno::PERM);
        assert_eq!(check(SystemCall::Mlock), Err(Errno::PERM));
        drop(guard);
        assert_eq!(check(SystemCall::Mlock), Ok(()));
    }

    #[test]
    fn another_thread_is_not_affected() {
        let _guard = fail(SystemCall::Mmap, Occurrence::Always, Errno::NOMEM);
        let elsewhere = crate::sync::thread::spawn(|| check(SystemCall::Mmap)).join();
        assert_eq!(elsewhere.ok(), Some(Ok(())));
    }

    #[test]
    fn a_thread_of_the_library_s_own_has_the_plans_of_the_one_that_started_it() {
        let guard = fail(SystemCall::Mmap, Occurrence::Nth(0), Errno::NOMEM);
        let thread = crate::platform::spawn("gfp-test".to_owned(), || {
            assert_eq!(check(SystemCall::Mmap), Err(Errno::NOMEM));
        });
        thread.expect("a thread").join().expect("no panic");
        assert_eq!(guard.failures(), 1);
        assert_eq!(check(SystemCall::Mmap), Ok(()), "it was the second call");
    }
}
