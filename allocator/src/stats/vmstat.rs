//! `/proc/vmstat`: gauges and event counts of the whole allocator.

use core::fmt;

use super::{NodeStat, NumaStat, ZoneStat};
use crate::gfp::{NR_ZONE_TYPES, ZoneType};

/// Gauges and events of all zones together, in frames unless noted.
///
/// ```
/// use gfp::stats::{NodeStat, VmStat};
///
/// let allocator = gfp::Allocator::builder(64 << 20).build()?;
/// let mut sum = VmStat::default();
/// for zone in allocator.zone_stats() {
///     sum.add_zone(&zone);
/// }
/// sum.add_node(&NodeStat { unevictable: 3, ..NodeStat::default() });
/// assert_eq!((sum.nr_free_pages, sum.nr_unevictable), (allocator.vmstat().nr_free_pages, 3));
/// # Ok::<(), gfp::BuildError>(())
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VmStat {
    /// Free frames in free areas.
    pub nr_free_pages: u64,
    /// Free frames in wholly free pageblocks.
    pub nr_free_pages_blocks: u64,
    /// Frames that are never paged out, as the zones count them.
    pub nr_zone_unevictable: u64,
    /// Frames that are never paged out because they are locked.
    pub nr_mlock: u64,
    /// Free frames in CMA pageblocks.
    pub nr_free_cma: u64,
    /// Where requests were meant to be served and where they were.
    pub numa: NumaStat,
    /// Pages of files that were not used lately.
    pub nr_inactive_file: u64,
    /// Pages of files that were used lately.
    pub nr_active_file: u64,
    /// Frames that are never paged out, as the nodes count them.
    pub nr_unevictable: u64,
    /// Pages that must be flushed before their frames can be given up.
    pub nr_dirty: u64,
    /// Pages that are being flushed.
    pub nr_writeback: u64,
    /// How many pages may be dirty or being flushed.
    pub nr_dirty_threshold: u64,
    /// Allocated frames by the type of the zone that served them, in the order of [`ZoneType::ALL`].
    pub pgalloc: [u64; NR_ZONE_TYPES],
    /// Requests that had to reclaim by themselves, by the highest zone type they could use, in that order.
    pub allocstall: [u64; NR_ZONE_TYPES],
    /// Freed frames.
    pub pgfree: u64,
    /// Free frames whose memory was given back to the system; the kernel does not count them.
    pub pgreported: u64,
    /// Free frames whose memory the system refused to take back.
    pub pgreport_refused: u64,
    /// Frames that kswapds reclaimed.
    pub pgsteal_kswapd: u64,
    /// Frames that requests reclaimed by themselves.
    pub pgsteal_direct: u64,
    /// Frames that caches looked at for kswapds.
    pub pgscan_kswapd: u64,
    /// Frames that caches looked at for requests.
    pub pgscan_direct: u64,
    /// Requests that waited for a kswapd before they reclaimed by themselves.
    pub pgscan_direct_throttle: u64,
    /// Requests for which a node's memory was reclaimed before they went to another, and it was enough.
    pub zone_reclaim_success: u64,
    /// Those for which it was not.
    pub zone_reclaim_failed: u64,
    /// Objects that shrinkers looked at, as they say.
    pub slabs_scanned: u64,
    /// Naps of kswapds that somebody ended: memory fell below a low mark again soon.
    pub kswapd_low_wmark_hit_quickly: u64,
    /// Times that a kswapd did not go to sleep because memory fell below a high mark during its nap, or before it.
    pub kswapd_high_wmark_hit_quickly: u64,
    /// Times that a kswapd began to reclaim.
    pub pageoutrun: u64,
    /// How often a scope was chosen to be cancelled because memory had run out.
    pub oom_kill: u64,
}

impl VmStat {
    /// Adds the gauges and NUMA counts of `zone`.
    pub const fn add_zone(&mut self, zone: &ZoneStat) {
        self.nr_free_pages += zone.free;
        self.nr_free_pages_blocks += zone.free_in_blocks;
        self.nr_zone_unevictable += zone.unevictable;
        self.nr_mlock += zone.mlocked;
        self.nr_free_cma += zone.free_cma;
        self.numa.add(&zone.numa);
    }

    /// Adds the gauges of `node`.
    pub const fn add_node(&mut self, node: &NodeStat) {
        self.nr_inactive_file += node.inactive_file;
        self.nr_active_file += node.active_file;
        self.nr_unevictable += node.unevictable;
        self.nr_dirty += node.dirty;
        self.nr_writeback += node.writeback;
    }
}

/// Returns the suffix of counters that exist once for each zone type.
const fn suffix(zone: ZoneType) -> &'static str {
    match zone {
        ZoneType::Dma => "dma",
        ZoneType::Dma32 => "dma32",
        ZoneType::Normal => "normal",
        ZoneType::HighMem => "high",
        ZoneType::Movable => "movable",
    }
}

