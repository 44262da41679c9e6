//! The shortest way for one thread.

use ::core::panic::Location;

use super::{Allocator, debug::Caller, pages::Pages};
use crate::{
    alloc::{Busy, put_cached, take_cached},
    error::AllocError,
    frame::{Block, Order},
    gfp::Gfp,
    pcp::{Put, ThreadCache},
    sync::Owner,
    zone::Content,
};

/// A thread's access to an allocator without the look-up of its cache.
///
/// Bound to the thread that made it; keeps the allocator open.
///
/// ```
/// use gfp::{Allocator, Gfp, Order};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let handle = allocator.handle()?;
/// let pages = handle.alloc_pages(Gfp::KERNEL, Order::new(3))?;
/// assert_eq!(pages.len(), 32 << 10);
/// handle.free_pages(pages);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Handle {
    allocator: Allocator,
    owner: Owner<ThreadCache>,
}

impl Handle {
    pub(super) fn new(allocator: Allocator, owner: Owner<ThreadCache>) -> Self {
        Self { allocator, owner }
    }

    /// Returns the allocator.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// assert_eq!(handle.allocator().arena().len(), 64 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    pub(super) const fn owner(&self) -> &Owner<ThreadCache> {
        &self.owner
    }

    /// Allocates a block of 2^order frames (`alloc_pages`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// let pages = handle.alloc_pages(Gfp::KERNEL, Order::new(3))?;
    /// handle.free_pages(pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Says what was asked, which zones were tried and why each refused.
    #[inline(always)]
    #[track_caller]
    pub fn alloc_pages(&self, gfp: Gfp, order: Order) -> Result<Pages, AllocError> {
        let pages = match take_cached(self.owner.enter(), gfp, order) {
            Some(block) => Pages::new(block).zeroed_by(gfp, Content::Unknown),
            None => self.alloc_pages_slow(gfp, order, Location::caller())?,
        };
        Ok(pages)
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_slow(&self, gfp: Gfp, order: Order, caller: Caller) -> Result<Pages, AllocError> {
        let (core, busy) = (self.allocator.core(), Busy::enter());
        let (block, content) = core.alloc_through(Some(&self.owner), gfp, order, busy.waiting(), caller)?;
        drop(busy);
        Ok(Pages::new(block).zeroed_by(gfp, content))
    }

    /// Allocates one frame (`alloc_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// let page = handle.alloc_page(Gfp::KERNEL | Gfp::MOVABLE)?;
    /// assert_eq!(page.len(), 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    #[inline(always)]
    #[track_caller]
    pub fn alloc_page(&self, gfp: Gfp) -> Result<Pages, AllocError> {
        self.alloc_pages(gfp, Order::ZERO)
    }

    /// Frees a block into this thread's cache (`__free_pages`).
    ///
    /// A block of another allocator goes back to its own. A block that is free already, which only unsafe code can free, is
    /// counted and reported to the builder's hook when its zone is asked to take it back.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(5))?;
    /// handle.free_pages(pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "__free_pages")]
    #[inline(always)]
    #[track_caller]
    pub fn free_pages(&self, pages: Pages) {
        let block = pages.into_freed();
        let left = put_cached(self.owner.enter(), block);
        if left != Put::Cached {
            self.free_pages_slow(block, left, Location::caller());
        }
    }

    #[cold]
    #[inline(never)]
    fn free_pages_slow(&self, block: Block, left: Put, caller: Caller) {
        let core = self.allocator.core();
        if block.allocator() == core.number() {
            core.finish_free(&self.owner, block, left, caller);
        } else {
            Pages::put(block, Some(caller));
        }
    }

    /// Frees one frame (`__free_page`); the same as [`free_pages`](Self::free_pages), which knows the order.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// handle.free_page(handle.alloc_page(Gfp::KERNEL)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "__free_page")]
    #[inline(always)]
    #[track_caller]
    pub fn free_page(&self, page: Pages) {
        self.free_pages(page);
    }
}
