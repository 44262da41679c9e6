//! `/proc/vmstat`: gauges and event counts of the whole allocator.

use core::fmt;

use super::{NumaStat, ZoneStat};
use crate::gfp::{NR_ZONE_TYPES, ZoneType};

/// Gauges and events of all zones together, in frames unless noted.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct VmStat {
    /// Free frames in free areas.
    pub nr_free_pages: u64,
    /// Free frames in wholly free pageblocks.
    pub nr_free_pages_blocks: u64,
    /// Free frames in CMA pageblocks.
    pub nr_free_cma: u64,
    /// Where requests were meant to be served and where they were.
    pub numa: NumaStat,
    /// Allocated frames by the zone that served them.
    pub pgalloc: [u64; NR_ZONE_TYPES],
    /// Requests that had to reclaim by themselves, by the highest zone they could use.
    pub allocstall: [u64; NR_ZONE_TYPES],
    /// Freed frames.
    pub pgfree: u64,
}

impl VmStat {
    /// Adds the gauges and NUMA counts of `zone`.
    pub const fn add_zone(&mut self, zone: &ZoneStat) {
        self.nr_free_pages += zone.free;
        self.nr_free_pages_blocks += zone.free_in_blocks;
        self.nr_free_cma += zone.free_cma;
        self.numa.add(&zone.numa);
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
        writeln!(f, "nr_free_cma {}", self.nr_free_cma)?;
        for (name, count) in self.numa.rows() {
            writeln!(f, "{name} {count}")?;
        }
        for (name, counts) in [("pgalloc", self.pgalloc), ("allocstall", self.allocstall)] {
            for (zone, count) in ZoneType::ALL.into_iter().zip(counts) {
                writeln!(f, "{name}_{} {count}", suffix(zone))?;
            }
        }
        writeln!(f, "pgfree {}", self.pgfree)?;
        writeln!(f, "nr_unstable 0")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::proc_text::sample;
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
        assert!(text.contains("\nallocstall_movable 0\npgfree 14\n"));
        assert!(text.ends_with("\nnr_unstable 0\n"));
        assert!(text.lines().all(|line| line.split(' ').nth(1).is_some_and(|v| v.parse::<u64>().is_ok())));
    }

    #[test]
    fn zones_add_up() {
        let mut stat = VmStat::default();
        stat.add_zone(&sample());
        stat.add_zone(&sample());
        assert_eq!(stat.nr_free_pages, 2 * sample().free);
        assert_eq!(stat.numa.other, 32);
    }

    #[test]
    fn names_and_order_are_the_running_kernels() {
        let Ok(theirs) = std::fs::read_to_string("/proc/vmstat") else { return };
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
