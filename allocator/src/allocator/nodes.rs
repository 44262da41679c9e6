//! Requests that name nodes, and the nodes that requests may use.

use super::{Allocator, NodeReport, Pages, debug::Caller};
use crate::{
    alloc::{Asked, Busy, Reclaimer, alloc_pages_mpol, alloc_pages_nodemask},
    error::AllocError,
    frame::{Block, Nid, Order},
    gfp::Gfp,
    node::{BadPolicy, InForce, MemPolicy, NodeMask, PolicyState, Zonelists},
    pcp::{NoCache, ThreadCache, local},
    sync::Owner,
};
use core::{cell::Cell, fmt, panic::Location};

/// A policy in force on this thread; dropping it brings the one before back.
#[derive(Debug)]
#[must_use = "the policy ends when this is dropped"]
pub struct PolicyScope {
    owner: Owner<ThreadCache>,
    before: Option<PolicyState>,
    /// Bound to its thread.
    _in_force: InForce,
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
    let mut cache = owner.enter_behind_drainer().ok()?;
    let before = cache.policy_mut().copied();
    cache.set_policy(policy);
    before
}

impl Drop for PolicyScope {
    fn drop(&mut self) {
        replace_policy(&self.owner, self.before);
    }
}

impl Allocator {
    /// Asks for a block past the shortest way.
    fn ask(
        &self,
        gfp: Gfp,
        order: Order,
        caller: Caller,
        alloc: impl Fn(&Asked<'_>) -> Result<Block, AllocError>,
    ) -> Result<Pages, AllocError> {
        let core = self.core();
        let busy = Busy::enter();
        let owner = core.owner_for(&busy, gfp);
        let content = Cell::default();
        let asked = core.asked(owner.as_ref(), gfp, order, busy.waiting(), &content);
        let block = core.hand_out(caller, &asked, alloc)?;
        drop(busy);
        Ok(Pages::new(block).zeroed_by(gfp, content.get()))
    }

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
    #[doc(alias = "__alloc_pages_node")]
    #[doc(alias = "NUMA_NO_NODE")]
    #[track_caller]
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
    #[track_caller]
    pub fn alloc_pages_nodemask(
        &self,
        node: Option<Nid>,
        allowed: NodeMask,
        gfp: Gfp,
        order: Order,
    ) -> Result<Pages, AllocError> {
        self.ask(gfp, order, Location::caller(), |asked| alloc_pages_nodemask(asked, node, allowed))
    }

    /// Makes a policy for [single requests](Self::alloc_pages_mpol); its turns are its own.
    ///
    /// ```
    /// # use gfp::{Allocator, MemPolicy};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let local = allocator.request_policy(MemPolicy::Local)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A policy that names no node with memory.
    pub fn request_policy(&self, policy: MemPolicy) -> Result<PolicyState, PolicyError> {
        PolicyState::new(policy, self.zonelists().with_memory()).map_err(PolicyError::Bad)
    }

    /// Allocates a block as a policy says, whatever the thread's is (`alloc_pages_mpol`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, MemPolicy, Nid, NodeMask, Order, Spread, platform::{NodeId, Topology}};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// let mut in_turn = allocator.request_policy(MemPolicy::Interleave(NodeMask::ALL))?;
    /// let mut next = || allocator.alloc_pages_mpol(&mut in_turn, Gfp::KERNEL, Order::ZERO);
    /// let pages = [next()?, next()?, next()?];
    /// assert_eq!(pages.each_ref().map(|pages| allocator.node_of(pages).index()), [0, 1, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    #[track_caller]
    pub fn alloc_pages_mpol(
        &self,
        policy: &mut PolicyState,
        gfp: Gfp,
        order: Order,
    ) -> Result<Pages, AllocError> {
        let turns = Cell::new(*policy);
        let pages = self.ask(gfp, order, Location::caller(), |asked| {
            let mut state = turns.get();
            let block = alloc_pages_mpol(asked, &mut state);
            turns.set(state);
            block
        });
        *policy = turns.get();
        pages
    }

    /// Returns the node that a block lies on (`page_to_nid`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, NodeMask, Order, Spread, platform::{NodeId, Topology}};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// let pages = allocator.alloc_pages_node(Some(Nid::new(1)), Gfp::KERNEL, Order::ZERO)?;
    /// assert_eq!(allocator.node_of(&pages), Nid::new(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "page_to_nid")]
    pub fn node_of(&self, pages: &Pages) -> Nid {
        self.core().domain.zone_at(pages.zone_index()).span().node
    }

    /// Returns the node of the CPU that the caller runs on (`numa_mem_id`).
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// println!("this thread runs on node {}", allocator.numa_mem_id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "numa_node_id")]
    pub fn numa_mem_id(&self) -> Nid {
        self.core().domain.numa_mem_id()
    }

    /// Returns the nodes that have a part of the arena, and whether it is tied to them.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, NodeMask, Order, Spread, platform::{NodeId, Topology}};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// assert_eq!(allocator.nodes().iter().map(|node| node.bytes).sum::<usize>(), 64 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn nodes(&self) -> &[NodeReport] {
        &self.core().nodes
    }

