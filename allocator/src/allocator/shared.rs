//! Blocks that several hold.

use core::{
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
};

use super::pages::{Pages, ZeroedPages};
use crate::{
    error::GetError,
    frame::{BadFrame, put_page_testzero, share, unshare},
    sync::Put,
};

/// A reference to a block that several hold, on any threads (`get_page`, `put_page`).
///
/// One machine word, as [`Pages`], of which it has all that reads. A clone is one more reference. Dropping the last one frees
/// the block through the cache of the thread that drops it; what was done through the others has happened by then. The
/// count is of 32 bits and stands in a table of the allocator's, not in the block.
///
/// ```
/// use gfp::{Allocator, Gfp, Order};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
/// pages.bytes_mut()[0].write(42);
/// let shared = pages.into_shared();
/// let reader = std::thread::spawn({
///     let shared = shared.clone();
///     // SAFETY: the byte was written before.
///     move || unsafe { shared.bytes()[0].assume_init() }
/// });
/// assert_eq!(reader.join().unwrap(), 42);
/// assert_eq!((shared.references(), shared.order()), (1, Order::new(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "get_page")]
#[doc(alias = "put_page")]
#[doc(alias = "folio_get")]
#[doc(alias = "folio_put")]
#[must_use = "dropping it gives the reference back"]
pub struct SharedPages {
    pages: ManuallyDrop<Pages>,
}

/// Gives back `references` to a shared block; frees it if they were the last.
pub(super) fn put(pages: &Pages, references: u32) {
    let (core, block) = (pages.shared(), pages.block());
    match put_page_testzero(core.domain.frames(), core.domain.references(), block, references) {
        Ok(None) => {}
        Ok(Some(block)) => {
            core.report(core.return_from_record(block), block);
            Pages::new(block).free(None);
        }
        Err(bad) => core.report_misuse(bad, block.order()),
    }
}

/// As [`put`], but if they were the last, the block stays shared, and the caller has `again` references to it and is alone.
/// Tells whether they were.
pub(super) fn put_for_reuse(pages: &Pages, references: u32, again: u32) -> bool {
    let (core, pfn) = (pages.shared(), pages.pfn());
    match core.domain.references().put(pfn, references) {
        Put::Last => {
            core.domain.references().set(pfn, again);
            true
        }
        Put::StillShared => false,
        Put::NotShared => {
            core.report_misuse(BadFrame { pfn, found: core.domain.frames().get(pfn) }, pages.order());
            false
        }
    }
}

impl Pages {
    /// Lets several hold the block: what is returned is the first reference.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let first = allocator.alloc_page(Gfp::KERNEL)?.into_shared();
    /// let second = first.clone();
    /// assert_eq!(second.references(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_shared(self) -> SharedPages {
        SharedPages { pages: self.share(1) }
    }

    /// Lets several hold the block, of whom the caller holds `references`.
    pub(super) fn share(self, references: u32) -> ManuallyDrop<Self> {
        let pages = ManuallyDrop::new(self);
        let (core, block) = (pages.shared(), pages.block());
        let (frames, counts) = (core.domain.frames(), core.domain.references());
        let shared = core.leave_for_record(block).and_then(|()| share(frames, counts, block, references));
        core.report(shared, block);
        pages
    }
}

impl SharedPages {
    /// Returns how many references there are, at that moment; `u32::MAX` when there were more than can be counted
    /// (`page_count`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let first = allocator.alloc_pages(Gfp::KERNEL, Order::ZERO)?.into_shared();
    /// let others = [first.clone(), first.clone()];
    /// assert_eq!(first.references(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "page_count")]
    #[doc(alias = "page_ref_count")]
    pub fn references(&self) -> u32 {
        self.shared().domain.references().count(self.pfn())
    }

    /// Takes one more reference, as a clone does, unless there are as many as can be counted (`try_get_page`): 2^32 − 2.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let first = allocator.alloc_page(Gfp::KERNEL)?.into_shared();
    /// let second = first.try_get()?;
    /// assert_eq!(second.pfn(), first.pfn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there are that many, or the block was freed by unsafe code.
    #[doc(alias = "try_get_page")]
    #[doc(alias = "folio_try_get")]
    pub fn try_get(&self) -> Result<Self, GetError> {
        let pfn = self.pfn();
        match self.shared().domain.references().get(pfn) {
            Ok(_) => Ok(self.again()),
            Err(reason) => Err(GetError { pfn: pfn.get(), order: self.order().get(), reason }),
        }
    }

    /// Returns the same value again, for a reference that has been taken.
    fn again(&self) -> Self {
        Self { pages: ManuallyDrop::new(Pages::new(self.block())) }
    }

    /// Gives up counting, and reports that once.
    #[cold]
    fn saturate(&self) {
        let (core, pfn) = (self.shared(), self.pfn());
        if core.domain.references().saturate(pfn) {
            core.report_misuse(BadFrame { pfn, found: core.domain.frames().get(pfn) }, self.order());
        }
    }

