//! The face: [`Allocator`], its [`Builder`], [`Handle`] and [`Pages`].

mod background;
mod builder;
mod bulk;
mod contig;
mod convert;
mod core;
mod debug;
mod dirty;
mod exact;
mod fork;
mod handle;
mod id;
mod nodes;
mod nolock;
mod numbers;
#[cfg(feature = "allocator-api2")]
mod page_alloc;
mod page_frag;
mod pages;
mod pressure;
mod ranges;
mod raw;
mod report;
mod request;
mod shared;
mod shrinkers;
mod spread;
#[cfg(test)]
mod tests;
mod trim;

use ::core::panic::Location;

use crate::{
    alloc::{Busy, TakeCached},
    error::{AllocError, FreeError},
    frame::{AllocatorNumber, Order},
    gfp::Gfp,
    pcp::{Drained, NoCache, local},
    platform::Arena,
    reclaim::KswapdReport,
    sync::Arc,
    zone::Content,
    zone::Waiting,
};

use self::{background::Background, core::Core, debug::Caller, spread::Home};

#[cfg(feature = "allocator-api2")]
pub use self::page_alloc::PageAlloc;
pub use self::{
    builder::{Builder, Maintain},
    contig::{CmaStat, ContigPages},
    core::MisuseHook,
    debug::{CallerBlocks, DebugCounts, DebugModes, FindingHook, PageOwner, PageOwnerReport},
    exact::ExactPages,
    handle::Handle,
    id::AllocatorId,
    nodes::{PolicyError, PolicyScope},
    page_frag::{PageFrag, PageFragCache},
    pages::{Pages, ZeroedPages},
    ranges::Returned,
    raw::RawParts,
    request::Request,
    shared::{SharedPages, SharedZeroedPages},
    spread::{Bound, NodeReport, Spread},
    trim::FreePageReporting,
};

/// A physical page allocator over an arena of its own.
///
/// Clones are the same allocator. Any number of allocators may exist in a process. When the last clone and the last
/// [`Handle`] are gone it is closed: requests fail, and the mapping goes with the last block.
///
/// Unless it is built [without](Maintain::ByHand), it has threads: `gfp-maintenance`, which lets caches age once a second; for each
/// node with memory `gfp-kswapdN`, which sleeps until memory is short; and, if [asked for](Builder::report_free), `gfp-reporting`, which
/// gives free memory back to the system. They end when it is closed. One that is in a callback of a
/// [shrinker](crate::reclaim::Shrinker) then is waited for for a second; after that it is left to end when the callback returns, and
/// the mapping stays until it has.
///
/// After a fork, all of this is the parent's, who notices nothing. In the child, requests fail with
/// [`FailReason::Closed`](crate::error::FailReason::Closed), frees do nothing, reports show no caches, and nothing ever waits
/// for a thread that the child does not have. The child may build allocators of its own.
///
/// ```
/// use gfp::{Allocator, Gfp, Order};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
/// pages.bytes_mut()[0].write(42);
/// drop(pages);
/// println!("{}", allocator.buddyinfo());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Allocator {
    face: Arc<Face>,
    /// The core's number, at hand without two loads.
    number: AllocatorNumber,
}

/// What keeps an allocator open.
#[derive(Debug)]
struct Face {
    core: Arc<Core>,
    background: Option<Background>,
}

impl Drop for Face {
    fn drop(&mut self) {
        let background = self.background.take();
        if self.core.domain.is_orphaned() {
            // Neither the threads nor what a close would wait for is in this process.
            return ::core::mem::forget((background, Arc::clone(&self.core)));
        }
        if let Some(background) = background {
            background.stop(&self.core);
        }
        core::close(Arc::clone(&self.core));
    }
}

