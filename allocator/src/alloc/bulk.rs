//! Many single frames with one entry to the caller's cache.

use super::{Asked, alloc_pages, fast::single_request};
use crate::{
    frame::Block,
    gfp::Gfp,
    pcp::{Put, ThreadCache},
    sync::{Inside, NotEntered, Owner, Visit},
    trace,
};

/// Takes what the cache has of single frames, up to a number, and calls `got` with each: as what is done with a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeManyCached<F> {
    pub(crate) gfp: Gfp,
    pub(crate) count: usize,
    /// Runs inside of the cache: it must be short.
    pub(crate) got: F,
}

impl<F: FnMut(Block)> Visit<ThreadCache> for TakeManyCached<F> {
    type Output = usize;

    /// Returns how many there were.
    #[inline(always)]
    fn visit(mut self, entered: Result<Inside<'_, ThreadCache>, NotEntered>) -> usize {
        let (Some((highest, flags, list)), Ok(mut cache)) = (single_request(self.gfp), entered) else {
            return 0;
        };
        cache.take_many(highest, flags, list, self.count, |block| {
            trace::mm_page_alloc(block, self.gfp);
            (self.got)(block);
        })
    }
}

/// Puts blocks into the cache, and stops at the first that leaves something to be done: as what is done with a cache.
#[derive(Debug)]
pub(crate) struct PutManyCached<'a, I>(pub(crate) &'a mut I);

impl<I: Iterator<Item = Block>> Visit<ThreadCache> for PutManyCached<'_, I> {
    type Output = Option<(Block, Put)>;

    /// Returns the block that left something to be done, with what that is.
    #[inline(always)]
    fn visit(self, entered: Result<Inside<'_, ThreadCache>, NotEntered>) -> Self::Output {
        match entered {
            Ok(mut cache) => cache.put_many(self.0),
            Err(not) => self.0.next().map(|block| (block, not.into())),
        }
    }
}

/// Allocates up to `count` single frames and calls `got` with each, mostly inside of the cache: it must be short
/// (`alloc_pages_bulk`).
///
/// Takes what the cache has with one entry; then refills it as a single request would, and goes on. Stops at the first frame
/// that cannot be had, and returns how many there were: why there are no more is not told, as in the kernel.
pub(crate) fn alloc_pages_bulk(
    asked: &Asked<'_>,
    owner: &Owner<ThreadCache>,
    count: usize,
    mut got: impl FnMut(Block),
) -> usize {
    let mut left = count;
    while left > 0 {
        left -= TakeManyCached { gfp: asked.gfp, count: left, got: &mut got }.visit(owner.enter());
        if left > 0 {
            let Ok(block) = alloc_pages(asked) else { break };
            got(block);
            left -= 1;
        }
    }
    count - left
}
