//! Parts of the arena that leave circulation, or the allocator, and come back.

use core::ops::Range;

use super::Allocator;
use crate::{
    alloc::{self, Busy},
    error::RangeError,
    frame::{FRAME_BYTES, Pfn},
    platform::PlatformError,
};

/// What became of the memory of frames that went offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The system has it back; it reads as zero when the frames come online again.
    ToSystem,
    /// It stays resident: the system refused, as it does where memory is locked, or the mapping is the caller's.
    Kept(PlatformError),
}

/// Ranges are of whole pageblocks: 512 frames (2 MiB) each, within every zone that they touch.
impl Allocator {
    /// Takes a range out of circulation, and returns how many of its frames are in use (`start_isolate_page_range`).
    ///
    /// Nothing is allocated from it any more; what is in use stays so, and is out of circulation when it comes back. While some of a
    /// zone is isolated, its frames do not wait in caches (`zone_pcp_disable`): every request there takes the zone's lock. The
    /// kernel refuses a range with unmovable pages; here any block may come back at any time, so the range is isolated all the
    /// same, and the answer says whether it is empty.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let range = Pfn::new(8192)..Pfn::new(9216);
    /// assert_eq!(allocator.start_isolate(range.clone())?, 0);
    /// assert_eq!(allocator.conservation().isolated(), 1024);
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// assert!(!range.contains(&page.pfn()));
    /// allocator.undo_isolate(range)?;
    /// assert_eq!(allocator.conservation().isolated(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A range that is not of whole pageblocks of the arena, or some of which is isolated or offline; nothing is changed then.
    #[doc(alias = "start_isolate_page_range")]
    pub fn start_isolate(&self, range: Range<Pfn>) -> Result<u64, RangeError> {
        let _busy = Busy::enter();
        alloc::start_isolate(&self.core().domain, &range)
    }

    /// Brings what is isolated of a range back into circulation, each pageblock with the type that it had
    /// (`undo_isolate_page_range`). An example is at [`start_isolate`](Self::start_isolate).
    ///
    /// # Errors
    /// A range that is not of whole pageblocks of the arena.
    #[doc(alias = "undo_isolate_page_range")]
    pub fn undo_isolate(&self, range: Range<Pfn>) -> Result<(), RangeError> {
        let _busy = Busy::enter();
        alloc::undo_isolate(&self.core().domain, &range)
    }

    /// Takes a range out of the allocator, and gives its memory back to the system (`offline_pages`). Marks, reserves and the sizes
    /// of caches follow.
    ///
    /// ```
    /// # use gfp::{Allocator, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let range = Pfn::new(8192)..Pfn::new(16384);
    /// let managed = allocator.conservation().managed();
    /// allocator.offline_pages(range.clone())?;
    /// assert_eq!(allocator.conservation().managed(), managed - 8192);
    /// assert_eq!(allocator.offline_ranges(), [range.clone()]);
    /// allocator.online_pages(range)?;
    /// assert_eq!(allocator.conservation().managed(), managed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`start_isolate`](Self::start_isolate); and when some of its frames are in use, for which the error says how many, or
    /// kept for contiguous requests. Nothing is changed then.
    pub fn offline_pages(&self, range: Range<Pfn>) -> Result<Returned, RangeError> {
        let _busy = Busy::enter();
        let core = self.core();
        let discarded = alloc::offline_pages(&core.domain, &range, || {
            let bytes = (range.end.index() - range.start.index()) * FRAME_BYTES;
            // SAFETY: the frames were free and are the allocator's no more: nobody has a block of them, or can get one before
            // they come online, for which this is waited for.
            let discarded = unsafe { core.arena.discard(range.start.offset_bytes(), bytes) };
            if discarded.is_ok() {
                core.forget_content(&range);
            }
            discarded
        })?;
        Ok(discarded.map_or_else(Returned::Kept, |()| Returned::ToSystem))
    }

    /// Brings a range that is offline into the allocator, all free (`online_pages`). An example is at
    /// [`offline_pages`](Self::offline_pages); with [`Builder::maximum`](super::Builder::maximum) an arena can so grow.
    ///
    /// # Errors
    /// A range that is not of whole pageblocks of the arena, or some of which is not offline; nothing is changed then.
    pub fn online_pages(&self, range: Range<Pfn>) -> Result<(), RangeError> {
        let _busy = Busy::enter();
        alloc::online_pages(&self.core().domain, &range)
    }

    /// Returns what is offline of the arena, in ascending order.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert!(allocator.offline_ranges().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn offline_ranges(&self) -> Vec<Range<Pfn>> {
        let _busy = Busy::enter();
        alloc::offline_ranges(&self.core().domain)
    }
}
