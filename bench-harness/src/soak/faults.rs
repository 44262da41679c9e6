//! System calls that fail on purpose.

use crate::workload::Rng;

/// Whether they can: with the feature `fault-injection`.
pub const AVAILABLE: bool = cfg!(feature = "fault-injection");

#[cfg(feature = "fault-injection")]
pub(super) use available::Planned;

/// A system call that fails on this thread until this is dropped.
#[cfg(not(feature = "fault-injection"))]
#[derive(Debug)]
pub(super) struct Planned;

#[cfg(not(feature = "fault-injection"))]
impl Planned {
    pub(super) fn any(rng: &mut Rng) -> Self {
        // As many numbers as where there are faults, so that the same operations follow.
        _ = (rng.next(), rng.next());
        Self
    }

    pub(super) const fn no_memory() -> Self {
        Self
    }

    pub(super) const fn call(&self) -> &'static str {
        "none"
    }

    pub(super) const fn struck(&self) -> u64 {
        0
    }
}

#[cfg(feature = "fault-injection")]
mod available {
    use gfp::platform::{
        Errno,
        fault::{self, FaultGuard, Occurrence, SystemCall},
    };

    use super::Rng;

    /// A system call that fails on this thread until this is dropped.
    #[derive(Debug)]
    pub(in super::super) struct Planned {
        call: SystemCall,
        guard: FaultGuard,
    }

    impl Planned {
        /// Any call, always or once.
        pub(in super::super) fn any(rng: &mut Rng) -> Self {
            let call = match SystemCall::ALL[rng.below(SystemCall::ALL.len())] {
                // Refused once, that is refused for ever: nobody could look into caches made before, and nothing be compared.
                SystemCall::Membarrier => SystemCall::MembarrierRegister,
                call => call,
            };
            let occurrence = match rng.below(4) {
                0 => Occurrence::Always,
                1 => Occurrence::Nth(1),
                _ => Occurrence::Nth(0),
            };
            Self { call, guard: fault::fail(call, occurrence, Errno::NOMEM) }
        }

        /// Memory from the system.
        pub(in super::super) fn no_memory() -> Self {
            let call = SystemCall::Mmap;
            Self { call, guard: fault::fail(call, Occurrence::Always, Errno::NOMEM) }
        }

        pub(in super::super) const fn call(&self) -> &'static str {
            self.call.name()
        }

        /// Returns how often it has failed.
        pub(in super::super) fn struck(&self) -> u64 {
            self.guard.failures().into()
        }
    }
}
