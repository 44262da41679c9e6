//! The fast path: a block that lies in the caller's cache.

use super::{Domain, dirty::DirtyNodes, prepare::reach};
use crate::{
    frame::{Block, Order, PcpList},
    gfp::{AllocFlags, Gfp, MigrateType, ZoneType, gfp_migratetype, gfp_zone},
    node::{Target, ZoneRef},
    pcp::{Put, ThreadCache},
    sync::{Inside, NotEntered, Owner, Visit},
    trace,
};

/// What a request is to a cache; known at compile time where its flags and order are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CachedRequest {
    highest: ZoneType,
    flags: AllocFlags,
    list: PcpList,
}

/// Returns what a request is to a cache; `None` if a cache cannot serve it: an order without a list, or flags that
/// contradict each other.
#[inline(always)]
const fn cached_request(gfp: Gfp, order: Order) -> Option<CachedRequest> {
    let Some((highest, migratetype)) = plain_request(gfp) else { return None };
    let list = PcpList::of(order, migratetype);
    if !list.is_listed() {
        return None;
    }
    Some(CachedRequest { highest, flags: AllocFlags::fast_path(gfp), list })
}

/// Returns the highest zone and the type that a mask asks for; `None` if its flags contradict each other.
#[inline(always)]
pub(super) const fn plain_request(gfp: Gfp) -> Option<(ZoneType, MigrateType)> {
    let contradiction = gfp.contains(Gfp::NOFAIL) && !gfp.contains(Gfp::DIRECT_RECLAIM);
    match (gfp_zone(gfp), gfp_migratetype(gfp)) {
        (Ok(highest), Ok(migratetype)) if !contradiction => Some((highest, migratetype)),
        _ => None,
    }
}

/// Tells whether a request looks at nodes before it may have a block of the zone that most try first.
#[inline(always)]
pub(super) const fn needs_node(gfp: Gfp) -> bool {
    gfp.intersects(Gfp::THISNODE.union(Gfp::WRITE))
}

/// Returns what a request is to the zone that most try first; `None` if a cache cannot serve it from there without a look at the node: the
/// first zone of a node without memory is another node's, and a node may be over its limit of dirty pages.
#[inline(always)]
const fn hot_request(gfp: Gfp, order: Order) -> Option<CachedRequest> {
    if needs_node(gfp) { None } else { cached_request(gfp, order) }
}

/// Takes a block from the caller's cache, if one of the right kind is there and its zone is above the low mark.
///
/// No lock, no atomic read-modify-write. As the zone's state word answers for order 0, a cached block of a higher order
/// is handed out on that answer too; the kernel would look for a free block of that order first.
#[inline(always)]
pub fn take_cached(
    entered: Result<Inside<'_, ThreadCache>, NotEntered>,
    gfp: Gfp,
    order: Order,
) -> Option<Block> {
    let CachedRequest { highest, flags, list } = hot_request(gfp, order)?;
    let block = entered.ok()?.take(highest, flags, list, order)?;
    trace::mm_page_alloc(block, gfp);
    Some(block)
}

/// [`take_cached`] as what is done with a cache.
#[derive(Clone, Copy, Debug)]
pub struct TakeCached {
    /// The mask.
    pub gfp: Gfp,
    /// The order.
    pub order: Order,
}

impl Visit<ThreadCache> for TakeCached {
    type Output = Option<Block>;

    #[inline(always)]
    fn visit(self, entered: Result<Inside<'_, ThreadCache>, NotEntered>) -> Option<Block> {
        take_cached(entered, self.gfp, self.order)
    }
}

/// [`put_cached`] as what is done with a cache.
#[derive(Clone, Copy, Debug)]
pub struct PutCached(
    /// What is freed.
    pub Block,
);

impl Visit<ThreadCache> for PutCached {
    type Output = Put;

    #[inline(always)]
    fn visit(self, entered: Result<Inside<'_, ThreadCache>, NotEntered>) -> Put {
        put_cached(entered, self.0)
    }
}

/// Takes a block from the caller's cache, from the first zone that is above the low mark: for a request that tries another zone
/// than most first, DMA for example, and for all when the first zone is short of memory.
pub(super) fn take_cached_elsewhere(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    gfp: Gfp,
    order: Order,
    target: &Target,
) -> Option<(ZoneRef, Block)> {
    let CachedRequest { highest, flags, list } = cached_request(gfp, order)?;
    let mut cache = owner.enter().ok()?;
    let zonelist = domain.zonelists().node_zonelist(target.node, reach(gfp));
    let mut dirty = DirtyNodes::default();
    let mut zones = zonelist
        .zones(highest, target.first)
        .filter(|zone| !(gfp.contains(Gfp::WRITE) && dirty.is_over(domain, zone.node)));
    let (zone, block) =
        zones.find_map(|zone| Some((zone, cache.take_in_turn(zone.number, highest, flags, list, order)?)))?;
    block.map(|block| (zone, block))
}

/// Returns what a request for a single frame is to a cache; `None` as [`take_cached`] has it.
pub(super) const fn single_request(gfp: Gfp) -> Option<(ZoneType, AllocFlags, PcpList)> {
    match hot_request(gfp, Order::ZERO) {
        Some(CachedRequest { highest, flags, list }) => Some((highest, flags, list)),
        None => None,
    }
}

/// Puts a block into the caller's cache, at its hot end (`free_unref_page_commit`), and says what is left to be done.
#[inline(always)]
pub fn put_cached(entered: Result<Inside<'_, ThreadCache>, NotEntered>, block: Block) -> Put {
    match entered {
        Ok(mut cache) => cache.put(block),
        Err(not) => not.into(),
    }
}
