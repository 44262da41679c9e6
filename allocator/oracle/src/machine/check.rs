//! Everything that the allocator says of itself.

use gfp::{
    DebugCounts, DebugModes,
    gfp::MigrateType,
    slowpath::Step,
    stats::{NumaStat, ZoneStat},
};

use super::Machine;
use crate::{call::mask, model::ALL_NODES};

fn frames(nr_free: &[u64]) -> u64 {
    (0..).zip(nr_free).map(|(order, blocks): (u32, _)| blocks << order).sum()
}

impl Machine {
    /// Compares what the allocator says of all frames with what the caller knows, and its statistics with each other.
    pub(crate) fn check(&self) {
        let conservation = self.allocator.conservation();
        assert!(conservation.holds(), "{conservation}");
        for (zone, said) in self.model.zones.iter().zip(&conservation.zones) {
            let (held, idle, offline) = self.model.census(zone);
            let managed = zone.span.len() as u64 - offline;
            assert_eq!(
                (said.allocated, said.isolated, said.managed),
                (held, idle, managed),
                "{conservation}"
            );
        }
        assert_eq!(conservation.allocated(), self.model.held(), "{conservation}");
        assert_eq!(self.allocator.bad_pages(), 0);
        assert_eq!(self.allocator.debug_counts(), DebugCounts::default());
        assert_eq!(self.allocator.mems_allowed().and(mask(ALL_NODES)), mask(self.model.mems_allowed));
        self.check_statistics();
        self.check_bags();
        self.check_dirty();
        self.check_owners();
    }

    fn check_statistics(&self) {
        let stats = self.allocator.zone_stats();
        let sum = |of: fn(&ZoneStat) -> u64| stats.iter().map(of).sum::<u64>();
        let vmstat = self.allocator.vmstat();
        assert_eq!(vmstat.nr_free_pages, sum(|stat| stat.free));
        assert_eq!(vmstat.nr_free_cma, sum(|stat| stat.free_cma));
        assert_eq!(vmstat.nr_free_pages_blocks, sum(|stat| stat.free_in_blocks));
        let served: u64 = vmstat.pgalloc.iter().sum();
        assert_eq!(served - vmstat.pgfree, self.model.held(), "{vmstat}");
        let NumaStat { hit, miss, foreign, interleave, local, other } = vmstat.numa;
        assert_eq!((hit + miss, local + other), (served, served), "{vmstat}");
        assert!(miss == foreign && interleave <= hit, "{vmstat}");

        let reclaims = self.allocator.slowpath_report().steps.of(Step::DirectReclaim);
        assert_eq!(vmstat.allocstall.iter().sum::<u64>(), reclaims);

        let conservation = self.allocator.conservation();
        let (buddyinfo, types) = (self.allocator.buddyinfo(), self.allocator.pagetypeinfo());
        for (zone, stat) in stats.iter().enumerate() {
            let said = &conservation.zones[zone];
            let cached: u64 = stat.pagesets.iter().map(|pageset| u64::from(pageset.count)).sum();
            assert_eq!((stat.free, cached, stat.managed), (said.free, said.cached, said.managed));
            let of_type = |kind| types.zones[zone].types.iter().filter(move |stat| stat.migratetype == kind);
            let free_of = |kind| of_type(kind).map(|stat| frames(&stat.nr_free)).sum::<u64>();
            assert_eq!(free_of(MigrateType::Cma), stat.free_cma);
            let free: u64 = MigrateType::ALL.into_iter().map(free_of).sum();
            let isolated = free_of(MigrateType::Isolate);
            assert_eq!((free - isolated, isolated), (stat.free, said.isolated), "zone {zone}");
            let in_circulation = types.zones[zone].types.iter();
            let in_circulation = in_circulation.filter(|stat| stat.migratetype != MigrateType::Isolate);
            let in_blocks: u64 =
                in_circulation.map(|stat| frames(&stat.nr_free) - frames(&stat.nr_free[..9])).sum();
            assert_eq!(stat.free_in_blocks, in_blocks, "zone {zone}");
            assert_eq!(frames(&buddyinfo.zones[zone].nr_free), free);
        }
    }

    /// Compares the record of owners with the blocks that the caller has.
    fn check_owners(&self) {
        let Some(report) = self.allocator.page_owner() else { return };
        assert!(self.allocator.debug_modes().contains(DebugModes::PAGE_OWNER));
        let frames: u64 = report.blocks().iter().map(|block| u64::from(block.order.frames())).sum();
        assert_eq!(frames, self.model.held());
        let recorded = |pfn| report.blocks().iter().any(|block| block.pfn == pfn);
        assert!(self.pages.iter().chain(self.kept.values()).all(|pages| recorded(pages.pfn())));
        assert!(self.shared.iter().all(|pages| recorded(pages.pfn())));
    }
}
