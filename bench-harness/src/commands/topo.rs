//! `gfp topo`: the machine as gfp sees it.

use std::fmt::Write;

use anyhow::{Context, Result};
use gfp::platform::HugePagePool;

use crate::{
    measure::{Cpus, topology},
    terminal::print,
};

/// Prints nodes, CPUs, memory, distances, page sizes and, of this machine, the pools of hugetlb pages.
///
/// # Errors
///
/// When the topology or the pools cannot be read.
pub fn run() -> Result<()> {
    let topology = topology()?;
    if let Some(downgrade) = topology.downgrade() {
        eprintln!("less than was asked for: {downgrade}");
    }
    print(format_args!("{topology}"))?;
    if !topology.is_simulated() {
        let pools = HugePagePool::all().context("cannot read the pools of hugetlb pages")?;
        print(format_args!("{}", pool_table(&pools)?))?;
    }
    Ok(())
}

/// Makes a table of the pools: a line for each page size, then one for each node by the system's number.
fn pool_table(pools: &[HugePagePool]) -> Result<String> {
    let mut table = String::new();
    if pools.is_empty() {
        return Ok(table);
    }
    writeln!(table, "{:<16}{:>8}{:>8}{:>10}", "hugetlb pools", "pages", "free", "reserved")?;
    for HugePagePool { size, os_node, pages, free, reserved, .. } in pools {
        match os_node {
            None => writeln!(table, "{:<16}{pages:>8}{free:>8}{reserved:>10}", size.to_string())?,
            Some(node) => writeln!(table, "{:<16}{pages:>8}{free:>8}", format!("  OS node {node}"))?,
        }
    }
    Ok(table)
}

/// Returns the CPUs that threads are to be pinned to: one of each core before any sibling, node by node.
///
/// To be called before any thread is pinned. A simulated topology does not count here: threads run on this machine.
///
/// # Errors
///
/// When the topology cannot be read, or the system names no CPU.
pub fn pin_order() -> Result<Cpus> {
    let topology = topology()?;
    if topology.is_simulated() {
        return Cpus::allowed();
    }
    let order =
        topology.pin_order().into_iter().map(|cpu| core_affinity::CoreId { id: cpu.0 as usize }).collect();
    Ok(Cpus::in_order(order)?.on_nodes_of(&topology))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_of_this_machine_has_its_line() {
        let pools = HugePagePool::all().unwrap();
        let table = pool_table(&pools).unwrap();
        assert_eq!(table.lines().count(), if pools.is_empty() { 0 } else { 1 + pools.len() });
        for (line, pool) in table.lines().skip(1).zip(&pools) {
            let named = pool.os_node.map_or(pool.size.to_string(), |node| format!("OS node {node}"));
            assert!(line.contains(&named) && line.contains(&pool.pages.to_string()), "{line}");
        }
    }

    #[test]
    fn the_pin_order_has_every_allowed_cpu() {
        assert_eq!(pin_order().unwrap().count(), Cpus::allowed().unwrap().count());
    }
}
