//! Between frames, their offsets in the arena, and addresses.
//!
//! A frame's offset is [`Pfn::offset_bytes`], a block's [`Pages::offset`](super::Pages::offset).

use core::ptr::NonNull;

use super::{Allocator, core::Core};
use crate::frame::{FRAME_BYTES, Pfn};

impl Core {
    /// Returns the frame that an address lies in, if it is one of the arena's.
    pub(super) fn frame_at(&self, ptr: NonNull<u8>) -> Option<Pfn> {
        let offset = ptr.addr().get().wrapping_sub(self.arena.base().addr().get());
        u32::try_from(offset / FRAME_BYTES).ok().filter(|_| offset < self.arena.len()).map(Pfn::new)
    }
}

impl Allocator {
    /// Returns the frame that an address lies in; `None` for an address outside of the arena (`virt_to_pfn`).
    ///
    /// ```
    /// # use std::ptr::NonNull;
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// assert_eq!(allocator.virt_to_pfn(page.as_ptr()), Some(page.pfn()));
    /// assert_eq!(allocator.virt_to_pfn(NonNull::from(&page).cast()), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "virt_to_page")]
    pub fn virt_to_pfn(&self, ptr: NonNull<u8>) -> Option<Pfn> {
        self.core().frame_at(ptr)
    }

    /// Returns the address of a frame; `None` for one outside of the arena (`pfn_to_virt`).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// assert_eq!(allocator.pfn_to_virt(page.pfn()), Some(page.as_ptr()));
    /// assert_eq!(allocator.pfn_to_virt(Pfn::new(1 << 30)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "page_address")]
    pub fn pfn_to_virt(&self, pfn: Pfn) -> Option<NonNull<u8>> {
        let core = self.core();
        ((pfn.index() as u64) < core.arena.frames()).then(|| core.address(pfn))
    }
}
