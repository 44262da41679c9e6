//! Reclaim: getting memory back from those who offer it.

#![deny(unsafe_code)]

mod shrinker;

pub(crate) use shrinker::{ShrinkControl, Shrinkers, Shrunk};

use crate::{
    alloc::{AllocContext, Domain, NodeReclaim},
    frame::{Nid, Order, ZoneNumber},
    gfp::{Gfp, ZoneType},
};

/// What an allocator knows of reclaim.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    pub(crate) shrinkers: Shrinkers,
}

impl Reclaim {
    /// Lets the kswapd of a zone's node know that a request finds too little there (`wakeup_kswapd`). Never waits.
    pub(crate) fn wakeup_kswapd(
        &self,
        _domain: &Domain,
        _zone: ZoneNumber,
        _gfp: Gfp,
        _order: Order,
        _highest: ZoneType,
    ) {
    }

    /// Reclaims memory for a request on its own thread (`try_to_free_pages`); returns the frames that were freed.
    pub(crate) fn try_to_free_pages(&self, domain: &Domain, context: &AllocContext<'_>) -> u64 {
        let node = context.preferred.node;
        self.shrinkers.shrink_slab(domain, ShrinkControl { gfp: context.gfp, node, priority: 0 }).freed
    }

    /// Returns the frames of a node that could be reclaimed (`zone_reclaimable_pages`).
    pub(crate) fn reclaimable_pages(&self, node: Nid) -> u64 {
        self.shrinkers.count(node)
    }

    /// Reclaims memory of a node before a request goes to another zone (`node_reclaim`).
    pub(crate) fn node_reclaim(
        &self,
        _domain: &Domain,
        _node: Nid,
        _preferred: Nid,
        _gfp: Gfp,
        _order: Order,
    ) -> NodeReclaim {
        NodeReclaim::NoScan
    }
}
