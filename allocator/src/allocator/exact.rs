//! Blocks in pieces: single frames of a block, and runs of frames that are no power of two.

use core::{
    mem::{ManuallyDrop, MaybeUninit},
    ops::{Deref, DerefMut},
    slice,
};

use super::{Allocator, Pages};
use crate::{
    Pfn,
    alloc::Busy,
    error::{AllocError, FailReason},
    frame::{Block, FRAME_BYTES, MAX_MAX_ORDER, Order, split_page},
    gfp::Gfp,
};

/// Contiguous frames, as many as were asked for (`alloc_pages_exact`); dropping it frees them, frame by frame.
#[derive(Debug)]
#[must_use = "dropping it frees the frames"]
pub struct ExactPages {
    /// The first frame; the others are blocks of the same kind behind it.
    first: ManuallyDrop<Pages>,
    frames: u32,
}

impl ExactPages {
    /// Returns the number of frames.
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Returns the number of the first frame.
    pub fn pfn(&self) -> Pfn {
        self.first.pfn()
    }
}

impl Deref for ExactPages {
    type Target = [MaybeUninit<u8>];

    fn deref(&self) -> &[MaybeUninit<u8>] {
        let (start, len) = (self.first.as_ptr().as_ptr(), self.frames as usize * FRAME_BYTES);
        // SAFETY: the frames lie behind each other in the arena, and are this value's own as long as it lives.
        unsafe { slice::from_raw_parts(start.cast(), len) }
    }
}

impl DerefMut for ExactPages {
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let (start, len) = (self.first.as_ptr().as_ptr(), self.frames as usize * FRAME_BYTES);
        // SAFETY: as above, and nobody else has access to them as long as `self` is borrowed.
        unsafe { slice::from_raw_parts_mut(start.cast(), len) }
    }
}

impl Drop for ExactPages {
    fn drop(&mut self) {
        free_frames(self.first.block(), 0..self.frames);
    }
}

/// Frees single frames of a block that was split.
fn free_frames(first: Block, frames: core::ops::Range<u32>) {
    for index in frames {
        Pages::new(first.at(first.pfn().add(index))).free();
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
        if let Some((first, frames)) = self.split() {
            for index in 0..frames {
                got(Self::new(first.at(first.pfn().add(index))));
            }
        }
    }

    /// Makes single frames of the block, and returns the first with their number; `None`, which is reported, when its
    /// descriptor was overwritten.
    fn split(self) -> Option<(Block, u32)> {
        let pages = ManuallyDrop::new(self);
        let (core, block) = (pages.shared(), pages.block());
        match split_page(core.domain.frames(), block) {
            Ok(first) => {
                let _busy = Busy::enter();
                let zone = core.domain.zone_at(block.zone_index());
                zone.split_page(block.pfn(), block.order(), block.list());
                Some((first, block.order().frames()))
            }
            Err(bad) => {
                core.report_misuse(bad, block);
                None
            }
        }
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
    pub fn alloc_pages_exact(&self, bytes: usize, gfp: Gfp) -> Result<ExactPages, AllocError> {
        let frames = bytes.div_ceil(FRAME_BYTES).max(1);
        let order = frames.checked_next_power_of_two().and_then(|frames| Order::try_new(frames.ilog2()));
        let too_large = || AllocError::new(gfp, MAX_MAX_ORDER + 1, FailReason::NoMemory);
        let order = order.ok_or_else(too_large)?;
        let pages = self.alloc_pages(gfp, order)?;
        let (first, all) =
            pages.split().ok_or_else(|| AllocError::new(gfp, order.get(), FailReason::NoMemory))?;
        let frames = u32::try_from(frames).unwrap_or(all).min(all);
        free_frames(first, frames..all);
        Ok(ExactPages { first: ManuallyDrop::new(Pages::new(first)), frames })
    }
}
