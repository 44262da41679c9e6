//! `gfp topo`: the machine as gfp sees it.

use anyhow::{Context, Result};
use gfp::platform::Topology;

use crate::measure::Cpus;

/// Prints nodes, CPUs, memory, distances and page sizes.
///
/// # Errors
///
/// When the topology cannot be read.
pub fn run() -> Result<()> {
    let topology = load()?;
    if let Some(downgrade) = topology.downgrade() {
        eprintln!("less than was asked for: {downgrade}");
    }
    print!("{topology}");
    Ok(())
}

/// Returns the CPUs that threads are to be pinned to: one of each core before any sibling, node by node.
///
/// To be called before any thread is pinned. A simulated topology does not count here: threads run on this machine.
///
/// # Errors
///
/// When the topology cannot be read, or the system names no CPU.
pub fn pin_order() -> Result<Cpus> {
    let topology = load()?;
    if topology.is_simulated() {
        return Cpus::allowed();
    }
    let order =
        topology.pin_order().into_iter().map(|cpu| core_affinity::CoreId { id: cpu.0 as usize }).collect();
    Cpus::in_order(order)
}

fn load() -> Result<Topology> {
    Topology::load().context("cannot read the topology of this machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_order_has_every_allowed_cpu() {
        assert_eq!(pin_order().unwrap().count(), Cpus::allowed().unwrap().count());
    }
}
