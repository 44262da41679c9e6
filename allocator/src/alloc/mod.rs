//! The way of a request and of a free, from the flags to the zone.
//!
//! [`Domain`] is everything that both need. The inline functions here are all that a hit in the caller's cache runs;
//! what follows a miss is in the modules below, out of line.
//!
//! ```
//! use core::{cell::Cell, num::NonZeroUsize};
//! use gfp::{Gfp, Nid, NodeMask, Order, error::{AllocError, FailReason}};
//! use gfp::alloc::{
//!     Asked, Domain, DomainOptions, NoPressure, NodeReclaim, Pressure, alloc_pages_nodemask, free_pages_ok, free_unref_page,
//!     get_page_from_freelist, prepare_alloc_pages, put_cached, take_cached,
//! };
//! use gfp::frame::AllocatorNumber;
//! use gfp::node::{DirtyLimit, Distances, NodeFrames, Target, ZonePlan, zone_spans};
//! use gfp::pcp::{Caches, Handover, sizing::HighFraction};
//! use gfp::zone::{Content, Waiting, watermark::WatermarkRule};
//!
//! // An allocator without a face, and without memory behind its frames: one node of 64 MiB.
//! let (node, frames) = (Nid::new(0), 1 << 14);
//! let plan = ZonePlan {
//!     nodes: vec![NodeFrames { node, frames }],
//!     dma_frames: 0,
//!     highmem_frames: 0,
//!     movable_frames: 0,
//!     online_frames: frames,
//! };
//! let domain = Domain::new(&DomainOptions {
//!     allocator: AllocatorNumber::new(1).expect("not 0"),
//!     spans: zone_spans(&plan).expect("nothing is set aside"),
//!     distances: Distances::collect(1, |_, _| 10),
//!     nodes_with_cpus: NodeMask::of(node),
//!     cpu_nodes: Box::new([]),
//!     max_order: Order::new(10),
//!     rule: WatermarkRule::AnySuitable,
//!     grouping: None,
//!     dirty_limit: DirtyLimit::default(),
//!     min_free_kbytes: None,
//!     watermark_scale_factor: 10,
//!     cpus: 1,
//!     high_fraction: HighFraction::AUTO,
//!     cache_slice_frames: 0,
//!     cma: Vec::new(),
//!     handover: Handover::Direct,
//! })?;
//! let owner = Caches::register(domain.caches(), NonZeroUsize::MIN, node)?;
//!
//! // The first request misses the cache and refills it; the next one hits.
//! let (gfp, order, waiting) = (Gfp::KERNEL, Order::ZERO, Waiting::Allowed);
//! assert!(take_cached(owner.enter(), gfp, order).is_none());
//! let (pressure, content) = (&NoPressure, &Cell::new(Content::Unknown));
//! let asked = Asked { domain: &domain, pressure, owner: Some(&owner), gfp, order, waiting, content };
//! let first = alloc_pages_nodemask(&asked, None, NodeMask::ALL)?;
//! let second = take_cached(owner.enter(), gfp, order).expect("refilled");
//!
//! // A free says what is left to be done, which is nothing mostly; past the cache it goes to its zone.
//! let left = put_cached(owner.enter(), second);
//! free_unref_page(&domain, &owner, second, left, waiting).expect("it was in use");
//! free_pages_ok(&domain, first, waiting).expect("it was in use");
//! assert!(free_pages_ok(&domain, first, waiting).is_err(), "it is free");
//!
//! // What a miss does, step by step: resolve the request, then ask the zones in order.
//! let context = prepare_alloc_pages(&domain, gfp, Order::new(4), &Target::node(node))?;
//! let mut error = AllocError::new(gfp, 4, FailReason::NoMemory);
//! let asked = Asked { owner: None, order: Order::new(4), ..asked };
//! let found = get_page_from_freelist(&asked, &context, context.alloc_flags, &mut error);
//! let (zone, block) = found.expect("nearly all is free");
//! assert_eq!((zone, block.order()), (context.preferred, Order::new(4)));
//! assert!(error.tried().next().is_none(), "no zone refused");
//!
//! // What it does if there is nothing, is up to the layers above; here there are none.
//! pressure.wakeup_kswapd(&domain, zone.number, gfp, context.order, context.highest_zone);
//! assert_eq!(pressure.node_reclaim(&domain, node, node, gfp, context.order), NodeReclaim::NoScan);
//! assert_eq!(pressure.alloc_pages_slowpath(&asked, &context, error), Err(error));
//! free_pages_ok(&domain, block, waiting).expect("it was in use");
//!
//! // Once a second; and at the end, when the last block has come back.
//! domain.age();
//! let (gone, is_gone) = std::sync::mpsc::channel();
//! domain.close(Box::new(move || gone.send(()).expect("somebody waits")));
//! assert!(is_gone.try_recv().is_ok());
//! assert_eq!(domain.zones()[0].report().free, domain.frames().len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod bulk;
mod busy;
mod cma;
mod direct;
mod dirty;
mod domain;
mod fast;
mod free;
mod freelist;
mod numa_stat;
mod prepare;
mod pressure;
mod ranges;
mod reclaiming;
mod tally;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) mod tests;

pub(crate) use bulk::{PutManyCached, TakeManyCached, alloc_pages_bulk};
pub(crate) use busy::{Busy, call_application};
pub(crate) use cma::CmaArea;
pub use cma::{CmaError, CmaProblem};
pub use domain::{Domain, DomainOptions};
pub use fast::{PutCached, TakeCached, put_cached, take_cached};
pub(crate) use free::{free_page, free_pages_cold};
pub use free::{free_pages_ok, free_unref_page};
pub use freelist::{Asked, alloc_pages_nodemask, get_page_from_freelist};
pub(crate) use freelist::{alloc_pages, alloc_pages_mpol};
pub(crate) use numa_stat::{NumaCounters, NumaEvents};
pub use prepare::{AllocContext, prepare_alloc_pages};
pub use pressure::{NoPressure, NodeReclaim, Pressure};
pub(crate) use ranges::{
    alloc_contig_range, free_contig_range, offline_pages, offline_ranges, online_pages, start_isolate,
    undo_isolate,
};
pub(crate) use reclaiming::Reclaimer;
pub(crate) use tally::PastCache;
