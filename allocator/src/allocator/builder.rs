//! How an allocator is asked for.

use core::{ops::Range, ptr::NonNull};
use std::{ffi::CStr, sync::OnceLock};

use super::{
    Allocator, DebugModes, FindingHook, MisuseHook, Spread,
    core::Core,
    debug::Debug,
    numbers::Number,
    spread::{NodePlan, verify},
};
use crate::{
    alloc::{Domain, DomainOptions},
    error::BuildError,
    frame::{AllocatorNumber, FRAME_BYTES, FRAME_SHIFT, MAX_MAX_ORDER, MIN_MAX_ORDER, Order, Pfn},
    node::{ZonePlan, zone_spans},
    pcp::sizing::HighFraction,
    platform::{
        Arena, ArenaOptions, ArenaSource, Backing, Binding, Downgrade, DumpPolicy, PlatformError, Prefault,
        Topology, arena::Residency, topology::Cpu,
    },
    zone::{PAGEBLOCK_FRAMES, ZoneSpan, sizing::WATERMARK_SCALE_FACTOR, watermark::WatermarkRule},
};

/// Who lets caches age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintain {
    /// A thread of the allocator's own, once a second.
    #[default]
    EverySecond,
    /// The caller, with [`Allocator::age`].
    ByHand,
}

/// Options of an allocator.
///
/// | option | default |
/// |---|---|
/// | memory | private, 4 KiB pages, committed as it is touched |
/// | zones | DMA of 16 MiB, DMA32 up to 4 GiB, NORMAL behind; no HIGHMEM, no MOVABLE |
/// | maximum order | 10 (4 MiB) |
/// | watermarks | the kernel's formulas |
pub struct Builder {
    arena: ArenaOptions,
    lent: Option<NonNull<u8>>,
    max_order: u8,
    dma_bytes: usize,
    highmem_bytes: usize,
    movable_bytes: usize,
    rule: WatermarkRule,
    min_free_kbytes: Option<u64>,
    watermark_scale_factor: u64,
    cpus: Option<u32>,
    high_fraction: u32,
    maintain: Maintain,
    on_misuse: Option<MisuseHook>,
    debug: DebugModes,
    on_finding: Option<FindingHook>,
    spread: Spread,
    binding: Binding,
    verify_binding: bool,
    topology: Option<Topology>,
    maximum: Option<usize>,
    cma: Vec<(&'static str, usize)>,
}

/// What the DMA zone holds unless told otherwise: 16 MiB, what an ISA device could reach.
const DMA_BYTES: usize = 16 << 20;

/// What sizes that change by whole pageblocks are multiples of.
const PAGEBLOCK_BYTES: usize = FRAME_BYTES * PAGEBLOCK_FRAMES as usize;

/// The host's topology, read once: an allocator is built in far less time than it takes to read.
fn host_topology() -> Result<&'static Topology, PlatformError> {
    static HOST: OnceLock<Topology> = OnceLock::new();
    if let Some(topology) = HOST.get() {
        return Ok(topology);
    }
    let topology = Topology::load()?;
    Ok(HOST.get_or_init(|| topology))
}

