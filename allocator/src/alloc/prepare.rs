//! What a request means to this allocator.

use super::Domain;
use crate::{
    error::{AllocError, FailReason},
    frame::{Order, PcpList},
    gfp::{AllocFlags, Gfp, MigrateType, ZoneType, check_request, gfp_migratetype, gfp_zone},
    node::{NodeMask, Reach, Target, ZoneRef, Zonelist},
};

/// A request, resolved (`struct alloc_context`).
#[derive(Clone, Copy, Debug)]
#[doc(alias = "alloc_context")]
pub struct AllocContext<'a> {
    /// The mask, narrowed by the process's allowed mask and the thread's scopes.
    pub gfp: Gfp,
    /// The order.
    pub order: Order,
    /// The highest zone that may serve it, whether it has memory or not.
    #[doc(alias = "high_zoneidx")]
    #[doc(alias = "ac_classzone_idx")]
    pub highest_zone: ZoneType,
    /// The order in which zones are tried.
    pub zonelist: &'a Zonelist,
    /// The nodes that may serve it.
    pub nodemask: NodeMask,
    /// The nodes that were allowed when it began (`mems_allowed`).
    pub mems_allowed: NodeMask,
    /// The free lists that it is served from first.
    pub migratetype: MigrateType,
    /// The list of a cache that has its kind of blocks; by the type that it asked for, also where grouping is disabled.
    pub list: PcpList,
    /// The zone that is tried first (`preferred_zoneref`).
    #[doc(alias = "preferred_zoneref")]
    pub preferred: ZoneRef,
    /// Whether nodes that are over their limit of dirty pages are passed over; only in the first attempt.
    pub spread_dirty_pages: bool,
    /// How the first attempt goes about it.
    pub alloc_flags: AllocFlags,
}

/// Resolves a request (`prepare_alloc_pages`).
///
/// # Errors
/// A request that means nothing, or that no zone may serve.
pub fn prepare_alloc_pages<'a>(
    domain: &'a Domain,
    gfp: Gfp,
    order: Order,
    target: &Target,
) -> Result<AllocContext<'a>, AllocError> {
    let refuse = |reason| AllocError::new(gfp, order.get(), reason);
    check_request(gfp, order.get(), domain.max_order().get()).map_err(|bad| refuse(bad.into()))?;
    let highest_zone = gfp_zone(gfp).map_err(|_| refuse(FailReason::NoZone))?;
    let asked = gfp_migratetype(gfp).map_err(|_| refuse(FailReason::NoZone))?;
    let migratetype = domain.migratetype_of(asked);
    let zonelist = domain.zonelists().node_zonelist(target.node, reach(gfp));
    let nodemask = target.allowed;
    let Some(preferred) = zonelist.zones(highest_zone, nodemask).next() else {
        return Err(refuse(FailReason::NoZone));
    };
    let alloc_flags = first_flags(gfp, zonelist, preferred.kind);
    let list = PcpList::of(order, asked);
    Ok(AllocContext {
        gfp,
        order,
        highest_zone,
        zonelist,
        nodemask,
        mems_allowed: domain.cpuset().allowed(),
        migratetype,
        list,
        preferred,
        spread_dirty_pages: gfp.contains(Gfp::WRITE),
        alloc_flags,
    })
}

/// Returns how far a request may go.
pub(super) fn reach(gfp: Gfp) -> Reach {
    if gfp.contains(Gfp::THISNODE) { Reach::ThisNode } else { Reach::AllNodes }
}

/// Returns how the first attempt of a request goes about it that tries a zone of this type first.
pub(super) fn first_flags(gfp: Gfp, zonelist: &Zonelist, preferred: ZoneType) -> AllocFlags {
    // Without CPUSET the allowed nodes would be obeyed by the slow path only.
    AllocFlags::fast_path(gfp) | AllocFlags::CPUSET | alloc_flags_nofragment(zonelist, preferred)
}

/// Returns NOFRAGMENT if there is a lower zone that may serve the request before its types are mixed
/// (`alloc_flags_nofragment`).
fn alloc_flags_nofragment(zonelist: &Zonelist, preferred: ZoneType) -> AllocFlags {
    if preferred == ZoneType::Normal && zonelist.is_populated(ZoneType::Dma32) {
        AllocFlags::NOFRAGMENT
    } else {
        AllocFlags::empty()
    }
}
