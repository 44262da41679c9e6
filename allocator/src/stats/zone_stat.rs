//! What is known of a zone and of a node.

use crate::{
    gfp::{NR_ZONE_TYPES, ZoneType},
    node::NodeStatItem,
    zone::watermark::Watermarks,
};

/// One zone as the statistics show it; amounts in frames unless noted.
///
/// ```
/// let allocator = gfp::Allocator::builder(64 << 20).build()?;
/// let zones = allocator.zone_stats();
/// let managed: u64 = zones.iter().filter(|zone| zone.is_populated()).map(|zone| zone.managed).sum();
/// assert_eq!(managed, allocator.arena().frames());
/// # Ok::<(), gfp::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ZoneStat {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// Free frames in the zone's free areas.
    pub free: u64,
    /// Free frames in wholly free pageblocks.
    pub free_in_blocks: u64,
    /// Free frames in CMA pageblocks.
    pub free_cma: u64,
    /// Frames that are never paged out.
    pub unevictable: u64,
    /// Frames that are never paged out because they are locked.
    pub mlocked: u64,
    /// Watermarks without boost, and the boost.
    pub marks: Watermarks,
    /// Frames from the zone's first to its last, holes included.
    pub spanned: u64,
    /// Frames without holes; 0 for a zone that exists only as a name.
    pub present: u64,
    /// Frames that the zone hands out.
    pub managed: u64,
    /// Frames in CMA pageblocks.
    pub cma: u64,
    /// Frames kept from requests whose highest zone is a higher one, by its type in the order of [`ZoneType::ALL`].
    #[doc(alias = "lowmem_reserve")]
    pub protection: [u64; NR_ZONE_TYPES],
    /// Where requests were meant to be served and where they were.
    pub numa: NumaStat,
    /// The threads' caches of this zone.
    pub pagesets: Vec<PagesetStat>,
    /// Whether reclaim of the zone's node was given up as hopeless.
    pub node_unreclaimable: bool,
    /// The number of the zone's first frame.
    pub start_pfn: u64,
    /// Frames in highatomic pageblocks.
    pub reserved_highatomic: u64,
    /// Free frames in highatomic pageblocks.
    pub free_highatomic: u64,
}

/// A node as the statistics show it; amounts in frames.
///
/// Of what the kernel counts by node, this is what an allocator has.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeStat {
    /// The node.
    pub node: u32,
    /// Pages of files that were not used lately, as callers count them.
    pub inactive_file: u64,
    /// Pages of files that were used lately, as callers count them.
    pub active_file: u64,
    /// Frames that are never paged out.
    pub unevictable: u64,
    /// Pages that must be flushed before their frames can be given up, as callers count them.
    pub dirty: u64,
    /// Pages that are being flushed, as callers count them.
    pub writeback: u64,
}

impl NodeStat {
    /// Returns the counters with the kernel's names, in its order.
    pub(super) const fn rows(&self) -> [(&'static str, u64); 5] {
        [
            (NodeStatItem::InactiveFile.name(), self.inactive_file),
            (NodeStatItem::ActiveFile.name(), self.active_file),
            ("nr_unevictable", self.unevictable),
            (NodeStatItem::FileDirty.name(), self.dirty),
            (NodeStatItem::Writeback.name(), self.writeback),
        ]
    }
}

/// One thread's cache of one zone, in frames; what a CPU's pageset is in the kernel.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PagesetStat {
    /// The thread's index among the registered ones, printed as `cpu`.
    pub thread: u32,
    /// Cached frames.
    pub count: u32,
    /// How many are enough for now.
    pub high: u32,
    /// How many are moved at a time.
    pub batch: u32,
    /// The least that `high` falls to.
    pub high_min: u32,
    /// The most that `high` rises to.
    pub high_max: u32,
    /// How far the thread's counters may be from what is shown; 0 where counts are exact.
    pub stat_threshold: u32,
}

/// Allocations by where they were meant to be served and where they were.
///
/// ```
/// use gfp::stats::NumaStat;
///
/// let mut sum = NumaStat { hit: 3, ..NumaStat::default() };
/// sum.add(&NumaStat { hit: 1, miss: 2, ..NumaStat::default() });
/// assert_eq!(sum.rows()[..2], [("numa_hit", 4), ("numa_miss", 2)]);
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NumaStat {
    /// Served here as intended.
    pub hit: u64,
    /// Served here, intended elsewhere.
    pub miss: u64,
    /// Intended here, served elsewhere.
    pub foreign: u64,
    /// Interleaved here as intended.
    pub interleave: u64,
    /// Served here to a thread of this node.
    pub local: u64,
    /// Served here to a thread of another node.
    pub other: u64,
}

impl NumaStat {
    /// Returns the counters with the kernel's names, in its order.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("numa_hit", self.hit),
            ("numa_miss", self.miss),
            ("numa_foreign", self.foreign),
            ("numa_interleave", self.interleave),
            ("numa_local", self.local),
            ("numa_other", self.other),
        ]
    }

    /// Adds the counts of `other`.
    pub const fn add(&mut self, other: &Self) {
        self.hit += other.hit;
        self.miss += other.miss;
        self.foreign += other.foreign;
        self.interleave += other.interleave;
        self.local += other.local;
        self.other += other.other;
    }
}

impl ZoneStat {
    /// Tells whether the zone has any memory.
    #[must_use]
    pub const fn is_populated(&self) -> bool {
        self.present > 0
    }

    /// Returns the zone's gauges with the kernel's names, in its order.
    pub(super) const fn gauges(&self) -> [(&'static str, u64); 5] {
        [
            ("nr_free_pages", self.free),
            ("nr_free_pages_blocks", self.free_in_blocks),
            ("nr_zone_unevictable", self.unevictable),
            ("nr_mlock", self.mlocked),
            ("nr_free_cma", self.free_cma),
        ]
    }
}
