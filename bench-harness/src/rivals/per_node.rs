//! gfp with an allocator for each NUMA node: what a program gains that never looks beyond its node.

use anyhow::Context;
use gfp::{
    Allocator, Spread,
    platform::{Binding, Downgrade, NodeId},
};

use super::Memory;
use super::gfp::{HandleThread, WithHandle};
use crate::measure::{Cpus, topology};
use crate::rival::Rival;

/// What sets it apart; see [`bias`](super::bias).
pub(super) const BIAS: &str = "gfp with an allocator for each node, each with an arena of the whole size tied to its node: a thread \
    never waits for one of another node, and never gets memory from there either.";

/// An allocator for each node that has memory, its arena tied to the node. A thread allocates from that of the node of its CPU; a
/// block goes back to the allocator that it came from, whoever frees it.
#[derive(Debug)]
pub struct PerNode {
    /// In the order of nodes, at least one.
    allocators: Vec<(NodeId, WithHandle)>,
}

impl PerNode {
    /// Builds the allocators, each with an arena of the whole size: all threads may be on one node.
    ///
    /// # Errors
    /// When the topology cannot be read, or an arena cannot be had.
    pub fn new(memory: Memory) -> anyhow::Result<Self> {
        let topology = topology()?;
        let with_memory = (0..).map(NodeId).zip(topology.nodes()).filter(|(_, node)| node.memory_bytes > 0);
        let allocators = with_memory
            .map(|(id, node)| {
                let built = Allocator::builder(memory.bytes)
                    .backing(memory.backing)
                    .downgrade(Downgrade::Forbidden)
                    .topology(topology.clone())
                    .nodes(Spread::Nodes(vec![(id, memory.bytes)]))
                    .bind(Binding::Preferred)
                    .build();
                let allocator = built.with_context(|| format!("an arena on node {}", node.os_index))?;
                Ok((id, WithHandle::over(allocator)))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(!allocators.is_empty(), "no node of this machine has memory");
        Ok(Self { allocators })
    }

    /// Returns the allocator of a node; of one without memory, or of a thread on no known one, the first.
    fn of(&self, node: Option<NodeId>) -> &WithHandle {
        let found = self.allocators.iter().find(|(id, _)| Some(*id) == node);
        &found.unwrap_or(&self.allocators[0]).1
    }
}

impl Rival for PerNode {
    type Thread<'a> = HandleThread;

    fn name(&self) -> &'static str {
        super::PER_NODE
    }

    fn thread(&self) -> HandleThread {
        self.of(Cpus::node_of_this_thread()).thread()
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rival::RivalThread;
    use crate::workload::{BlockOrder, Constant};

    #[test]
    fn a_thread_has_the_allocator_of_its_node_and_frees_what_others_gave() {
        let arena = || WithHandle::new((16 << 20).into()).unwrap();
        let rival = PerNode { allocators: vec![(NodeId(0), arena()), (NodeId(2), arena())] };
        let base = |node| rival.of(node).base();
        assert_eq!(base(Some(NodeId(2))), rival.allocators[1].1.base());
        assert_eq!((base(Some(NodeId(1))), base(None)), (base(Some(NodeId(0))), base(Some(NodeId(0)))));
        let [mut here, mut there] = [NodeId(0), NodeId(2)].map(|node| rival.of(Some(node)).thread());
        let block = there.alloc(Constant::<0>.request()).unwrap();
        here.free(block, 0);
        drop((here, there));
        let held = rival.allocators.iter().map(|(_, gfp)| gfp.as_gfp().unwrap().conservation().allocated());
        assert_eq!(held.sum::<u64>(), 0);
    }

    #[test]
    fn this_machine_has_an_arena_on_every_node_with_memory() {
        let rival = PerNode::new((16 << 20).into()).unwrap();
        let nodes = topology().unwrap();
        let with_memory = nodes.nodes().iter().filter(|node| node.memory_bytes > 0).count();
        assert_eq!(rival.allocators.len(), with_memory);
    }
}
