//! An owned block.

use core::{
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use super::{
    core::{Core, core_of},
    debug::Caller,
    raw::RawParts,
};
use crate::{
    alloc::PutCached,
    frame::{Block, Order, Pfn},
    gfp::Gfp,
    pcp::{Put, local},
    trace,
    zone::Content,
};

/// A block of 2^order frames that its holder owns.
///
/// One machine word, so that it travels in a register, and many are as compact as pointers. It may go to any thread, has no lifetime and counts no references;
/// dropping it frees it through the cache of the thread that drops it. A block outlives its allocator: the mapping goes
/// with the last one.
#[must_use = "dropping it frees the block"]
pub struct Pages {
    block: Block,
}

impl Pages {
    #[inline(always)]
    pub(super) const fn new(block: Block) -> Self {
        Self { block }
    }

    /// Frees the block inline, through the calling thread's cache, or past it if the thread has none (`__free_page`); a drop,
    /// which knows no caller, calls a function that the compiler may not inline.
    #[inline(always)]
    pub(super) fn free(self, caller: Option<Caller>) {
        Self::put(self.into_freed(), caller);
    }

    /// Puts a block, which its owner has given up, where [`free`](Self::free) says.
    #[inline(always)]
    pub(super) fn put(block: Block, caller: Option<Caller>) {
        let pages = ManuallyDrop::new(Self { block });
        let left = local::with_last(local::key_of(pages.block.allocator()), PutCached(pages.block));
        if left != Some(Put::Cached) {
            pages.shared().free_slow(pages.block, left, caller);
        }
    }

    /// Frees the block at the cold end of the calling thread's cache.
    pub(super) fn free_cold(self, caller: Caller) {
        let pages = ManuallyDrop::new(self);
        trace::mm_page_free(pages.block);
        pages.shared().free_cold(pages.block, caller);
    }

    /// Gives up ownership without freeing.
    #[inline(always)]
    pub(super) fn into_block(self) -> Block {
        ManuallyDrop::new(self).block
    }

    /// Gives up ownership to free the block, and lets tracers know before anybody else can have it.
    #[inline(always)]
    pub(super) fn into_freed(self) -> Block {
        let block = self.into_block();
        trace::mm_page_free(block);
        block
    }

    #[inline(always)]
    pub(super) const fn block(&self) -> Block {
        self.block
    }

    #[inline(always)]
    pub(super) fn shared(&self) -> &Core {
        // SAFETY: a core lives, under its number, until its last block has come back, and this one has not.
        unsafe { core_of(self.block.allocator()).as_ref() }
    }

    /// Returns the number of the first frame in the arena.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// assert_eq!(page.pfn().offset_bytes(), page.offset());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn pfn(&self) -> Pfn {
        self.block.pfn()
    }

    /// Returns the order.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// assert_eq!(pages.order(), Order::new(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn order(&self) -> Order {
        self.block.order()
    }

    /// Returns the size in bytes: 4096 × 2^order.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// assert_eq!(pages.len(), 4 * 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no block is empty")]
    pub const fn len(&self) -> usize {
        self.order().bytes()
    }

    pub(super) const fn zone_index(&self) -> usize {
        self.block.zone_index()
    }

    /// Returns the offset of the first byte in the arena.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// let start = allocator.arena().ptr_at(pages.offset());
    /// assert_eq!(start, pages.as_ptr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn offset(&self) -> usize {
        self.pfn().offset_bytes()
    }

    /// Returns the address, aligned to the block's size up to the arena's own alignment (1 GiB, or 2 MiB for small ones).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// assert!(pages.as_ptr().as_ptr().addr().is_multiple_of(pages.len()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.shared().address(self.pfn())
    }

    /// Returns the block's memory, of which the content is unknown.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// pages.bytes_mut()[7].write(42);
    /// // SAFETY: it was written a line above.
    /// assert_eq!(unsafe { pages.bytes()[7].assume_init() }, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn bytes(&self) -> &[MaybeUninit<u8>] {
        let memory = self.shared().memory(self.pfn(), self.order().frames());
        // SAFETY: the block lies in the arena, and is readable as long as `self` lives; nobody else writes to it.
        unsafe { memory.as_ref() }
    }

    /// Returns the block's memory for writing, of which the content is unknown.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// pages.bytes_mut().fill(std::mem::MaybeUninit::new(0xff));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let mut memory = self.shared().memory(self.pfn(), self.order().frames());
        // SAFETY: the block lies in the arena, and nobody else has access to it as long as `self` is borrowed.
        unsafe { memory.as_mut() }
    }

    /// Fills the block with zeroes if the mask of its request says so, unless it is known to hold nothing else.
    #[inline(always)]
    pub(super) fn zeroed_by(self, gfp: Gfp, content: Content) -> Self {
        let fill = gfp.contains(Gfp::ZERO) && content == Content::Unknown;
        if fill { self.zero().into_pages() } else { self }
    }

    /// Notes that all bytes of the block have a value: its request asked for zeroes.
    pub(super) const fn into_zeroed(self) -> ZeroedPages {
        ZeroedPages { pages: self }
    }

    /// Fills the block with zeroes.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// assert!(pages.zero().iter().all(|&byte| byte == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zero(mut self) -> ZeroedPages {
        self.bytes_mut().fill(MaybeUninit::new(0));
        ZeroedPages { pages: self }
    }

    /// Takes the block apart, to be kept where no Rust value can be: on the other side of a C interface, or in a file that is
    /// mapped along. The block stays allocated until [`from_raw_parts`](super::Allocator::from_raw_parts) or
    /// [`free_raw`](super::Allocator::free_raw).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// let parts = pages.into_raw_parts();
    /// println!("frame {}, order {}, generation {}", parts.pfn, parts.order, parts.generation);
    /// // SAFETY: the parts are of a block of this allocator that was taken apart.
    /// unsafe { allocator.free_raw(parts) }?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_raw_parts(self) -> RawParts {
        let pages = ManuallyDrop::new(self);
        let core = pages.shared();
        RawParts {
            pfn: pages.pfn(),
            order: pages.order(),
            allocator: core.id(),
            generation: core.take_apart(pages.block),
        }
    }
}

impl Drop for Pages {
    #[inline(always)]
    fn drop(&mut self) {
        Self { block: self.block }.free(None);
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("pfn", &self.pfn()).field("order", &self.order()).finish()
    }
}

/// An owned block of initialised memory.
#[derive(Debug)]
#[must_use = "dropping it frees the block"]
pub struct ZeroedPages {
    pages: Pages,
}

impl ZeroedPages {
    /// Forgets that the memory is initialised.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let zeroed = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?;
    /// let pages = zeroed.into_pages();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_pages(self) -> Pages {
        self.pages
    }

    /// Returns the block.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let zeroed = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?;
    /// assert_eq!(zeroed.pages().order(), Order::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn pages(&self) -> &Pages {
        &self.pages
    }
}

impl Deref for ZeroedPages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: when this was made, all bytes were written or fresh from the system, which gives zeroes; and only initialised bytes can be written through it.
        unsafe { self.pages.bytes().assume_init_ref() }
    }
}

impl DerefMut for ZeroedPages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.pages.bytes_mut().assume_init_mut() }
    }
}
