//! What reclaim counts (`vm_event_item`).

use crate::{
    gfp::{NR_ZONE_TYPES, ZoneType},
    stats::VmStat,
    sync::atomic::{AtomicU64, Ordering},
};

/// A count that any thread adds to, off the way of a hit.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads it.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of an allocator, by the kernel's names.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) pgsteal_kswapd: Count,
    pub(super) pgsteal_direct: Count,
    pub(super) pgscan_kswapd: Count,
    pub(super) pgscan_direct: Count,
    pub(super) pgscan_direct_throttle: Count,
    pub(super) zone_reclaim_success: Count,
    pub(super) zone_reclaim_failed: Count,
    pub(super) kswapd_low_wmark_hit_quickly: Count,
    pub(super) kswapd_high_wmark_hit_quickly: Count,
    pub(super) pageoutrun: Count,
    allocstall: [Count; NR_ZONE_TYPES],
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
