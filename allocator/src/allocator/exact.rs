//! Blocks in pieces: single frames of a block, and runs of frames that are no power of two.

use core::{
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    panic::Location,
};

use super::{Allocator, Pages};
use crate::{
    Pfn,
    alloc::Busy,
    error::{AllocError, FailReason},
    frame::{Block, FRAME_BYTES, MAX_MAX_ORDER, Order},
    gfp::Gfp,
};

/// Contiguous frames, as many as were asked for (`alloc_pages_exact`); dropping it frees them, frame by frame.
#[derive(Debug)]
#[must_use = "dropping it frees the frames"]
pub struct ExactPages {
    /// The block that the frames were taken from, which was split.
    whole: ManuallyDrop<Pages>,
    frames: u32,
}

impl ExactPages {
    /// Returns the number of frames.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.alloc_pages_exact(10_000, Gfp::KERNEL)?.frames(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Returns the number of the first frame.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let run = allocator.alloc_pages_exact(10_000, Gfp::KERNEL)?;
    /// println!("frames from {} on", run.pfn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pfn(&self) -> Pfn {
        self.whole.pfn()
    }
}

impl Deref for ExactPages {
    type Target = [MaybeUninit<u8>];

    fn deref(&self) -> &[MaybeUninit<u8>] {
        let memory = self.whole.shared().memory(self.pfn(), self.frames);
        // SAFETY: the frames are this value's own as long as it lives.
        unsafe { memory.as_ref() }
    }
}

impl DerefMut for ExactPages {
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let mut memory = self.whole.shared().memory(self.pfn(), self.frames);
        // SAFETY: as above, and nobody else has access to them as long as `self` is borrowed.
        unsafe { memory.as_mut() }
    }
}

impl Drop for ExactPages {
    fn drop(&mut self) {
        self.whole
            .block()
            .into_frames()
            .take(self.frames as usize)
            .for_each(|frame| Pages::new(frame).free(None));
    }
}

impl Pages {
    /// Makes blocks of one frame of this block and calls `got` with them, lowest first; each is freed on its own
    /// (`split_page`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
    /// let first = pages.pfn();
    /// let mut frames = Vec::new();
    /// pages.split_page(|frame| frames.push(frame));
    /// assert_eq!((frames.len(), frames[0].pfn()), (4, first));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split_page(self, mut got: impl FnMut(Pages)) {
        self.split().into_frames().for_each(|frame| got(Self::new(frame)));
    }

    /// Lets the zone know that the frames will come back one by one, and returns the block that they were.
    fn split(self) -> Block {
        let pages = ManuallyDrop::new(self);
        let block = pages.block();
        let _busy = Busy::enter();
        let zone = pages.shared().domain.zone_at(block.zone_index());
        zone.split_page(block.pfn(), block.order(), block.list());
        pages.shared().split_checked(block);
        block
    }
}

impl Allocator {
    /// Allocates contiguous memory of at least `bytes` bytes, in whole frames (`alloc_pages_exact`): of a block of the next order
    /// that is large enough, what is too much is freed at once.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut ring = allocator.alloc_pages_exact(20_000, Gfp::KERNEL)?;
    /// assert_eq!((ring.frames(), ring.len()), (5, 5 * 4096));
    /// ring[19_999].write(1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`alloc_pages`](Self::alloc_pages); `bytes` of 0 count as one frame.
    #[doc(alias = "free_pages_exact")]
    #[track_caller]
    pub fn alloc_pages_exact(&self, bytes: usize, gfp: Gfp) -> Result<ExactPages, AllocError> {
        let frames = bytes.div_ceil(FRAME_BYTES).max(1);
        let order = frames.checked_next_power_of_two().and_then(|frames| Order::try_new(frames.ilog2()));
        let too_large = || AllocError::new(gfp, MAX_MAX_ORDER + 1, FailReason::NoMemory);
        let order = order.ok_or_else(too_large)?;
        let whole = self.alloc_pages(gfp, order)?.split();
        let caller = Location::caller();
        whole.into_frames().skip(frames).for_each(|frame| Pages::new(frame).free(Some(caller)));
        let frames = u32::try_from(frames).expect("no more than a block has");
        Ok(ExactPages { whole: ManuallyDrop::new(Pages::new(whole)), frames })
    }
}
