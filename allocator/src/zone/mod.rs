//! A zone: a range of frames with its own lock, free areas and watermarks.
//!
//! A zone calls nobody. It answers requests and frees, and publishes under its lock what others may want to know
//! without it.

#![deny(unsafe_code)]

pub mod buddy;
mod mirror;
mod range;
mod report;
pub mod sizing;
mod state;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
pub mod watermark;
#[expect(clippy::module_inception, reason = "the folder is about zones, this file about the type")]
mod zone;

pub use buddy::{Grouping, PAGEBLOCK_FRAMES};
pub use report::{ZoneEvents, ZoneReport, ZoneSpan};
pub use state::{FirstFor, SharedZoneState, ZoneState};
pub use zone::{Freed, Waiting, Zone};
