//! How the options become an allocator.

use core::ops::{Range, RangeInclusive};
use std::{sync::OnceLock, time::Duration};

use super::Builder;
use crate::{
    alloc::{Domain, DomainOptions},
    allocator::{
        Allocator,
        core::{Core, Keeping},
        debug::Debug,
        fork,
        numbers::Number,
        spread::{NodePlan, verify},
    },
    error::BuildError,
    frame::{AllocatorNumber, FRAME_BYTES, FRAME_SHIFT, MAX_MAX_ORDER, MIN_MAX_ORDER, Order, Pfn},
    node::{DirtyLimit, ZonePlan, zone_spans},
    pcp::sizing::HighFraction,
    platform::{
        Arena, Backing, Downgrade, PlatformError, Topology, arena::Residency, fork::undivided, topology::Cpu,
    },
    reclaim::{NodeReclaimMode, Reporting},
    zone::{PAGEBLOCK_FRAMES, Zone, ZoneSpan},
};

/// What sizes that change by whole pageblocks are multiples of.
const PAGEBLOCK_BYTES: usize = FRAME_BYTES * PAGEBLOCK_FRAMES as usize;

/// How long after frees memory may be given back.
const REPORT_DELAYS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);

/// The host's topology, read once: an allocator is built in far less time than it takes to read.
fn host_topology() -> Result<&'static Topology, PlatformError> {
    static HOST: OnceLock<Topology> = OnceLock::new();
    if let Some(topology) = HOST.get() {
        return Ok(topology);
    }
    let topology = Topology::load()?;
    let _undivided = undivided();
    Ok(HOST.get_or_init(|| topology))
}

impl Builder {
    /// Builds the allocator.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).build()?;
    /// assert!(Allocator::builder(64 << 20).max_order(40).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An option that makes no sense, or what the system refused. Nothing is left behind then.
    pub fn build(mut self) -> Result<Allocator, BuildError> {
        let online_frames = self.online_frames()?;
        let node_reclaim_mode = self.checked_node_reclaim_mode()?;
        if let Some(delay) = self.report_free.filter(|delay| !REPORT_DELAYS.contains(delay)) {
            let problem = format!("{delay:?} was asked; it must be 1 ms to 1 h");
            return Err(BuildError::option("report_free", problem));
        }
        self.arena.bytes = self.maximum.unwrap_or(self.arena.bytes);
        fork::install().map_err(|error| BuildError::platform("preparing for forks", error))?;
        let number = Number::take().map_err(|error| BuildError::platform("numbering it", error))?;
        let topology = match &self.topology {
            Some(given) => given,
            None => host_topology().map_err(|error| BuildError::platform("reading the topology", error))?,
        };
        let backing = if self.lent.is_some() { Backing::FourK } else { self.arena.backing };
        if self.arena.downgrade == Downgrade::Forbidden && backing != self.arena.backing {
            let problem =
                format!("the caller's mapping is used as it is, and {} was asked", self.arena.backing);
            return Err(BuildError::option("backing", problem));
        }
        let plan = NodePlan::new(&self.spread, self.arena.bytes, backing, topology)?;
        let options = self.domain_options(number.get(), &plan, topology, online_frames)?;
        let spans = plan.spans(self.binding, topology);
        let (mut arena, tied) = match self.lent {
            None => Arena::on_nodes(&self.arena, &spans),
            // SAFETY: the caller of `from_raw` promised what this asks for.
            Some(base) => unsafe { Arena::from_raw(base, self.arena.bytes) }
                .and_then(|arena| arena.tie(&spans).map(|tied| (arena, tied))),
        }
        .map_err(|error| BuildError::platform("mapping the arena", error))?;
        let mut nodes = plan.reports(&spans, tied, self.binding, topology);
        if self.lent.is_none() {
            make_resident(&mut arena, self.dma_bytes)?;
        }
        if self.verify_binding && !topology.is_simulated() {
            verify(&arena, &mut nodes)?;
        }
        let domain = Domain::new(&options)
            .map_err(|error| BuildError::platform("reserving the frame table", error))?;
        let debug = Debug::new(self.debug, domain.frames(), &arena, self.on_finding)?;
        if arena.is_lent() {
            // What its lender left there.
            domain.zones().iter().for_each(Zone::forget_contents);
        }
        let reporting = match self.report_free {
            Some(delay) if arena.keeps_memory().is_none() => Reporting::after(&domain, delay),
            _ => Reporting::default(),
        };
        let keeping = Keeping { node_reclaim_mode, reporting };
        let core = Core::new(domain, keeping, arena, nodes, debug, self.hooks, number);
        Allocator::new(core, self.maintain, plan.homes(topology))
            .map_err(|error| BuildError::platform("starting a background thread", error))
    }

    fn checked_node_reclaim_mode(&self) -> Result<NodeReclaimMode, BuildError> {
        let bits = self.node_reclaim_mode;
        NodeReclaimMode::from_bits(bits).ok_or_else(|| {
            let problem = format!("{bits:#x} was asked; the bits are 1, 2 and 4");
            BuildError::option("node_reclaim_mode", problem)
        })
    }

