//! How an allocator is asked for.

mod build;
mod hooks;

use core::ptr::NonNull;
use std::{ffi::CStr, time::Duration};

use super::{DebugModes, FindingHook, Spread, core::Hooks};
use crate::{
    node::DirtyLimit,
    platform::{ArenaOptions, ArenaSource, Backing, Binding, Downgrade, DumpPolicy, Prefault, Topology},
    zone::{Grouping, sizing::WATERMARK_SCALE_FACTOR, watermark::WatermarkRule},
};

/// Who lets caches age, keeps memory free, and [gives it back to the system](Builder::report_free).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintain {
    /// Threads of the allocator's own: one once a second, one for each node when it is woken, and one that gives memory back.
    #[default]
    EverySecond,
    /// The caller, with [`Allocator::age`](super::Allocator::age). The allocator has no threads.
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
    grouping: Option<Grouping>,
    pub(super) dirty_limit: DirtyLimit,
    maintain: Maintain,
    report_free: Option<Duration>,
    hooks: Hooks,
    debug: DebugModes,
    on_finding: Option<FindingHook>,
    spread: Spread,
    binding: Binding,
    verify_binding: bool,
    topology: Option<Topology>,
    maximum: Option<usize>,
    cma: Vec<(&'static str, usize)>,
    node_reclaim_mode: u32,
}

