//! The text of a topology: a tree of nodes, packages and cores, then the distances.

use std::collections::BTreeMap;
use std::fmt;

use super::{Cpu, CpuId, NodeId, NodeInfo, PageSize, Topology, TopologySource};

impl fmt::Display for TopologySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hwloc => "hwloc",
            Self::Sysfs => "sysfs",
            Self::Synthetic => "a synthetic description",
        })
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |key: fn(&Cpu) -> u32| {
            let mut keys: Vec<u32> = self.cpus().iter().map(key).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.len()
        };
        writeln!(
            f,
            "{}{}{}{}{} from {}{}",
            Count(self.nodes().len(), "node, ", "nodes, "),
            Count(count(|cpu| cpu.package), "package, ", "packages, "),
            Count(count(|cpu| cpu.core), "core, ", "cores, "),
            Count(self.cpus().len(), "CPU", "CPUs"),
            if self.is_simulated() { " (simulated)" } else { "" },
            self.source(),
            self.downgrade().map_or(String::new(), |reason| format!("; {reason}")),
        )?;
        let cpus_of = |node| self.cpus().iter().filter(|cpu| cpu.node == node).collect::<Vec<_>>();
        for (id, node) in (0..).map(NodeId).zip(self.nodes()) {
            write_node(f, id, node)?;
            write_cores(f, &cpus_of(Some(id)))?;
        }
        let homeless = cpus_of(None);
        if !homeless.is_empty() {
            writeln!(f, "without a node")?;
            write_cores(f, &homeless)?;
        }
        write_distances(f, self)
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, id: NodeId, node: &NodeInfo) -> fmt::Result {
    write!(f, "node {id} (OS {}): {}", node.os_index, Bytes(node.memory_bytes))?;
    for PageSize { bytes, count } in &node.page_sizes {
        write!(f, ", {count} × {}", Bytes(*bytes))?;
    }
    if node.cpus.is_empty() { writeln!(f, ", no CPUs") } else { writeln!(f) }
}

/// Writes a line for each core, with its caches and its CPUs.
fn write_cores(f: &mut fmt::Formatter<'_>, cpus: &[&Cpu]) -> fmt::Result {
    let mut cores: BTreeMap<(u32, u32), (&Cpu, Vec<CpuId>)> = BTreeMap::new();
    for &cpu in cpus {
        cores.entry((cpu.package, cpu.core)).or_insert((cpu, Vec::new())).1.push(cpu.os_index);
    }
    let mut current_package = None;
    for ((package, core), (first, cpus)) in cores {
        if current_package != Some(package) {
            writeln!(f, "  package {package}")?;
            current_package = Some(package);
        }
        write!(f, "    core {core}: CPU")?;
        for cpu in cpus {
            write!(f, " {cpu}")?;
        }
        for (name, cache) in [("L2", first.l2), ("L3", first.l3)] {
            if let Some(cache) = cache {
                write!(
                    f,
                    ", {name} {} of {}",
                    Bytes(cache.bytes),
                    Count(cache.sharers as usize, "CPU", "CPUs")
                )?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

fn write_distances(f: &mut fmt::Formatter<'_>, topology: &Topology) -> fmt::Result {
    let ids = || (0..).map(NodeId).take(topology.nodes().len());
    write!(f, "distances")?;
    for to in ids() {
        write!(f, "{:>6}", to.0)?;
    }
    writeln!(f)?;
    for from in ids() {
        write!(f, "{:>9}", from.0)?;
        for to in ids() {
            write!(f, "{:>6}", topology.distance(from, to))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// A number with its noun.
struct Count(usize, &'static str, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { self.1 } else { self.2 })
    }
}

/// A size in the largest binary unit that leaves a whole number of at least 1, with one digit after the point.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match UNITS.into_iter().find(|&(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) if self.0.trailing_zeros() >= shift => {
                write!(f, "{} {unit}", self.0 >> shift)
            }
            Some((unit, shift)) => {
                let tenths = (u128::from(self.0) * 10) >> shift;
                write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    #[test]
    fn a_topology_is_shown_as_a_tree_and_a_matrix() {
        let topology = synthetic::parse("node:2 l2:1 core:1 pu:2").expect("it can be understood");
        let expected = "\
2 nodes, 1 package, 2 cores, 4 CPUs (simulated) from a synthetic description
node 0 (OS 0): 1 GiB, 262144 × 4 KiB
  package 0
    core 0: CPU 0 1, L2 4 MiB of 2 CPUs
node 1 (OS 1): 1 GiB, 262144 × 4 KiB
  package 0
    core 1: CPU 2 3, L2 4 MiB of 2 CPUs
distances     0     1
        0    10    20
        1    20    10
";
        assert_eq!(topology.to_string(), expected);
    }

    #[test]
    fn sizes_are_rounded_down_to_a_tenth() {
        for (bytes, text) in [(0, "0 B"), (4096, "4 KiB"), (1536, "1.5 KiB"), (5_597_069_312, "5.2 GiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
