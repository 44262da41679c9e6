//! What reclaim and a zone tell each other.

use super::{
    Zone,
    steady::Steady,
    watermark::{FreeSnapshot, unusable, wmark_pages, zone_watermark_ok},
};
use crate::{
    frame::Order,
    gfp::{AllocFlags, WmarkIndex, ZoneType},
};

impl Zone {
    /// Says whether the background thread reclaims memory of the zone now (`ZONE_RECLAIM_ACTIVE`): caches hold less meanwhile.
    pub(crate) fn set_reclaim_active(&self, now: bool) {
        self.with_areas(|areas| {
            areas.reclaim_active = now;
            areas.steady = Steady::default();
        });
    }

    /// Tells, once, whether the background thread is to be woken because the marks were boosted (`ZONE_BOOSTED_WATERMARK`).
    pub(crate) fn take_boosted(&self) -> bool {
        self.mirror.take_boosted()
    }

    /// Returns how often a free, or a change of the marks, has lifted the zone above its high mark.
    pub(crate) fn rises(&self) -> u64 {
        self.mirror.rises()
    }

    /// Tells whether the zone would pass a mark of so many frames if `more` were free than are (`__zone_watermark_ok` with frames that
    /// may be had). Takes the lock.
    #[cfg(not(loom))]
    pub(crate) fn would_pass(
        &self,
        order: Order,
        mark: u64,
        highest: ZoneType,
        flags: AllocFlags,
        more: u64,
    ) -> bool {
        self.with_areas(|areas| {
            let now = self.snapshot_of(&areas.buddy, &areas.lowmem_reserve);
            let then = FreeSnapshot { free: now.free.saturating_add(more), ..now };
            zone_watermark_ok(self.rule, order.get(), mark, highest, flags, &then)
        })
    }

    /// Returns how many frames must be freed before a request for one frame passes a mark without any reserve.
    pub(crate) fn missing(&self, mark: WmarkIndex, highest: ZoneType) -> u64 {
        let available = self.mirror.available();
        let snapshot = self.mirror.snapshot(self.max_order, &available);
        let kept = snapshot.lowmem_reserve[highest.index()];
        let enough = wmark_pages(&self.watermarks(), mark) + kept + 1;
        (enough + unusable(self.rule, AllocFlags::empty(), &snapshot)).saturating_sub(snapshot.free)
    }
}
