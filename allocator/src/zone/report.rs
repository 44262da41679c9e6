//! What a zone says of itself.

use super::{buddy::TYPES, watermark::Watermarks};
use crate::{
    frame::{Nid, Pfn, ZoneNumber},
    gfp::{NR_ZONE_TYPES, ZoneType},
};

/// Where a zone lies and what it is.
///
/// ```
/// use gfp::{Nid, Pfn, frame::ZoneNumber, gfp::ZoneType, zone::ZoneSpan};
///
/// let [start, online_end, end] = [1024, 2048, 4096].map(Pfn::new);
/// let (node, number) = (Nid::new(0), ZoneNumber::new(1));
/// let span = ZoneSpan { kind: ZoneType::Normal, node, number, start, end, online_end };
/// assert_eq!((span.frames(), span.online_frames()), (3072, 1024));
/// assert!(span.contains(start) && !span.contains(end));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneSpan {
    /// What the zone is for.
    pub kind: ZoneType,
    /// The node that its memory is on.
    pub node: Nid,
    /// Its number in the allocator.
    pub number: ZoneNumber,
    /// Its first frame.
    pub start: Pfn,
    /// The frame behind its last.
    pub end: Pfn,
    /// Where it ends at first: the pageblocks from here to the end are offline.
    pub online_end: Pfn,
}

#[cfg(feature = "lock-stats")]
impl super::Zone {
    /// Returns how often and for how long the zone's lock was held.
    pub(crate) fn lock_stats(&self) -> crate::sync::LockStats {
        self.areas.stats()
    }
}

impl ZoneSpan {
    /// Returns the number of frames, those that are offline included.
    pub const fn frames(&self) -> u64 {
        (self.end.get() - self.start.get()) as u64
    }

    /// Tells whether a frame lies in the zone.
    pub fn contains(&self, pfn: Pfn) -> bool {
        (self.start..self.end).contains(&pfn)
    }

    /// Returns the number of frames that are not offline at first.
    pub const fn online_frames(&self) -> u64 {
        (self.online_end.get() - self.start.get()) as u64
    }
}

/// What happened to a zone so far, in frames or events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneEvents {
    /// Frames that requests took past the caches.
    pub allocated_frames: u64,
    /// Frames that were freed past the caches.
    pub freed_frames: u64,
    /// Pageblocks claimed by another type (`mm_page_alloc_extfrag` with a change of ownership).
    pub claimed: u64,
    /// Blocks stolen from another type.
    pub stolen: u64,
    /// Boosts of the watermarks.
    pub boosts: u64,
    /// Frees that came through the pending map.
    pub pending_frees: u64,
    /// Blocks that came back although they were free already (`bad_page`): those that a cache gave up, or left pending.
    pub bad_pages: u64,
    /// Frames whose memory was given back to the system while they were free.
    pub reported_frames: u64,
    /// Free frames whose memory the system did not take back when it was asked to.
    pub refused_frames: u64,
}

#[cfg(not(loom))]
impl super::Zone {
    /// Returns the frames that were freed past the caches so far, less those that requests took past them.
    pub(crate) fn balance_past_caches(&self) -> i64 {
        let events = self.with_areas(|areas| areas.events);
        events.freed_frames.wrapping_sub(events.allocated_frames).cast_signed()
    }
}

/// A consistent picture of a zone.
#[derive(Clone, Debug)]
pub struct ZoneReport {
    /// Where it lies.
    pub span: ZoneSpan,
    /// Free blocks by migrate type and order.
    pub nr_free: [Vec<u32>; TYPES],
    /// Pageblocks by migrate type.
    pub pageblocks: [u32; TYPES],
    /// Free frames.
    pub free: u64,
    /// Free frames in CMA areas.
    pub free_cma: u64,
    /// Free frames in highatomic pageblocks.
    pub free_highatomic: u64,
    /// Frames that nobody holds, but that are out of circulation: isolated, or on their way to the system and back.
    pub isolated: u64,
    /// Frames that are not offline.
    pub managed: u64,
    /// Frames that are kept for contiguous requests.
    pub cma_pages: u64,
    /// Pageblocks that are known to hold nothing but zeroes, those that are offline included.
    pub known_zero: u64,
    /// The marks.
    pub marks: Watermarks,
    /// What is kept from requests that could use a higher zone.
    pub lowmem_reserve: [u64; NR_ZONE_TYPES],
    /// What happened so far.
    pub events: ZoneEvents,
}
