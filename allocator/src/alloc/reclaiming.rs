//! The nodes of which memory is being reclaimed.

use crate::{
    frame::Nid,
    node::NodeMask,
    sync::atomic::{AtomicU64, Ordering},
};

/// Who reclaims memory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaimer {
    /// The application, which says so.
    Application,
    /// The node's kswapd.
    Kswapd,
}

/// The nodes of which memory is being reclaimed, by who does it.
#[derive(Debug, Default)]
pub(super) struct ReclaimingNodes {
    by: [AtomicU64; 2],
}

impl ReclaimingNodes {
    /// Says whether somebody reclaims memory of a node now.
    pub(super) fn set(&self, who: Reclaimer, node: Nid, now: bool) {
        let (nodes, bit) = (&self.by[who as usize], NodeMask::of(node).bits());
        match now {
            true => nodes.fetch_or(bit, Ordering::Relaxed),
            false => nodes.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    /// Returns the nodes of which anybody reclaims memory.
    pub(super) fn nodes(&self) -> NodeMask {
        NodeMask::from_bits(self.by.iter().fold(0, |bits, nodes| bits | nodes.load(Ordering::Relaxed)))
    }
}