impl fmt::Display for VmStat {
    /// Writes `name value` lines in the kernel's order; the last is always `nr_unstable 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nr_free_pages {}", self.nr_free_pages)?;
        writeln!(f, "nr_free_pages_blocks {}", self.nr_free_pages_blocks)?;
        writeln!(f, "nr_zone_unevictable {}", self.nr_zone_unevictable)?;
        writeln!(f, "nr_mlock {}", self.nr_mlock)?;
        writeln!(f, "nr_free_cma {}", self.nr_free_cma)?;
        for (name, count) in self.numa.rows() {
            writeln!(f, "{name} {count}")?;
        }
        writeln!(f, "nr_inactive_file {}", self.nr_inactive_file)?;
        writeln!(f, "nr_active_file {}", self.nr_active_file)?;
        writeln!(f, "nr_unevictable {}", self.nr_unevictable)?;
        writeln!(f, "nr_dirty {}", self.nr_dirty)?;
        writeln!(f, "nr_writeback {}", self.nr_writeback)?;
        writeln!(f, "nr_dirty_threshold {}", self.nr_dirty_threshold)?;
        for (name, counts) in [("pgalloc", self.pgalloc), ("allocstall", self.allocstall)] {
            for (zone, count) in ZoneType::ALL.into_iter().zip(counts) {
                writeln!(f, "{name}_{} {count}", suffix(zone))?;
            }
        }
        for (name, count) in [
            ("pgfree", self.pgfree),
            ("pgreported", self.pgreported),
            ("pgreport_refused", self.pgreport_refused),
            ("pgsteal_kswapd", self.pgsteal_kswapd),
            ("pgsteal_direct", self.pgsteal_direct),
            ("pgscan_kswapd", self.pgscan_kswapd),
            ("pgscan_direct", self.pgscan_direct),
            ("pgscan_direct_throttle", self.pgscan_direct_throttle),
            ("zone_reclaim_success", self.zone_reclaim_success),
            ("zone_reclaim_failed", self.zone_reclaim_failed),
            ("slabs_scanned", self.slabs_scanned),
            ("kswapd_low_wmark_hit_quickly", self.kswapd_low_wmark_hit_quickly),
            ("kswapd_high_wmark_hit_quickly", self.kswapd_high_wmark_hit_quickly),
            ("pageoutrun", self.pageoutrun),
            ("oom_kill", self.oom_kill),
        ] {
            writeln!(f, "{name} {count}")?;
        }
        writeln!(f, "nr_unstable 0")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::proc_text::{self, sample};
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.split_once(' ')).map(|(name, _)| name).collect()
    }

    #[test]
    fn lines_are_names_and_values_and_the_last_is_nr_unstable() {
        let stat = VmStat { pgalloc: [1, 2, 3, 4, 5], pgfree: 14, ..VmStat::default() };
        let text = stat.to_string();
        assert!(text.starts_with("nr_free_pages 0\n"));
        assert!(text.contains("\npgalloc_dma32 2\npgalloc_normal 3\npgalloc_high 4\npgalloc_movable 5\n"));
        assert!(text.contains("\npageoutrun 0\noom_kill 0\n"));
        assert!(text.ends_with("\nnr_unstable 0\n"));
        assert!(text.lines().all(|line| line.split(' ').nth(1).is_some_and(|v| v.parse::<u64>().is_ok())));
    }

    #[test]
    fn zones_and_nodes_add_up() {
        let mut stat = VmStat::default();
        stat.add_node(&NodeStat { unevictable: 5, dirty: 1, active_file: 10, ..NodeStat::default() });
        stat.add_node(&NodeStat {
            unevictable: 6,
            dirty: 2,
            inactive_file: 7,
            writeback: 9,
            ..NodeStat::default()
        });
        assert_eq!(
            (stat.nr_dirty, stat.nr_active_file, stat.nr_inactive_file, stat.nr_writeback),
            (3, 10, 7, 9)
        );
        stat.add_zone(&sample());
        stat.add_zone(&sample());
        assert_eq!(stat.nr_free_pages, 2 * sample().free);
        assert_eq!(
            (stat.nr_zone_unevictable, stat.nr_mlock),
            (2 * sample().unevictable, 2 * sample().mlocked)
        );
        assert_eq!((stat.numa.other, stat.nr_unevictable), (32, 11));
    }

    #[test]
    fn names_and_order_are_the_running_kernels() {
        let Some(theirs) = proc_text::of_this_machine("/proc/vmstat") else { return };
        let ours = VmStat::default().to_string();
        let known: BTreeSet<&str> = names(&theirs).into_iter().collect();
        let common: BTreeSet<&str> = names(&ours).into_iter().filter(|name| known.contains(name)).collect();
        let pick = |text| -> Vec<String> {
            names(text).into_iter().filter(|name| common.contains(name)).map(String::from).collect()
        };
        assert_eq!(pick(&ours), pick(&theirs));
        assert!(common.contains("pgfree") && common.contains("nr_unstable"));
    }
}
