//! `/proc/zoneinfo`: everything about every zone.

use core::fmt;

use super::{NodeStat, PagesetStat, ZoneStat};

/// Watermarks, sizes, reserves and caches of every zone.
///
/// Unpopulated zones are shown as far as the kernel shows them. A thread's cache stands where the kernel has a CPU's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Zoneinfo {
    /// The nodes that have memory. What is known of one is shown with the first of its zones that has memory.
    pub nodes: Vec<NodeStat>,
    /// The zones; those of a node are adjacent.
    pub zones: Vec<ZoneStat>,
}

impl fmt::Display for Zoneinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zones in self.zones.chunk_by(|one, next| one.node == next.node) {
            let first_populated = zones.iter().position(ZoneStat::is_populated);
            for (place, zone) in zones.iter().enumerate() {
                writeln!(f, "Node {}, zone {:>8}", zone.node, zone.zone)?;
                if first_populated == Some(place) {
                    writeln!(f, "  per-node stats")?;
                    let node = self.nodes.iter().find(|node| node.node == zone.node);
                    write_rows(f, node.into_iter().flat_map(NodeStat::rows))?;
                }
                write_sizes(f, zone)?;
                if zone.is_populated() {
                    write_populated(f, zone)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes counters, as those of nodes and zones are.
fn write_rows(
    f: &mut fmt::Formatter<'_>,
    rows: impl IntoIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    rows.into_iter().try_for_each(|(name, value)| writeln!(f, "      {name:<12} {value}"))
}

/// Writes what every zone has.
fn write_sizes(f: &mut fmt::Formatter<'_>, zone: &ZoneStat) -> fmt::Result {
    writeln!(f, "  pages free     {}", zone.free)?;
    let rows = [
        ("boost", zone.marks.boost),
        ("min", zone.marks.min + zone.marks.boost),
        ("low", zone.marks.low + zone.marks.boost),
        ("high", zone.marks.high + zone.marks.boost),
        ("promo", zone.marks.promo + zone.marks.boost),
        ("spanned", zone.spanned),
        ("present", zone.present),
        ("managed", zone.managed),
        ("cma", zone.cma),
    ];
    for (name, value) in rows {
        writeln!(f, "        {name:<8} {value}")?;
    }
    f.write_str("        protection: (")?;
    for (i, frames) in zone.protection.iter().enumerate() {
        write!(f, "{}{frames}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str(")\n")
}

/// Writes what only a zone with memory has.
fn write_populated(f: &mut fmt::Formatter<'_>, zone: &ZoneStat) -> fmt::Result {
    write_rows(f, zone.gauges().into_iter().chain(zone.numa.rows()))?;
    writeln!(f, "  pagesets")?;
    for pageset in &zone.pagesets {
        write_pageset(f, pageset)?;
    }
    writeln!(f, "  node_unreclaimable:  {}", u8::from(zone.node_unreclaimable))?;
    writeln!(f, "  start_pfn:           {}", zone.start_pfn)?;
    writeln!(f, "  reserved_highatomic: {}", zone.reserved_highatomic)?;
    writeln!(f, "  free_highatomic:     {}", zone.free_highatomic)
}

/// Writes one cache.
fn write_pageset(f: &mut fmt::Formatter<'_>, pageset: &PagesetStat) -> fmt::Result {
    writeln!(f, "    cpu: {}", pageset.thread)?;
    writeln!(f, "              count:    {}", pageset.count)?;
    writeln!(f, "              high:     {}", pageset.high)?;
    writeln!(f, "              batch:    {}", pageset.batch)?;
    writeln!(f, "              high_min: {}", pageset.high_min)?;
    writeln!(f, "              high_max: {}", pageset.high_max)?;
    writeln!(f, "  vm stats threshold: {}", pageset.stat_threshold)
}

#[cfg(test)]
mod tests {
    use super::super::proc_text::{self, sample};
    use super::*;
    use crate::gfp::ZoneType;

    const EXPECTED: &str = "\
Node 0, zone  Movable
  pages free     0
        boost    0
        min      32
        low      32
        high     32
        promo    32
        spanned  0
        present  0
        managed  0
        cma      0
        protection: (0, 0, 0, 0, 0)
Node 0, zone   Normal
  per-node stats
      nr_inactive_file 41
      nr_active_file 42
      nr_unevictable 4154
      nr_dirty     43
      nr_writeback 44
  pages free     282959
        boost    512
        min      6496
        low      7992
        high     9488
        promo    10984
        spanned  458752
        present  458752
        managed  425984
        cma      4096
        protection: (0, 0, 0, 7, 9)
      nr_free_pages 282959
      nr_free_pages_blocks 256000
      nr_zone_unevictable 4154
      nr_mlock     4090
      nr_free_cma  100
      numa_hit     11
      numa_miss    12
      numa_foreign 13
      numa_interleave 14
      numa_local   15
      numa_other   16
  pagesets
    cpu: 0
              count:    100
              high:     3740
              batch:    63
              high_min: 3740
              high_max: 26624
  vm stats threshold: 0
    cpu: 3
              count:    0
              high:     0
              batch:    1
              high_min: 0
              high_max: 0
  vm stats threshold: 0
  node_unreclaimable:  0
  start_pfn:           1048576
  reserved_highatomic: 2048
  free_highatomic:     2000
";

    #[test]
    fn the_format_is_that_of_linux_7() {
        let nodes = vec![proc_text::sample_node()];
        let text = Zoneinfo { nodes, zones: vec![proc_text::unpopulated(), sample()] }.to_string();
        assert_eq!(text, EXPECTED);
    }

    #[test]
    fn another_parser_reads_back_what_was_written() {
        let mut second = sample();
        second.node = 1;
        second.zone = ZoneType::Dma32;
        second.node_unreclaimable = true;
        let third = ZoneStat { zone: ZoneType::Normal, ..second.clone() };
        let nodes =
            vec![proc_text::sample_node(), NodeStat { node: 1, dirty: 8308, ..proc_text::sample_node() }];
        let written = Zoneinfo { nodes, zones: vec![proc_text::unpopulated(), sample(), second, third] };
        assert_eq!(proc_text::parse_zoneinfo(&written.to_string()), Some(written));
    }

    #[test]
    fn the_running_kernels_text_is_reproduced() {
        let Some(theirs) = proc_text::settled_zoneinfo() else { return };
        let read = proc_text::parse_zoneinfo(&theirs).expect("the reader knows the format");
        assert!(read.zones.iter().any(ZoneStat::is_populated));
        let ours = read.to_string();
        // Either side may have rows that the other lacks; the rest must agree to the byte.
        assert_eq!(proc_text::keep_common_rows(&ours, &theirs), proc_text::keep_common_rows(&theirs, &ours));
    }
}
