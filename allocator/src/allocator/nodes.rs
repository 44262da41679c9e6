//! How an arena is spread over NUMA nodes.

use super::{Allocator, Pages, core::key};
use crate::{
    alloc::{Busy, alloc_pages_nodemask},
    error::{AllocError, BuildError},
    frame::{Nid, Order},
    gfp::Gfp,
    node::{BadPolicy, Distances, MemPolicy, NodeFrames, NodeMask, PolicyState},
    pcp::{NoCache, ThreadCache, local},
    platform::{Arena, Binding, NodeId, Topology, topology::CpuId},
    sync::{NotEntered, Owner},
};
use core::{fmt, marker::PhantomData};

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
    Refused(crate::platform::PlatformError),
}

/// What a domain must know of the nodes.
pub(super) struct NodePlan {
    pub(super) parts: Vec<NodeFrames>,
    pub(super) distances: Distances,
    pub(super) with_cpus: NodeMask,
    pub(super) cpu_nodes: Box<[Nid]>,
}

const FRAME: usize = 4096;
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
                let with_memory: Vec<_> =
                    (0..).map(NodeId).zip(known).filter(|(_, node)| node.memory_bytes > 0).collect();
                let each = bytes / with_memory.len().max(1) / PART * PART;
                if each == 0 {
                    return wrong(format!(
                        "{bytes} bytes are too few for {} nodes: each gets at least {PART}",
                        with_memory.len()
                    ));
                }
                let mut shares: Vec<_> = with_memory.into_iter().map(|(id, _)| (id, each)).collect();
                if let Some((_, last)) = shares.last_mut() {
                    *last = bytes - each * (with_memory_len(known) - 1);
                }
                shares
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
            if seen.contains(node) || bytes == 0 || !bytes.is_multiple_of(FRAME) {
                return wrong(format!(
                    "node {id} with {bytes} bytes: each node is named once, with whole frames"
                ));
            }
            seen = [node].into_iter().chain(seen.iter()).collect();
            parts.push(NodeFrames { node, frames: (bytes / FRAME) as u64 });
        }
        let id = |node: Nid| NodeId(u32::from(u16::from(node)));
        let nodes = known.len().min(crate::frame::NODES_MAX);
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
            parts: vec![NodeFrames { node, frames: (bytes / FRAME) as u64 }],
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
            let len = usize::try_from(part.frames).unwrap_or(usize::MAX) * FRAME;
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

fn with_memory_len(nodes: &[crate::platform::topology::NodeInfo]) -> usize {
    nodes.iter().filter(|node| node.memory_bytes > 0).count()
}

/// A policy in force on this thread; dropping it brings the one before back.
#[derive(Debug)]
#[must_use = "the policy ends when this is dropped"]
pub struct PolicyScope {
    owner: Owner<ThreadCache>,
    before: Option<PolicyState>,
    /// Bound to its thread.
    _not_send: PhantomData<*mut ()>,
}

