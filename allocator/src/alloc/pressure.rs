//! What the layers above do for a request when memory is short.

use core::fmt;

use super::{AllocContext, Asked, Domain};
use crate::{
    error::AllocError,
    frame::{Block, Nid, Order, ZoneNumber},
    gfp::{Gfp, ZoneType},
    node::ZoneRef,
};

/// What came of an attempt to reclaim memory of one node before a request goes to another (`node_reclaim`).
///
/// The numbers are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum NodeReclaim {
    /// Nothing was tried: the request may not wait, somebody else is at it, or the node is not the caller's.
    NoScan = -2,
    /// There is too little to be reclaimed.
    Full = -1,
    /// Something was reclaimed, but less than was asked for.
    Some = 0,
    /// Enough was reclaimed.
    Success = 1,
}

/// Where a request turns to when memory is short: the one way from here to the layers above.
///
/// It is passed by reference with the request and called off the way of a hit only.
pub trait Pressure: fmt::Debug + Sync {
    /// Lets the background thread of a zone's node know that a request finds too little there (`wakeup_kswapd`). Never waits.
    fn wakeup_kswapd(&self, domain: &Domain, zone: ZoneNumber, gfp: Gfp, order: Order, highest: ZoneType);

    /// Reclaims memory of a node before a request whose preferred node is `preferred` goes on to another zone
    /// (`zone_allows_reclaim`, `node_reclaim`).
    fn node_reclaim(&self, domain: &Domain, node: Nid, preferred: Nid, gfp: Gfp, order: Order)
    -> NodeReclaim;

    /// Does all that the request permits after it found nothing at the low mark (`__alloc_pages_slowpath`).
    ///
    /// # Errors
    /// `error`, with the zones that refused last and why the request was given up.
    fn alloc_pages_slowpath(
        &self,
        asked: Asked<'_>,
        context: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError>;
}

/// Nobody to turn to: a request that finds nothing at the low mark fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPressure;

impl Pressure for NoPressure {
    fn wakeup_kswapd(&self, _: &Domain, _: ZoneNumber, _: Gfp, _: Order, _: ZoneType) {}

    fn node_reclaim(&self, _: &Domain, _: Nid, _: Nid, _: Gfp, _: Order) -> NodeReclaim {
        NodeReclaim::NoScan
    }

    fn alloc_pages_slowpath(
        &self,
        _: Asked<'_>,
        _: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        Err(error)
    }
}
