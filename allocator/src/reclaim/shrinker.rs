//! Shrinkers: how a cache offers its pages.

use crate::{alloc::Domain, frame::Nid, gfp::Gfp};

/// What is asked of shrinkers (`struct shrink_control`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShrinkControl {
    /// The mask of the request that memory is reclaimed for.
    pub(crate) gfp: Gfp,
    /// The node whose memory is wanted.
    pub(crate) node: Nid,
    /// How hard to try: 12 asks for little, 0 for everything.
    pub(crate) priority: u8,
}

/// What a round of shrinkers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shrunk {
    /// Frames that were looked at.
    pub(crate) scanned: u64,
    /// Frames that are known to have been freed.
    pub(crate) freed: u64,
}

/// The registered shrinkers of an allocator.
#[derive(Debug, Default)]
pub(crate) struct Shrinkers {}

impl Shrinkers {
    /// Asks each shrinker for its share (`shrink_slab`).
    pub(crate) fn shrink_slab(&self, _domain: &Domain, _control: ShrinkControl) -> Shrunk {
        Shrunk::default()
    }

    /// Returns how many frames of a node all of them together could give.
    pub(crate) fn count(&self, _node: Nid) -> u64 {
        0
    }
}
