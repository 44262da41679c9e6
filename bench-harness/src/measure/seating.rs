//! On which CPUs the members of a team sit.

use super::{Cpus, Plan};
use crate::workload::Workload;

/// The CPUs of a team, in the order of its members.
#[derive(Clone, Debug)]
pub(crate) struct Seating {
    pub(crate) cpus: Cpus,
    /// Whether the CPUs are of a machine that is only described, or the workload is about nodes that they do not have.
    pub(crate) simulated: bool,
}

impl Seating {
    /// Takes the CPUs in their order, except for [`Workload::Remote`], whose pairs sit on two nodes each.
    pub(crate) fn of(plan: Plan, cpus: &Cpus) -> Self {
        let is_described = cpus.is_simulated();
        if plan.workload != Workload::Remote {
            return Self { cpus: cpus.clone(), simulated: is_described };
        }
        let across = cpus.across_nodes();
        Self { simulated: is_described || across.is_none(), cpus: across.unwrap_or_else(|| cpus.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use core_affinity::CoreId;
    use gfp::platform::Topology;

    use super::*;

    #[test]
    fn only_remote_cares_for_nodes_and_says_when_there_is_one() {
        let cpus = Cpus::in_order([0, 1, 2, 3].map(|id| CoreId { id }).to_vec()).unwrap();
        let seats = |workload, machine: &str| {
            let cpus = cpus.clone().on_nodes_of(&Topology::synthetic(machine).unwrap());
            let seating = Seating::of(Plan::new(workload, 0, 2), &cpus);
            (seating.cpus.of_members(2), seating.simulated)
        };
        assert_eq!(seats(Workload::Handoff, "node:2 core:2 pu:1"), (vec![0, 1], false));
        assert_eq!(seats(Workload::Remote, "node:2 core:2 pu:1"), (vec![0, 2], false));
        assert_eq!(seats(Workload::Remote, "node:1 core:4 pu:1"), (vec![0, 1], true));
    }
}
