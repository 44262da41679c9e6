//! What an allocator says of its state.

use core::fmt;

use super::Allocator;
use crate::{
    alloc::{Busy, NumaEvents},
    frame::Order,
    gfp::ZoneType,
    pcp::CachedTotals,
    stats::{Buddyinfo, NumaStat, PagesetStat, VmStat, ZoneStat, Zoneinfo},
    zone::ZoneReport,
};

/// Where the frames of one zone are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConservationZone {
    /// The zone.
    pub kind: ZoneType,
    /// Frames in the free areas.
    pub free: u64,
    /// Frames in caches.
    pub cached: u64,
    /// Frames that somebody owns, or that wait in a pending map.
    pub allocated: u64,
    /// Frames of the zone.
    pub managed: u64,
}

/// Where all frames are: free + cached + allocated = managed, in every zone.
///
/// Exact when no other thread allocates or frees meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conservation {
    /// Each zone.
    pub zones: Vec<ConservationZone>,
}

impl Conservation {
    /// Tells whether every frame is accounted for once.
    pub fn holds(&self) -> bool {
        self.zones.iter().all(|zone| zone.free + zone.cached + zone.allocated == zone.managed)
    }

    /// Returns the frames that somebody owns.
    pub fn allocated(&self) -> u64 {
        self.zones.iter().map(|zone| zone.allocated).sum()
    }

    /// Returns the frames in caches.
    pub fn cached(&self) -> u64 {
        self.zones.iter().map(|zone| zone.cached).sum()
    }

    /// Returns the frames in the free areas.
    pub fn free(&self) -> u64 {
        self.zones.iter().map(|zone| zone.free).sum()
    }
}

impl fmt::Display for Conservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in &self.zones {
            let ConservationZone { kind, free, cached, allocated, managed } = zone;
            writeln!(f, "{kind}: {free} free + {cached} cached + {allocated} allocated of {managed}")?;
        }
        Ok(())
    }
}

/// A text in one of the kernel's formats.
struct Text<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Text<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

impl Allocator {
    /// Checks that every frame is free, cached or allocated, and only one of them.
    pub fn conservation(&self) -> Conservation {
        let _busy = Busy::enter();
        let caches = self.core().domain.caches().totals();
        let zones = self.core().domain.zones().iter().zip(caches).map(|(zone, cached)| {
            let report = zone.report();
            let (allocated, freed) = traffic(&report, &cached);
            ConservationZone {
                kind: report.span.kind,
                free: report.free,
                cached: cached.cached_frames,
                allocated: allocated.wrapping_sub(freed),
                managed: report.span.frames(),
            }
        });
        Conservation { zones: zones.collect() }
    }

    /// Returns the state of every zone, for programs.
    pub fn zone_stats(&self) -> Vec<ZoneStat> {
        let _busy = Busy::enter();
        let domain = &self.core().domain;
        let mut stats: Vec<_> = self.zone_traffic().into_iter().map(|(stat, _, _)| stat).collect();
        domain.caches().for_each(|thread, cache| {
            for (stat, pcp) in stats.iter_mut().zip(cache.zones()) {
                let tuning = pcp.tuning();
                stat.pagesets.push(PagesetStat {
                    thread: u32::try_from(thread).unwrap_or(u32::MAX),
                    count: pcp.count(),
                    high: tuning.high,
                    batch: tuning.batch,
                    high_min: tuning.high_min,
                    high_max: tuning.high_max,
                    stat_threshold: 0,
                });
            }
        });
        stats
    }

    /// Returns the counters of the whole allocator; shown as `/proc/vmstat` does.
    pub fn vmstat(&self) -> VmStat {
        let _busy = Busy::enter();
        let mut vmstat = VmStat::default();
        for (stat, allocated, freed) in self.zone_traffic() {
            vmstat.add_zone(&stat);
            vmstat.pgalloc[stat.zone.index()] += allocated;
            vmstat.pgfree += freed;
        }
        vmstat
    }

    /// Returns what each zone says of itself but for its caches, and the frames that were allocated and freed there.
    fn zone_traffic(&self) -> Vec<(ZoneStat, u64, u64)> {
        let domain = &self.core().domain;
        let zones = domain.zones().iter().zip(domain.caches().totals()).map(|(zone, cached)| {
            let report = zone.report();
            let (allocated, freed) = traffic(&report, &cached);
            let numa = numa_stat(allocated, domain.numa().of(report.span.number));
            (ZoneStat { numa, ..zone_stat(&report) }, allocated, freed)
        });
        zones.collect()
    }

    /// Shows the free blocks of each zone by order, as `/proc/buddyinfo` does.
    pub fn buddyinfo(&self) -> impl fmt::Display + use<> {
        let stats = self.zone_stats();
        Text(move |f| fmt::Display::fmt(&Buddyinfo(&stats), f))
    }

    /// Shows the state of each zone, as `/proc/zoneinfo` does.
    pub fn zoneinfo(&self) -> impl fmt::Display + use<> {
        let stats = self.zone_stats();
        Text(move |f| fmt::Display::fmt(&Zoneinfo(&stats), f))
    }

    /// Returns how many blocks came back that were free already: refused frees, and blocks that a cache gave up twice; and how many
    /// are never freed, because they got more references than can be counted.
    pub fn bad_pages(&self) -> u64 {
        let _busy = Busy::enter();
        let core = self.core();
        let in_zones: u64 = core.domain.zones().iter().map(|zone| zone.report().events.bad_pages).sum();
        core.misuses() + in_zones
    }
}

/// Returns the frames that a zone handed out and took back so far, through caches and past them.
fn traffic(report: &ZoneReport, cached: &CachedTotals) -> (u64, u64) {
    (
        report.events.allocated_frames + cached.allocated_frames,
        report.events.freed_frames + cached.freed_frames,
    )
}

/// What was not an exception was served where it was wanted. In frames; the kernel counts calls.
const fn numa_stat(allocated: u64, events: NumaEvents) -> NumaStat {
    NumaStat {
        hit: allocated.saturating_sub(events.miss),
        miss: events.miss,
        foreign: events.foreign,
        interleave: events.interleave_hit,
        local: allocated.saturating_sub(events.other),
        other: events.other,
    }
}

fn zone_stat(report: &ZoneReport) -> ZoneStat {
    let orders = report.nr_free[0].len();
    let nr_free: Vec<u64> =
        (0..orders).map(|order| report.nr_free.iter().map(|counts| u64::from(counts[order])).sum()).collect();
    let free_in_blocks = nr_free
        .iter()
        .enumerate()
        .skip(Order::PAGEBLOCK.index())
        .map(|(order, &blocks)| blocks << order)
        .sum();
    ZoneStat {
        node: u32::from(u16::from(report.span.node)),
        zone: report.span.kind,
        nr_free,
        free: report.free,
        free_in_blocks,
        free_cma: report.free_cma,
        marks: report.marks,
        spanned: report.span.frames(),
        present: report.span.frames(),
        managed: report.span.frames(),
        cma: 0,
        protection: report.lowmem_reserve,
        numa: NumaStat::default(),
        pagesets: Vec::new(),
        node_unreclaimable: false,
        start_pfn: u64::from(report.span.start.get()),
        reserved_highatomic: 0,
        free_highatomic: report.free_highatomic,
    }
}
