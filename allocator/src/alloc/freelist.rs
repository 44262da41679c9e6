//! From a resolved request to a block: the walk over the zones, and what follows when it finds nothing.

use core::cell::Cell;

use super::{
    AllocContext, Domain, NodeReclaim, Pressure, direct::rmqueue_direct, dirty::DirtyNodes,
    fast::take_cached_elsewhere, prepare_alloc_pages, tally::note_past_cache,
};
use crate::{
    error::{AllocError, FailReason, Refusal, TriedZone},
    frame::{Block, Nid, Order, ZoneNumber, prep_new_page},
    gfp::{AllocFlags, Gfp, current_gfp_context, gfp_allowed_mask},
    node::{InForce, NodeMask, PolicyState, Target, ZoneRef},
    pcp::{Refill, ThreadCache},
    sync::{NotEntered, Owner},
    trace,
    zone::{Content, Waiting},
};

/// A request as it is made: of whom, by whom, for what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The zones, their frames and their caches.
    pub domain: &'a Domain,
    /// Where it turns to when memory is short.
    pub pressure: &'a dyn Pressure,
    /// The thread's cache, if it has one.
    pub owner: Option<&'a Owner<ThreadCache>>,
    /// The mask.
    pub gfp: Gfp,
    /// The order.
    pub order: Order,
    /// Whether the caller may wait for locks.
    pub waiting: Waiting,
    /// Set to what the block holds, where that is known and the mask asks for zeroes.
    pub content: &'a Cell<Content>,
}

impl Asked<'_> {
    /// Returns the node of the caller's CPU, and lets its cache know if the thread has moved there.
    fn local_node(&self) -> Nid {
        let node = self.domain.numa_mem_id();
        if let Some(mut cache) = self.owner.and_then(|owner| owner.enter().ok())
            && cache.node() != node
        {
            cache.move_to(node, self.domain.caches().hot_zone(node));
        }
        node
    }

    fn refused(&self, reason: FailReason) -> AllocError {
        AllocError::new(self.gfp, self.order.get(), reason)
    }
}

/// Allocates a block: the inner layer of [`Allocator::alloc_pages`](crate::Allocator::alloc_pages)
/// (`__alloc_pages`), from where the thread's memory policy says, the node of its CPU unless there is one.
///
/// # Errors
/// Says what was asked, which zones were tried and why each refused.
#[cold]
pub(crate) fn alloc_pages(asked: &Asked<'_>) -> Result<Block, AllocError> {
    if let Some(block) = rmqueue_direct(asked) {
        trace::mm_page_alloc(block, asked.gfp);
        return Ok(block);
    }
    let local = asked.local_node();
    alloc_pages_target(asked, &own_target(asked, local).unwrap_or(Target::node(local)))
}

/// Asks the thread's policy, if it has one. While a drainer has the cache that the policy is in, a request that may block waits for
/// it: a thread that is bound to nodes gets nothing from others. Who may not wait asks without a policy then.
fn own_target(asked: &Asked<'_>, local: Nid) -> Option<Target> {
    let owner = asked.owner?;
    let inside = match asked.waiting {
        Waiting::Allowed if InForce::any() && asked.gfp.allows_blocking() => owner.enter_behind_drainer(),
        _ => owner.enter(),
    };
    let mut cache = inside.ok()?;
    let policy = cache.policy_mut()?;
    Some(policy_target(asked.domain, policy, local))
}

/// Allocates a block as a policy says, instead of the thread's (`alloc_pages_mpol`).
///
/// # Errors
/// As [`alloc_pages`].
#[cold]
pub(crate) fn alloc_pages_mpol(asked: &Asked<'_>, policy: &mut PolicyState) -> Result<Block, AllocError> {
    let target = policy_target(asked.domain, policy, asked.local_node());
    alloc_pages_target(asked, &target)
}

/// Allocates a block from the allowed nodes, in the order of one of them (`__alloc_pages_nodemask`).
///
/// # Errors
/// Says what was asked, which zones were tried and why each refused; or that there is no such node.
#[doc(alias = "__alloc_pages_nodemask")]
#[cold]
pub fn alloc_pages_nodemask(
    asked: &Asked<'_>,
    node: Option<Nid>,
    allowed: NodeMask,
) -> Result<Block, AllocError> {
    let node = node.unwrap_or_else(|| asked.local_node());
    if node.index() >= asked.domain.zonelists().nodes() {
        return Err(asked.refused(FailReason::NoNode));
    }
    alloc_pages_target(asked, &Target::within(node, allowed))
}

