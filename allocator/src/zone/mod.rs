//! A zone: a range of frames with its own lock, free areas and watermarks.
//!
//! A zone calls nobody. It answers requests and frees, and publishes under its lock what others may want to know
//! without it.
//!
//! ```
//! use gfp::{Nid, Order, Pfn};
//! use gfp::frame::{AllocatorNumber, FrameBatch, FrameTable, PcpList, ZoneNumber};
//! use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
//! use gfp::zone::{Content, FirstFor, Freed, Grouping, ReportGoal, Reported, Zone, ZoneSpan};
//! use gfp::zone::watermark::{WatermarkRule, Watermarks};
//!
//! // 16 MiB of ordinary memory, of which a request at the low mark leaves 64 frames.
//! let end = Pfn::new(4096);
//! let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
//! let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
//! let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
//! let first_for = FirstFor::collect(|highest| highest >= kind);
//! let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
//! let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
//! zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
//! assert_eq!((zone.span().frames(), zone.managed(), zone.watermarks().low), (4096, 4096, 64));
//! assert_eq!((zone.lowmem_reserve(), zone.cma_pages(), zone.may_be_cached()), ([0; 5], 0, true));
//!
//! // What a request asks without the lock, and then with it.
//! let (flags, unmovable) = (AllocFlags::from_wmark(WmarkIndex::Low), MigrateType::Unmovable);
//! assert!(zone.watermark_ok(Order::new(3), ZoneType::Normal, flags));
//! let pfn = zone.rmqueue_buddy(Order::new(3), unmovable, flags).expect("all is free");
//! assert_eq!((zone.nr_free_pages(), zone.is_free(pfn)), (4096 - 8, Some(false)));
//! assert_eq!(zone.pageblock_type(pfn), unmovable, "it claimed the pageblock");
//!
//! // Its owner splits it and gives back the first frame, which cannot be given back twice.
//! let list = PcpList::of(Order::new(3), unmovable);
//! zone.split_page(pfn, Order::new(3), list);
//! assert_eq!(zone.free_one(pfn, Order::ZERO, PcpList::UNMOVABLE), Freed::Open);
//! assert_eq!(zone.free_one(pfn, Order::ZERO, PcpList::UNMOVABLE), Freed::Bad);
//!
//! // A cache takes and gives a batch with one acquisition of the lock; a few at least, more if others wait.
//! let mut batch = FrameBatch::new();
//! zone.rmqueue_bulk(Order::ZERO, 63..=126, unmovable, flags, &mut batch);
//! assert_eq!(batch.len(), 63);
//! assert_eq!(zone.free_bulk(PcpList::UNMOVABLE, &batch), Freed::Open);
//!
//! // Memory is zero until somebody has it, and again when the system has had it back.
//! let large = Order::new(9);
//! let (block, content) = zone.rmqueue_pageblocks(large, unmovable, flags).expect("most is free");
//! assert_eq!(content, Content::Zero);
//! assert_eq!(zone.free_one(block, large, PcpList::of(large, unmovable)), Freed::Open);
//! let with_the_system = zone.take_unreported(&(block..end), ReportGoal::Everything);
//! for frames in with_the_system.ranges() {
//!     assert_eq!(zone.put_reported(&frames, Reported::GivenBack), Freed::Open);
//! }
//! assert_eq!((with_the_system.rest(), zone.report().known_zero), (None, 7));
//!
//! // A cache asks the state word; nobody is served from a zone that is not admitted.
//! let word = zone.shared_state();
//! assert!(word.get().above_low(ZoneType::Normal, flags));
//! zone.set_admitted(|| false);
//! assert!(!zone.state().above_low(ZoneType::Normal, flags));
//! zone.set_admitted(|| true);
//!
//! // Once closed it says how many frames are out, and counts those that come back.
//! assert_eq!(zone.report().free, 4096 - 7);
//! assert_eq!(zone.close(), 7);
//! assert_eq!(zone.free_one(pfn.add(1), Order::ZERO, PcpList::UNMOVABLE), Freed::Closed(1));
//! # Ok::<(), gfp::sync::ZeroedSliceError>(())
//! ```

#![deny(unsafe_code)]

pub mod buddy;
#[cfg(not(loom))]
mod direct;
mod highatomic;
mod mirror;
#[cfg(not(loom))]
mod pressure;
mod range;
mod report;
mod reporting;
pub mod sizing;
mod state;
mod steady;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
pub mod watermark;
#[expect(clippy::module_inception, reason = "the folder is about zones, this file about the type")]
mod zone;

pub use buddy::{Content, FREED, Grouping, PAGEBLOCK_FRAMES};
pub use report::{ZoneEvents, ZoneReport, ZoneSpan};
pub use reporting::{REPORTING_CAPACITY, ReportGoal, Reported, Unreported};
pub use state::{FirstFor, SharedZoneState, ZoneState};
pub use zone::{Freed, Waiting, Zone};
