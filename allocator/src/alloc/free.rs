//! The way back: into the caller's cache, or to the zone.

use super::{Domain, tally::note_past_cache};
use crate::{
    frame::{BadFrame, Block, free_pages_prepare},
    pcp::{End, Put, ThreadCache},
    sync::Owner,
    zone::{Freed, Waiting},
};

/// Frees a block through a cache, at its hot end: the inner layer of
/// [`Allocator::free_page`](crate::Allocator::free_page) (`__free_page`).
///
/// # Errors
/// What is known of the frame, when the block is free already; nothing is changed then.
pub(crate) fn free_page(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    block: Block,
    waiting: Waiting,
) -> Result<(), BadFrame> {
    free_into_cache(domain, owner, block, End::Hot, waiting)
}

/// Frees a block through a cache, at its cold end: nobody will want its content soon (`free_hot_cold_page` with cold).
///
/// # Errors
/// As [`free_page`].
pub(crate) fn free_pages_cold(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    block: Block,
    waiting: Waiting,
) -> Result<(), BadFrame> {
    free_into_cache(domain, owner, block, End::Cold, waiting)
}

fn free_into_cache(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    block: Block,
    end: End,
    waiting: Waiting,
) -> Result<(), BadFrame> {
    let left = match owner.enter() {
        Ok(mut cache) => cache.put_any(block, end),
        Err(not) => not.into(),
    };
    free_unref_page(domain, owner, block, left, waiting)
}

/// Frees a block: does what [`put_cached`](super::put_cached) left to be done (`free_unref_page`).
///
/// Goes to the zone where the cache cannot take it: an order without a list, a claimed cache, a list that is full. Who may
/// not wait leaves a cache as full as it is, and frees past it without a lock.
///
/// # Errors
/// What is known of the frame, when the block is free already; nothing is changed then.
#[doc(alias = "free_hot_cold_page")]
#[cold]
pub fn free_unref_page(
    domain: &Domain,
    owner: &Owner<ThreadCache>,
    block: Block,
    left: Put,
    waiting: Waiting,
) -> Result<(), BadFrame> {
    match (left, waiting) {
        (Put::Cached, _) => Ok(()),
        // Too much in the cache is nothing that may be mended now, unless it may hold nothing at all.
        (Put::Overflow(_), Waiting::Never) if !domain.caches().take_back(owner, block) => Ok(()),
        (Put::Overflow(_), Waiting::Never) => free_without_waiting(domain, block),
        (Put::Reentered, _) => free_without_waiting(domain, block),
        (Put::NoRoom | Put::Claimed, Waiting::Never) => free_without_waiting(domain, block),
        (Put::Claimed, Waiting::Allowed) => free_pages_ok(domain, block, waiting),
        (Put::Overflow(_) | Put::NoRoom, Waiting::Allowed) => {
            match domain.caches().put_slow(owner, block, left) {
                Ok(()) => Ok(()),
                Err(block) => free_pages_ok(domain, block, waiting),
            }
        }
    }
}

/// Frees a block to its zone (`__free_pages_ok`).
///
/// # Errors
/// As [`free_unref_page`].
#[doc(alias = "__free_pages_ok")]
pub fn free_pages_ok(domain: &Domain, block: Block, waiting: Waiting) -> Result<(), BadFrame> {
    match waiting {
        // The memory is the parent's to give back, and the zone's lock may be held by a thread that is not here.
        _ if domain.is_orphaned() => Ok(()),
        Waiting::Never => free_without_waiting(domain, block),
        Waiting::Allowed => free_one_page(domain, block),
    }
}

/// Frees a block to its zone, and merges it there (`free_one_page`).
///
/// # Errors
/// As [`free_page`].
pub(crate) fn free_one_page(domain: &Domain, block: Block) -> Result<(), BadFrame> {
    let (pfn, order, list) = (block.pfn(), block.order(), block.list());
    settle(domain, block, domain.zone_at(block.zone_index()).free_one(pfn, order, list))
}

/// Frees a block without waiting for a lock: for a signal handler that interrupted this thread in its cache or on a slow
/// path.
#[cold]
fn free_without_waiting(domain: &Domain, block: Block) -> Result<(), BadFrame> {
    if domain.is_orphaned() {
        return Ok(());
    }
    free_pages_prepare(domain.frames(), block)?;
    settle(domain, block, domain.zone_at(block.zone_index()).free_without_waiting(block.pfn()))
}

/// Does what a free in a zone leaves to be done. Nothing of the allocator may be touched after one into an open zone: the block
/// was what kept it.
fn settle(domain: &Domain, block: Block, freed: Freed) -> Result<(), BadFrame> {
    if freed != Freed::Bad {
        note_past_cache(block.allocator(), i64::from(block.order().frames()));
    }
    match freed {
        Freed::Open | Freed::Pending => Ok(()),
        Freed::Closed(frames) => {
            domain.caches().settle(frames);
            Ok(())
        }
        Freed::Bad => Err(BadFrame { pfn: block.pfn(), found: domain.frames().get(block.pfn()) }),
    }
}