/// Asks a policy where a request of a thread on the node `local` goes.
fn policy_target(domain: &Domain, policy: &mut PolicyState, local: Nid) -> Target {
    let zonelists = domain.zonelists();
    policy.target(local, zonelists.with_memory(), zonelists.distances())
}

/// Allocates a block from where a target says, and lets tracers know.
fn alloc_pages_target(asked: &Asked<'_>, target: &Target) -> Result<Block, AllocError> {
    let result = find_block(asked, target);
    match result {
        Ok(block) => trace::mm_page_alloc(block, asked.gfp),
        Err(_) => trace::mm_page_alloc_failed(asked.domain.frames().allocator(), asked.order, asked.gfp),
    }
    result
}

/// Takes a block from where a target says: from a cache, else at the low mark, else with all that the mask permits.
fn find_block(asked: &Asked<'_>, target: &Target) -> Result<Block, AllocError> {
    let &Asked { domain, owner, gfp, order, .. } = asked;
    if domain.is_closed() {
        return Err(asked.refused(FailReason::Closed));
    }
    let found = owner.and_then(|owner| take_cached_elsewhere(domain, owner, gfp, order, target));
    let (zone, block) = match found {
        Some(found) => found,
        None => alloc_pages_from_zones(asked, target)?,
    };
    if domain.zonelists().nodes() > 1 {
        let local = domain.numa_mem_id();
        domain.count_numa(target, zone, local, order);
    }
    Ok(block)
}

fn alloc_pages_from_zones(asked: &Asked<'_>, target: &Target) -> Result<(ZoneRef, Block), AllocError> {
    let &Asked { domain, owner, order, waiting, .. } = asked;
    let gfp = current_gfp_context(asked.gfp & gfp_allowed_mask());
    let context = prepare_alloc_pages(domain, gfp, order, target)?;
    // A signal handler may not wait for a lock that the thread which it interrupted may hold.
    let interrupted = waiting == Waiting::Never
        || owner.is_some_and(|owner| matches!(owner.enter(), Err(NotEntered::Reentered)));
    let (owner, trylock) =
        if interrupted { (None, AllocFlags::TRYLOCK) } else { (owner, AllocFlags::empty()) };
    let asked = &Asked { owner, gfp, waiting: if interrupted { Waiting::Never } else { waiting }, ..*asked };
    let mut error = AllocError::new(gfp, order.get(), FailReason::NoMemory);
    let flags = context.alloc_flags | trylock;
    let preferred_many = (target.first != target.allowed).then(|| {
        let first = AllocContext { nodemask: target.first, ..context };
        get_page_from_freelist(asked, &first, flags, &mut error)
    });
    if let Some(found) =
        preferred_many.flatten().or_else(|| get_page_from_freelist(asked, &context, flags, &mut error))
    {
        return Ok(found);
    }
    // What is dirty is of no matter when memory is short.
    let context = AllocContext { spread_dirty_pages: false, ..context };
    asked.pressure.alloc_pages_slowpath(asked, &context, error).map_err(|error| match interrupted {
        _ if domain.is_closed() => error.with_reason(FailReason::Closed),
        true => error.with_reason(FailReason::WouldBlock),
        false => error,
    })
}

/// Walks the zones that may serve the request and takes a block from the first that is willing
/// (`get_page_from_freelist`).
///
/// With NOFRAGMENT a zone must serve it without mixing types in a pageblock; if none can, all are asked again
/// without. Where there are several nodes, those where memory is being reclaimed are asked only when no other can serve it
/// (6.18). Refusals are noted in `error`.
#[doc(alias = "buffered_rmqueue")]
pub fn get_page_from_freelist(
    asked: &Asked<'_>,
    context: &AllocContext<'_>,
    flags: AllocFlags,
    error: &mut AllocError,
) -> Option<(ZoneRef, Block)> {
    let domain = asked.domain;
    let mut flags = flags;
    let mut dirty = DirtyNodes::default();
    let mut avoided = if domain.zonelists().nodes() > 1 { domain.reclaiming() } else { NodeMask::EMPTY };
    'again: loop {
        let mut passed_over = false;
        for zone in context.zonelist.zones(context.highest_zone, context.nodemask) {
            let refuse = |refusal| TriedZone { node: u16::from(zone.node), zone: zone.kind, refusal };
            if flags.contains(AllocFlags::CPUSET) && !context.mems_allowed.contains(zone.node) {
                error.record(refuse(Refusal::Cpuset));
                continue;
            }
            if context.spread_dirty_pages && dirty.is_over(domain, zone.node) {
                error.record(refuse(Refusal::DirtyLimit));
                continue;
            }
            if avoided.contains(zone.node) {
                passed_over = true;
                continue;
            }
            if flags.contains(AllocFlags::NOFRAGMENT) && zone.node != context.preferred.node {
                // Memory that is near comes before types that are kept apart.
                flags = flags.without(AllocFlags::NOFRAGMENT);
                continue 'again;
            }
            let test = || domain.zone(zone.number).watermark_ok(context.order, context.highest_zone, flags);
            let willing = test() || (reclaimed(asked, context, zone, flags) && test());
            if (willing || flags.contains(AllocFlags::NO_WATERMARKS))
                && let Some(block) = rmqueue(asked, context, zone.number, flags)
            {
                if flags.contains(AllocFlags::HIGHATOMIC) && context.order > Order::ZERO {
                    domain.zone(zone.number).reserve_highatomic_pageblock(
                        block.pfn(),
                        block.order(),
                        asked.waiting,
                    );
                }
                return Some((zone, block));
            }
            error.record(refuse(if !willing {
                Refusal::Watermark
            } else if flags.contains(AllocFlags::TRYLOCK) {
                Refusal::LockBusy
            } else {
                Refusal::NoBlock
            }));
        }
        if passed_over {
            avoided = NodeMask::EMPTY;
        } else if flags.contains(AllocFlags::NOFRAGMENT) {
            flags = flags.without(AllocFlags::NOFRAGMENT);
        } else {
            return None;
        }
    }
}

