//! The thread's cache of free blocks ("per-CPU pages").
//!
//! [`ThreadCache`] is what one thread has: stacks of blocks by zone, order and migrate type, reached without a lock
//! through the handshake of [`sync::Owner`](crate::sync::Owner). [`Caches`] is all of them: it makes them, gives each its
//! share of the zones, refills and drains them, and empties them when their threads end.
//!
//! ```
//! use core::num::NonZeroUsize;
//! use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber}};
//! use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
//! use gfp::pcp::{Caches, Handover, Put, Refill, local, sizing::HighFraction};
//! use gfp::sync::Arc;
//! use gfp::zone::{FirstFor, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
//!
//! // One zone of 256 MiB, and the caches of an allocator that has no other.
//! let end = Pfn::new(1 << 16);
//! let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
//! let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
//! let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), end.index())?;
//! let first_for = FirstFor::collect(|highest| highest >= kind);
//! let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
//! let zone = Zone::new(span, Order::new(10), rule, frames.clone(), first_for, grouping)?;
//! zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
//! let (hot_zones, fraction) = ([number].into(), HighFraction::AUTO);
//! let caches = Caches::new(Arc::from([zone]), frames, hot_zones, 1, fraction, 0, Handover::Direct);
//! let caches = Arc::new(caches);
//! assert!(caches.is_empty());
//! assert_eq!((caches.hot_zone(node), caches.zones().len()), (number, 1));
//!
//! // The thread's first request makes its cache. A miss refills a list, and hands out the first block.
//! let key = NonZeroUsize::MIN;
//! let owner = Caches::register(&caches, key, node)?;
//! let flags = AllocFlags::from_wmark(WmarkIndex::Low);
//! let refill = Refill { list: PcpList::UNMOVABLE, migratetype: MigrateType::Unmovable, flags };
//! let first = caches.rmqueue_pcplist(&owner, number, refill).expect("all is free");
//! let cached = caches.totals()[0].cached_frames;
//! assert!(cached > 0 && caches.len() == 1);
//!
//! // A hit pops, and a free pushes, with no lock between them.
//! let mut cache = owner.enter().expect("nobody drains it");
//! let hit = cache.take(ZoneType::Normal, flags, PcpList::UNMOVABLE, Order::ZERO).expect("refilled");
//! assert_eq!(cache.put(hit), Put::Cached);
//! drop(cache);
//!
//! // What a free leaves to be done is out of line, as is what goes to the zone while nothing of it may be cached.
//! assert_eq!(caches.put_slow(&owner, first, Put::NoRoom), Ok(()));
//! assert!(!caches.take_back(&owner, first), "it may stay");
//!
//! // Others look into all caches, and empty them.
//! caches.for_each(|index, cache| assert_eq!((index, cache.node()), (0, node)));
//! assert_eq!((caches.refit().frames, caches.age().frames), (0, 0), "nothing is too much, or old");
//! assert_eq!(caches.drain_all().frames, cached + 1);
//! assert_eq!((caches.zones()[0].nr_free_pages(), caches.skipped()), (1 << 16, 0));
//!
//! // A closed allocator waits for its last block: `settle` counts those that come back from closed zones.
//! let out = caches.rmqueue_pcplist(&owner, number, refill).expect("all is free");
//! let (gone, is_gone) = std::sync::mpsc::channel();
//! Arc::clone(&caches).close(Box::new(move || gone.send(()).expect("somebody waits")));
//! assert!(is_gone.try_recv().is_err());
//! caches.settle(u64::from(out.order().frames()));
//! assert!(is_gone.try_recv().is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod cache;
mod caches;
mod ledger;
pub mod local;
mod refill;
pub mod sizing;
mod zone_pcp;

pub use cache::{End, Handover, Put, ThreadCache};
pub use caches::{CachedTotals, Caches, Drained, NoCache};
pub use ledger::{Ledger, OnLast};
pub use refill::Refill;
pub use zone_pcp::ZonePcp;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
