//! Requests and frees that wait for nothing: for signal handlers, and for whoever holds what the allocator might want.

use ::core::panic::Location;

use super::{Allocator, Pages, core::Core, debug::Caller};
use crate::{
    alloc::{PutCached, TakeCached},
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
    #[track_caller]
    pub fn alloc_pages_nolock(&self, order: Order) -> Result<Pages, AllocError> {
        match local::with_last(local::key_of(self.number), TakeCached { gfp: NOLOCK, order }) {
            Some(Some(block)) => Ok(Pages::new(block)),
            _ => self.alloc_pages_nolock_slow(order, Location::caller()),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_nolock_slow(&self, order: Order, caller: Caller) -> Result<Pages, AllocError> {
        let core = self.core();
        let owner = local::find(core.key());
        core.alloc_through(owner.as_ref(), NOLOCK, order, Waiting::Never, caller)
            .map(|(block, _)| Pages::new(block))
    }

    /// Frees a block without waiting for any lock (`free_pages_nolock`, 6.15): what the cache cannot take and the zone is not
    /// at hand for is left to whoever holds the zone's lock next.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages_nolock(Order::ZERO)?;
    /// allocator.free_pages_nolock(pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn free_pages_nolock(&self, pages: Pages) {
        let pages = core::mem::ManuallyDrop::new(pages);
        let block = pages.block();
        trace::mm_page_free(block);
        match local::with_last(local::key_of(block.allocator()), PutCached(block)) {
            Some(Put::Cached) => {}
            left => pages.shared().free_nolock_slow(block, left, Location::caller()),
        }
    }
}

impl Core {
    #[cold]
    #[inline(never)]
    fn free_nolock_slow(&self, block: Block, left: Option<Put>, caller: Caller) {
        let owner = local::find(self.key());
        self.free_checked(owner.as_ref(), block, left, Waiting::Never, Some(caller));
    }
}
