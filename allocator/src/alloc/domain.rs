//! Everything that a request and a free need: zones, frames, caches.

use core::ops::Range;

use super::{AllocContext, CmaArea, NumaCounters, Reclaimer, reclaiming::ReclaimingNodes};
use crate::{
    frame::{AllocatorNumber, FrameTable, Nid, Order, Pfn, References, ZoneNumber},
    gfp::{MigrateType, ZoneType},
    node::{Cpuset, DirtyLimit, Distances, NodeCounters, NodeMask, Reach, Target, ZoneRef, Zonelists},
    pcp::{Caches, Handover, ThreadCache, local, sizing::HighFraction},
    platform::pin::current_cpu,
    sync::{
        Arc, Mutex, MutexGuard, Owner, ZeroedSliceError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    zone::{
        FirstFor, Grouping, PAGEBLOCK_FRAMES, Zone, ZoneSpan,
        sizing::{LOWMEM_RESERVE_RATIO, ZoneSize, lowmem_reserve, min_free_kbytes, per_zone_wmarks},
        watermark::{WatermarkRule, Watermarks},
    },
};

/// What a domain is made of.
#[derive(Clone, Debug)]
pub struct DomainOptions {
    /// The allocator's number.
    pub allocator: AllocatorNumber,
    /// The zones, covering the arena from frame 0 on.
    pub spans: Vec<ZoneSpan>,
    /// How far the nodes are from each other.
    pub distances: Distances,
    /// The nodes that have CPUs.
    pub nodes_with_cpus: NodeMask,
    /// By the system's number of a CPU, its node; CPUs beyond are of node 0.
    pub cpu_nodes: Box<[Nid]>,
    /// The largest order.
    pub max_order: Order,
    /// Which version of the watermark test is used.
    pub rule: WatermarkRule,
    /// Whether pageblocks are kept apart by type; `None` for whether the zones are large enough for it.
    pub grouping: Option<Grouping>,
    /// How many frames may be dirty.
    pub dirty_limit: DirtyLimit,
    /// The minimum to keep free in KiB, or `None` for the kernel's formula.
    pub min_free_kbytes: Option<u64>,
    /// The distance of the marks in ten-thousandths of a zone, 1 to 3000.
    pub watermark_scale_factor: u64,
    /// CPUs that the caches are sized for.
    pub cpus: u32,
    /// How large caches may be.
    pub high_fraction: HighFraction,
    /// Frames that fit into one CPU's share of its last-level cache.
    pub cache_slice_frames: u64,
    /// Names and frames of the areas that are kept for contiguous requests: whole pageblocks of one zone each.
    pub cma: Vec<(&'static str, Range<Pfn>)>,
    /// How blocks pass between caches and owners.
    pub handover: Handover,
}

/// The zones of an allocator, their frames and their caches.
#[derive(Debug)]
pub struct Domain {
    zones: Arc<[Zone]>,
    zonelists: Zonelists,
    cpu_nodes: Box<[Nid]>,
    cpuset: Cpuset,
    reclaiming: ReclaimingNodes,
    numa: NumaCounters,
    pub(super) node_counters: NodeCounters,
    pub(super) dirty_limit: DirtyLimit,
    frames: FrameTable,
    references: References,
    caches: Arc<Caches>,
    max_order: Order,
    grouping: Grouping,
    closed: AtomicBool,
    /// This is a child's copy: locks may be held by threads that it does not have.
    orphaned: AtomicBool,
    min_free_kbytes: Option<u64>,
    watermark_scale_factor: u64,
    cma: Box<[CmaArea]>,
    /// Held by whoever changes the sizes of zones, or takes free memory out of them for a moment.
    resizing: Mutex<()>,
    /// How often the sizes of zones have changed.
    resized: AtomicU32,
}

impl Domain {
    /// Makes zones of free frames with their marks and reserves, and no caches yet.
    ///
    /// # Errors
    /// When the address space for the tables, 8.4 bytes a frame, cannot be had.
    pub fn new(options: &DomainOptions) -> Result<Self, ZeroedSliceError> {
        let frame_count = options.spans.iter().map(|span| span.end.index()).max().unwrap_or(0);
        let frames = FrameTable::new(options.allocator, frame_count)?;
        let references = References::new(frame_count)?;
        let zonelists = Zonelists::build(&options.spans, options.distances.clone(), options.nodes_with_cpus);
        let sizes: Vec<_> = options
            .spans
            .iter()
            .map(|span| ZoneSize { kind: span.kind, managed: span.online_frames() })
            .collect();
        let marks = watermarks(&sizes, options.min_free_kbytes, options.watermark_scale_factor);
        let grouping = options.grouping.unwrap_or_else(|| grouping_by_size(&sizes, &marks));
        let make_zone = |&span: &ZoneSpan| {
            let preferred = zonelists.node_zonelist(span.node, Reach::AllNodes).preferred();
            let first_for = FirstFor::collect(|highest| preferred[highest.index()] == Some(span.number));
            Zone::new(span, options.max_order, options.rule, frames.clone(), first_for, grouping)
        };
        let zones = options.spans.iter().map(make_zone).collect::<Result<Arc<[_]>, _>>()?;
        let hot_zone = |node| {
            let preferred = zonelists.node_zonelist(node, Reach::AllNodes).preferred();
            preferred[ZoneType::Normal.index()].unwrap_or(ZoneNumber::new(0))
        };
        let hot_zones = (0..zonelists.nodes()).map(Nid::new).map(hot_zone).collect();
        let caches = Caches::new(
            Arc::clone(&zones),
            frames.clone(),
            hot_zones,
            options.cpus,
            options.high_fraction,
            options.cache_slice_frames,
            options.handover,
        );
        for (_, range) in &options.cma {
            let zone = zones.iter().find(|zone| zone.span().contains(range.start));
            zone.expect("an area lies in the arena").reserve_cma(range);
        }
        let node_frames = |node| {
            let here = options.spans.iter().filter(|span| span.node.index() == node);
            here.map(ZoneSpan::frames).sum()
        };
        let node_counters = NodeCounters::new((0..zonelists.nodes()).map(node_frames));
        let cma = options.cma.iter().map(|(name, range)| CmaArea::new(name, range.clone()));
        let domain = Self {
            cma: cma.collect::<Result<_, _>>()?,
            zones,
            zonelists,
            cpu_nodes: options.cpu_nodes.clone(),
            cpuset: Cpuset::default(),
            reclaiming: ReclaimingNodes::default(),
            numa: NumaCounters::new(options.spans.len()),
            node_counters,
            dirty_limit: options.dirty_limit,
            frames,
            references,
            caches: Arc::new(caches),
            max_order: options.max_order,
            grouping,
            closed: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            min_free_kbytes: options.min_free_kbytes,
            watermark_scale_factor: options.watermark_scale_factor,
            resizing: Mutex::new(()),
            resized: AtomicU32::new(0),
        };
        domain.set_watermarks();
        Ok(domain)
    }

    /// Computes the marks and reserves of all zones from what they manage now (`setup_per_zone_wmarks`,
    /// `setup_per_zone_lowmem_reserve`).
    fn set_watermarks(&self) {
        let size_of = |zone: &Zone| ZoneSize { kind: zone.span().kind, managed: zone.managed() };
        let sizes: Vec<_> = self.zones.iter().map(size_of).collect();
        let marks = watermarks(&sizes, self.min_free_kbytes, self.watermark_scale_factor);
        for (zone, marks) in self.zones.iter().zip(marks) {
            // What a zone keeps from requests for higher ones is a part of the higher ones on its node.
            let here = self.zones.iter().filter(|other| other.span().node == zone.span().node);
            let sizes: Vec<_> = here.map(size_of).collect();
            let reserves = lowmem_reserve(&sizes, &LOWMEM_RESERVE_RATIO);
            zone.set_watermarks(marks, reserves[zone.span().kind.index()]);
        }
    }

    /// Brings marks, reserves and the limits of caches up to date after zones grew or shrank.
    pub(super) fn setup_per_zone_wmarks(&self) {
        self.set_watermarks();
        self.caches.refit();
        self.resized.fetch_add(1, Ordering::Release);
    }

    /// Returns how often the sizes of zones have changed: a request that failed looks again if they have since it began
    /// (`zonelist_iter_begin`). The lists themselves never change.
    #[doc(alias = "zonelist_iter_begin")]
    #[doc(alias = "check_retry_zonelist")]
    pub(crate) fn resized(&self) -> u32 {
        self.resized.load(Ordering::Acquire)
    }

    /// Waits until nobody else changes the sizes of zones, or has free memory of theirs with the system.
    pub(crate) fn resizing(&self) -> MutexGuard<'_, ()> {
        self.resizing.lock()
    }

    /// Waits for free memory that is on its way to the system and back, and tells whether there was any: a request that would
    /// fail for want of it may be served now.
    #[cold]
    pub(crate) fn await_reported(&self) -> bool {
        let some = self.zones.iter().any(Zone::is_reporting);
        if some {
            drop(self.resizing());
        }
        some
    }

    /// Returns the zones by number.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Returns a zone.
    pub(crate) fn zone(&self, number: ZoneNumber) -> &Zone {
        &self.zones[number.index()]
    }

    /// Returns the zone that a block names.
    ///
    /// # Panics
    /// When there is no such zone: the block is not of this allocator.
    pub(crate) fn zone_at(&self, index: usize) -> &Zone {
        &self.zones[index]
    }

    /// Returns the zone that a frame lies in; `None` outside of the arena (`page_zone`).
    pub(crate) fn zone_of(&self, pfn: Pfn) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.span().contains(pfn))
    }

    /// Returns the orders in which zones are tried.
    pub(crate) const fn zonelists(&self) -> &Zonelists {
        &self.zonelists
    }

    /// Returns the areas that are kept for contiguous requests.
    pub(crate) fn cma(&self) -> &[CmaArea] {
        &self.cma
    }

    /// Returns the nodes that requests may use.
    pub(crate) const fn cpuset(&self) -> &Cpuset {
        &self.cpuset
    }

    /// Lets requests use only these nodes from now on (`cpuset.mems`); those that may not wait and have high priority use
    /// others when need be.
    pub(crate) fn set_mems_allowed(&self, allowed: NodeMask) {
        self.cpuset.set(allowed);
        self.admit();
    }

    /// Gives up a pageblock that some zone which may serve a request keeps for high-order requests that cannot wait
    /// (`unreserve_highatomic_pageblock`), and tells whether there was one. Each zone keeps its last unless `force` is set.
    pub(crate) fn unreserve_highatomic_pageblock(&self, context: &AllocContext<'_>, force: bool) -> bool {
        let mut zones = context.zonelist.zones(context.highest_zone, context.nodemask);
        zones.any(|zone| self.zone(zone.number).unreserve_highatomic_pageblock(context.migratetype, force))
    }

    /// Says whether somebody reclaims memory of a node now.
    pub(crate) fn set_reclaiming(&self, who: Reclaimer, node: Nid, now: bool) {
        self.reclaiming.set(who, node, now);
        self.admit();
    }

    /// Returns the nodes of which memory is being reclaimed now, whoever does it.
    pub(crate) fn reclaiming(&self) -> NodeMask {
        self.reclaiming.nodes()
    }

    /// Lets hits be served at once from zones that every request may use and none avoids.
    fn admit(&self) {
        for zone in &*self.zones {
            let node = zone.span().node;
            let is_avoided = || self.zonelists.nodes() > 1 && self.reclaiming().contains(node);
            zone.set_admitted(|| self.cpuset.cpuset_zone_allowed(node) && !is_avoided());
        }
    }

    /// Counts where a block was served from that did not come the shortest way.
    pub(super) fn count_numa(&self, target: &Target, served: ZoneRef, local: Nid, order: Order) {
        let wanted = self.caches.hot_zone(target.node);
        self.numa.count(target, wanted, served, local, order.frames());
    }

    /// Returns what was served elsewhere than where it was wanted.
    pub(crate) const fn numa(&self) -> &NumaCounters {
        &self.numa
    }

    /// Returns the node of the CPU that the caller runs on, or node 0 for a CPU without one (`numa_mem_id`).
    pub(crate) fn numa_mem_id(&self) -> Nid {
        if self.zonelists.nodes() == 1 {
            return Nid::new(0);
        }
        self.cpu_nodes.get(current_cpu().0 as usize).copied().unwrap_or(Nid::new(0))
    }

    /// Tells whether a node has CPUs (`N_CPU`): the only node of an allocator that does not tell nodes apart has them all.
    pub(crate) fn has_cpus(&self, node: Nid) -> bool {
        self.zonelists.nodes() == 1 || self.cpu_nodes.contains(&node)
    }

    /// Returns the zones of a node that requests up to a type of zone may use, highest first.
    pub(crate) fn zones_of(&self, node: Nid, highest: ZoneType) -> impl Iterator<Item = &Zone> {
        let list = self.zonelists.node_zonelist(node, Reach::ThisNode);
        list.zones(highest, NodeMask::ALL).map(|zone| self.zone(zone.number))
    }

    /// Returns the descriptors.
    #[inline]
    pub const fn frames(&self) -> &FrameTable {
        &self.frames
    }

    /// Returns how many hold each shared block.
    #[inline]
    pub(crate) const fn references(&self) -> &References {
        &self.references
    }

    /// Returns the caches.
    #[inline]
    pub const fn caches(&self) -> &Arc<Caches> {
        &self.caches
    }

    /// Returns the calling thread's cache, if it has one.
    pub(crate) fn own_cache(&self) -> Option<Owner<ThreadCache>> {
        local::find(local::key_of(self.frames.allocator()))
    }

    /// Returns the largest order.
    pub(crate) const fn max_order(&self) -> Order {
        self.max_order
    }

    /// Returns the type of the free areas that requests for a type are served from.
    pub(crate) const fn migratetype_of(&self, wanted: MigrateType) -> MigrateType {
        match self.grouping {
            Grouping::ByMobility => wanted,
            Grouping::Disabled => MigrateType::Unmovable,
        }
    }

    /// Tells whether requests fail because the allocator is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends all requests and all frees in a child that a fork has made: only stores, so that it may be called there before anything
    /// else is.
    pub(crate) fn orphan(&self) {
        self.orphaned.store(true, Ordering::Relaxed);
        self.closed.store(true, Ordering::Relaxed);
        self.caches.orphan();
        self.zones.iter().for_each(Zone::orphan);
    }

    /// Tells whether this is a child's copy of its parent's allocator.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    /// Ends all requests from now on; what is out still comes back.
    pub(crate) fn refuse_requests(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Ends all requests; `on_last` runs when the last block has come back, which may be now.
    pub fn close(&self, on_last: Box<dyn FnOnce() + Send>) {
        self.refuse_requests();
        Arc::clone(&self.caches).close(on_last);
    }

    /// Lets caches age by a second.
    pub fn age(&self) {
        self.caches.age();
    }
}

/// Computes the marks of each zone.
fn watermarks(sizes: &[ZoneSize], kbytes: Option<u64>, scale_factor: u64) -> Vec<Watermarks> {
    let lowmem = sizes.iter().filter(|size| size.kind.is_lowmem()).map(|size| size.managed).sum::<u64>();
    // Unlike a kernel, whose own working depends on its reserve, an arena may do with less than 128 KiB.
    let least = lowmem * 4 / 8;
    let min_free = kbytes.unwrap_or_else(|| min_free_kbytes(lowmem, None).min(least));
    per_zone_wmarks(sizes, min_free, scale_factor).collect()
}

/// Keeps pageblocks apart by type unless there are hardly more of them than types
/// (`build_all_zonelists`, `page_group_by_mobility_disabled`).
fn grouping_by_size(sizes: &[ZoneSize], marks: &[Watermarks]) -> Grouping {
    let usable: u64 =
        sizes.iter().zip(marks).map(|(size, marks)| size.managed.saturating_sub(marks.high)).sum();
    if usable < u64::from(PAGEBLOCK_FRAMES) * 6 { Grouping::Disabled } else { Grouping::ByMobility }
}
