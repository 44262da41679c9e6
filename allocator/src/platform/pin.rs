//! Binding a thread to a CPU that the topology chose.
//!
//! ```
//! use gfp::platform::{Topology, pin::{current_cpu, pin_current}};
//!
//! let cpu = Topology::load()?.pin_order()[0];
//! pin_current(cpu)?;
//! assert_eq!(current_cpu(), cpu);
//! # Ok::<(), gfp::platform::PlatformError>(())
//! ```

use super::error::{Asked, PlatformError};
use super::fault::SystemCall;
use super::{CpuId, sys};

/// Binds the calling thread to one CPU of this machine.
///
/// The CPUs of a topology that [is simulated](super::Topology::is_simulated) are not those of this machine:
/// do not pin to them.
///
/// # Errors
///
/// The CPU is absent, offline, outside of this process's cpuset, or its number is not below 1024.
pub fn pin_current(cpu: CpuId) -> Result<(), PlatformError> {
    sys::sched_setaffinity_to(cpu.0)
        .map_err(|errno| PlatformError::call(SystemCall::SchedSetaffinity, Asked::Cpu(cpu), errno))
}

/// Binds the calling thread to some CPUs of this machine, on any of which it may run.
///
/// # Errors
///
/// None of them is there and in this process's cpuset.
pub(crate) fn pin_current_to_any(cpus: &[CpuId]) -> Result<(), PlatformError> {
    let asked = cpus.first().map_or(Asked::Nothing, |&cpu| Asked::Cpu(cpu));
    sys::sched_setaffinity_to_any(cpus.iter().map(|cpu| cpu.0))
        .map_err(|errno| PlatformError::call(SystemCall::SchedSetaffinity, asked, errno))
}

/// Returns the CPU that the caller runs on at this moment, which may have changed on return.
#[inline]
#[must_use]
pub fn current_cpu() -> CpuId {
    // Linux numbers at most a few thousand CPUs.
    CpuId(u32::try_from(sys::sched_getcpu()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::Errno;
    use super::super::fault::{self, Occurrence};
    use super::*;

    #[test]
    fn a_pinned_thread_runs_on_its_cpu_only() {
        for cpu in sys::sched_getaffinity(0).expect("the call works") {
            // A thread of its own, so as to leave the test runner's threads alone.
            crate::sync::thread::spawn(move || {
                pin_current(CpuId(cpu)).expect("the CPU is allowed");
                assert_eq!(current_cpu(), CpuId(cpu));
                assert_eq!(sys::sched_getaffinity(0), Ok(vec![cpu]));
            })
            .join()
            .expect("the thread passes");
        }
    }

    #[test]
    fn a_thread_may_be_pinned_to_several_cpus() {
        let allowed = sys::sched_getaffinity(0).expect("the call works");
        crate::sync::thread::spawn(move || {
            let cpus: Vec<CpuId> = allowed.iter().copied().map(CpuId).collect();
            pin_current(cpus[0]).expect("it is allowed");
            pin_current_to_any(&cpus).expect("all are allowed");
            assert_eq!(sys::sched_getaffinity(0), Ok(allowed));
            let error = pin_current_to_any(&[CpuId(1023)]).expect_err("no such CPU");
            let expected =
                PlatformError::call(SystemCall::SchedSetaffinity, Asked::Cpu(CpuId(1023)), Errno::INVAL);
            assert_eq!(error, expected);
        })
        .join()
        .expect("the thread passes");
    }

    #[test]
    fn an_absent_cpu_is_a_typed_error() {
        for cpu in [CpuId(1023), CpuId(1024), CpuId(u32::MAX)] {
            let error = pin_current(cpu).expect_err("no such CPU");
            let expected = PlatformError::call(SystemCall::SchedSetaffinity, Asked::Cpu(cpu), Errno::INVAL);
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_refused_call_is_a_typed_error() {
        let _guard = fault::fail(SystemCall::SchedSetaffinity, Occurrence::Always, Errno::PERM);
        let error = pin_current(CpuId(0)).expect_err("the call was refused");
        assert!(matches!(error, PlatformError::SystemCall { errno: Errno::PERM, .. }), "{error}");
    }
}
