//! Requests and frees that wait for nothing: for signal handlers, and for whoever holds what the allocator might want.

use super::{
    Allocator, Pages,
    core::{Core, key},
};
use crate::{
    alloc::{PutCached, TakeCached, alloc_pages, free_page, free_pages_ok, free_unref_page},
    error::AllocError,
    frame::{Block, Order},
    gfp::Gfp,
    pcp::{Put, local},
    trace,
    zone::Waiting,
};

/// What such a request asks for: no reserve, no waking of anyone, no report.
const NOLOCK: Gfp = Gfp::NOWARN.union(Gfp::NOMEMALLOC);

impl Allocator {
    /// Allocates a block without waiting for any lock and without making the thread a cache (`alloc_pages_nolock`, 6.15).
    ///
    /// May be called from a signal handler, wherever it interrupts the thread.
    ///
    /// ```
    /// # use gfp::{Allocator, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages_nolock(Order::ZERO)?;
    /// allocator.free_pages_nolock(pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages); [`WouldBlock`](crate::error::FailReason::WouldBlock) when a lock is taken.
    #[inline]
    pub fn alloc_pages_nolock(&self, order: Order) -> Result<Pages, AllocError> {
        match local::with_last(key(self.number), TakeCached { gfp: NOLOCK, order }) {
            Some(Some(block)) => Ok(Pages::new(block)),
            _ => self.alloc_pages_nolock_slow(order),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_nolock_slow(&self, order: Order) -> Result<Pages, AllocError> {
        let core = self.core();
        let owner = local::find(core.key());
        alloc_pages(&core.domain, owner.as_ref(), NOLOCK, order, Waiting::Never).map(Pages::new)
    }

    /// Frees a block without waiting for any lock (`free_pages_nolock`, 6.15): what the cache cannot take and the zone is not
    /// at hand for is left to whoever holds the zone's lock next.
    #[inline]
    pub fn free_pages_nolock(&self, pages: Pages) {
        let pages = core::mem::ManuallyDrop::new(pages);
        let block = pages.block();
        trace::mm_page_free(block);
        match local::with_last(key(block.allocator()), PutCached(block)) {
            Some(Put::Cached) => {}
            left => pages.shared().free_nolock_slow(block, left),
        }
    }
}

impl Core {
    #[cold]
    #[inline(never)]
    fn free_nolock_slow(&self, block: Block, left: Option<Put>) {
        let freed = match (local::find(self.key()), left) {
            (Some(owner), Some(left)) => free_unref_page(&self.domain, &owner, block, left, Waiting::Never),
            (Some(owner), None) => free_page(&self.domain, &owner, block, Waiting::Never),
            (None, _) => free_pages_ok(&self.domain, block, Waiting::Never),
        };
        self.report(freed, block);
    }
}
