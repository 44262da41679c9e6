//! A block past the caches and past the walk over the zones.

use super::{
    Zone,
    mirror::Special,
    watermark::{FreeSnapshot, WatermarkRule, wmark_pages, zone_watermark_ok},
    zone::Areas,
};
use crate::{
    frame::{Order, Pfn},
    gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType},
};

impl Zone {
    /// Takes a block from the free areas if more than the low mark stays: the test and the request with the lock held once. `flags` give no
    /// right to reserves. `None` also by the rule that counts the blocks of each order.
    pub(crate) fn rmqueue_above_low(
        &self,
        order: Order,
        highest: ZoneType,
        migratetype: MigrateType,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        if self.rule == WatermarkRule::HalvePerOrder {
            return None;
        }
        self.with_areas(|areas| {
            let fits = self.stays_above_low(areas, order, highest, flags);
            if fits { self.take_block(areas, order, migratetype, flags) } else { None }
        })
    }

    /// Tells whether more than the low mark stays without a block. Whether there is one is seen when it is taken.
    #[inline]
    fn stays_above_low(&self, areas: &Areas, order: Order, highest: ZoneType, flags: AllocFlags) -> bool {
        let left = areas.buddy.free_frames().saturating_sub(u64::from(order.frames() - 1));
        // So far from all marks the answer is still the one that was published.
        if areas.steady.holds(left, Special::of(&areas.buddy)) && self.state().above_low(highest, flags) {
            return true;
        }
        let snapshot = self.snapshot_of(&areas.buddy, &areas.lowmem_reserve);
        let mark = wmark_pages(&areas.marks, WmarkIndex::Low);
        zone_watermark_ok(self.rule, 0, mark, highest, flags, &FreeSnapshot { free: left, ..snapshot })
    }
}