    /// Returns the block's memory for writing, of which the content is unknown, if this is the only reference.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut first = allocator.alloc_page(Gfp::KERNEL)?.into_shared();
    /// first.get_mut().expect("the only reference")[0].write(42);
    /// let second = first.clone();
    /// assert!(first.get_mut().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut [MaybeUninit<u8>]> {
        // Nobody can take another one: that needs this one, which is borrowed.
        self.shared().domain.references().is_unique(self.pfn()).then(|| self.pages.bytes_mut())
    }

    /// Makes the block one with an owner again, if this is the only reference.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let first = allocator.alloc_page(Gfp::KERNEL)?.into_shared();
    /// let second = first.clone();
    /// let first = first.try_into_pages().expect_err("there is another reference");
    /// drop(second);
    /// let pages = first.try_into_pages().expect("the only reference");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The reference, when there are others.
    pub fn try_into_pages(self) -> Result<Pages, Self> {
        let (core, block) = (self.shared(), self.block());
        match unshare(core.domain.frames(), core.domain.references(), block) {
            Ok(true) => {
                core.report(core.return_from_record(block), block);
                Ok(Pages::new(ManuallyDrop::new(self).block()))
            }
            Ok(false) => Err(self),
            Err(bad) => {
                core.report_misuse(bad, block.order());
                Err(self)
            }
        }
    }
}

impl Clone for SharedPages {
    /// Takes one more reference (`get_page`): one atomic addition.
    ///
    /// Whoever has forgotten, not dropped, 2^32 − 2 of them gets the next one as well, and the block is then never freed: as in
    /// the kernel (`REFCOUNT_SATURATED`), memory is lost, but none is used after its free. The builder's hook is told once.
    #[inline]
    fn clone(&self) -> Self {
        if self.shared().domain.references().get(self.pfn()).is_err() {
            self.saturate();
        }
        self.again()
    }
}

impl Drop for SharedPages {
    #[inline]
    fn drop(&mut self) {
        put(&self.pages, 1);
    }
}

impl Deref for SharedPages {
    type Target = Pages;

    fn deref(&self) -> &Pages {
        &self.pages
    }
}

impl fmt::Debug for SharedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPages")
            .field("pfn", &self.pfn())
            .field("order", &self.order())
            .field("references", &self.references())
            .finish()
    }
}

/// A reference to a block of initialised memory that several hold; as [`SharedPages`], and its bytes can be read.
///
/// ```
/// use gfp::{Allocator, Gfp, Order};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let mut page = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?;
/// page[..5].copy_from_slice(b"hello");
/// let shared = page.into_shared();
/// let reader = std::thread::spawn({
///     let shared = shared.clone();
///     move || shared.starts_with(b"hello")
/// });
/// assert!(reader.join().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "dropping it gives the reference back"]
pub struct SharedZeroedPages {
    pages: SharedPages,
}

impl ZeroedPages {
    /// Lets several hold the block, as [`Pages::into_shared`] does.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let first = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?.into_shared();
    /// let second = first.clone();
    /// assert_eq!(second[4095], 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_shared(self) -> SharedZeroedPages {
        SharedZeroedPages { pages: self.into_pages().into_shared() }
    }
}

impl SharedZeroedPages {
    /// Returns the reference, to bytes of which nothing is known.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let shared = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?.into_shared();
    /// assert_eq!(shared.pages().references(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn pages(&self) -> &SharedPages {
        &self.pages
    }

    /// Returns the bytes for writing, if this is the only reference.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut first = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::ZERO)?.into_shared();
    /// first.get_mut().expect("the only reference")[0] = 42;
    /// let second = first.clone();
    /// assert!(first.get_mut().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: all bytes were written when the block was zeroed, and only initialised bytes can be written through it.
        self.pages.get_mut().map(|bytes| unsafe { bytes.assume_init_mut() })
    }
}

impl Deref for SharedZeroedPages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { self.pages.bytes().assume_init_ref() }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Allocator, Gfp, Maintain, Order,
        error::{FrameStory, Misuse},
        frame::References,
        sync::{Arc, Mutex, RefError},
    };

    #[test]
    fn a_block_with_too_many_references_is_reported_once_and_never_freed() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reports);
        let allocator = Allocator::builder(64 << 20)
            .maintain(Maintain::ByHand)
            .on_misuse(Box::new(move |error| seen.lock().push(*error)))
            .build()
            .expect("64 MiB");
        let mut first = allocator.alloc_pages(Gfp::KERNEL, Order::new(1)).expect("room").into_shared();
        let pfn = first.pfn();
        // As if the others had been forgotten.
        allocator.core().domain.references().set(pfn, References::MAX - 1);
        let second = first.try_get().expect("one more is counted");
        assert_eq!(first.references(), References::MAX);
        let refused = first.try_get().expect_err("one too many");
        assert_eq!((refused.pfn, refused.order, refused.reason), (pfn.get(), 1, RefError::Saturated));
        assert_eq!((first.references(), reports.lock().len()), (References::MAX, 0));

        let clones = [second.clone(), first.clone()];
        assert_eq!(first.references(), u32::MAX);
        drop((second, clones));
        assert_eq!(first.references(), u32::MAX);
        assert!(first.get_mut().is_none());
        let first = first.try_into_pages().expect_err("nobody knows whether there are others");
        drop(first);
        let story = FrameStory::Allocated { order: 1, generation: 0, references: u32::MAX };
        let reports = core::mem::take(&mut *reports.lock());
        assert_eq!(
            reports.iter().map(|error| (error.misuse, error.story)).collect::<Vec<_>>(),
            [(Misuse::Saturated, story)]
        );
        assert_eq!(allocator.conservation().allocated(), 2, "it is never freed");
    }
}
