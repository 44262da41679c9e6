//! The seam through which a test makes a system call fail.
//!
//! Faults belong to the thread that asked for them, so that tests may run in parallel; a fault for work on
//! another thread is set up on that thread. Without `cfg(test)` and without the feature `fault-injection`
//! the check is an empty function.

use std::fmt;

use super::Errno;

/// A kind of call that the library makes to the operating system, and that a test can make fail.
///
/// ```
/// use gfp::platform::fault::SystemCall;
///
/// assert_eq!(SystemCall::Mmap.name(), "mmap");
/// assert!(SystemCall::ALL.contains(&SystemCall::Madvise));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SystemCall {
    /// mmap(2), for a reservation or for the memory of an arena.
    Mmap,
    /// munmap(2).
    Munmap,
    /// mprotect(2), which opens a reservation for use, and closes free memory where it is guarded.
    Mprotect,
    /// madvise(2), whatever the advice.
    Madvise,
    /// mlock(2).
    Mlock,
    /// Ties memory to NUMA nodes.
    Mbind,
    /// Asks on which NUMA nodes pages lie.
    MovePages,
    /// `memfd_create(2)`.
    MemfdCreate,
    /// ftruncate(2).
    Ftruncate,
    /// fcntl(2) with `F_ADD_SEALS`.
    AddSeals,
    /// prctl(2) with `PR_SET_VMA_ANON_NAME`.
    NameMapping,
    /// `sched_getaffinity(2)`.
    SchedGetaffinity,
    /// `sched_setaffinity(2)`.
    SchedSetaffinity,
    /// open(2) and read(2) of a file under /sys or /proc.
    ReadFile,
    /// Everything that hwloc does to discover a topology.
    HwlocLoad,
    /// clone(2) for a thread of the library.
    ThreadSpawn,
    /// Registers what runs around a fork.
    AtFork,
}

impl SystemCall {
    /// Every kind of call.
    pub const ALL: [Self; 17] = [
        Self::Mmap,
        Self::Munmap,
        Self::Mprotect,
        Self::Madvise,
        Self::Mlock,
        Self::Mbind,
        Self::MovePages,
        Self::MemfdCreate,
        Self::Ftruncate,
        Self::AddSeals,
        Self::NameMapping,
        Self::SchedGetaffinity,
        Self::SchedSetaffinity,
        Self::ReadFile,
        Self::HwlocLoad,
        Self::ThreadSpawn,
        Self::AtFork,
    ];

    /// Returns the call's usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmap => "mmap",
            Self::Munmap => "munmap",
            Self::Mprotect => "mprotect",
            Self::Madvise => "madvise",
            Self::Mlock => "mlock",
            Self::Mbind => "mbind",
            Self::MovePages => "move_pages",
            Self::MemfdCreate => "memfd_create",
            Self::Ftruncate => "ftruncate",
            Self::AddSeals => "fcntl(F_ADD_SEALS)",
            Self::NameMapping => "prctl(PR_SET_VMA_ANON_NAME)",
            Self::SchedGetaffinity => "sched_getaffinity",
            Self::SchedSetaffinity => "sched_setaffinity",
            Self::ReadFile => "read",
            Self::HwlocLoad => "hwloc_topology_load",
            Self::ThreadSpawn => "clone",
            Self::AtFork => "pthread_atfork",
        }
    }
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the error that a test planned for this call on this thread, if there is one.
///
/// # Errors
///
/// The planned `errno`; the caller must then report it as if the call had returned it.
#[cfg(not(any(shuttle, test, feature = "fault-injection")))]
#[inline]
pub(crate) const fn check(_call: SystemCall) -> Result<(), Errno> {
    Ok(())
}

/// Lets others run before the call: what happens meanwhile is for the schedules to find out.
#[cfg(all(shuttle, not(any(test, feature = "fault-injection"))))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may be an error")]
pub(crate) fn check(call: SystemCall) -> Result<(), Errno> {
    // That is called once in a process, not in each schedule: a schedule must be the same when it alone is run again.
    if call != SystemCall::AtFork {
        crate::sync::thread::yield_now();
    }
    Ok(())
}

#[cfg(any(test, feature = "fault-injection"))]
pub(crate) use plan::check;
#[cfg(any(test, feature = "fault-injection"))]
pub use plan::{FaultGuard, Occurrence, fail};

