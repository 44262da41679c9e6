//! How an arena is spread over NUMA nodes.

use crate::{
    error::BuildError,
    frame::{FRAME_BYTES, NODES_MAX, Nid},
    node::{Distances, NodeFrames, NodeMask},
    platform::{
        Arena, Backing, Binding, NodeId, PlatformError, Topology,
        arena::{NodeSpan, Placement, Tied},
        pin::pin_current_to_any,
        topology::CpuId,
    },
    reclaim::Pinned,
};

/// Which nodes an arena lies on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// None in particular: the allocator has one node.
    #[default]
    OneNode,
    /// All nodes of the machine that have memory, in equal parts.
    AllNodes,
    /// These nodes of the topology, with so many bytes each, in this order; together they are the arena. With hugetlb pages each
    /// part is a multiple of them.
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
    /// Where they lie, if that was asked for ([`Builder::verify_binding`](super::Builder::verify_binding)) and the node is this
    /// machine's.
    pub placement: Option<Placement>,
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

/// A node, and where its kswapd runs.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) node: Nid,
    /// The node's CPUs; or why the thread is tied to none.
    pub(super) cpus: Result<Vec<CpuId>, Pinned>,
}

impl Home {
    /// Ties the calling thread to the CPUs.
    pub(super) fn pin(self) -> Pinned {
        match self.cpus.map(|cpus| pin_current_to_any(&cpus)) {
            Ok(Ok(())) => Pinned::Done,
            Ok(Err(error)) => Pinned::Refused(error),
            Err(why_not) => why_not,
        }
    }
}

/// What a domain must know of the nodes.
pub(super) struct NodePlan {
    pub(super) parts: Vec<NodeFrames>,
    pub(super) distances: Distances,
    pub(super) with_cpus: NodeMask,
    pub(super) cpu_nodes: Box<[Nid]>,
}

/// Parts are whole blocks of this size, or whole pages if these are larger, but for the last: 4 MiB, the largest ordinary block.
const PART: usize = 4 << 20;