impl Builder {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            arena: ArenaOptions::new(bytes),
            lent: None,
            max_order: 10,
            dma_bytes: DMA_BYTES,
            highmem_bytes: 0,
            movable_bytes: 0,
            rule: WatermarkRule::default(),
            min_free_kbytes: None,
            watermark_scale_factor: WATERMARK_SCALE_FACTOR,
            cpus: None,
            high_fraction: 0,
            maintain: Maintain::default(),
            on_misuse: None,
            debug: DebugModes::empty(),
            on_finding: None,
            spread: Spread::OneNode,
            binding: Binding::None,
            verify_binding: false,
            topology: None,
            maximum: None,
            cma: Vec::new(),
        }
    }

    /// Takes memory of this process, or a file in memory that others can map.
    #[must_use]
    pub fn source(mut self, source: ArenaSource) -> Self {
        self.arena.source = source;
        self
    }

    /// Takes a mapping of the caller's, which stays the caller's: it is not unmapped.
    ///
    /// # Safety
    /// The mapping has the size given to [`Allocator::builder`], is readable and writable, and nobody else uses it until the
    /// allocator and all its blocks are gone.
    #[must_use]
    pub unsafe fn from_raw(mut self, base: NonNull<u8>) -> Self {
        self.lent = Some(base);
        self
    }

    /// Asks for pages of a kind; [`Arena::obtained`] says what was granted. Hugetlb pages ([`Backing::Huge2M`],
    /// [`Backing::Huge1G`]) are all taken when the allocator is built, from the pools of the nodes that the arena is bound to.
    ///
    /// ```
    /// use gfp::{Allocator, platform::Backing};
    ///
    /// let allocator = Allocator::builder(64 << 20).backing(Backing::Huge2M).build()?;
    /// println!("{}", allocator.arena().obtained()); // "2m", or "thp and not 2m: 32 hugetlb pages of 2 MiB were asked for, …"
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn backing(mut self, backing: Backing) -> Self {
        self.arena.backing = backing;
        self
    }

    /// Says what happens when the pages asked for cannot be had: lesser ones, as is the default, or an error.
    ///
    /// ```
    /// use gfp::{Allocator, platform::{Backing, Downgrade}};
    ///
    /// let builder = Allocator::builder(1 << 30).backing(Backing::Huge1G).downgrade(Downgrade::Forbidden);
    /// match builder.build() {
    ///     Ok(allocator) => assert_eq!(allocator.arena().obtained().backing, Backing::Huge1G),
    ///     Err(error) => println!("{error}"), // the pool, pages asked for, pages free, the file to write to
    /// }
    /// ```
    #[must_use]
    pub const fn downgrade(mut self, downgrade: Downgrade) -> Self {
        self.arena.downgrade = downgrade;
        self
    }

    /// Makes all of the arena resident when it is built.
    #[must_use]
    pub fn prefault(mut self, prefault: Prefault) -> Self {
        self.arena.prefault = prefault;
        self
    }

    /// Names the mapping in /proc/self/maps.
    #[must_use]
    pub fn name(mut self, name: &'static CStr) -> Self {
        self.arena.name = Some(name);
        self
    }

    /// Says whether core dumps have the arena's contents.
    #[must_use]
    pub fn dump(mut self, dump: DumpPolicy) -> Self {
        self.arena.dump = dump;
        self
    }

    /// Sets the largest order of a request, 9 to 18: 2 MiB to 1 GiB.
    #[must_use]
    pub const fn max_order(mut self, order: u8) -> Self {
        self.max_order = order;
        self
    }

    /// Sets the size of the DMA zone at the arena's start, which is made resident, and locked where that is allowed; 0 for
    /// none.
    #[must_use]
    pub const fn dma(mut self, bytes: usize) -> Self {
        self.dma_bytes = bytes;
        self
    }

    /// Sets the size of a HIGHMEM zone behind NORMAL; 0, the default, for none.
    #[must_use]
    pub const fn highmem(mut self, bytes: usize) -> Self {
        self.highmem_bytes = bytes;
        self
    }

    /// Sets the size of the MOVABLE zone at the arena's end; 0, the default, for none.
    #[must_use]
    pub const fn movable(mut self, bytes: usize) -> Self {
        self.movable_bytes = bytes;
        self
    }

    /// Chooses the version of the watermark test.
    #[must_use]
    pub const fn watermark_rule(mut self, rule: WatermarkRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the minimum to keep free in KiB, instead of the kernel's formula (`vm.min_free_kbytes`); 0 lets every request
    /// have the last frame.
    #[must_use]
    pub const fn min_free_kbytes(mut self, kbytes: u64) -> Self {
        self.min_free_kbytes = Some(kbytes);
        self
    }

    /// Sets the distance between marks in ten-thousandths of a zone, 1 to 3000 (`vm.watermark_scale_factor`).
    #[must_use]
    pub const fn watermark_scale_factor(mut self, factor: u64) -> Self {
        self.watermark_scale_factor = factor;
        self
    }

    /// Sets for how many CPUs caches are sized, instead of those that this process may run on.
    #[must_use]
    pub const fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Fixes the size of caches at one part in `fraction` of each zone together, 8 and more; 0, the default, lets it follow
    /// the load (`vm.percpu_pagelist_high_fraction`).
    #[must_use]
    pub const fn percpu_pagelist_high_fraction(mut self, fraction: u32) -> Self {
        self.high_fraction = fraction;
        self
    }

    /// Spreads the arena over NUMA nodes, instead of one that lies wherever the system puts it.
    #[must_use]
    pub fn nodes(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// Says how firmly each node's part of the arena is tied to it; [`Allocator::nodes`] says what came of it.
    #[must_use]
    pub const fn bind(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }

    /// Asks the system where the memory lies that is there after building, and notes it in [`Allocator::nodes`]; memory that is
    /// bound strictly and lies elsewhere is an error. Hugetlb pages and a [prefaulted](Self::prefault) arena are all there, of others
    /// what was locked for the DMA zone.
    ///
    /// ```
    /// use gfp::{Allocator, platform::Prefault};
    ///
    /// let allocator = Allocator::builder(64 << 20).prefault(Prefault::All).verify_binding(true).build()?;
    /// for node in allocator.nodes() {
    ///     println!("node {}: {:?}", node.node, node.placement);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn verify_binding(mut self, verify: bool) -> Self {
        self.verify_binding = verify;
        self
    }

    /// Takes nodes, CPUs and distances from a topology, instead of this machine's. Memory is not tied to the nodes of one that is
    /// simulated.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = Some(topology);
        self
    }

    /// Lets the arena grow to so many bytes, a multiple of 2 MiB as its size then is: the address space is reserved, and what is
    /// beyond the size at first is offline until [`Allocator::online_pages`]. Nodes and the zones at the arena's end are those
    /// of the maximum, and a mapping [of the caller's](Self::from_raw) has that size. What is made resident at once, and pages from
    /// a pool, are taken for all of it.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).maximum(1 << 30).build()?;
    /// let rest = allocator.offline_ranges().remove(0);
    /// allocator.online_pages(rest)?;
    /// assert_eq!(allocator.conservation().managed(), 1 << 18);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn maximum(mut self, bytes: usize) -> Self {
        self.maximum = Some(bytes);
        self
    }

    /// Keeps an area of so many bytes, a multiple of 2 MiB, for [contiguous requests](Allocator::cma_alloc) of that name
    /// (`cma_declare_contiguous`). It lies at the end of the last zone before HIGHMEM and MOVABLE; areas that were asked for
    /// earlier lie behind later ones. Movable requests borrow from it.
    #[must_use]
    pub fn cma(mut self, name: &'static str, bytes: usize) -> Self {
        self.cma.push((name, bytes));
        self
    }

    /// Says who lets caches age.
    #[must_use]
    pub const fn maintain(mut self, maintain: Maintain) -> Self {
        self.maintain = maintain;
        self
    }

    /// Installs what is called with every misuse that a drop or a handle's free finds. It may abort the process.
    #[must_use]
    pub fn on_misuse(mut self, hook: MisuseHook) -> Self {
        self.on_misuse = Some(hook);
        self
    }

    /// Switches debug modes on; without any, which is the default, they cost nothing.
    ///
    /// ```
    /// use gfp::{Allocator, DebugModes, Gfp};
    ///
    /// let allocator = Allocator::builder(64 << 20).debug(DebugModes::INIT_ON_ALLOC | DebugModes::GUARD).build()?;
    /// let pages = allocator.alloc_page(Gfp::KERNEL)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn debug(mut self, modes: DebugModes) -> Self {
        self.debug = modes;
        self
    }

    /// Installs what is called with everything that a debug mode finds. It may abort the process.
    #[must_use]
    pub fn on_finding(mut self, hook: FindingHook) -> Self {
        self.on_finding = Some(hook);
        self
    }

    /// Builds the allocator.
    ///
    /// # Errors
    /// An option that makes no sense, or what the system refused. Nothing is left behind then.
    pub fn build(mut self) -> Result<Allocator, BuildError> {
        let online_frames = self.online_frames()?;
        self.arena.bytes = self.maximum.unwrap_or(self.arena.bytes);
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
        let core = Core::new(domain, arena, nodes, debug, self.on_misuse, number);
        Allocator::new(core, self.maintain)
            .map_err(|error| BuildError::platform("starting the maintenance thread", error))
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

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder")
            .field("arena", &self.arena)
            .field("max_order", &self.max_order)
            .finish_non_exhaustive()
    }
}
