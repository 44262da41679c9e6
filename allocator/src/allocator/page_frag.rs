//! Small pieces of pages.

use core::{
    alloc::Layout,
    cell::Cell,
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    slice,
};

use super::{
    Allocator,
    pages::Pages,
    shared::{put, put_for_reuse},
};
use crate::{
    error::{AllocError, FailReason, FragError},
    frame::{Block, FRAME_BYTES, FRAME_SHIFT, Nid, Order, Pfn},
    gfp::Gfp,
};

/// Hands out small pieces of pages, one behind the other, and takes a new page when one is used up
/// (`struct page_frag_cache`).
///
/// For one thread at a time; the fragments may go to any thread, and each keeps its page. A page goes back when the cache has
/// left it and its last fragment is gone. If all fragments are gone when the cache is through with a page, it begins with the
/// same one again.
///
/// The page's references are counted once for many fragments: a page begins with more references than it can have
/// fragments, all the cache's own. A fragment gets one of them by a subtraction of the cache's alone (`pagecnt_bias`), and what
/// is left is given back in one step. So a fragment costs no atomic operation when it is made and one when it is dropped.
///
/// Pages are of order 3, or single frames when there are none to be had without effort. Unlike the kernel's, which gives
/// a fragment above 4 KiB only where the page at hand has room for it, the cache takes a new page of order 3 for it.
///
/// ```
/// use gfp::{Allocator, Gfp};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let packets = allocator.page_frag_cache(None, Gfp::ATOMIC);
/// let mut first = packets.alloc(1500)?;
/// let second = packets.alloc(64)?;
/// assert_eq!(first.write_copy_of_slice(&[7; 1500]), [7; 1500]);
/// assert_eq!(first.page(), second.page());
/// std::thread::spawn(move || drop(first)).join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "page_frag_alloc")]
pub struct PageFragCache {
    allocator: Allocator,
    gfp: Gfp,
    node: Option<Nid>,
    page: Cell<Option<CurrentPage>>,
}

/// The page that fragments are taken from.
#[derive(Clone, Copy)]
struct CurrentPage {
    block: Block,
    /// Where the next fragment may begin.
    offset: u32,
    /// How many of the page's references are the cache's own (`pagecnt_bias`).
    bias: u32,
}

/// The order of pages for fragments (`PAGE_FRAG_CACHE_MAX_ORDER`).
const PAGE_ORDER: Order = Order::new(3);

impl CurrentPage {
    /// More than a page can have fragments of one byte: the cache keeps one reference at least.
    const REFERENCES: u32 = (PAGE_ORDER.frames() << FRAME_SHIFT) + 1;

    /// A page without fragments, of which the cache has all [`REFERENCES`](Self::REFERENCES).
    const fn new(block: Block) -> Self {
        Self { block, offset: 0, bias: Self::REFERENCES }
    }

    /// The page, of which the caller has a reference.
    const fn pages(&self) -> ManuallyDrop<Pages> {
        ManuallyDrop::new(Pages::new(self.block))
    }

    /// Takes the next `bytes` bytes, if there are so many; returns where they begin.
    fn carve(&mut self, bytes: u32, align: u32) -> Option<u32> {
        let start = self.offset.next_multiple_of(align);
        let end = start + bytes;
        if end as usize > self.block.order().bytes() {
            return None;
        }
        self.offset = end;
        self.bias -= 1;
        Some(start)
    }
}

impl PageFragCache {
    /// The largest fragment, in bytes (`PAGE_FRAG_CACHE_MAX_SIZE`).
    pub const MAX_BYTES: usize = PAGE_ORDER.bytes();
    /// The largest alignment, in bytes.
    pub const MAX_ALIGN: usize = FRAME_BYTES;

    /// Returns a fragment of `bytes` bytes, aligned to nothing (`page_frag_alloc`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, PageFragCache, error::FragError};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    /// assert_eq!(cache.alloc(100)?.len(), 100);
    /// assert_eq!(cache.alloc(0).err(), Some(FragError::Empty));
    /// let most = PageFragCache::MAX_BYTES;
    /// assert_eq!(cache.alloc(most + 1).err(), Some(FragError::TooLarge { bytes: most + 1, most }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When 0 bytes or more than [`MAX_BYTES`](Self::MAX_BYTES) are asked for, or there is no memory for another page.
    #[inline]
    pub fn alloc(&self, bytes: usize) -> Result<PageFrag, FragError> {
        self.carve(bytes, 1)
    }

