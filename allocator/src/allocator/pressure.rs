//! Where an allocator's requests turn to when memory is short.

use super::core::Core;
use crate::{
    alloc::{AllocContext, Asked, Domain, NodeReclaim, Pressure},
    error::AllocError,
    frame::{Block, Nid, Order, ZoneNumber},
    gfp::{Gfp, ZoneType},
    node::ZoneRef,
};

impl Pressure for Core {
    fn wakeup_kswapd(&self, domain: &Domain, zone: ZoneNumber, gfp: Gfp, order: Order, highest: ZoneType) {
        self.reclaim.wakeup_kswapd(domain, zone, gfp, order, highest);
    }

    fn node_reclaim(
        &self,
        domain: &Domain,
        node: Nid,
        preferred: Nid,
        gfp: Gfp,
        order: Order,
    ) -> NodeReclaim {
        self.reclaim.node_reclaim(domain, node, preferred, gfp, order)
    }

    fn alloc_pages_slowpath(
        &self,
        asked: &Asked<'_>,
        context: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        self.slowpath.alloc_pages_slowpath(&self.reclaim, asked, context, error)
    }
}