/// What the DMA zone holds unless told otherwise: 16 MiB, what an ISA device could reach.
const DMA_BYTES: usize = 16 << 20;

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
            grouping: None,
            dirty_limit: DirtyLimit::default(),
            maintain: Maintain::default(),
            report_free: None,
            hooks: Hooks::default(),
            debug: DebugModes::empty(),
            on_finding: None,
            spread: Spread::OneNode,
            binding: Binding::None,
            verify_binding: false,
            topology: None,
            maximum: None,
            cma: Vec::new(),
            node_reclaim_mode: 0,
        }
    }

    /// Takes memory of this process, or a file in memory that others can map.
    ///
    /// ```
    /// # use gfp::{Allocator, platform::ArenaSource};
    /// let allocator = Allocator::builder(64 << 20).source(ArenaSource::Memfd).build()?;
    /// assert!(allocator.arena().file().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn source(mut self, source: ArenaSource) -> Self {
        self.arena.source = source;
        self
    }

    /// Takes a mapping of the caller's, which stays the caller's: it is not unmapped.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// let mut memory = vec![0_u8; 66 << 20];
    /// let start = memory.as_ptr().align_offset(2 << 20);
    /// let base = std::ptr::NonNull::new(memory[start..].as_mut_ptr()).expect("a vector has memory");
    /// // SAFETY: nobody uses the vector until the allocator and its blocks are gone.
    /// let builder = unsafe { Allocator::builder(64 << 20).from_raw(base) };
    /// let allocator = builder.build()?;
    /// drop(allocator.alloc_page(Gfp::KERNEL)?);
    /// drop(allocator);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// The mapping has the size given to [`Allocator::builder`](super::Allocator::builder), is readable and writable, and nobody else uses it until the
    /// allocator and all its blocks are gone.
    #[must_use]
    pub unsafe fn from_raw(mut self, base: NonNull<u8>) -> Self {
        self.lent = Some(base);
        self
    }

    /// Asks for pages of a kind; [`Arena::obtained`](crate::platform::Arena::obtained) says what was granted. Hugetlb pages ([`Backing::Huge2M`],
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
    ///
    /// ```
    /// # use gfp::{Allocator, platform::Prefault};
    /// let allocator = Allocator::builder(64 << 20).prefault(Prefault::All).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefault(mut self, prefault: Prefault) -> Self {
        self.arena.prefault = prefault;
        self
    }

    /// Names the mapping in /proc/self/maps.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).name(c"storage:pages").build()?;
    /// // Where the kernel has CONFIG_ANON_VMA_NAME, /proc/self/maps shows it.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name(mut self, name: &'static CStr) -> Self {
        self.arena.name = Some(name);
        self
    }

    /// Says whether core dumps have the arena's contents.
    ///
    /// ```
    /// # use gfp::{Allocator, platform::DumpPolicy};
    /// let allocator = Allocator::builder(64 << 20).dump(DumpPolicy::Exclude).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dump(mut self, dump: DumpPolicy) -> Self {
        self.arena.dump = dump;
        self
    }

    /// Sets the largest order of a request, 9 to 18: 2 MiB to 1 GiB.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// let allocator = Allocator::builder(4 << 30).max_order(18).build()?;
    /// let gibibyte = allocator.alloc_pages(Gfp::KERNEL, Order::new(18))?;
    /// assert_eq!(gibibyte.len(), 1 << 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn max_order(mut self, order: u8) -> Self {
        self.max_order = order;
        self
    }

    /// Sets the size of the DMA zone at the arena's start, which is made resident, and locked where that is allowed; 0 for
    /// none.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).dma(4 << 20).build()?;
    /// assert_eq!(allocator.conservation().zones[0].managed, 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn dma(mut self, bytes: usize) -> Self {
        self.dma_bytes = bytes;
        self
    }

    /// Sets the size of a HIGHMEM zone behind NORMAL; 0, the default, for none.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// let allocator = Allocator::builder(64 << 20).highmem(16 << 20).build()?;
    /// let page = allocator.alloc_page(Gfp::HIGHUSER)?;
    /// assert!(page.offset() >= 48 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn highmem(mut self, bytes: usize) -> Self {
        self.highmem_bytes = bytes;
        self
    }

    /// Sets the size of the MOVABLE zone at the arena's end; 0, the default, for none.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).movable(16 << 20).build()?;
    /// assert_eq!(allocator.conservation().zones.last().map(|zone| zone.managed), Some(4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn movable(mut self, bytes: usize) -> Self {
        self.movable_bytes = bytes;
        self
    }

    /// Chooses the version of the watermark test.
    ///
    /// ```
    /// # use gfp::{Allocator, zone::watermark::WatermarkRule};
    /// let allocator = Allocator::builder(64 << 20).watermark_rule(WatermarkRule::HalvePerOrder).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn watermark_rule(mut self, rule: WatermarkRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the minimum to keep free in KiB, instead of the kernel's formula (`vm.min_free_kbytes`); 0 lets every request
    /// have the last frame.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).min_free_kbytes(1024).build()?;
    /// let min: u64 = allocator.zone_stats().iter().map(|zone| zone.marks.min).sum();
    /// assert!((254..=256).contains(&min), "rounded down in each zone");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn min_free_kbytes(mut self, kbytes: u64) -> Self {
        self.min_free_kbytes = Some(kbytes);
        self
    }

    /// Sets the distance between marks in ten-thousandths of a zone, 1 to 3000 (`vm.watermark_scale_factor`).
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).watermark_scale_factor(100).build()?;
    /// let marks = allocator.zone_stats()[1].marks;
    /// assert!(marks.low - marks.min >= 12288 / 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn watermark_scale_factor(mut self, factor: u64) -> Self {
        self.watermark_scale_factor = factor;
        self
    }

    /// Sets for how many CPUs caches are sized, instead of those that this process may run on.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).cpus(16).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Fixes the size of caches at one part in `fraction` of each zone together, 8 and more; 0, the default, lets it follow
    /// the load (`vm.percpu_pagelist_high_fraction`).
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).percpu_pagelist_high_fraction(8).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn percpu_pagelist_high_fraction(mut self, fraction: u32) -> Self {
        self.high_fraction = fraction;
        self
    }

    /// Keeps pageblocks apart by migrate type, or does not (`page_group_by_mobility_disabled`), instead of only where the arena is
    /// large enough for it.
    ///
    /// ```
    /// # use gfp::{Allocator, zone::Grouping};
    /// let allocator = Allocator::builder(64 << 20).grouping(Grouping::Disabled).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "page_group_by_mobility_disabled")]
    pub const fn grouping(mut self, grouping: Grouping) -> Self {
        self.grouping = Some(grouping);
        self
    }

    /// Spreads the arena over NUMA nodes, instead of one that lies wherever the system puts it.
    ///
    /// ```
    /// # use gfp::{Allocator, Spread, platform::{NodeId, Topology}};
    /// let topology = Topology::synthetic("numa:2 core:2 pu:1")?;
    /// let parts = vec![(NodeId(0), 48 << 20), (NodeId(1), 16 << 20)];
    /// let allocator = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts)).build()?;
    /// assert_eq!(allocator.nodes()[1].bytes, 16 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn nodes(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// Says how firmly each node's part of the arena is tied to it; [`Allocator::nodes`](super::Allocator::nodes) says what came of it.
    ///
    /// ```
    /// # use gfp::{Allocator, Bound, Spread, platform::Binding};
    /// let builder = Allocator::builder(64 << 20).nodes(Spread::AllNodes).bind(Binding::Preferred);
    /// for node in builder.build()?.nodes() {
    ///     println!("node {}: {:?}", node.node, node.bound);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn bind(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }

    /// Asks the system where the memory lies that is there after building, and notes it in [`Allocator::nodes`](super::Allocator::nodes); memory that is
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
    ///
    /// ```
    /// # use gfp::{Allocator, Bound, Spread, platform::{Binding, Topology}};
    /// let machine = Topology::synthetic("numa:4 core:8 pu:2")?;
    /// let builder = Allocator::builder(64 << 20).topology(machine).nodes(Spread::AllNodes);
    /// let allocator = builder.bind(Binding::Strict).build()?;
    /// assert_eq!((allocator.nodes().len(), &allocator.nodes()[3].bound), (4, &Bound::Simulated));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = Some(topology);
        self
    }

    /// Lets the arena grow to so many bytes, a multiple of 2 MiB as its size then is: the address space is reserved, and what is
    /// beyond the size at first is offline until [`Allocator::online_pages`](super::Allocator::online_pages). Nodes and the zones at the arena's end are those
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

    /// Keeps an area of so many bytes, a multiple of 2 MiB, for [contiguous requests](super::Allocator::cma_alloc) of that name
    /// (`cma_declare_contiguous`). It lies at the end of the last zone before HIGHMEM and MOVABLE; areas that were asked for
    /// earlier lie behind later ones. Movable requests borrow from it.
    ///
    /// ```
    /// # use gfp::{Allocator, Order};
    /// let allocator = Allocator::builder(64 << 20).cma("ring", 8 << 20).build()?;
    /// let ring = allocator.cma_alloc("ring", 2048, Order::ZERO)?;
    /// assert_eq!(ring.len(), 8 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cma(mut self, name: &'static str, bytes: usize) -> Self {
        self.cma.push((name, bytes));
        self
    }

    /// Says whether a node's memory is reclaimed before a request goes to another node (`vm.zone_reclaim_mode`): bits, of which any
    /// switches it on; 0, the default, for no. With bit 1 (2) caches may write to free memory; without, they are asked with neither
    /// [`Gfp::IO`](crate::Gfp::IO) nor [`Gfp::FS`](crate::Gfp::FS). Bit 2 (4) is the kernel's for mapped pages, and means no more than bit 0 (1) here.
    ///
    /// It is done for requests that may block, for nodes at a distance of 30 or less from the one that the request prefers, where
    /// more than 1 % of the node could be reclaimed.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).node_reclaim_mode(1).build()?;
    /// assert!(Allocator::builder(64 << 20).node_reclaim_mode(8).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "zone_reclaim_mode")]
    #[must_use]
    pub const fn node_reclaim_mode(mut self, bits: u32) -> Self {
        self.node_reclaim_mode = bits;
        self
    }

    /// Says who lets caches age and keeps memory free.
    ///
    /// ```
    /// # use gfp::{Allocator, Maintain};
    /// let allocator = Allocator::builder(64 << 20).maintain(Maintain::ByHand).build()?;
    /// allocator.age(); // once a second
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn maintain(mut self, maintain: Maintain) -> Self {
        self.maintain = maintain;
        self
    }

    /// Gives free blocks of 2 MiB and more back to the system, so long after some came back, 1 ms to 1 hour; off by default (the
    /// kernel's free page reporting, which a device has to register for, with 2 s).
    ///
    /// A thread sleeps until such a block is free, waits, and goes through the zones, as long as each has 64 MiB more than its low
    /// mark. What was given back costs no memory until it is used again, and then a page fault for each page. What the system refuses
    /// stays as it is, and is tried again after the same delay. [`Allocator::free_page_reporting`](super::Allocator::free_page_reporting)
    /// says what came of it, and [`Allocator::trim`](super::Allocator::trim) does it at once, and what is never given back.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use gfp::Allocator;
    ///
    /// let allocator = Allocator::builder(1 << 30).report_free(Duration::from_secs(2)).build()?;
    /// assert!(Allocator::builder(1 << 30).report_free(Duration::ZERO).build().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "page_reporting_register")]
    pub const fn report_free(mut self, delay: Duration) -> Self {
        self.report_free = Some(delay);
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
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder")
            .field("arena", &self.arena)
            .field("max_order", &self.max_order)
            .finish_non_exhaustive()
    }
}