impl NodePlan {
    /// Spreads an arena of `bytes` in such pages over nodes of the topology.
    pub(super) fn new(
        spread: &Spread,
        bytes: usize,
        backing: Backing,
        topology: &Topology,
    ) -> Result<Self, BuildError> {
        let page_bytes = backing.page_bytes();
        let least = PART.max(page_bytes);
        let wrong = |problem: String| Err(BuildError::option("nodes", problem));
        let known = topology.nodes();
        let shares = match spread {
            Spread::OneNode => return Ok(Self::one(bytes)),
            Spread::AllNodes => {
                let with_memory = (0..).map(NodeId).zip(known).filter(|(_, node)| node.memory_bytes > 0);
                let ids: Vec<NodeId> = with_memory.map(|(id, _)| id).collect();
                let each = bytes / ids.len().max(1) / least * least;
                if each == 0 {
                    let count = ids.len();
                    return wrong(format!("{bytes} bytes are too few for {count} nodes of {least} at least"));
                }
                let last = ids.len() - 1;
                let share = |(place, id)| (id, if place == last { bytes - each * last } else { each });
                ids.into_iter().enumerate().map(share).collect()
            }
            Spread::Nodes(shares) => {
                if let Some((id, bytes)) = shares.iter().find(|(_, bytes)| !bytes.is_multiple_of(page_bytes))
                {
                    return wrong(format!(
                        "node {id} with {bytes} bytes: in {backing} pages each part is a multiple of {page_bytes}"
                    ));
                }
                shares.clone()
            }
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

    /// Returns the parts of the arena with the system's numbers of their nodes, to be tied to them.
    pub(super) fn spans(&self, binding: Binding, topology: &Topology) -> Vec<NodeSpan> {
        // There is no such node where the topology is another machine's.
        let binding = if topology.is_simulated() { Binding::None } else { binding };
        let span = |part: &NodeFrames| {
            let known = topology.node(NodeId(u32::from(u16::from(part.node))));
            let bytes = usize::try_from(part.frames).unwrap_or(usize::MAX) * FRAME_BYTES;
            NodeSpan { bytes, os_node: known.map_or(0, |node| node.os_index), binding }
        };
        self.parts.iter().map(span).collect()
    }

    /// Says for each part where its kswapd runs: on the CPUs of its node, if it has any.
    pub(super) fn homes(&self, topology: &Topology) -> Vec<Home> {
        let home = |part: &NodeFrames| {
            let known = topology.node(NodeId(u32::from(u16::from(part.node))));
            let cpus = match known {
                // The allocator does not tell nodes apart.
                _ if self.cpu_nodes.is_empty() => Err(Pinned::NotAsked),
                _ if topology.is_simulated() => Err(Pinned::Simulated),
                Some(node) if !node.cpus.is_empty() => Ok(node.cpus.clone()),
                _ => Err(Pinned::NotAsked),
            };
            Home { node: part.node, cpus }
        };
        self.parts.iter().map(home).collect()
    }

    /// Says what became of tying parts of the arena to nodes.
    pub(super) fn reports(
        &self,
        spans: &[NodeSpan],
        tied: Vec<Tied>,
        binding: Binding,
        topology: &Topology,
    ) -> Vec<NodeReport> {
        let report = |((part, span), tied): ((&NodeFrames, &NodeSpan), Tied)| NodeReport {
            node: part.node,
            os_index: span.os_node,
            bytes: span.bytes,
            bound: match (binding, tied) {
                (Binding::None, _) => Bound::NotAsked,
                _ if topology.is_simulated() => Bound::Simulated,
                (_, Ok(())) => Bound::Done(binding),
                (_, Err(error)) => Bound::Refused(error),
            },
            placement: None,
        };
        self.parts.iter().zip(spans).zip(tied).map(report).collect()
    }
}

/// Asks the system where each node's part of the arena lies, and notes it in the reports.
pub(super) fn verify(arena: &Arena, reports: &mut [NodeReport]) -> Result<(), BuildError> {
    let failed = |error| BuildError::platform("verifying where memory lies", error);
    let mut offset = 0;
    for report in reports {
        let os_node = report.os_index;
        let placement = arena.placement(offset, report.bytes, os_node).map_err(failed)?;
        let Placement { here, elsewhere, .. } = placement;
        if report.bound == Bound::Done(Binding::Strict) && elsewhere > 0 {
            return Err(failed(PlatformError::Misplaced { os_node, looked_at: here + elsewhere, elsewhere }));
        }
        report.placement = Some(placement);
        offset += report.bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Allocator,
        platform::{
            ArenaSource, Errno, Prefault,
            fault::{self, Occurrence, SystemCall},
        },
    };

    fn plan(spread: &Spread, bytes: usize, backing: Backing) -> Result<Vec<usize>, String> {
        let topology = Topology::synthetic("numa:2 core:1 pu:1").expect("a machine");
        let plan = NodePlan::new(spread, bytes, backing, &topology).map_err(|error| error.to_string())?;
        Ok(plan.spans(Binding::Strict, &topology).iter().map(|span| span.bytes).collect())
    }

    #[test]
    fn parts_are_whole_pages_of_the_backing() {
        const GIB: usize = 1 << 30;
        assert_eq!(plan(&Spread::AllNodes, 3 * GIB, Backing::Huge1G), Ok(vec![GIB, 2 * GIB]));
        assert_eq!(plan(&Spread::AllNodes, 3 * GIB, Backing::Huge2M), Ok(vec![3 * GIB / 2; 2]));
        let error = plan(&Spread::AllNodes, GIB, Backing::Huge1G).expect_err("one page for two nodes");
        assert!(error.contains("1073741824 at least"), "{error}");
        let halves = Spread::Nodes(vec![(NodeId(0), GIB / 2), (NodeId(1), GIB / 2)]);
        let error = plan(&halves, GIB, Backing::Huge1G).expect_err("no whole pages");
        assert!(error.contains("in 1g pages each part is a multiple of 1073741824"), "{error}");
        assert_eq!(plan(&halves, GIB, Backing::Thp), Ok(vec![GIB / 2; 2]));
    }

    #[test]
    fn where_memory_lies_is_reported_or_an_error() {
        let builder = || {
            let builder = Allocator::builder(8 << 20).source(ArenaSource::Memfd).prefault(Prefault::All);
            builder.nodes(Spread::AllNodes).bind(Binding::Strict).verify_binding(true)
        };
        let Ok(allocator) = builder().build() else { return eprintln!("left out: too many nodes for 8 MiB") };
        let placed = allocator.nodes().iter().map(|node| node.placement.expect("it was asked for"));
        let (here, other) =
            placed.fold((0, 0), |sum, at| (sum.0 + at.here, sum.1 + at.elsewhere + at.unknown));
        assert_eq!((here, other), (2048, 0));
        let _refused = fault::fail(SystemCall::MovePages, Occurrence::Always, Errno::NOSYS);
        let error = builder().build().expect_err("nobody says where it lies").to_string();
        assert!(error.contains("verifying where memory lies: move_pages"), "{error}");
        let simulated = Topology::synthetic("numa:2 core:1 pu:1").expect("a machine");
        let allocator = builder().topology(simulated).build().expect("nothing is asked of the system");
        assert!(allocator.nodes().iter().all(|node| node.placement.is_none()));
    }
}
