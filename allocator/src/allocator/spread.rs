//! How an arena is spread over NUMA nodes.

use crate::{
    error::BuildError,
    frame::{FRAME_BYTES, NODES_MAX, Nid},
    node::{Distances, NodeFrames, NodeMask},
    platform::{Arena, Binding, NodeId, PlatformError, Topology, topology::CpuId},
};

/// Which nodes an arena lies on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// None in particular: the allocator has one node.
    #[default]
    OneNode,
    /// All nodes of the machine that have memory, in equal parts.
    AllNodes,
    /// These nodes of the topology, with so many bytes each, in this order; together they are the arena.
    Nodes(Vec<(NodeId, usize)>),
}

/// A node of an allocator and what the system granted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its number in the allocator.
    pub node: Nid,
    /// The system's number of it.
    pub os_index: u32,
    /// The bytes of the arena that are its own.
    pub bytes: usize,
    /// Whether these are tied to it.
    pub bound: Bound,
}

/// What became of tying memory to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It was not asked for.
    NotAsked,
    /// The topology is not this machine's: there is no such node.
    Simulated,
    /// The system did it.
    Done(Binding),
    /// The system refused, and the node was only preferred.
    Refused(PlatformError),
}

/// What a domain must know of the nodes.
pub(super) struct NodePlan {
    pub(super) parts: Vec<NodeFrames>,
    pub(super) distances: Distances,
    pub(super) with_cpus: NodeMask,
    pub(super) cpu_nodes: Box<[Nid]>,
}

/// Parts are whole blocks of this size, but for the last: 4 MiB, the largest ordinary block.
const PART: usize = 4 << 20;

impl NodePlan {
    /// Spreads an arena of `bytes` over nodes of the topology.
    pub(super) fn new(spread: &Spread, bytes: usize, topology: &Topology) -> Result<Self, BuildError> {
        let wrong = |problem: String| Err(BuildError::option("nodes", problem));
        let known = topology.nodes();
        let shares = match spread {
            Spread::OneNode => return Ok(Self::one(bytes)),
            Spread::AllNodes => {
                let with_memory = (0..).map(NodeId).zip(known).filter(|(_, node)| node.memory_bytes > 0);
                let ids: Vec<NodeId> = with_memory.map(|(id, _)| id).collect();
                let each = bytes / ids.len().max(1) / PART * PART;
                if each == 0 {
                    let count = ids.len();
                    return wrong(format!("{bytes} bytes are too few for {count} nodes of {PART} at least"));
                }
                let last = ids.len() - 1;
                let share = |(place, id)| (id, if place == last { bytes - each * last } else { each });
                ids.into_iter().enumerate().map(share).collect()
            }
            Spread::Nodes(shares) => shares.clone(),
        };
        let sum: usize = shares.iter().map(|&(_, bytes)| bytes).sum();
        if sum != bytes {
            return wrong(format!("the parts add up to {sum} bytes, and the arena has {bytes}"));
        }
        let mut parts = Vec::new();
        let mut seen = NodeMask::EMPTY;
        for (id, bytes) in shares {
            let index = id.0 as usize;
            let Some(node) = Nid::try_new(index).filter(|_| index < known.len()) else {
                return wrong(format!("there is no node {id}; the topology has {}", known.len()));
            };
            if seen.contains(node) || bytes == 0 || !bytes.is_multiple_of(FRAME_BYTES) {
                return wrong(format!(
                    "node {id} with {bytes} bytes: each node is named once, with whole frames"
                ));
            }
            seen = [node].into_iter().chain(seen.iter()).collect();
            parts.push(NodeFrames { node, frames: (bytes / FRAME_BYTES) as u64 });
        }
        let id = |node: Nid| NodeId(u32::from(u16::from(node)));
        let nodes = known.len().min(NODES_MAX);
        let has_cpus = |node: &Nid| topology.node(id(*node)).is_some_and(|node| !node.cpus.is_empty());
        let cpus = topology.cpus().last().map_or(0, |cpu| cpu.os_index.0 + 1);
        let node_of = |cpu| topology.node_of(CpuId(cpu)).and_then(|node| Nid::try_new(node.0 as usize));
        Ok(Self {
            parts,
            distances: Distances::collect(nodes, |from, to| topology.distance(id(from), id(to))),
            with_cpus: (0..nodes).map(Nid::new).filter(has_cpus).collect(),
            cpu_nodes: (0..cpus).map(|cpu| node_of(cpu).unwrap_or(Nid::new(0))).collect(),
        })
    }

    fn one(bytes: usize) -> Self {
        let node = Nid::new(0);
        Self {
            parts: vec![NodeFrames { node, frames: (bytes / FRAME_BYTES) as u64 }],
            distances: Distances::collect(1, |_, _| 10),
            with_cpus: NodeMask::of(node),
            cpu_nodes: Box::default(),
        }
    }

    /// Ties the nodes' parts of the arena to them.
    pub(super) fn bind(
        &self,
        arena: &Arena,
        binding: Binding,
        topology: &Topology,
    ) -> Result<Vec<NodeReport>, BuildError> {
        let mut offset = 0;
        let mut reports = Vec::new();
        for part in &self.parts {
            let len = usize::try_from(part.frames).unwrap_or(usize::MAX) * FRAME_BYTES;
            let known = topology.node(NodeId(u32::from(u16::from(part.node))));
            let os_index = known.map_or(0, |node| node.os_index);
            let bound = match binding {
                Binding::None => Bound::NotAsked,
                _ if topology.is_simulated() => Bound::Simulated,
                _ => match (arena.bind_range(offset, len, os_index, binding), binding) {
                    (Ok(()), _) => Bound::Done(binding),
                    (Err(error), Binding::Strict) => {
                        return Err(BuildError::platform("tying memory to its node", error));
                    }
                    (Err(error), _) => Bound::Refused(error),
                },
            };
            reports.push(NodeReport { node: part.node, os_index, bytes: len, bound });
            offset += len;
        }
        Ok(reports)
    }
}
