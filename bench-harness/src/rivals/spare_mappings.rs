//! Mappings that nobody uses, for the moment at which the process can have no other.

use std::ptr::NonNull;

use rustix::mm::{MprotectFlags, mprotect, munmap};

use super::mapping;

/// How many there are: a quarter of what a process may have where nobody has changed that.
pub(super) const SPARE: usize = 1 << 14;
const PAGE: usize = 4096;

/// One range of addresses, each page of it a mapping of its own, because its neighbours may not be touched.
#[derive(Debug)]
pub(super) struct SpareMappings(NonNull<u8>);

// SAFETY: nobody reads or writes through it; it is unmapped by whoever drops it.
unsafe impl Send for SpareMappings {}

impl SpareMappings {
    /// Makes them, if the process may have so many.
    pub(super) fn new() -> Option<Self> {
        let spare = Self(mapping::map(SPARE * PAGE).ok()?);
        let protected = (0..SPARE).step_by(2).try_for_each(|page| {
            let page = spare.0.as_ptr().wrapping_add(page * PAGE);
            // SAFETY: the page is in the range, which was mapped here, and in which nobody has anything.
            unsafe { mprotect(page.cast(), PAGE, MprotectFlags::empty()) }
        });
        protected.is_ok().then_some(spare)
    }
}

impl Drop for SpareMappings {
    fn drop(&mut self) {
        // SAFETY: the range is the one that was mapped, and nobody has anything in it.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), SPARE * PAGE) };
        debug_assert!(unmapped.is_ok(), "whole mappings can be unmapped");
    }
}
