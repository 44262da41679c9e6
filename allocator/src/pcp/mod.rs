//! The thread's cache of free blocks ("per-CPU pages").
//!
//! [`ThreadCache`] is what one thread has: stacks of blocks by zone, order and migrate type, reached without a lock
//! through the handshake of [`sync::Owner`](crate::sync::Owner). [`Caches`] is all of them: it makes them, gives each its
//! share of the zones, refills and drains them, and empties them when their threads end.

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
