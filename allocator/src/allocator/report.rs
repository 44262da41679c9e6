//! What an allocator says of its state.

use super::Allocator;
use crate::{
    alloc::{Busy, NumaEvents},
    frame::{FRAME_BYTES, Order, PAGEBLOCK_ORDER},
    gfp::MigrateType,
    node::NodeStatItem,
    pcp::CachedTotals,
    platform::arena::Residency,
    slowpath::SlowpathReport,
    stats::{
        Buddyinfo, BuddyinfoZone, Conservation, ConservationZone, ExtfragIndex, MemInfo, MigrateTypeStat,
        NodeStat, NumaStat, PagesetStat, Pagetypeinfo, PagetypeinfoZone, UnusableIndex, VmStat, ZoneStat,
        Zoneinfo,
    },
    zone::{PAGEBLOCK_FRAMES, Waiting, Zone, ZoneReport, ZoneSpan},
};

#[cfg(feature = "lock-stats")]
use crate::sync::LockStats;

impl Allocator {
    /// Checks that every frame is free, cached, allocated or isolated, and only one of them.
    ///
    /// It holds while no thread is inside a request or a free. Where the system refuses membarrier(2) only after it has allowed it, as by a
    /// seccomp filter that was installed since, caches made before can no longer be looked into: it does not hold then.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(3))?;
    /// let conservation = allocator.conservation();
    /// assert!(conservation.holds(), "{conservation}");
    /// assert_eq!(conservation.allocated(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conservation(&self) -> Conservation {
        let _busy = Busy::enter();
        let caches = self.core().domain.caches().totals();
        let zones = self.reports().zip(caches).map(|(report, cached)| {
            let (allocated, freed) = traffic(&report, &cached);
            ConservationZone {
                node: nid(&report.span),
                zone: report.span.kind,
                free: report.free,
                cached: cached.cached_frames,
                allocated: allocated.wrapping_sub(freed),
                isolated: report.isolated,
                managed: report.managed,
            }
        });
        Conservation { zones: zones.collect() }
    }

    /// Returns the state of every zone and of the threads' caches of it.
    ///
    /// ```
    /// # use gfp::{Allocator, gfp::ZoneType};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let zones = allocator.zone_stats();
    /// assert_eq!((zones[0].zone, zones[1].zone), (ZoneType::Dma, ZoneType::Dma32));
    /// assert!(zones[1].marks.low < zones[1].free);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zone_stats(&self) -> Vec<ZoneStat> {
        let _busy = Busy::enter();
        let mut stats: Vec<_> = self.zone_traffic().into_iter().map(|(stat, _, _)| stat).collect();
        self.core().domain.caches().for_each(|thread, cache| {
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
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order, gfp::ZoneType};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(5))?);
    /// let vmstat = allocator.vmstat();
    /// assert_eq!((vmstat.pgalloc[ZoneType::Dma32.index()], vmstat.pgfree), (32, 32));
    /// assert!(vmstat.to_string().contains("\npgalloc_dma32 32\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn vmstat(&self) -> VmStat {
        let _busy = Busy::enter();
        let mut vmstat = VmStat::default();
        for events in self.reports().map(|report| report.events) {
            vmstat.pgreported += events.reported_frames;
            vmstat.pgreport_refused += events.refused_frames;
        }
        for (stat, allocated, freed) in self.zone_traffic() {
            vmstat.add_zone(&stat);
            vmstat.pgalloc[stat.zone.index()] += allocated;
            vmstat.pgfree += freed;
        }
        self.node_stats().iter().for_each(|node| vmstat.add_node(node));
        self.core().reclaim.fill(&mut vmstat);
        vmstat.slabs_scanned = self.core().reclaim.shrinkers.scanned();
        vmstat.nr_dirty_threshold = self.core().domain.dirty_threshold();
        vmstat.oom_kill = self.core().reclaim.oom.counts().killed;
        vmstat
    }

    /// Returns what there is of memory, as the kernel prints it when a request fails.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// println!("{}", allocator.mem_info());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "show_mem")]
    pub fn mem_info(&self) -> MemInfo {
        let _busy = Busy::enter();
        self.core().reclaim.mem_info(&self.core().domain, Waiting::Allowed)
    }

    /// Returns what requests did that found nothing at the low mark, step by step, and what came of them.
    ///
    /// ```
    /// # use gfp::{Allocator, slowpath::Step};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.slowpath_report().steps.of(Step::Fail), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slowpath_report(&self) -> SlowpathReport {
        self.core().slowpath.report(&self.core().reclaim)
    }

    /// Returns the free blocks of each zone by order; shown as `/proc/buddyinfo` does.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).dma(0).build()?;
    /// let buddyinfo = allocator.buddyinfo();
    /// assert_eq!(buddyinfo.zones[0].nr_free[10], 16); // blocks of 4 MiB
    /// assert!(buddyinfo.to_string().starts_with("Node 0, zone    DMA32      0      0 "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn buddyinfo(&self) -> Buddyinfo {
        let _busy = Busy::enter();
        let zones = self.reports().map(|report| BuddyinfoZone {
            node: nid(&report.span),
            zone: report.span.kind,
            nr_free: nr_free(&report),
        });
        Buddyinfo { zones: zones.collect() }
    }

    /// Returns the state of each zone; shown as `/proc/zoneinfo` does.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).dma(0).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?;
    /// let zoneinfo = allocator.zoneinfo();
    /// assert_eq!(zoneinfo.zones[0].pagesets.len(), 1); // this thread's cache
    /// assert!(zoneinfo.to_string().contains("\n      numa_hit     1\n"));
    /// # drop(page);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zoneinfo(&self) -> Zoneinfo {
        Zoneinfo { nodes: self.node_stats(), zones: self.zone_stats() }
    }

    /// Returns the free blocks and the pageblocks of each zone by migrate type; shown as `/proc/pagetypeinfo` does.
    ///
    /// No pageblock is looked at: the zones keep count.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, gfp::MigrateType};
    /// # let allocator = Allocator::builder(64 << 20).dma(0).build()?;
    /// let page = allocator.alloc_page(Gfp::KERNEL)?; // claims the largest block for unmovable frames
    /// let pagetypeinfo = allocator.pagetypeinfo();
    /// let types = &pagetypeinfo.zones[0].types;
    /// assert_eq!(types[MigrateType::Unmovable.index()].pageblocks, 2);
    /// assert_eq!(types[MigrateType::Movable.index()].pageblocks, 30);
    /// assert!(pagetypeinfo.to_string().contains("\nNumber of blocks type     Unmovable      Movable "));
    /// # drop(page);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pagetypeinfo(&self) -> Pagetypeinfo {
        let _busy = Busy::enter();
        let zones = self.reports().map(|report| {
            let types = MigrateType::ALL.map(|kind| MigrateTypeStat {
                migratetype: kind,
                nr_free: report.nr_free[kind.index()].iter().map(|&blocks| u64::from(blocks)).collect(),
                pageblocks: u64::from(report.pageblocks[kind.index()]),
            });
            PagetypeinfoZone { node: nid(&report.span), zone: report.span.kind, types: types.into() }
        });
        Pagetypeinfo { pageblock_order: PAGEBLOCK_ORDER, zones: zones.collect() }
    }

    /// Returns the share of each zone's free memory that a request has no use for, by its order; shown as the kernel's
    /// `extfrag/unusable_index` does.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).dma(0).build()?;
    /// // All is free, in the largest blocks.
    /// assert!(allocator.unusable_index().to_string().starts_with("Node 0, zone    DMA32 0.000 0.000 "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unusable_index(&self) -> UnusableIndex {
        self.buddyinfo().unusable_index()
    }

    /// Returns why a request would fail in each zone, by its order: for lack of memory (towards 0) or because what is free is in
    /// pieces (towards 1); shown as the kernel's `extfrag/extfrag_index` does.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).dma(0).build()?;
    /// // No request would fail.
    /// assert!(allocator.extfrag_index().zones[0].thousandths.iter().all(|&index| index == -1000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extfrag_index(&self) -> ExtfragIndex {
        self.buddyinfo().extfrag_index()
    }

    /// Returns how many blocks came back that were free already: refused frees, and blocks that a cache gave up twice; and how many
    /// are never freed, because they got more references than can be counted.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// assert_eq!(allocator.bad_pages(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bad_pages(&self) -> u64 {
        let _busy = Busy::enter();
        self.core().misuses() + self.reports().map(|report| report.events.bad_pages).sum::<u64>()
    }

    /// Returns how often and for how long the lock of each zone was held, in the order of [`zone_stats`](Self::zone_stats).
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let before = allocator.zone_lock_stats()[1];
    /// drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(10))?);
    /// let after = allocator.zone_lock_stats()[1];
    /// assert!(after.acquisitions >= before.acquisitions + 2, "no cache holds such blocks");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "lock-stats")]
    pub fn zone_lock_stats(&self) -> Vec<LockStats> {
        self.core().domain.zones().iter().map(Zone::lock_stats).collect()
    }

    fn reports(&self) -> impl Iterator<Item = ZoneReport> {
        self.core().domain.zones().iter().map(Zone::report)
    }

    /// Returns what each zone says of itself but for its caches, and the frames that were allocated and freed there.
    fn zone_traffic(&self) -> Vec<(ZoneStat, u64, u64)> {
        let domain = &self.core().domain;
        let zones = self.reports().zip(domain.caches().totals()).map(|(report, cached)| {
            let (allocated, freed) = traffic(&report, &cached);
            let stat = ZoneStat {
                numa: numa_stat(allocated, domain.numa().of(report.span.number)),
                unevictable: self.locked_frames(&report.span),
                mlocked: self.locked_frames(&report.span),
                ..zone_stat(&report)
            };
            (stat, allocated, freed)
        });
        zones.collect()
    }

    /// Returns what is known of each node that has memory.
    fn node_stats(&self) -> Vec<NodeStat> {
        let mut nodes: Vec<NodeStat> = Vec::new();
        for zone in self.core().domain.zones() {
            let node = nid(zone.span());
            if nodes.last().is_none_or(|last| last.node != node) {
                let counters = self.core().domain.node_counters();
                let count = |item| counters.get(zone.span().node, item);
                nodes.push(NodeStat {
                    node,
                    inactive_file: count(NodeStatItem::InactiveFile),
                    active_file: count(NodeStatItem::ActiveFile),
                    unevictable: 0,
                    dirty: count(NodeStatItem::FileDirty),
                    writeback: count(NodeStatItem::Writeback),
                });
            }
            nodes.last_mut().expect("just added").unevictable += self.locked_frames(zone.span());
        }
        nodes
    }

    /// Returns how many frames of a zone are locked in memory.
    fn locked_frames(&self, span: &ZoneSpan) -> u64 {
        let Residency::Locked { bytes } = self.arena().obtained().residency else { return 0 };
        let end = span.end.index().min(bytes.div_ceil(FRAME_BYTES));
        end.saturating_sub(span.start.index()) as u64
    }
}