/// Why a policy was not put into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// It names no node that has memory.
    Bad(BadPolicy),
    /// The thread has no cache to keep it in.
    NoCache(NoCache),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(bad) => bad.fmt(f),
            Self::NoCache(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Replaces the policy of a thread's cache and returns the one before.
fn replace_policy(owner: &Owner<ThreadCache>, policy: Option<PolicyState>) -> Option<PolicyState> {
    loop {
        match owner.enter() {
            Ok(mut cache) => {
                let before = cache.policy_mut().copied();
                cache.set_policy(policy);
                return before;
            }
            // A drainer has it for a moment.
            Err(NotEntered::Claimed) if !owner.cell().is_kept() => crate::sync::thread::yield_now(),
            Err(_) => return None,
        }
    }
}

impl Drop for PolicyScope {
    fn drop(&mut self) {
        replace_policy(&self.owner, self.before);
    }
}

impl Allocator {
    /// Allocates a block from a node, or from the nearest that has one unless the mask says
    /// [`THISNODE`](Gfp::THISNODE) (`alloc_pages_node`); `None` is the node of the thread's CPU (`NUMA_NO_NODE`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages_node(Some(Nid::new(0)), Gfp::KERNEL | Gfp::THISNODE, Order::ZERO)?;
    /// assert_eq!(allocator.node_of(&pages), Nid::new(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages); and when there is no such node.
    pub fn alloc_pages_node(&self, node: Option<Nid>, gfp: Gfp, order: Order) -> Result<Pages, AllocError> {
        self.alloc_pages_nodemask(node, NodeMask::ALL, gfp, order)
    }

    /// Allocates a block from one of the allowed nodes, in the order of one of all (`__alloc_pages_nodemask`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, NodeMask, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let allowed = NodeMask::of(Nid::new(0));
    /// let pages = allocator.alloc_pages_nodemask(None, allowed, Gfp::KERNEL, Order::ZERO)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages_node`](Self::alloc_pages_node).
    pub fn alloc_pages_nodemask(
        &self,
        node: Option<Nid>,
        allowed: NodeMask,
        gfp: Gfp,
        order: Order,
    ) -> Result<Pages, AllocError> {
        let core = self.core();
        let busy = Busy::enter();
        let owner = core.owner(&busy);
        let block =
            alloc_pages_nodemask(&core.domain, owner.as_ref(), gfp, order, node, allowed, busy.waiting())?;
        let pages = Pages::new(block);
        Ok(if gfp.contains(Gfp::ZERO) { pages.zero().into_pages() } else { pages })
    }

    /// Returns the node that a block lies on (`page_to_nid`).
    #[doc(alias = "page_to_nid")]
    pub fn node_of(&self, pages: &Pages) -> Nid {
        self.core().domain.zone_at(pages.zone_index()).span().node
    }

    /// Returns the node of the CPU that the caller runs on (`numa_mem_id`).
    #[doc(alias = "numa_node_id")]
    pub fn numa_mem_id(&self) -> Nid {
        self.core().domain.numa_mem_id()
    }

    /// Returns the nodes that have a part of the arena, and whether it is tied to them.
    pub fn nodes(&self) -> &[NodeReport] {
        &self.core().nodes
    }

    /// Returns the order in which requests of a node turn to zones, as node and zone type (`node_zonelist`).
    pub fn zonelists(&self) -> &crate::node::Zonelists {
        self.core().domain.zonelists()
    }

    /// Lets requests use only these nodes from now on, on all threads (`cpuset.mems`).
    ///
    /// Requests that may not block and have high priority use others when need be, as in the kernel.
    pub fn set_mems_allowed(&self, allowed: NodeMask) {
        let _busy = Busy::enter();
        self.core().domain.set_mems_allowed(allowed);
    }

    /// Returns the nodes that requests may use.
    pub fn mems_allowed(&self) -> NodeMask {
        self.core().domain.cpuset().allowed()
    }

    /// Puts a memory policy into force for the calling thread's requests to this allocator, until what is returned is dropped
    /// (`set_mempolicy(2)`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, MemPolicy, Nid, NodeMask, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let bound = allocator.mempolicy(MemPolicy::Bind(NodeMask::of(Nid::new(0))))?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::ZERO)?;
    /// drop(bound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the policy names no node that has memory, or the thread can have no cache.
    pub fn mempolicy(&self, policy: MemPolicy) -> Result<PolicyScope, PolicyError> {
        let _busy = Busy::enter();
        let core = self.core();
        let with_memory = core.domain.zonelists().with_memory();
        let state = PolicyState::new(policy, with_memory).map_err(PolicyError::Bad)?;
        let caches = core.domain.caches();
        let owner = local::get_or_register(key(core.number()), caches, || core.domain.numa_mem_id())
            .map_err(PolicyError::NoCache)?;
        let before = replace_policy(&owner, Some(state));
        Ok(PolicyScope { owner, before, _not_send: PhantomData })
    }
}
