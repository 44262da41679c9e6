//! Compaction: making large free blocks out of small ones by moving what lies between them.
//!
//! Nothing can be moved yet: the slow path asks, and the answer is always [`CompactResult::Skipped`].

#![deny(unsafe_code)]

use crate::{alloc::AllocContext, frame::Order, gfp::Gfp};

/// How hard a compaction tries (`enum compact_priority`), hardest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CompactPriority {
    /// May wait, but not for writing.
    SyncLight,
    /// Never waits.
    Async,
}

/// What came of a compaction (`enum compact_result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CompactResult {
    /// No zone was suitable, or none can be compacted.
    Skipped,
}

/// Compacts the zones of a request, one after another, until it can be served (`try_to_compact_pages`).
pub(crate) fn try_to_compact_pages(
    _context: &AllocContext<'_>,
    _gfp: Gfp,
    _priority: CompactPriority,
) -> CompactResult {
    CompactResult::Skipped
}

/// Returns how many frames must be free for a block of an order to come together (`compact_gap`): twice the block, as what is moved needs a
/// place, too.
pub(crate) const fn compact_gap(order: Order) -> u64 {
    2 * order.frames() as u64
}