/// Returns the number of a zone's node, as it is shown.
fn nid(span: &ZoneSpan) -> u32 {
    u32::from(u16::from(span.node))
}

/// Returns the free blocks of all migrate types by order.
fn nr_free(report: &ZoneReport) -> Vec<u64> {
    let orders = 0..report.nr_free[0].len();
    orders.map(|order| report.nr_free.iter().map(|counts| u64::from(counts[order])).sum()).collect()
}

/// Returns the free frames in wholly free pageblocks; as among all free frames, without those that are isolated.
fn free_in_blocks(report: &ZoneReport) -> u64 {
    let in_circulation = MigrateType::ALL.into_iter().filter(|&kind| kind != MigrateType::Isolate);
    let by_order = in_circulation
        .flat_map(|kind| (0_u32..).zip(&report.nr_free[kind.index()]).skip(Order::PAGEBLOCK.index()));
    by_order.map(|(order, &blocks)| u64::from(blocks) << order).sum()
}

/// Returns how many frames the pageblocks of a type have together.
fn frames_of(report: &ZoneReport, kind: MigrateType) -> u64 {
    u64::from(report.pageblocks[kind.index()]) * u64::from(PAGEBLOCK_FRAMES)
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
    ZoneStat {
        node: nid(&report.span),
        zone: report.span.kind,
        free: report.free,
        free_in_blocks: free_in_blocks(report),
        free_cma: report.free_cma,
        unevictable: 0,
        mlocked: 0,
        marks: report.marks,
        spanned: report.span.frames(),
        present: report.managed,
        managed: report.managed,
        cma: report.cma_pages,
        protection: report.lowmem_reserve,
        numa: NumaStat::default(),
        pagesets: Vec::new(),
        node_unreclaimable: false,
        start_pfn: u64::from(report.span.start.get()),
        reserved_highatomic: frames_of(report, MigrateType::HighAtomic),
        free_highatomic: report.free_highatomic,
    }
}
