//! What reclaim counts (`vm_event_item`).

use crate::{
    gfp::{NR_ZONE_TYPES, ZoneType},
    stats::VmStat,
    sync::SharedCounter,
};

/// The counts of an allocator, by the kernel's names.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) pgsteal_kswapd: SharedCounter,
    pub(super) pgsteal_direct: SharedCounter,
    pub(super) pgscan_kswapd: SharedCounter,
    pub(super) pgscan_direct: SharedCounter,
    pub(super) pgscan_direct_throttle: SharedCounter,
    pub(super) zone_reclaim_success: SharedCounter,
    pub(super) zone_reclaim_failed: SharedCounter,
    pub(super) kswapd_low_wmark_hit_quickly: SharedCounter,
    pub(super) kswapd_high_wmark_hit_quickly: SharedCounter,
    pub(super) pageoutrun: SharedCounter,
    allocstall: [SharedCounter; NR_ZONE_TYPES],
}

impl Events {
    /// Counts a request that must reclaim by itself.
    pub(super) fn count_allocstall(&self, highest: ZoneType) {
        self.allocstall[highest.index()].add(1);
    }

    /// Writes the counts into the allocator's.
    pub(super) fn fill(&self, vmstat: &mut VmStat) {
        vmstat.pgsteal_kswapd = self.pgsteal_kswapd.get();
        vmstat.pgsteal_direct = self.pgsteal_direct.get();
        vmstat.pgscan_kswapd = self.pgscan_kswapd.get();
        vmstat.pgscan_direct = self.pgscan_direct.get();
        vmstat.pgscan_direct_throttle = self.pgscan_direct_throttle.get();
        vmstat.zone_reclaim_success = self.zone_reclaim_success.get();
        vmstat.zone_reclaim_failed = self.zone_reclaim_failed.get();
        vmstat.kswapd_low_wmark_hit_quickly = self.kswapd_low_wmark_hit_quickly.get();
        vmstat.kswapd_high_wmark_hit_quickly = self.kswapd_high_wmark_hit_quickly.get();
        vmstat.pageoutrun = self.pageoutrun.get();
        vmstat.allocstall = core::array::from_fn(|kind| self.allocstall[kind].get());
    }
}