    /// Returns the order in which requests of a node turn to zones, as node and zone type (`node_zonelist`).
    ///
    /// ```
    /// # use gfp::{Nid, NodeMask, Spread, gfp::ZoneType, node::Reach, platform::{NodeId, Topology}, Allocator};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// let list = allocator.zonelists().node_zonelist(Nid::new(1), Reach::AllNodes);
    /// let nodes: Vec<_> = list.zones(ZoneType::Normal, NodeMask::ALL).map(|zone| zone.node.index()).collect();
    /// assert_eq!(nodes, [1, 0, 0]); // its own zone, then those of node 0
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zonelists(&self) -> &Zonelists {
        self.core().domain.zonelists()
    }

    /// Lets requests use only these nodes from now on, on all threads (`cpuset.mems`).
    ///
    /// Requests that may not block and have high priority use others when need be, as in the kernel.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, NodeMask, Order, Spread, platform::{NodeId, Topology}};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// allocator.set_mems_allowed(NodeMask::of(Nid::new(1)));
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// assert_eq!(allocator.node_of(&page), Nid::new(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "__cpuset_zone_allowed")]
    #[doc(alias = "cpusets_enabled")]
    #[doc(alias = "read_mems_allowed_retry")]
    pub fn set_mems_allowed(&self, allowed: NodeMask) {
        let _busy = Busy::enter();
        self.core().domain.set_mems_allowed(allowed);
    }

    /// Says whether the application is giving back memory of a node now, besides what the node's kswapd does: where there are
    /// several nodes, requests meanwhile turn to others first, though they lie farther away (6.18), and to this one when those
    /// have nothing. They do so while a kswapd runs, whatever is said here.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid, Order, Spread, platform::{NodeId, Topology}};
    /// # let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// # let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    /// # let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// allocator.set_reclaiming(Nid::new(0), true);
    /// let pages = allocator.alloc_pages_node(Some(Nid::new(0)), Gfp::KERNEL, Order::ZERO)?;
    /// assert_eq!(allocator.node_of(&pages), Nid::new(1));
    /// allocator.set_reclaiming(Nid::new(0), false);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When there is no such node.
    pub fn set_reclaiming(&self, node: Nid, now: bool) {
        let _busy = Busy::enter();
        let domain = &self.core().domain;
        assert!(node.index() < domain.zonelists().nodes(), "there is no node {node}");
        domain.set_reclaiming(Reclaimer::Application, node, now);
    }

    /// Returns the nodes that requests may use.
    ///
    /// ```
    /// # use gfp::{Allocator, NodeMask};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.mems_allowed(), NodeMask::ALL);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mems_allowed(&self) -> NodeMask {
        self.core().domain.cpuset().allowed()
    }

    /// Puts a memory policy into force for the calling thread's requests to this allocator, until what is returned is dropped
    /// (`set_mempolicy(2)`).
    ///
    /// A request that may not wait ([`alloc_pages_nolock`](Self::alloc_pages_nolock), and any without
    /// [`DIRECT_RECLAIM`](Gfp::DIRECT_RECLAIM)) does without it for the moment in which another
    /// thread drains this one's cache, where the policy is kept.
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
        let owner = local::get_or_register(core.key(), caches, || core.domain.numa_mem_id())
            .map_err(PolicyError::NoCache)?;
        let before = replace_policy(&owner, Some(state));
        Ok(PolicyScope { owner, before, _in_force: InForce::begin() })
    }
}
