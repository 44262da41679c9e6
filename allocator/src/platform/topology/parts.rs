//! From what a source read to a [`Topology`]: sorted, renumbered, cross-referenced.

use std::collections::BTreeMap;

use super::super::error::PlatformError;
use super::{
    Cache, Cpu, CpuId, LOCAL_DISTANCE, NodeId, NodeInfo, PageSize, REMOTE_DISTANCE, Topology, TopologySource,
    bounds,
};

/// A CPU as a source describes it.
pub(super) struct CpuPart {
    pub(super) os_index: u32,
    /// Any number that is the same for SMT siblings and for no other CPU.
    pub(super) core: u32,
    /// Any number that is the same for the CPUs of a package and for no other.
    pub(super) package: u32,
    /// The operating system's number of the local node.
    pub(super) node: Option<u32>,
    pub(super) l2: Option<Cache>,
    pub(super) l3: Option<Cache>,
}

/// A node as a source describes it.
pub(super) struct NodePart {
    pub(super) os_index: u32,
    pub(super) memory_bytes: u64,
    pub(super) page_sizes: Vec<PageSize>,
}

/// All that a source describes.
pub(super) struct Parts {
    pub(super) source: TopologySource,
    pub(super) simulated: bool,
    pub(super) downgrade: Option<String>,
    /// Says in an error what was read.
    pub(super) origin: String,
    pub(super) cpus: Vec<CpuPart>,
    pub(super) nodes: Vec<NodePart>,
    /// Distances between nodes by the operating system's numbers; missing ones are 10 or 20.
    pub(super) distances: BTreeMap<(u32, u32), u32>,
}

impl Parts {
    pub(super) fn assemble(mut self) -> Result<Topology, PlatformError> {
        if self.cpus.is_empty() {
            return Err(PlatformError::topology(self.origin, "it has no CPU that this process may run on"));
        }
        if self.nodes.is_empty() {
            return Err(PlatformError::topology(self.origin, "it has no node that this process may use"));
        }
        bounds::check_nodes(&self.origin, self.nodes.len())?;
        self.nodes.sort_by_key(|node| node.os_index);
        self.cpus.sort_by_key(|cpu| cpu.os_index);
        let node_ids: BTreeMap<u32, NodeId> =
            self.nodes.iter().map(|node| node.os_index).zip((0..).map(NodeId)).collect();
        let core_numbers = dense_numbers(self.cpus.iter().map(|cpu| cpu.core));
        let package_numbers = dense_numbers(self.cpus.iter().map(|cpu| cpu.package));
        let cpus: Vec<Cpu> = self
            .cpus
            .iter()
            .map(|cpu| Cpu {
                os_index: CpuId(cpu.os_index),
                core: core_numbers[&cpu.core],
                package: package_numbers[&cpu.package],
                node: cpu.node.and_then(|node| node_ids.get(&node).copied()),
                l2: cpu.l2,
                l3: cpu.l3,
            })
            .collect();
        let os_indices: Vec<u32> = node_ids.keys().copied().collect();
        let distances = distance_matrix(&os_indices, &self.distances);
        let nodes = (0..).map(NodeId).zip(self.nodes).map(|(id, node)| NodeInfo {
            os_index: node.os_index,
            memory_bytes: node.memory_bytes,
            cpus: cpus.iter().filter(|cpu| cpu.node == Some(id)).map(|cpu| cpu.os_index).collect(),
            page_sizes: node.page_sizes,
        });
        let nodes = nodes.collect();
        let node_by_cpu = node_by_cpu(&cpus);
        let Self { source, simulated, downgrade, .. } = self;
        Ok(Topology { source, simulated, downgrade, cpus, nodes, distances, node_by_cpu })
    }
}

/// Numbers distinct keys from 0 in the order of their first appearance.
fn dense_numbers(keys: impl Iterator<Item = u32>) -> BTreeMap<u32, u32> {
    let mut numbers = BTreeMap::new();
    let mut next = 0;
    for key in keys {
        numbers.entry(key).or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
    numbers
}

fn distance_matrix(nodes: &[u32], known: &BTreeMap<(u32, u32), u32>) -> Vec<u32> {
    let pairs = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| (from, to)));
    let default = |(from, to)| if from == to { LOCAL_DISTANCE } else { REMOTE_DISTANCE };
    pairs.map(|pair| known.get(&pair).copied().unwrap_or_else(|| default(pair))).collect()
}

fn node_by_cpu(cpus: &[Cpu]) -> Vec<Option<NodeId>> {
    let len = cpus.last().map_or(0, |cpu| cpu.os_index.0 as usize + 1);
    let mut table = vec![None; len];
    for cpu in cpus {
        table[cpu.os_index.0 as usize] = cpu.node;
    }
    table
}