    /// Returns how many frames at the arena's start are there at first.
    fn online_frames(&self) -> Result<u64, BuildError> {
        let Some(maximum) = self.maximum else { return Ok(u64::MAX) };
        let size = self.arena.bytes;
        if !maximum.is_multiple_of(PAGEBLOCK_BYTES) || !size.is_multiple_of(PAGEBLOCK_BYTES) || maximum < size
        {
            let problem =
                format!("{maximum} bytes, from {size} at first; both must be multiples of 2 MiB, and grow");
            return Err(BuildError::option("maximum", problem));
        }
        Ok((size / FRAME_BYTES) as u64)
    }

    /// Places the areas for contiguous requests: from the end of the last zone of ordinary memory downwards.
    fn cma_areas(&self, spans: &[ZoneSpan]) -> Result<Vec<(&'static str, Range<Pfn>)>, BuildError> {
        let wrong = |name, problem| Err(BuildError::option("cma", format!("area {name:?}: {problem}")));
        let whole = |pfn: u32| pfn / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES;
        let online = |span: &&ZoneSpan| span.kind.is_lowmem() && span.online_frames() > 0;
        let Some(span) = spans.iter().rfind(online) else { return Ok(Vec::new()) };
        let mut end = whole(span.online_end.get());
        let mut areas: Vec<(&'static str, Range<Pfn>)> = Vec::new();
        for &(name, bytes) in &self.cma {
            if bytes == 0 || !bytes.is_multiple_of(PAGEBLOCK_BYTES) {
                return wrong(name, format!("{bytes} bytes; it must be a multiple of 2 MiB"));
            }
            if areas.iter().any(|&(other, _)| other == name) {
                return wrong(name, "another area has that name".to_owned());
            }
            let frames = u32::try_from(bytes / FRAME_BYTES).unwrap_or(u32::MAX);
            let start = end.checked_sub(frames).filter(|&start| start >= span.start.get());
            let Some(start) = start else {
                let left = u64::from(end.saturating_sub(span.start.get())) * FRAME_BYTES as u64;
                return wrong(name, format!("{bytes} bytes; of its zone, {} bytes are left", left));
            };
            areas.push((name, Pfn::new(start)..Pfn::new(end)));
            end = start;
        }
        Ok(areas)
    }

    fn domain_options(
        &self,
        allocator: AllocatorNumber,
        nodes: &NodePlan,
        topology: &Topology,
        online_frames: u64,
    ) -> Result<DomainOptions, BuildError> {
        if !(MIN_MAX_ORDER..=MAX_MAX_ORDER).contains(&self.max_order) {
            let problem =
                format!("{} was asked; it must be {MIN_MAX_ORDER} to {MAX_MAX_ORDER}", self.max_order);
            return Err(BuildError::option("max_order", problem));
        }
        if !(1..=3000).contains(&self.watermark_scale_factor) {
            let problem = format!("{} was asked; it must be 1 to 3000", self.watermark_scale_factor);
            return Err(BuildError::option("watermark_scale_factor", problem));
        }
        if let DirtyLimit::Ratio(percent @ 101..) = self.dirty_limit {
            return Err(BuildError::option(
                "vm_dirty_ratio",
                format!("{percent} was asked; it must be 0 to 100"),
            ));
        }
        let high_fraction = HighFraction::new(self.high_fraction)
            .map_err(|error| BuildError::option("percpu_pagelist_high_fraction", error.to_string()))?;
        let frames = |bytes: usize| (bytes >> FRAME_SHIFT) as u64;
        let plan = ZonePlan {
            nodes: nodes.parts.clone(),
            dma_frames: frames(self.dma_bytes),
            highmem_frames: frames(self.highmem_bytes),
            movable_frames: frames(self.movable_bytes),
            online_frames,
        };
        let spans = zone_spans(&plan).map_err(|asked| {
            let problem =
                format!("{asked} frames for HIGHMEM and MOVABLE leave nothing of {} bytes", self.arena.bytes);
            BuildError::option("movable", problem)
        })?;
        let cpus = u32::try_from(topology.cpus().len()).unwrap_or(u32::MAX);
        let slices = topology.cpus().iter().filter_map(Cpu::cache_slice_bytes);
        Ok(DomainOptions {
            allocator,
            cma: self.cma_areas(&spans)?,
            spans,
            distances: nodes.distances.clone(),
            nodes_with_cpus: nodes.with_cpus,
            cpu_nodes: nodes.cpu_nodes.clone(),
            max_order: Order::new(self.max_order),
            rule: self.rule,
            grouping: self.grouping,
            dirty_limit: self.dirty_limit,
            min_free_kbytes: self.min_free_kbytes,
            watermark_scale_factor: self.watermark_scale_factor,
            cpus: self.cpus.unwrap_or(cpus).max(1),
            high_fraction,
            cache_slice_frames: slices.min().unwrap_or(0) >> FRAME_SHIFT,
            handover: self.debug.handover(),
        })
    }
}

/// Makes the DMA zone resident, and locks it where that is allowed; the arena says what came of it.
fn make_resident(arena: &mut Arena, dma_bytes: usize) -> Result<(), BuildError> {
    let bytes = dma_bytes.min(arena.len());
    if bytes == 0 {
        return Ok(());
    }
    let residency = match arena.lock_range(0, bytes) {
        Ok(()) => Residency::Locked { bytes },
        Err(refused) => {
            arena
                .prefault_range(0, bytes)
                .map_err(|error| BuildError::platform("making the DMA zone resident", error))?;
            Residency::Refused(refused)
        }
    };
    arena.record_residency(residency);
    Ok(())
}
