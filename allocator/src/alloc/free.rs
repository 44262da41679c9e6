//! The way back: into the caller's cache, or to the zone.

use super::{Domain, put_cached};
use crate::{
    frame::{BadFrame, Block, Descriptor},
    pcp::{End, Put, ThreadCache},
    sync::Owner,
    zone::Freed,
};

/// Frees a block through a cache, at its hot end: the inner layer of
/// [`Allocator::free_page`](crate::Allocator::free_page) (`__free_page`).
///
/// # Errors
/// The descriptor that was found, when the block is not what its owner says; nothing is changed then.
#[doc(alias = "__free_page")]
pub fn free_page(domain: &Domain, owner: &Owner<ThreadCache>, block: Block) -> Result<(), BadFrame> {
    let left = put_cached(owner.enter(), block);
    free_unref_page(domain, owner, block, left)
}

/// Frees a block through a cache, at its cold end: nobody will want its content soon (`free_hot_cold_page` with cold).
///
/// # Errors
/// As [`free_page`].
pub fn free_pages_cold(domain: &Domain, owner: &Owner<ThreadCache>, block: Block) -> Result<(), BadFrame> {
    let left = match owner.enter() {
        Ok(mut cache) => cache.put_any(block, End::Cold),
        Err(_) => put_cached(owner.enter(), block),
    };
    free_unref_page(domain, owner, block, left)
}

/// Frees a block: does what [`put_cached`](super::put_cached) left to be done (`free_unref_page`).
///
/// Goes to the zone where the cache cannot take it: an order without a list, a claimed cache, a list that is full.
///
/// # Errors
/// The descriptor that was found, when the block is not what its owner says; nothing is changed then.
#[doc(alias = "free_hot_cold_page")]
#[cold]
pub fn free_unref_page(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    block: Block,
    left: Put,
) -> Result<(), BadFrame> {
    match left {
        Put::Bad => Err(BadFrame { pfn: block.pfn(), found: domain.frames().get(block.pfn()) }),
        Put::Reentered => free_without_waiting(domain, block),
        Put::Claimed => free_pages_ok(domain, block),
        Put::Cached => Ok(()),
        Put::Overflow(_) | Put::NoRoom => match domain.caches().put_slow(owner, block, left) {
            Ok(()) => Ok(()),
            Err(block) => free_pages_ok(domain, block),
        },
    }
}

/// Checks a block and frees it to its zone (`__free_pages_ok`).
///
/// # Errors
/// The descriptor that was found, when the block is not what its owner says; nothing is changed then.
#[doc(alias = "__free_pages_ok")]
pub fn free_pages_ok(domain: &Domain, block: Block) -> Result<(), BadFrame> {
    free_pages_prepare(domain, block, Descriptor::freed_by_owner)?;
    free_one_page(domain, block);
    Ok(())
}

/// Frees a block that was checked to its zone, and merges it there (`free_one_page`).
pub fn free_one_page(domain: &Domain, block: Block) {
    let (order, list) = (block.descriptor().order(), block.descriptor().list());
    let zone = domain.zone_at(block.descriptor().zone_index());
    // Nothing of the allocator may be touched after a free into an open zone: the block was what kept it.
    if zone.free_one(block.pfn(), order, list.mobility()) == Freed::Closed {
        domain.caches().settle(order);
    }
}

/// Frees a block in a signal handler that interrupted this thread inside its cache.
#[cold]
fn free_without_waiting(domain: &Domain, block: Block) -> Result<(), BadFrame> {
    free_pages_prepare(domain, block, Descriptor::pending)?;
    let order = block.descriptor().order();
    if domain.zone_at(block.descriptor().zone_index()).free_without_waiting(block.pfn()) == Freed::Closed {
        domain.caches().settle(order);
    }
    Ok(())
}

/// Checks that a block is what its owner says, and gives it its next state (`free_pages_prepare`).
fn free_pages_prepare(
    domain: &Domain,
    block: Block,
    next: impl FnOnce(Descriptor) -> Descriptor,
) -> Result<(), BadFrame> {
    let (pfn, descriptor) = (block.pfn(), block.descriptor());
    domain.frames().update(pfn, |found| (found == descriptor).then(|| next(found))).map(|_| ())
}
