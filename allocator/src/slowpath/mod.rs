//! What a request does after it found nothing at the low mark: `alloc_pages_slowpath`.

#![deny(unsafe_code)]

use crate::{
    alloc::{AllocContext, Asked, Domain, NodeReclaim, Pressure, get_page_from_freelist},
    error::AllocError,
    frame::{Block, Nid, Order, ZoneNumber},
    gfp::{AllocFlags, Gfp, ZoneType, current_scopes, gfp_to_alloc_flags, reserve_flags},
    node::ZoneRef,
    reclaim::Reclaim,
    zone::Waiting,
};

impl Pressure for Reclaim {
    fn wakeup_kswapd(&self, domain: &Domain, zone: ZoneNumber, gfp: Gfp, order: Order, highest: ZoneType) {
        self.wakeup_kswapd(domain, zone, gfp, order, highest);
    }

    fn node_reclaim(
        &self,
        domain: &Domain,
        node: Nid,
        preferred: Nid,
        gfp: Gfp,
        order: Order,
    ) -> NodeReclaim {
        self.node_reclaim(domain, node, preferred, gfp, order)
    }

    fn alloc_pages_slowpath(
        &self,
        asked: Asked<'_>,
        context: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        alloc_pages_slowpath(self, asked, context, error)
    }
}

/// Tries again at the minimum mark with the reserves that the flags give a right to; and, if the caller may block, when memory has
/// been reclaimed and all threads' caches have been drained.
#[cold]
fn alloc_pages_slowpath(
    reclaim: &Reclaim,
    asked: Asked<'_>,
    context: &AllocContext<'_>,
    error: AllocError,
) -> Result<(ZoneRef, Block), AllocError> {
    let Asked { domain, waiting, .. } = asked;
    let mut error = error;
    let mut flags = gfp_to_alloc_flags(context.gfp, context.order.get());
    let reserves = reserve_flags(context.gfp, current_scopes());
    if !reserves.is_empty() {
        flags = reserves | (flags & (AllocFlags::KSWAPD | AllocFlags::CMA));
    }
    if waiting == Waiting::Never {
        flags |= AllocFlags::TRYLOCK;
    }
    if flags.contains(AllocFlags::KSWAPD) && waiting == Waiting::Allowed {
        wake_all_kswapds(reclaim, domain, context);
    }
    if let Some(found) = get_page_from_freelist(asked, context, flags, &mut error) {
        return Ok(found);
    }
    if waiting == Waiting::Never || !context.gfp.allows_blocking() || domain.is_closed() {
        return Err(error);
    }
    reclaim.try_to_free_pages(domain, context);
    domain.caches().drain_all();
    loop {
        if let Some(found) = get_page_from_freelist(asked, context, flags, &mut error) {
            return Ok(found);
        }
        if !domain.unreserve_highatomic_pageblock(context, true) {
            return Err(error);
        }
    }
}

/// Wakes the kswapds of all nodes that may serve a request (`wake_all_kswapds`).
fn wake_all_kswapds(reclaim: &Reclaim, domain: &Domain, context: &AllocContext<'_>) {
    let mut last = None;
    for zone in context.zonelist.zones(context.highest_zone, context.nodemask) {
        if last.replace(zone.node) != Some(zone.node) {
            reclaim.wakeup_kswapd(domain, zone.number, context.gfp, context.order, context.highest_zone);
        }
    }
}
