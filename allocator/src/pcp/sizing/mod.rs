//! How much a thread's cache holds, and how much it moves at a time.
//!
//! The decisions of the kernel's per-CPU lists (6.x), as a small state machine on plain integers: it sees counts
//! and answers with counts, and knows neither lists nor locks. All amounts are frames unless a name says blocks.
//!
//! | event | call | answer |
//! |---|---|---|
//! | a block is wanted | [`note_alloc`](PcpTuning::note_alloc) | – |
//! | … and its list is empty | [`nr_pcp_alloc`](PcpTuning::nr_pcp_alloc) | blocks to refill |
//! | a block was cached | [`note_free`](PcpTuning::note_free), [`nr_pcp_high`](PcpTuning::nr_pcp_high) | how full is too full |
//! | … and that is reached | [`nr_pcp_free`](PcpTuning::nr_pcp_free) | frames to drain |
//! | a second passed | [`decay`](PcpTuning::decay) | frames to drain |
//!
//! ```
//! use gfp::pcp::sizing::{HighFraction, PcpLimits, zone_batchsize};
//!
//! // A zone of 1 GiB that two caches share.
//! let managed = 1 << 18;
//! assert_eq!(zone_batchsize(managed), 63);
//! let limits = PcpLimits::new(managed, 2048, 2, 2, HighFraction::AUTO);
//! assert_eq!((limits.batch, limits.high_min, limits.high_max), (63, 1024, (1 << 18) / 8 / 2));
//! // Fixed: all caches together hold a sixteenth of the zone.
//! let fixed = PcpLimits::new(managed, 2048, 2, 2, HighFraction::new(16)?);
//! assert_eq!((fixed.high_min, fixed.high_max), ((1 << 18) / 16 / 2, (1 << 18) / 16 / 2));
//! assert!(HighFraction::new(7).is_err(), "more than an eighth");
//! # Ok::<(), gfp::pcp::sizing::BadHighFraction>(())
//! ```

mod limits;
mod tuning;

pub use limits::{BadHighFraction, HighFraction, PcpLimits, zone_batchsize};
pub use tuning::{BATCH_SCALE_MAX, FreeMode, PcpFlags, PcpTuning, ZonePressure};

pub use crate::frame::LIST_FRAMES_MAX as LIST_CAP;
