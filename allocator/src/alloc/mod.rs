//! The way of a request and of a free, from the flags to the zone.
//!
//! [`Domain`] is everything that both need. The inline functions here are all that a hit in the caller's cache runs;
//! what follows a miss is in the modules below, out of line.

#![deny(unsafe_code)]

mod bulk;
mod busy;
mod cma;
mod domain;
mod fast;
mod free;
mod freelist;
mod numa_stat;
mod prepare;
mod ranges;

pub use bulk::{alloc_pages_bulk, put_cached_bulk};
pub use busy::Busy;
pub use cma::{CmaArea, CmaError, CmaProblem};
pub use domain::{Domain, DomainOptions};
pub use fast::{PutCached, TakeCached, put_cached, take_cached};
pub use free::{free_one_page, free_page, free_pages_cold, free_pages_ok, free_unref_page};
pub use freelist::{
    Asked, alloc_pages, alloc_pages_mpol, alloc_pages_node, alloc_pages_nodemask, get_page_from_freelist,
    rmqueue,
};
pub use numa_stat::{NumaCounters, NumaEvents};
pub use prepare::{AllocContext, prepare_alloc_pages};
pub use ranges::{
    alloc_contig_range, free_contig_range, offline_pages, offline_ranges, online_pages, start_isolate,
    undo_isolate,
};
