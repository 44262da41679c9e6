//! The CPUs that threads are pinned to.

use anyhow::Context;
use core_affinity::CoreId;

/// CPUs in the order in which the threads of a team take them.
#[derive(Clone, Debug)]
pub struct Cpus(Vec<CoreId>);

impl Cpus {
    /// Lists the CPUs that the process may use. Once a thread is pinned it sees only its own CPU, so this is
    /// called once, before any thread is.
    ///
    /// # Errors
    /// The system names no CPU.
    pub fn allowed() -> anyhow::Result<Self> {
        Self::in_order(core_affinity::get_core_ids().unwrap_or_default())
    }

    /// Takes the CPUs in an order that the caller chose.
    ///
    /// # Errors
    /// There are none.
    pub fn in_order(cpus: Vec<CoreId>) -> anyhow::Result<Self> {
        (!cpus.is_empty()).then_some(Self(cpus)).context("the system does not say which CPUs may be used")
    }

    /// Returns how many there are, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Pins the calling thread, a team's member number `index`; says whether the system did. When there are
    /// more threads than CPUs they are dealt out round robin, so that every CPU has its share.
    #[must_use]
    pub fn pin(&self, index: usize) -> bool {
        core_affinity::set_for_current(self.0[index % self.0.len()])
    }
}
