//! The CPUs that threads are pinned to.

use std::cell::Cell;

use anyhow::Context;
use core_affinity::CoreId;
use gfp::platform::{CpuId, NodeId, Topology};

use crate::workload::remote;

thread_local! {
    /// The node of the CPU that the thread was pinned to.
    static NODE: Cell<Option<NodeId>> = const { Cell::new(None) };
}

/// CPUs in the order in which the threads of a team take them.
#[derive(Clone, Debug)]
pub struct Cpus {
    seats: Vec<Seat>,
    simulated: bool,
}

/// A CPU for a thread.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// The CPU that the topology names.
    described: CoreId,
    /// The one that the thread is pinned to: another one, where the first is not of this machine.
    real: CoreId,
    node: Option<NodeId>,
}

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
        Self::seated(cpus.into_iter().map(|cpu| (cpu, cpu)), false)
    }

    /// Takes CPUs of a machine that is only described; threads are dealt out over those of this machine.
    ///
    /// # Errors
    /// There are none, on either.
    pub fn simulated(described: &[CoreId], real: Vec<CoreId>) -> anyhow::Result<Self> {
        Self::seated(described.iter().copied().zip(real.into_iter().cycle()), true)
    }

    fn seated(cpus: impl Iterator<Item = (CoreId, CoreId)>, simulated: bool) -> anyhow::Result<Self> {
        let seats: Vec<Seat> = cpus.map(|(described, real)| Seat { described, real, node: None }).collect();
        (!seats.is_empty())
            .then_some(Self { seats, simulated })
            .context("the system does not say which CPUs may be used")
    }

    /// Notes the node of each CPU.
    #[must_use]
    pub fn on_nodes_of(mut self, topology: &Topology) -> Self {
        for seat in &mut self.seats {
            let cpu = u32::try_from(seat.described.id).ok().map(CpuId);
            seat.node = cpu.and_then(|cpu| topology.node_of(cpu));
        }
        self
    }

    /// Deals them out to pairs of threads that sit on two nodes each; nothing where there is one node, or none is known.
    pub(super) fn across_nodes(&self) -> Option<Self> {
        let seats = remote::pairs(&self.seats, |seat| Some(seat.node?.0))?;
        Some(Self { seats, simulated: self.simulated })
    }

    /// Returns how many there are, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seats.len()
    }

    /// Tells whether the CPUs are of a machine that is only described, so that times mean nothing for it.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// Returns the system's numbers of the CPUs of a team's first `members` threads.
    #[must_use]
    pub fn of_members(&self, members: usize) -> Vec<usize> {
        (0..members).map(|index| self.seat(index).described.id).collect()
    }

    /// Pins the calling thread, a team's member number `index`; says whether the system did. When there are
    /// more threads than CPUs they are dealt out round robin, so that every CPU has its share.
    #[must_use]
    pub fn pin(&self, index: usize) -> bool {
        let seat = self.seat(index);
        NODE.set(seat.node);
        core_affinity::set_for_current(seat.real)
    }

    /// Returns the node of the CPU that the calling thread was pinned to, where it is known.
    #[must_use]
    pub fn node_of_this_thread() -> Option<NodeId> {
        NODE.get()
    }

    fn seat(&self, index: usize) -> Seat {
        self.seats[index % self.seats.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[usize]) -> Vec<CoreId> {
        ids.iter().map(|&id| CoreId { id }).collect()
    }

    #[test]
    fn more_threads_than_cpus_take_turns() {
        let cpus = Cpus::in_order(ids(&[3, 1])).unwrap();
        assert_eq!(cpus.of_members(5), [3, 1, 3, 1, 3]);
        assert!(!cpus.is_simulated());
    }

    #[test]
    fn a_described_machine_runs_on_the_cpus_that_there_are() {
        let here = core_affinity::get_core_ids().unwrap();
        let topology = Topology::synthetic("node:2 core:4 pu:1").unwrap();
        let cpus = Cpus::simulated(&ids(&[0, 4, 7]), here).unwrap().on_nodes_of(&topology);
        assert_eq!((cpus.count(), cpus.is_simulated()), (3, true));
        assert_eq!(cpus.of_members(4), [0, 4, 7, 0]);
        let node = std::thread::spawn(move || cpus.pin(1).then(Cpus::node_of_this_thread)).join().unwrap();
        assert_eq!(node, Some(Some(NodeId(1))));
        assert_eq!(Cpus::node_of_this_thread(), None);
    }

    #[test]
    fn no_cpus_are_an_error() {
        assert!(Cpus::in_order(Vec::new()).is_err());
        assert!(Cpus::simulated(&ids(&[0]), Vec::new()).is_err());
    }
}
