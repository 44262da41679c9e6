//! A round of all shrinkers: what it is for, and what it did.

use crate::{frame::Nid, gfp::Gfp};

/// What a round of shrinkers is for.
#[derive(Clone, Copy)]
pub(crate) struct ShrinkRound<'a> {
    /// The mask of the request that memory is reclaimed for.
    pub(crate) gfp: Gfp,
    /// The node whose memory is wanted.
    pub(crate) node: Nid,
    /// How hard to try: 12 asks for little, 0 for everything.
    pub(crate) priority: u8,
    /// How many frames are still wanted, asked before each scan; with none the round ends.
    pub(crate) wanted: &'a dyn Fn() -> u64,
}

/// What a round of shrinkers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shrunk {
    /// Objects that were looked at, as the shrinkers say.
    pub(crate) scanned: u64,
    /// Frames that were seen to come back; [`reclaim`](crate::reclaim) says what counts.
    pub(crate) freed: u64,
}
