//! The highatomic reserve: pageblocks that are set aside for high-order requests that cannot wait.
//!
//! Where such a request was served, memory is in pieces and the next one may fail: its pageblock becomes a reserve, up to a
//! hundredth of the zone. When memory is short all the same, the reserve goes again, pageblock by pageblock.

use super::{PAGEBLOCK_FRAMES, Waiting, Zone};
use crate::{
    frame::{Order, Pfn},
    gfp::MigrateType,
    sync::{SeededBug, seeded},
};

/// Returns how many frames of a zone may be set aside: a hundredth of it, rounded up to whole pageblocks; none where that is
/// less than a pageblock (6.8).
pub(super) const fn highatomic_cap(managed: u64) -> u64 {
    let share = managed / 100;
    let pageblock = PAGEBLOCK_FRAMES as u64;
    if share < pageblock { 0 } else { share.next_multiple_of(pageblock) }
}

/// The reserve of a zone:
///
/// ```
/// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, ZoneNumber}};
/// # use gfp::gfp::{AllocFlags, MigrateType, ZoneType};
/// # use gfp::zone::{FirstFor, Grouping, Waiting, Zone, ZoneSpan, watermark::WatermarkRule};
/// # let end = Pfn::new(51_200);
/// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
/// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
/// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), end.index())?;
/// # let first_for = FirstFor::collect(|highest| highest >= kind);
/// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
/// # let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
/// // 200 MiB: a hundredth of it is one pageblock.
/// let (order, unmovable) = (Order::new(3), MigrateType::Unmovable);
/// let pfn = zone.rmqueue_buddy(order, unmovable, AllocFlags::HIGHATOMIC).expect("all is free");
/// zone.reserve_highatomic_pageblock(pfn, order, Waiting::Allowed);
/// assert_eq!((zone.reserved_highatomic(), zone.report().free_highatomic), (512, 512 - 8));
///
/// // The next one comes from there, and others do not get it.
/// let next = zone.rmqueue_buddy(order, unmovable, AllocFlags::HIGHATOMIC).expect("much is left");
/// assert_eq!(zone.pageblock_type(next), MigrateType::HighAtomic);
/// let other = zone.rmqueue_buddy(order, unmovable, AllocFlags::empty()).expect("much is free");
/// assert_ne!(zone.pageblock_type(other), MigrateType::HighAtomic);
///
/// // The last pageblock goes only if it must.
/// assert!(!zone.unreserve_highatomic_pageblock(unmovable, false));
/// assert!(zone.unreserve_highatomic_pageblock(unmovable, true));
/// assert_eq!((zone.reserved_highatomic(), zone.pageblock_type(pfn)), (0, unmovable));
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
impl Zone {
    /// Returns the frames of the pageblocks that are set aside, in use or not; exact as of the last change.
    #[doc(alias = "nr_reserved_highatomic")]
    pub fn reserved_highatomic(&self) -> u64 {
        self.mirror.reserved_highatomic()
    }

    /// Sets aside the pageblock of a block that a high-order request which cannot wait was served with, and which it has not got
    /// yet (`reserve_highatomic_pageblock`).
    ///
    /// Nothing happens when the reserve would exceed a hundredth of the zone, rounded up to whole pageblocks, or in a zone of
    /// which a hundredth is less than one; nor to pageblocks that are kept apart already. The kernel lets the last block exceed
    /// it; its largest are two pageblocks, ours may be a GiB.
    pub fn reserve_highatomic_pageblock(&self, pfn: Pfn, order: Order, waiting: Waiting) {
        let frames = u64::from(order.max(Order::PAGEBLOCK).frames());
        let has_room = |reserved: u64| reserved + frames <= highatomic_cap(self.managed());
        if !has_room(self.reserved_highatomic()) {
            return;
        }
        let Some(areas) = self.acquire(waiting) else { return };
        self.locked(areas, |areas, _| {
            // Others may have set some aside since.
            if has_room(areas.buddy.reserved_highatomic()) || seeded(SeededBug::HighatomicCapAskedOnce) {
                areas.buddy.reserve_highatomic(pfn, order);
            }
        });
    }

    /// Gives up a pageblock that is set aside and of which something is free, to requests of a type
    /// (`unreserve_highatomic_pageblock`); tells whether there was one. The last one stays unless `force` is set.
    pub fn unreserve_highatomic_pageblock(&self, migratetype: MigrateType, force: bool) -> bool {
        let may_go = |reserved: u64| reserved > if force { 0 } else { u64::from(PAGEBLOCK_FRAMES) };
        if !may_go(self.reserved_highatomic()) {
            return false;
        }
        self.with_areas(|areas| {
            let may_go =
                may_go(areas.buddy.reserved_highatomic()) || seeded(SeededBug::HighatomicLeastAskedOnce);
            may_go && areas.buddy.unreserve_highatomic(migratetype)
        })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_cap_is_a_hundredth_in_whole_pageblocks() {
        // 64 GiB: 328 pageblocks.
        assert_eq!(highatomic_cap(16_777_216), 167_936);
        assert_eq!((highatomic_cap(51_199), highatomic_cap(51_200), highatomic_cap(51_300)), (0, 512, 1024));
    }
}