    /// Returns a fragment of a size and an alignment (`page_frag_alloc_align`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # use std::alloc::Layout;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    /// let fragments = [cache.alloc(1)?, cache.alloc_align(Layout::from_size_align(100, 64)?)?];
    /// assert!(fragments[1].as_ptr().addr().is_multiple_of(64));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc), and when the alignment is above [`MAX_ALIGN`](Self::MAX_ALIGN).
    #[inline]
    #[doc(alias = "page_frag_alloc_align")]
    pub fn alloc_align(&self, layout: Layout) -> Result<PageFrag, FragError> {
        self.carve(layout.size(), layout.align())
    }

    #[inline]
    fn carve(&self, size: usize, align: usize) -> Result<PageFrag, FragError> {
        let bytes = checked(size, align)?;
        if self.allocator.core().domain.is_orphaned() {
            // The page at hand is the parent's.
            return Err(AllocError::new(self.gfp, PAGE_ORDER.get(), FailReason::Closed).into());
        }
        let align = u32::try_from(align).expect("checked");
        let carved = self.page.get().and_then(|mut page| Some((page.carve(bytes, align)?, page)));
        let (start, page) = match carved {
            Some(carved) => carved,
            None => self.carve_new(bytes, align)?,
        };
        self.page.set(Some(page));
        let mut fragment = PageFrag { page: page.pages(), start, bytes };
        if self.gfp.contains(Gfp::ZERO) {
            fragment.fill(MaybeUninit::new(0));
        }
        Ok(fragment)
    }

    /// Takes a fragment from a page without fragments.
    #[cold]
    #[inline(never)]
    fn carve_new(&self, bytes: u32, align: u32) -> Result<(u32, CurrentPage), AllocError> {
        let mut page = self.next_page(bytes)?;
        let start = page.carve(bytes, align).expect("no fragment is larger than the page it is asked from");
        Ok((start, page))
    }

    /// Leaves the page at hand, if there is one, for one without fragments: the same, if all of them are gone.
    fn next_page(&self, bytes: u32) -> Result<CurrentPage, AllocError> {
        let Some(old) = self.page.get() else { return self.refill(bytes) };
        if (bytes as usize) > old.block.order().bytes() {
            // Nothing is given up for a page that may not be had.
            let page = self.refill(bytes)?;
            self.drain();
            return Ok(page);
        }
        self.page.set(None);
        if put_for_reuse(&old.pages(), old.bias, CurrentPage::REFERENCES) {
            return Ok(CurrentPage::new(old.block));
        }
        self.refill(bytes)
    }

    /// Allocates a page with room for a fragment of `bytes` bytes (`__page_frag_cache_refill`).
    fn refill(&self, bytes: u32) -> Result<CurrentPage, AllocError> {
        let gfp = self.gfp.without(Gfp::ZERO);
        let modest = Gfp::COMP | Gfp::NOWARN | Gfp::NORETRY | Gfp::NOMEMALLOC;
        let without_effort = gfp.without(Gfp::DIRECT_RECLAIM | Gfp::NOFAIL) | modest;
        let least = if bytes as usize > FRAME_BYTES { PAGE_ORDER } else { Order::ZERO };
        let pages = match self.request(without_effort, PAGE_ORDER) {
            Ok(pages) => pages,
            Err(_) => self.request(gfp, least)?,
        };
        Ok(CurrentPage::new(pages.share(CurrentPage::REFERENCES).block()))
    }

    fn request(&self, gfp: Gfp, order: Order) -> Result<Pages, AllocError> {
        match self.node {
            None => self.allocator.alloc_pages(gfp, order),
            node => self.allocator.alloc_pages_node(node, gfp, order),
        }
    }

