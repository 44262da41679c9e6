//! The short way of a request that no cache has a list for: to the zone that most requests try first.

use super::{
    Asked,
    fast::{needs_node, plain_request},
    freelist::tell_of_boost,
    prepare::first_flags,
    tally::note_past_cache,
};
use crate::{
    frame::{Block, Order, PcpList, prep_new_page},
    gfp::{Gfp, gfp_allowed_mask},
    node::{InForce, Reach},
    zone::Waiting,
};

/// Takes a block of an order that no cache has a list for, at the low mark, from the zone that most requests of the caller's node
/// try first. Everything that needs a longer look is left to the walk over the zones, which serves what this serves the same way.
pub(super) fn rmqueue_direct(asked: &Asked<'_>) -> Option<Block> {
    let &Asked { domain, owner, order, waiting, .. } = asked;
    let gfp = asked.gfp & gfp_allowed_mask();
    // Of large blocks the zone knows whether they are zero.
    let needs_content = gfp.contains(Gfp::ZERO) && order >= Order::PAGEBLOCK;
    if needs_node(gfp) || needs_content || waiting == Waiting::Never || InForce::any() || domain.is_closed() {
        return None;
    }
    let (highest, wanted) = plain_request(gfp)?;
    let list = PcpList::of(order, wanted);
    if list.is_listed() || order > domain.max_order() {
        return None;
    }
    let node = domain.numa_mem_id();
    // A thread that has moved takes its cache along; one that was interrupted in it, or whose cache is being drained, may hold a lock.
    if let Some(owner) = owner
        && owner.enter().ok()?.node() != node
    {
        return None;
    }
    let number = domain.caches().hot_zone(node);
    let zone = domain.zone(number);
    let zonelist = domain.zonelists().node_zonelist(node, Reach::AllNodes);
    let flags = first_flags(gfp, zonelist, zone.span().kind);
    if zone.span().node != node || !zone.state().above_low(highest, flags) {
        return None;
    }
    let pfn = zone.rmqueue_above_low(order, highest, domain.migratetype_of(wanted), flags)?;
    note_past_cache(domain.frames().allocator(), -i64::from(order.frames()));
    tell_of_boost(asked, number, flags);
    Some(prep_new_page(domain.frames(), pfn, list, number, order))
}