impl Allocator {
    /// Begins to build an allocator over `bytes` bytes.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.arena().frames(), 16384);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(bytes: usize) -> Builder {
        Builder::new(bytes)
    }

    fn new(
        core: Arc<Core>,
        maintain: Maintain,
        homes: Vec<Home>,
    ) -> Result<Self, crate::platform::PlatformError> {
        let background = match maintain {
            Maintain::EverySecond => Some(Background::start(&core, homes)?),
            Maintain::ByHand => None,
        };
        let number = core.number();
        Ok(Self { face: Arc::new(Face { core, background }), number })
    }

    #[inline(always)]
    fn core(&self) -> &Core {
        &self.face.core
    }

    /// Returns a handle for the calling thread, the shortest way to its cache.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// let page = handle.alloc_page(Gfp::KERNEL)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no memory for the thread's cache, or the thread is ending.
    pub fn handle(&self) -> Result<Handle, NoCache> {
        let _busy = Busy::enter();
        let owner =
            local::get_or_register(self.core().key(), self.core().domain.caches(), || self.numa_mem_id())?;
        Ok(Handle::new(self.clone(), owner))
    }

    /// Allocates a block of 2^order frames through the calling thread's cache (`alloc_pages`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(4))?;
    /// assert_eq!(pages.len(), 16 * 4096);
    /// let refused = allocator.alloc_pages(Gfp::KERNEL, Order::new(18)).unwrap_err();
    /// println!("{refused}"); // what was asked, what was tried, what to do
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Says what was asked, which zones were tried and why each refused.
    #[doc(alias = "__alloc_pages")]
    #[inline(always)]
    #[track_caller]
    pub fn alloc_pages(&self, gfp: Gfp, order: Order) -> Result<Pages, AllocError> {
        let pages = match local::with_last(local::key_of(self.number), TakeCached { gfp, order }) {
            Some(Some(block)) => Pages::new(block).zeroed_by(gfp, Content::Unknown),
            _ => self.alloc_pages_slow(gfp, order, Location::caller())?,
        };
        Ok(pages)
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_slow(&self, gfp: Gfp, order: Order, caller: Caller) -> Result<Pages, AllocError> {
        let (block, content) = self.core().alloc_slow(gfp, order, caller)?;
        Ok(Pages::new(block).zeroed_by(gfp, content))
    }

    /// Allocates one frame (`alloc_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut page = allocator.alloc_page(Gfp::KERNEL)?;
    /// page.bytes_mut()[4095].write(1);
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

    /// Allocates a block of zeroes.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut table = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(1))?;
    /// assert_eq!(table[8191], 0);
    /// table[0] = 1;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    #[track_caller]
    pub fn alloc_zeroed_pages(&self, gfp: Gfp, order: Order) -> Result<ZeroedPages, AllocError> {
        self.alloc_pages(gfp | Gfp::ZERO, order).map(Pages::into_zeroed)
    }

    /// Allocates a single frame of zeroes (`get_zeroed_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let page = allocator.get_zeroed_page(Gfp::KERNEL)?;
    /// assert!(page.iter().all(|&byte| byte == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages).
    #[track_caller]
    pub fn get_zeroed_page(&self, gfp: Gfp) -> Result<ZeroedPages, AllocError> {
        self.alloc_zeroed_pages(gfp, Order::ZERO)
    }

    /// Frees a block through the calling thread's cache; the same as dropping it (`__free_pages`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// allocator.free_pages(pages); // or drop(pages)
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn free_pages(&self, pages: Pages) {
        pages.free(Some(Location::caller()));
    }

    /// Frees one frame; the same as dropping it (`free_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// allocator.free_page(allocator.alloc_page(Gfp::KERNEL)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn free_page(&self, page: Pages) {
        page.free(Some(Location::caller()));
    }

    /// Frees a block of which nobody will want the content soon: it goes to the cold end of the calling thread's cache, and
    /// from there to its zone first.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::ZERO)?;
    /// allocator.free_pages_cold(pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn free_pages_cold(&self, pages: Pages) {
        pages.free_cold(Location::caller());
    }

    /// Makes a block again from its parts.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let parts = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?.into_raw_parts();
    /// // SAFETY: the parts are of a block of this allocator that was taken apart.
    /// let pages = unsafe { allocator.from_raw_parts(parts) }?;
    /// assert_eq!(pages.pfn(), parts.pfn);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the parts name no block that was taken apart: freed or made a block of before, of another order, inside a block,
    /// outside the arena, or stale.
    ///
    /// # Safety
    /// The parts come from [`Pages::into_raw_parts`] of a block of this allocator, and nobody makes a block of them a second
    /// time or frees them otherwise. What breaks this rule is refused, also when two threads do it at the same moment, unless a
    /// block of the same order and generation (one in 1024) has been taken apart there since.
    pub unsafe fn from_raw_parts(&self, parts: RawParts) -> Result<Pages, FreeError> {
        parts.put_together(self.core()).map(Pages::new)
    }

    /// Frees a block by its parts.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let parts = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?.into_raw_parts();
    /// // SAFETY: the parts are of a block of this allocator that was taken apart.
    /// unsafe { allocator.free_raw(parts) }?;
    /// // SAFETY: parts that are used up are refused.
    /// assert!(unsafe { allocator.free_raw(parts) }.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_raw_parts`](Self::from_raw_parts); nothing is changed then.
    ///
    /// # Safety
    /// As [`from_raw_parts`](Self::from_raw_parts).
    #[track_caller]
    pub unsafe fn free_raw(&self, parts: RawParts) -> Result<(), FreeError> {
        // SAFETY: the caller promises the same.
        let pages = unsafe { self.from_raw_parts(parts) }?;
        pages.free(Some(Location::caller()));
        Ok(())
    }

    /// Drains the caches of all threads into their zones (`drain_all_pages`).
    ///
    /// Says how many frames went back, and how many caches were left alone because their thread lost its CPU inside.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// drop(allocator.alloc_page(Gfp::KERNEL)?);
    /// assert!(allocator.drain_all().frames > 0);
    /// assert_eq!(allocator.conservation().cached(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "drain_all_pages")]
    pub fn drain_all(&self) -> Drained {
        let _busy = Busy::enter();
        self.core().domain.caches().drain_all()
    }

    /// Lets caches age by a second; and where the allocator has no threads, does what its kswapds were woken for, on this thread.
    ///
    /// For those who do by hand, once a second, what the threads do otherwise.
    ///
    /// ```
    /// # use gfp::{Allocator, Maintain};
    /// let allocator = Allocator::builder(64 << 20).maintain(Maintain::ByHand).build()?;
    /// allocator.age();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn age(&self) {
        let busy = Busy::enter();
        let core = self.core();
        core.domain.age();
        core.reclaim.age();
        if self.face.background.is_none() && busy.waiting() == Waiting::Allowed {
            core.reclaim.balance_by_hand(&core.domain);
            core.report_if_due();
        }
    }

    /// Returns what the kswapd of each node with memory does and has done.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let kswapd = &allocator.kswapds()[0];
    /// println!("{} frames reclaimed in {} runs", kswapd.reclaimed, kswapd.runs);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "pgdat_balanced")]
    #[doc(alias = "balance_pgdat")]
    #[doc(alias = "wakeup_kswapd")]
    pub fn kswapds(&self) -> Vec<KswapdReport> {
        let core = self.core();
        core.reclaim.kswapds(&core.domain)
    }

    /// Returns the arena: its size, its address, and what the system granted of what was asked.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// println!("{} bytes at {:?}: {:?}", allocator.arena().len(), allocator.arena().base(), allocator.arena().obtained());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn arena(&self) -> &Arena {
        &self.core().arena
    }

    /// Returns the largest order of a request.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.max_order(), Order::new(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_order(&self) -> Order {
        self.core().domain.max_order()
    }
}
