//! Reclaim of a node before a request goes to another (`node_reclaim`).

use super::{Reclaim, direct::reclaim_until};
use crate::{
    alloc::{Domain, NodeReclaim},
    frame::{Nid, Order},
    gfp::{Gfp, Scopes, ZoneType, current_scopes},
    trace,
    zone::Zone,
};

/// Nodes that are farther away are not reclaimed for each other's requests (`RECLAIM_DISTANCE`).
const RECLAIM_DISTANCE: u32 = 30;

/// With which priority it begins: a cache is asked for a 16th of what it has (`NODE_RECLAIM_PRIORITY`).
const NODE_RECLAIM_PRIORITY: u8 = 4;

/// The share of a node's frames that caches keep, in percent: below it they are not asked (`vm.min_unmapped_ratio`). The kernel asks
/// for slab caches too, above 5 percent (`vm.min_slab_ratio`); here all caches are of one kind, and the lesser share decides.
const MIN_UNMAPPED_PERCENT: u64 = 1;

bitflags::bitflags! {
    /// Whether, and how, a node is reclaimed before a request goes to another (`vm.zone_reclaim_mode`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct NodeReclaimMode: u32 {
        /// It is.
        const ZONE = 1;
        /// Caches may write to do so: without it, they are asked with neither IO nor FS.
        const WRITE = 2;
        /// What is in use may be taken from its users. All that caches offer is theirs here: this says no more than `ZONE`.
        const UNMAP = 4;
    }
}

impl Reclaim {
    /// Reclaims memory of a node before a request, whose preferred node is `preferred`, goes to another zone
    /// (`zone_allows_reclaim`, `node_reclaim`).
    ///
    /// Nothing is done unless the mode says so ([`Builder::node_reclaim_mode`](crate::Builder::node_reclaim_mode)), the node is near,
    /// and it is the caller's own or has no CPUs; for a request that may not block, on a thread that is reclaiming already, or
    /// while somebody else is at it.
    pub(crate) fn node_reclaim(
        &self,
        domain: &Domain,
        node: Nid,
        preferred: Nid,
        gfp: Gfp,
        order: Order,
    ) -> NodeReclaim {
        if self.mode.is_empty() || domain.zonelists().distances().get(preferred, node) > RECLAIM_DISTANCE {
            return NodeReclaim::NoScan;
        }
        if !gfp.allows_blocking() || current_scopes().contains(Scopes::MEMALLOC) {
            return NodeReclaim::NoScan;
        }
        if domain.has_cpus(node) && node != domain.numa_mem_id() {
            return NodeReclaim::NoScan;
        }
        let managed: u64 = domain.zones_of(node, ZoneType::Movable).map(Zone::managed).sum();
        if self.reclaimable_pages(node) <= managed * MIN_UNMAPPED_PERCENT / 100 {
            return NodeReclaim::Full;
        }
        let Some(_locked) = self.pgdat(node).reclaiming.try_lock() else { return NodeReclaim::NoScan };
        let done = self.node_reclaim_locked(domain, node, gfp, order);
        let count = match done {
            NodeReclaim::Success => &self.events.zone_reclaim_success,
            _ => &self.events.zone_reclaim_failed,
        };
        count.add(1);
        done
    }

    /// Asks the node's caches, harder each time, until as many frames were freed as the request asks for (`__node_reclaim`). The kernel has
    /// each round stop after 32 frames, or so many; here a cache is asked for its share.
    fn node_reclaim_locked(&self, domain: &Domain, node: Nid, gfp: Gfp, order: Order) -> NodeReclaim {
        let writes = self.mode.contains(NodeReclaimMode::WRITE);
        let asked = if writes { gfp } else { gfp.without(Gfp::IO).without(Gfp::FS) };
        trace::mm_vmscan_node_reclaim_begin(node, order, gfp);
        let wanted = u64::from(order.frames());
        let reclaimed = reclaim_until(wanted, NODE_RECLAIM_PRIORITY, |priority| {
            self.shrink_directly(domain, node, asked, priority)
        });
        trace::mm_vmscan_node_reclaim_end(reclaimed);
        if reclaimed >= wanted { NodeReclaim::Success } else { NodeReclaim::Some }
    }
}