#[cfg(any(test, feature = "fault-injection"))]
mod plan {
    use std::cell::RefCell;
    use std::marker::PhantomData;

    use super::{Errno, SystemCall};

    thread_local! {
        static PLANS: RefCell<Plans> = const { RefCell::new(Plans { next_id: 0, active: Vec::new() }) };
    }

    /// Which calls of a kind fail, counted from the moment of planning.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Occurrence {
        /// Only the call with this number, the first being 0.
        Nth(u32),
        /// Every call.
        Always,
    }

    struct Plans {
        next_id: u64,
        active: Vec<Plan>,
    }

    struct Plan {
        id: u64,
        call: SystemCall,
        occurrence: Occurrence,
        errno: Errno,
        calls_seen: u32,
        failures: u32,
    }

    /// A planned fault; dropping it cancels the plan.
    ///
    /// ```
    /// use gfp::platform::{Errno, Topology, fault::{self, Occurrence, SystemCall}};
    ///
    /// let guard = fault::fail(SystemCall::SchedGetaffinity, Occurrence::Always, Errno::PERM);
    /// assert!(Topology::load().is_err());
    /// assert!(guard.failures() > 0);
    /// ```
    #[derive(Debug)]
    #[must_use = "the plan is cancelled when the guard is dropped"]
    pub struct FaultGuard {
        id: u64,
        /// A plan belongs to its thread, so its guard must not leave it.
        not_send: PhantomData<*const ()>,
    }

    /// Makes calls of a kind fail with `errno` on this thread until the guard is dropped.
    ///
    /// ```
    /// use gfp::platform::{Arena, ArenaOptions, Errno, fault::{self, Occurrence, SystemCall}};
    ///
    /// let map = || Arena::new(&ArenaOptions::new(1 << 20)).is_ok();
    /// let guard = fault::fail(SystemCall::Mmap, Occurrence::Always, Errno::NOMEM);
    /// assert!(!map());
    /// drop(guard);
    /// assert!(map());
    /// ```
    pub fn fail(call: SystemCall, occurrence: Occurrence, errno: Errno) -> FaultGuard {
        PLANS.with_borrow_mut(|plans| {
            let id = plans.next_id;
            plans.next_id += 1;
            plans.active.push(Plan { id, call, occurrence, errno, calls_seen: 0, failures: 0 });
            FaultGuard { id, not_send: PhantomData }
        })
    }

    impl FaultGuard {
        /// Returns how many calls the plan has made fail.
        #[must_use]
        pub fn failures(&self) -> u32 {
            PLANS.with_borrow(|plans| {
                plans.active.iter().find(|plan| plan.id == self.id).map_or(0, |plan| plan.failures)
            })
        }
    }

    impl Drop for FaultGuard {
        fn drop(&mut self) {
            // On a thread that is going away its plans may be gone before the guard.
            let _ = PLANS.try_with(|plans| plans.borrow_mut().active.retain(|plan| plan.id != self.id));
        }
    }

    pub(crate) fn check(call: SystemCall) -> Result<(), Errno> {
        PLANS.try_with(|plans| plans.borrow_mut().strike(call)).unwrap_or(Ok(()))
    }

    impl Plans {
        fn strike(&mut self, call: SystemCall) -> Result<(), Errno> {
            let mut outcome = Ok(());
            for plan in self.active.iter_mut().filter(|plan| plan.call == call) {
                let due = match plan.occurrence {
                    Occurrence::Nth(n) => plan.calls_seen == n,
                    Occurrence::Always => true,
                };
                plan.calls_seen = plan.calls_seen.saturating_add(1);
                if due && outcome.is_ok() {
                    plan.failures += 1;
                    outcome = Err(plan.errno);
                }
            }
            outcome
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nth_strikes_once_and_only_its_own_call() {
        let guard = fail(SystemCall::Mmap, Occurrence::Nth(1), Errno::NOMEM);
        assert_eq!(check(SystemCall::Munmap), Ok(()));
        assert_eq!(check(SystemCall::Mmap), Ok(()));
        assert_eq!(check(SystemCall::Mmap), Err(Errno::NOMEM));
        assert_eq!(check(SystemCall::Mmap), Ok(()));
        assert_eq!(guard.failures(), 1);
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
    fn every_call_is_listed_under_its_own_name() {
        let mut names = SystemCall::ALL.map(SystemCall::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