    /// Leaves the page at hand, which goes back with its last fragment; the next fragment is taken from another page
    /// (`page_frag_cache_drain`). A drop of the cache does the same.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    /// drop(cache.alloc(100)?);
    /// assert_eq!(allocator.conservation().allocated(), 8);
    /// cache.drain();
    /// assert_eq!(allocator.conservation().allocated(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "page_frag_cache_drain")]
    #[doc(alias = "__page_frag_cache_drain")]
    pub fn drain(&self) {
        if let Some(page) = self.page.take() {
            put(&page.pages(), page.bias);
        }
    }
}

/// Checks what was asked for, and returns the size.
fn checked(size: usize, align: usize) -> Result<u32, FragError> {
    if align > PageFragCache::MAX_ALIGN {
        return Err(FragError::TooAligned { align, most: PageFragCache::MAX_ALIGN });
    }
    match u32::try_from(size) {
        Ok(0) => Err(FragError::Empty),
        Ok(bytes) if size <= PageFragCache::MAX_BYTES => Ok(bytes),
        _ => Err(FragError::TooLarge { bytes: size, most: PageFragCache::MAX_BYTES }),
    }
}

impl Drop for PageFragCache {
    fn drop(&mut self) {
        self.drain();
    }
}

impl fmt::Debug for PageFragCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFragCache")
            .field("gfp", &self.gfp)
            .field("node", &self.node)
            .field("page", &self.page.get().map(|page| page.block.pfn()))
            .finish_non_exhaustive()
    }
}

/// A piece of a page; dropping it, on whatever thread, gives it back (`page_frag_free`).
///
/// What it holds is unknown at first, or zeroes if the cache's mask has [`Gfp::ZERO`].
#[doc(alias = "page_frag_free")]
#[doc(alias = "skb_free_frag")]
#[must_use = "dropping it gives it back"]
pub struct PageFrag {
    /// The page that it keeps, one reference of which is its own.
    page: ManuallyDrop<Pages>,
    start: u32,
    bytes: u32,
}

impl PageFrag {
    /// Returns the first frame and the order of the page that the fragment is a part of (`virt_to_head_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    /// let (pfn, order) = cache.alloc(100)?.page();
    /// assert_eq!(order, Order::new(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "virt_to_head_page")]
    pub fn page(&self) -> (Pfn, Order) {
        (self.page.pfn(), self.page.order())
    }
}

impl Deref for PageFrag {
    type Target = [MaybeUninit<u8>];

    fn deref(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: a fragment ends at its page's end or before.
        let start = unsafe { self.page.as_ptr().add(self.start as usize) };
        // SAFETY: the bytes lie in the page, are kept by the fragment's reference, and no other fragment has any of them.
        unsafe { slice::from_raw_parts(start.as_ptr().cast(), self.bytes as usize) }
    }
}

impl DerefMut for PageFrag {
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: a fragment ends at its page's end or before.
        let start = unsafe { self.page.as_ptr().add(self.start as usize) };
        // SAFETY: as above, and nobody else has access to them as long as `self` is borrowed.
        unsafe { slice::from_raw_parts_mut(start.as_ptr().cast(), self.bytes as usize) }
    }
}

impl Drop for PageFrag {
    #[inline]
    fn drop(&mut self) {
        put(&self.page, 1);
    }
}

impl fmt::Debug for PageFrag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFrag")
            .field("pfn", &self.page.pfn())
            .field("start", &self.start)
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Allocator {
    /// Returns a cache that hands out small pieces of pages, which it takes from a node as
    /// [`alloc_pages_node`](Self::alloc_pages_node) does, or as [`alloc_pages`](Self::alloc_pages) does for `None`. It keeps
    /// the allocator open.
    ///
    /// With [`Gfp::ZERO`], each fragment is cleared when it is handed out.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Nid};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let cache = allocator.page_frag_cache(Some(Nid::new(0)), Gfp::KERNEL | Gfp::ZERO);
    /// let fragment = cache.alloc(100)?;
    /// // SAFETY: with this mask, fragments are initialised.
    /// assert_eq!(unsafe { fragment.assume_init_ref() }, [0; 100]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn page_frag_cache(&self, node: Option<Nid>, gfp: Gfp) -> PageFragCache {
        PageFragCache { allocator: self.clone(), gfp, node, page: Cell::new(None) }
    }
}
