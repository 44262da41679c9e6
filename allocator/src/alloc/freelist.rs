//! From a resolved request to a block: the walk over the zones, and what follows when it finds nothing.

use super::{AllocContext, Domain, fast::take_cached_elsewhere, prepare_alloc_pages};
use crate::{
    error::{AllocError, FailReason, Refusal, TriedZone},
    frame::{Block, Order, ZoneNumber, prep_new_page},
    gfp::{
        AllocFlags, Gfp, current_gfp_context, current_scopes, gfp_allowed_mask, gfp_to_alloc_flags,
        reserve_flags,
    },
    pcp::{Refill, ThreadCache},
    sync::{NotEntered, Owner},
    zone::Waiting,
};

/// Allocates a block: the inner layer of [`Allocator::alloc_pages`](crate::Allocator::alloc_pages)
/// (`__alloc_pages`).
///
/// # Errors
/// Says what was asked, which zones were tried and why each refused.
#[doc(alias = "__alloc_pages")]
#[cold]
pub fn alloc_pages(
    domain: &Domain,
    owner: Option<&Owner<ThreadCache>>,
    gfp: Gfp,
    order: Order,
    waiting: Waiting,
) -> Result<Block, AllocError> {
    match owner.and_then(|owner| take_cached_elsewhere(domain, owner, gfp, order)) {
        Some(block) => Ok(block),
        None => alloc_pages_nodemask(domain, owner, gfp, order, waiting),
    }
}

/// Allocates a block from the allowed nodes: first at the low mark, then with all that the mask permits
/// (`__alloc_pages_nodemask`).
///
/// # Errors
/// Says what was asked, which zones were tried and why each refused.
#[doc(alias = "__alloc_pages_nodemask")]
#[cold]
pub fn alloc_pages_nodemask(
    domain: &Domain,
    owner: Option<&Owner<ThreadCache>>,
    gfp: Gfp,
    order: Order,
    waiting: Waiting,
) -> Result<Block, AllocError> {
    let gfp = current_gfp_context(gfp & gfp_allowed_mask());
    let context = prepare_alloc_pages(domain, gfp, order)?;
    // A signal handler may not wait for a lock that the thread which it interrupted may hold.
    let interrupted = waiting == Waiting::Never
        || owner.is_some_and(|owner| matches!(owner.enter(), Err(NotEntered::Reentered)));
    let (owner, trylock) =
        if interrupted { (None, AllocFlags::TRYLOCK) } else { (owner, AllocFlags::empty()) };
    let mut error = AllocError::new(gfp, order.get(), FailReason::NoMemory);
    get_page_from_freelist(domain, owner, &context, context.alloc_flags | trylock, &mut error)
        .or_else(|| last_efforts(domain, owner, &context, trylock, &mut error))
        .ok_or_else(|| {
            if domain.is_closed() {
                error.with_reason(FailReason::Closed)
            } else if interrupted {
                error.with_reason(FailReason::WouldBlock)
            } else {
                error
            }
        })
}

/// Tries again at the minimum mark with the reserves that the flags give a right to; and once more, if the caller may
/// block, when all threads' caches have been drained.
#[cold]
fn last_efforts(
    domain: &Domain,
    owner: Option<&Owner<ThreadCache>>,
    context: &AllocContext,
    trylock: AllocFlags,
    error: &mut AllocError,
) -> Option<Block> {
    let mut flags = gfp_to_alloc_flags(context.gfp, context.order.get());
    let reserves = reserve_flags(context.gfp, current_scopes());
    if !reserves.is_empty() {
        flags = reserves | (flags & (AllocFlags::KSWAPD | AllocFlags::CMA));
    }
    let flags = flags | trylock;
    let found = get_page_from_freelist(domain, owner, context, flags, error);
    let may_drain = context.gfp.allows_blocking() && trylock.is_empty() && !domain.is_closed();
    if found.is_some() || !may_drain {
        return found;
    }
    domain.caches().drain_all();
    get_page_from_freelist(domain, owner, context, flags, error)
}

/// Walks the zones that may serve the request and takes a block from the first that is willing
/// (`get_page_from_freelist`).
///
/// With NOFRAGMENT a zone must serve it without mixing types in a pageblock; if none can, all are asked again
/// without. Refusals are noted in `error`.
pub fn get_page_from_freelist(
    domain: &Domain,
    owner: Option<&Owner<ThreadCache>>,
    context: &AllocContext,
    flags: AllocFlags,
    error: &mut AllocError,
) -> Option<Block> {
    let mut flags = flags;
    loop {
        for (kind, number) in domain.zonelist().zones(context.highest_zone) {
            let zone = domain.zone(number);
            let willing = zone.watermark_ok(context.order, context.highest_zone, flags);
            if (willing || flags.contains(AllocFlags::NO_WATERMARKS))
                && let Some(block) = rmqueue(domain, owner, context, number, flags)
            {
                return Some(block);
            }
            let refusal = if !willing {
                Refusal::Watermark
            } else if flags.contains(AllocFlags::TRYLOCK) {
                Refusal::LockBusy
            } else {
                Refusal::NoBlock
            };
            error.record(TriedZone { node: 0, zone: kind, refusal });
        }
        if !flags.contains(AllocFlags::NOFRAGMENT) {
            return None;
        }
        flags = flags.without(AllocFlags::NOFRAGMENT);
    }
}

/// Takes a block of a zone: from the caller's cache where the order has a list there, else from the free areas
/// (`rmqueue`).
#[doc(alias = "buffered_rmqueue")]
pub fn rmqueue(
    domain: &Domain,
    owner: Option<&Owner<ThreadCache>>,
    context: &AllocContext,
    zone: ZoneNumber,
    flags: AllocFlags,
) -> Option<Block> {
    let &AllocContext { order, migratetype, list, .. } = context;
    if let Some(owner) = owner.filter(|_| list.is_listed()) {
        let refill = Refill { list, migratetype, flags };
        if let Some(block) = domain.caches().rmqueue_pcplist(owner, zone, refill) {
            return Some(block);
        }
    }
    loop {
        let pfn = domain.zone(zone).rmqueue_buddy(order, migratetype, flags)?;
        match prep_new_page(domain.frames(), pfn, list, zone, order) {
            Some(block) => return Some(block),
            // A bad block is left out of circulation, and the next one is tried.
            None => domain.count_bad_page(),
        }
    }
}
