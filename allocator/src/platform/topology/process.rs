//! What this process may use of the machine.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::error::{Asked, PlatformError};
use super::super::fault::SystemCall;
use super::super::{Errno, sys};
use super::cpu_list;

/// The CPUs and nodes that a process may use, by the operating system's numbers; `None` means all.
///
/// ```
/// use gfp::platform::topology::Allowed;
///
/// let allowed = Allowed::of_this_process()?;
/// assert!(allowed.cpus.is_none_or(|cpus| !cpus.is_empty()));
/// # Ok::<(), gfp::platform::PlatformError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The CPUs.
    pub cpus: Option<BTreeSet<u32>>,
    /// The nodes.
    pub nodes: Option<BTreeSet<u32>>,
}

impl Allowed {
    /// Asks the kernel what this process may use.
    ///
    /// Its CPUs are those of all of its threads together: the affinity of the calling thread alone would
    /// shrink the machine to one CPU once that thread is pinned. An affinity never exceeds the cgroup's
    /// cpuset, so taskset and cgroup are both obeyed.
    ///
    /// # Errors
    ///
    /// The affinity of the calling thread cannot be read.
    pub fn of_this_process() -> Result<Self, PlatformError> {
        let own = sys::sched_getaffinity(0)
            .map_err(|errno| PlatformError::call(SystemCall::SchedGetaffinity, Asked::Nothing, errno))?;
        let mut cpus: BTreeSet<u32> = own.into_iter().collect();
        // Another thread may end between being listed and being asked, and /proc may be absent: what cannot
        // be read adds nothing.
        for thread in sys::thread_ids().unwrap_or_default() {
            cpus.extend(sys::sched_getaffinity(thread).unwrap_or_default());
        }
        let status = sys::read_file(Path::new("/proc/self/status"));
        Ok(Self { cpus: Some(cpus), nodes: nodes_of_status(status) })
    }

    pub(super) fn has_cpu(&self, cpu: u32) -> bool {
        self.cpus.as_ref().is_none_or(|cpus| cpus.contains(&cpu))
    }

    pub(super) fn has_node(&self, node: u32) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(&node))
    }
}

/// Reads the nodes of the cgroup's cpuset from /proc/self/status; a kernel without cpusets has no such line.
fn nodes_of_status(status: Result<String, Errno>) -> Option<BTreeSet<u32>> {
    let status = status.ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"))?;
    Some(cpu_list::parse(list)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::fault::{self, Occurrence};
    use super::super::super::{CpuId, pin};
    use super::*;

    #[test]
    fn a_pinned_thread_still_sees_the_cpus_of_its_process() {
        let before = Allowed::of_this_process().expect("the kernel tells");
        let first = before.cpus.as_ref().and_then(BTreeSet::first).copied().expect("there is a CPU");
        let pinned = crate::sync::thread::spawn(move || {
            pin::pin_current(CpuId(first)).expect("the CPU is allowed");
            Allowed::of_this_process().expect("the kernel tells")
        });
        assert_eq!(pinned.join().expect("the thread passes"), before);
    }

    #[test]
    fn an_unreadable_affinity_is_a_typed_error() {
        let _guard = fault::fail(SystemCall::SchedGetaffinity, Occurrence::Nth(0), Errno::PERM);
        let error = Allowed::of_this_process().expect_err("the call was refused");
        assert!(
            matches!(error, PlatformError::SystemCall { call: SystemCall::SchedGetaffinity, .. }),
            "{error}"
        );
    }

    #[test]
    fn allowed_nodes_come_from_the_status_file() {
        let status = "Name:\tx\nMems_allowed:\t00000005\nMems_allowed_list:\t0,2\n".to_owned();
        assert_eq!(nodes_of_status(Ok(status)), Some(BTreeSet::from([0, 2])));
        assert_eq!(nodes_of_status(Ok("Name:\tx\n".to_owned())), None);
        assert_eq!(nodes_of_status(Err(Errno::NOENT)), None);
    }
}
