//! Many single frames with one entry to the caller's cache.

use super::{Asked, alloc_pages, fast::single_request};
use crate::{
    error::AllocError,
    frame::Block,
    pcp::{Put, ThreadCache},
    sync::Owner,
    trace,
};

/// Allocates up to `count` single frames and calls `got` with each, mostly inside of the cache: it must be short
/// (`alloc_pages_bulk`).
///
/// Takes what the cache has with one entry; then refills it as a single request would, and goes on. Stops at the first frame
/// that cannot be had.
///
/// # Errors
/// Why the frame that was next could not be had; those before were.
pub(crate) fn alloc_pages_bulk(
    asked: Asked<'_>,
    owner: &Owner<ThreadCache>,
    count: usize,
    mut got: impl FnMut(Block),
) -> Result<(), AllocError> {
    let gfp = asked.gfp;
    let mut left = count;
    while left > 0 {
        if let (Some((highest, flags, list)), Ok(mut cache)) = (single_request(gfp), owner.enter()) {
            left -= cache.take_many(highest, flags, list, left, |block| {
                trace::mm_page_alloc(block, gfp);
                got(block);
            });
        }
        if left > 0 {
            got(alloc_pages(asked)?);
            left -= 1;
        }
    }
    Ok(())
}

/// Puts blocks into the caller's cache with one entry; stops at the first that leaves something to be done, and returns it with
/// what that is.
pub(crate) fn put_cached_bulk(
    owner: &Owner<ThreadCache>,
    blocks: &mut impl Iterator<Item = Block>,
) -> Option<(Block, Put)> {
    match owner.enter() {
        Ok(mut cache) => cache.put_many(blocks),
        Err(not) => blocks.next().map(|block| (block, not.into())),
    }
}
