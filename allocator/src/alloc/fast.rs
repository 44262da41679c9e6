//! The fast path: a block that lies in the caller's cache.

use crate::{
    frame::{Order, PcpList},
    gfp::{AllocFlags, Gfp, ZoneType, gfp_migratetype, gfp_zone},
    pcp::{Block, ThreadCache},
    sync::Owner,
};

/// What a request is to a cache; known at compile time where its flags and order are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedRequest {
    highest: ZoneType,
    flags: AllocFlags,
    list: PcpList,
    order: Order,
}

/// Returns what a request is to a cache; `None` if a cache cannot serve it: an order without a list, or flags that
/// contradict each other or ask for what only the long way does.
#[inline(always)]
pub const fn cached_request(gfp: Gfp, order: Order) -> Option<CachedRequest> {
    let (Ok(highest), Ok(migratetype)) = (gfp_zone(gfp), gfp_migratetype(gfp)) else { return None };
    let list = PcpList::of(order, migratetype);
    let contradiction = gfp.contains(Gfp::NOFAIL) && !gfp.contains(Gfp::DIRECT_RECLAIM);
    if !list.is_listed() || contradiction {
        return None;
    }
    Some(CachedRequest { highest, flags: AllocFlags::fast_path(gfp), list, order })
}

/// Takes a block from the caller's cache, if one of the right kind is there and its zone is above the low mark.
///
/// No lock, no atomic read-modify-write. As the zone's state word answers for order 0, a cached block of a higher order
/// is handed out on that answer too; the kernel would look for a free block of that order first.
#[inline(always)]
pub fn take_cached(owner: &Owner<ThreadCache>, request: CachedRequest) -> Option<Block> {
    let CachedRequest { highest, flags, list, order } = request;
    owner.enter().ok()?.take(highest, flags, list, order)
}