/// Lets a zone's node be reclaimed, if that may serve a request that the zone refuses; tells whether it is worth another look.
#[cold]
fn reclaimed(asked: &Asked<'_>, context: &AllocContext<'_>, zone: ZoneRef, flags: AllocFlags) -> bool {
    if flags.intersects(AllocFlags::NO_WATERMARKS | AllocFlags::TRYLOCK) {
        return false;
    }
    let (pressure, preferred) = (asked.pressure, context.preferred.node);
    let done = pressure.node_reclaim(asked.domain, zone.node, preferred, context.gfp, context.order);
    matches!(done, NodeReclaim::Some | NodeReclaim::Success)
}

/// Takes a block of a zone: from the caller's cache where the order has a list there, else from the free areas
/// (`rmqueue`). If that, or a request before, has boosted the zone's marks, the node's kswapd is woken.
pub(crate) fn rmqueue(
    asked: &Asked<'_>,
    context: &AllocContext<'_>,
    zone: ZoneNumber,
    flags: AllocFlags,
) -> Option<Block> {
    let block = rmqueue_from(asked, context, zone, flags);
    tell_of_boost(asked, zone, flags);
    block
}

/// Wakes the kswapd of a zone's node if the zone's marks have been boosted, and the request may.
pub(super) fn tell_of_boost(asked: &Asked<'_>, zone: ZoneNumber, flags: AllocFlags) {
    if flags.contains(AllocFlags::KSWAPD)
        && !flags.contains(AllocFlags::TRYLOCK)
        && asked.domain.zone(zone).take_boosted()
    {
        let kind = asked.domain.zone(zone).span().kind;
        asked.pressure.wakeup_kswapd(asked.domain, zone, Gfp::empty(), Order::ZERO, kind);
    }
}

fn rmqueue_from(
    asked: &Asked<'_>,
    context: &AllocContext<'_>,
    zone: ZoneNumber,
    flags: AllocFlags,
) -> Option<Block> {
    let &Asked { domain, owner, .. } = asked;
    let &AllocContext { order, migratetype, list, .. } = context;
    // Of a block that an earlier attempt found, and that did not stay, this says nothing.
    asked.content.set(Content::Unknown);
    // What a cache had is not known to be zero any more, so large blocks of zeroes come from the zone if it has some.
    if order >= Order::PAGEBLOCK
        && context.gfp.contains(Gfp::ZERO)
        && let Some((pfn, content)) = domain.zone(zone).rmqueue_pageblocks(order, migratetype, flags)
    {
        note_past_cache(domain.frames().allocator(), -i64::from(order.frames()));
        asked.content.set(content);
        return Some(prep_new_page(domain.frames(), pfn, list, zone, order));
    }
    if let Some(owner) = owner.filter(|_| list.is_listed()) {
        let refill = Refill { list, migratetype, flags };
        if let Some(block) = domain.caches().rmqueue_pcplist(owner, zone, refill) {
            return Some(block);
        }
    }
    let pfn = domain.zone(zone).rmqueue_buddy(order, migratetype, flags)?;
    note_past_cache(domain.frames().allocator(), -i64::from(order.frames()));
    Some(prep_new_page(domain.frames(), pfn, list, zone, order))
}
