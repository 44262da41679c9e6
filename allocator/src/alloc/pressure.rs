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
///
/// ```
/// # use core::{cell::Cell, sync::atomic::{AtomicU32, Ordering}};
/// # use gfp::{AllocError, Gfp, Nid, NodeMask, Order, frame::{AllocatorNumber, Block, ZoneNumber}};
/// # use gfp::alloc::{AllocContext, Asked, Domain, DomainOptions, NoPressure, NodeReclaim, Pressure};
/// # use gfp::{alloc::alloc_pages_nodemask, gfp::ZoneType};
/// # use gfp::node::{DirtyLimit, Distances, NodeFrames, ZonePlan, ZoneRef, zone_spans};
/// # use gfp::pcp::{Handover, sizing::HighFraction};
/// # use gfp::zone::{Waiting, watermark::WatermarkRule};
/// /// Counts who turns to it, and has nothing to offer.
/// #[derive(Debug, Default)]
/// struct Counts([AtomicU32; 3]);
///
/// impl Pressure for Counts {
///     fn wakeup_kswapd(&self, _: &Domain, _: ZoneNumber, _: Gfp, _: Order, _: ZoneType) {
///         self.0[0].fetch_add(1, Ordering::Relaxed);
///     }
///     fn node_reclaim(&self, _: &Domain, _: Nid, _: Nid, _: Gfp, _: Order) -> NodeReclaim {
///         self.0[1].fetch_add(1, Ordering::Relaxed);
///         NodeReclaim::NoScan
///     }
///     fn alloc_pages_slowpath(
///         &self,
///         asked: &Asked<'_>,
///         context: &AllocContext<'_>,
///         error: AllocError,
///     ) -> Result<(ZoneRef, Block), AllocError> {
///         self.0[2].fetch_add(1, Ordering::Relaxed);
///         self.wakeup_kswapd(asked.domain, context.preferred.number, asked.gfp, asked.order, context.highest_zone);
///         NoPressure.alloc_pages_slowpath(asked, context, error)
///     }
/// }
///
/// # let (node, frames) = (Nid::new(0), 1 << 14);
/// # let plan = ZonePlan {
/// #     nodes: vec![NodeFrames { node, frames }],
/// #     dma_frames: 0,
/// #     highmem_frames: 0,
/// #     movable_frames: 0,
/// #     online_frames: frames,
/// # };
/// # let domain = Domain::new(&DomainOptions {
/// #     allocator: AllocatorNumber::new(1).expect("not 0"),
/// #     spans: zone_spans(&plan).expect("nothing is set aside"),
/// #     distances: Distances::collect(1, |_, _| 10),
/// #     nodes_with_cpus: NodeMask::of(node),
/// #     cpu_nodes: Box::new([]),
/// #     max_order: Order::new(10),
/// #     rule: WatermarkRule::AnySuitable,
/// #     grouping: None,
/// #     dirty_limit: DirtyLimit::default(),
/// #     min_free_kbytes: None,
/// #     watermark_scale_factor: 10,
/// #     cpus: 1,
/// #     high_fraction: HighFraction::AUTO,
/// #     cache_slice_frames: 0,
/// #     cma: Vec::new(),
/// #     handover: Handover::Direct,
/// # })?;
/// // A domain as in the example of [`alloc`](super), all of which is taken.
/// let pressure = &Counts::default();
/// let (gfp, order, waiting) = (Gfp::KERNEL, Order::new(10), Waiting::Allowed);
/// let content = &Cell::default();
/// let asked = Asked { domain: &domain, pressure, owner: None, gfp, order, waiting, content };
/// while alloc_pages_nodemask(&asked, None, NodeMask::ALL).is_ok() {}
/// assert_eq!(pressure.node_reclaim(&domain, node, node, gfp, order), NodeReclaim::NoScan);
/// assert_eq!(pressure.0.each_ref().map(|count| count.load(Ordering::Relaxed)), [1, 2, 1]);
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
pub trait Pressure: fmt::Debug + Sync {
    /// Lets the background thread of a zone's node know that a request finds too little there (`wakeup_kswapd`). Never waits.
    fn wakeup_kswapd(&self, domain: &Domain, zone: ZoneNumber, gfp: Gfp, order: Order, highest: ZoneType);

    /// Reclaims memory of a node before a request whose preferred node is `preferred` goes on to another zone
    /// (`zone_allows_reclaim`, `node_reclaim`).
    #[doc(alias = "zone_reclaim")]
    #[doc(alias = "zone_allows_reclaim")]
    fn node_reclaim(&self, domain: &Domain, node: Nid, preferred: Nid, gfp: Gfp, order: Order)
    -> NodeReclaim;

    /// Does all that the request permits after it found nothing at the low mark (`__alloc_pages_slowpath`).
    ///
    /// # Errors
    /// `error`, with the zones that refused last and why the request was given up.
    #[doc(alias = "__alloc_pages_slowpath")]
    fn alloc_pages_slowpath(
        &self,
        asked: &Asked<'_>,
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
        _: &Asked<'_>,
        _: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        Err(error)
    }
}
