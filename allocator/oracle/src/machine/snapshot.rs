//! What the allocator says of its zones before and after a request.

use gfp::{
    Allocator,
    gfp::MigrateType,
    stats::{Pagetypeinfo, ZoneStat},
};

/// What the allocator said of its zones at one time.
pub(super) struct Snapshot {
    pub(super) zones: Vec<ZoneStat>,
    pub(super) types: Pagetypeinfo,
}

impl Snapshot {
    pub(super) fn of(allocator: &Allocator) -> Self {
        Self { zones: allocator.zone_stats(), types: allocator.pagetypeinfo() }
    }

    pub(super) fn zones(&self) -> &[ZoneStat] {
        &self.zones
    }

    /// Returns how many pageblocks of a zone are free, and in circulation, as a whole.
    pub(super) fn free_pageblocks(&self, zone: usize) -> u64 {
        let types = &self.types.zones[zone].types;
        let here = types.iter().filter(|stat| stat.migratetype != MigrateType::Isolate);
        let blocks = here.flat_map(|stat| (0_u32..).zip(&stat.nr_free[9..]));
        blocks.map(|(order, blocks)| blocks << order).sum()
    }
}
