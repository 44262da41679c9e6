//! What there is of memory, collected for whoever is told that a request failed.

use super::Reclaim;
use crate::{
    alloc::Domain,
    gfp::MigrateType,
    stats::{FreeBlocks, MemInfo, MemInfoNode, MemInfoZone},
    zone::{PAGEBLOCK_FRAMES, Waiting, Zone, ZoneReport},
};

impl Reclaim {
    /// Collects what there is (`show_mem`); waits for the threads' caches only if the caller may.
    pub(crate) fn mem_info(&self, domain: &Domain, waiting: Waiting) -> MemInfo {
        let cached = match waiting {
            Waiting::Allowed => {
                domain.caches().totals().into_iter().map(|zone| Some(zone.cached_frames)).collect()
            }
            Waiting::Never => vec![None; domain.zones().len()],
        };
        let mut nodes: Vec<MemInfoNode> = Vec::new();
        for zone in domain.zones() {
            let (nid, node) = (zone.span().node, u32::from(u16::from(zone.span().node)));
            if nodes.last().is_none_or(|last| last.node != node) {
                nodes.push(MemInfoNode { node, reclaimable: self.reclaimable_pages(nid) });
            }
        }
        let zones = domain.zones().iter().map(Zone::report).zip(cached);
        MemInfo { nodes, zones: zones.map(|(report, free_pcp)| zone_info(&report, free_pcp)).collect() }
    }
}

fn zone_info(report: &ZoneReport, free_pcp: Option<u64>) -> MemInfoZone {
    let highatomic = report.pageblocks[MigrateType::HighAtomic.index()];
    let free_of = |order: usize| {
        let kinds = MigrateType::ALL.into_iter().zip(&report.nr_free);
        let here = kinds.filter(|(_, counts)| counts[order] > 0);
        here.fold(FreeBlocks::default(), |mut all, (kind, counts)| {
            all.blocks += u64::from(counts[order]);
            all.types.push(kind);
            all
        })
    };
    MemInfoZone {
        node: u32::from(u16::from(report.span.node)),
        zone: report.span.kind,
        free: report.free,
        marks: report.marks,
        reserved_highatomic: u64::from(highatomic) * u64::from(PAGEBLOCK_FRAMES),
        free_highatomic: report.free_highatomic,
        spanned: report.span.frames(),
        managed: report.managed,
        free_pcp,
        free_cma: report.free_cma,
        cma: report.cma_pages,
        lowmem_reserve: report.lowmem_reserve,
        orders: (0..report.nr_free[0].len()).map(free_of).collect(),
    }
}
