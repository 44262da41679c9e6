//! A reader of the kernel's texts for tests, which shares nothing with the writers but the structures.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Buddyinfo, BuddyinfoZone, MigrateTypeStat, NodeStat, NumaStat, PagesetStat, Pagetypeinfo,
    PagetypeinfoZone, ZoneIndices, ZoneStat, Zoneinfo,
};
use crate::{
    gfp::{MigrateType, NR_ZONE_TYPES, ZoneType},
    zone::watermark::Watermarks,
};

/// Returns a zone with a different number in every field.
pub(super) fn sample() -> ZoneStat {
    let limits =
        PagesetStat { high: 3740, batch: 63, high_min: 3740, high_max: 26_624, ..Default::default() };
    ZoneStat {
        node: 0,
        zone: ZoneType::Normal,
        free: 282_959,
        free_in_blocks: 256_000,
        free_cma: 100,
        unevictable: 4154,
        mlocked: 4090,
        marks: Watermarks { min: 5984, low: 7480, high: 8976, promo: 10_472, boost: 512 },
        spanned: 458_752,
        present: 458_752,
        managed: 425_984,
        cma: 4096,
        protection: [0, 0, 0, 7, 9],
        numa: NumaStat { hit: 11, miss: 12, foreign: 13, interleave: 14, local: 15, other: 16 },
        pagesets: vec![
            PagesetStat { count: 100, ..limits },
            PagesetStat { thread: 3, batch: 1, ..Default::default() },
        ],
        node_unreclaimable: false,
        start_pfn: 1 << 20,
        reserved_highatomic: 2048,
        free_highatomic: 2000,
    }
}

/// Returns a node with a different number in every field.
pub(super) fn sample_node() -> NodeStat {
    NodeStat { node: 0, inactive_file: 41, active_file: 42, unevictable: 4154, dirty: 43, writeback: 44 }
}

/// Returns a zone that exists only as a name.
pub(super) fn unpopulated() -> ZoneStat {
    ZoneStat {
        zone: ZoneType::Movable,
        marks: Watermarks { min: 32, low: 32, high: 32, promo: 32, boost: 0 },
        ..zeroed(0, ZoneType::Movable)
    }
}

fn zeroed(node: u32, zone: ZoneType) -> ZoneStat {
    ZoneStat {
        node,
        zone,
        free: 0,
        free_in_blocks: 0,
        free_cma: 0,
        unevictable: 0,
        mlocked: 0,
        marks: Watermarks::default(),
        spanned: 0,
        present: 0,
        managed: 0,
        cma: 0,
        protection: [0; NR_ZONE_TYPES],
        numa: NumaStat::default(),
        pagesets: Vec::new(),
        node_unreclaimable: false,
        start_pfn: 0,
        reserved_highatomic: 0,
        free_highatomic: 0,
    }
}

/// Returns a text of the running kernel, less what it says of zones that we do not have; nothing where there is no such file
/// or it may not be read.
pub(crate) fn of_this_machine(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut known = true;
    let lines = text.split_inclusive('\n').filter(|line| {
        if line.starts_with("Node ") {
            known = parse_head(line).is_some();
        } else if !line.starts_with(' ') {
            known = true;
        }
        known
    });
    Some(lines.collect())
}

/// Returns this machine's zoneinfo, if its rows are those of Linux 6.11 and later on a machine with as many zone types as we
/// have. Frees may come between two rows that show the same number: such a text is read again.
pub(super) fn settled_zoneinfo() -> Option<String> {
    let text = || of_this_machine("/proc/zoneinfo");
    let is_known = |text: &String| {
        let zones = text.lines().find_map(protection).map(|list| list.split(", ").count());
        text.contains("high_min: ") && zones == Some(NR_ZONE_TYPES)
    };
    text().filter(is_known)?;
    let is_settled = |text: &String| {
        let values = |name: &str| -> Vec<u64> {
            text.lines().filter_map(parse_row).filter(|row| row.0 == name).map(|row| row.1).collect()
        };
        let mut free = values("pages free");
        free.retain(|&free| free > 0);
        let mut shown_again = values("nr_free_pages");
        shown_again.retain(|&free| free > 0);
        free == shown_again
    };
    let settled = (0..1000).filter_map(|_| text()).find(is_settled);
    Some(settled.expect("one in a thousand texts has no change between its rows"))
}

/// Reads `Node N, zone NAME` and returns what follows the name.
fn parse_head(line: &str) -> Option<(u32, ZoneType, &str)> {
    let (node, rest) = line.strip_prefix("Node ")?.split_once(", zone ")?;
    let rest = rest.trim_start();
    let (name, rest) = rest.split_at(rest.find([' ', ',', '\n']).unwrap_or(rest.len()));
    let zone = ZoneType::ALL.into_iter().find(|zone| zone.name() == name)?;
    Some((node.trim().parse().ok()?, zone, rest))
}

/// Reads numbers between white space.
fn parse_counts(text: &str) -> Option<Vec<u64>> {
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// Reads buddyinfo.
pub(crate) fn parse_buddyinfo(text: &str) -> Option<Buddyinfo> {
    let zones = text.lines().map(|line| {
        let (node, zone, counts) = parse_head(line)?;
        Some(BuddyinfoZone { node, zone, nr_free: parse_counts(counts)? })
    });
    Some(Buddyinfo { zones: zones.collect::<Option<_>>()? })
}

/// Reads either of the extfrag indices.
pub(crate) fn parse_indices(text: &str) -> Option<Vec<ZoneIndices>> {
    let zones = text.lines().map(|line| {
        let (node, zone, indices) = parse_head(line)?;
        let thousandths = indices.split_whitespace().map(|index| {
            let (whole, behind) = index.split_once('.')?;
            let (whole, behind): (i32, i32) = (whole.parse().ok()?, behind.parse().ok()?);
            Some(1000 * whole + behind)
        });
        Some(ZoneIndices { node, zone, thousandths: thousandths.collect::<Option<_>>()? })
    });
    zones.collect()
}

/// Reads pagetypeinfo.
pub(crate) fn parse_pagetypeinfo(text: &str) -> Option<Pagetypeinfo> {
    let mut lines = text.lines();
    let mut read = Pagetypeinfo { pageblock_order: 0, zones: Vec::new() };
    while let Some(line) = lines.next() {
        read.pageblock_order = line.strip_prefix("Page block order: ")?.parse().ok()?;
        let pages: u64 = lines.next()?.strip_prefix("Pages per block:  ")?.parse().ok()?;
        let orders = lines.nth(1)?.strip_prefix("Free pages count per migrate type at order")?;
        let orders = parse_counts(orders)?.len();
        let node_start = read.zones.len();
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let (node, zone, row) = parse_head(line)?;
            let (name, counts) = row.strip_prefix(", type")?.trim_start().split_once(' ')?;
            let migratetype = migratetype(name)?;
            let nr_free = parse_counts(counts).filter(|counts| counts.len() == orders)?;
            if read.zones.last().is_none_or(|last| (last.node, last.zone) != (node, zone)) {
                read.zones.push(PagetypeinfoZone { node, zone, types: Vec::new() });
            }
            read.zones.last_mut()?.types.push(MigrateTypeStat { migratetype, nr_free, pageblocks: 0 });
        }
        let names = lines.next()?.strip_prefix("Number of blocks type ")?;
        let names: Vec<MigrateType> = names.split_whitespace().map(migratetype).collect::<Option<_>>()?;
        for found in &mut read.zones[node_start..] {
            let (node, zone, counts) = parse_head(lines.next()?)?;
            if (node, zone) != (found.node, found.zone) || pages != 1 << read.pageblock_order {
                return None;
            }
            for (kind, pageblocks) in names.iter().zip(parse_counts(counts)?) {
                found.types.iter_mut().find(|stat| stat.migratetype == *kind)?.pageblocks = pageblocks;
            }
        }
    }
    Some(read)
}

fn migratetype(name: &str) -> Option<MigrateType> {
    MigrateType::ALL.into_iter().find(|kind| kind.name() == name)
}

/// Reads zoneinfo by the names of its rows.
pub(crate) fn parse_zoneinfo(text: &str) -> Option<Zoneinfo> {
    let mut sections: Vec<(u32, ZoneType, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Node ") {
            let (node, zone, _) = parse_head(line)?;
            sections.push((node, zone, Vec::new()));
        } else {
            sections.last_mut()?.2.push(line);
        }
    }
    let nodes = sections.iter().filter(|(_, _, lines)| lines.contains(&"  per-node stats"));
    let nodes = nodes.map(|(node, _, lines)| {
        let row = |name: &str| {
            lines.iter().filter_map(|line| parse_row(line)).find(|row| row.0 == name).map(|row| row.1)
        };
        Some(NodeStat {
            node: *node,
            inactive_file: row("nr_inactive_file")?,
            active_file: row("nr_active_file")?,
            unevictable: row("nr_unevictable")?,
            dirty: row("nr_dirty")?,
            writeback: row("nr_writeback")?,
        })
    });
    Some(Zoneinfo {
        nodes: nodes.collect::<Option<_>>()?,
        zones: sections
            .iter()
            .map(|(node, zone, lines)| parse_zone(*node, *zone, lines))
            .collect::<Option<_>>()?,
    })
}

/// Reads the rows of one zone.
fn parse_zone(node: u32, zone: ZoneType, lines: &[&str]) -> Option<ZoneStat> {
    let first_pageset = lines.iter().position(|line| *line == "  pagesets").unwrap_or(lines.len());
    let after_pagesets =
        lines.iter().position(|line| line.starts_with("  node_unreclaimable")).unwrap_or(lines.len());
    let outside = lines[..first_pageset].iter().chain(&lines[after_pagesets..]);
    let rows: BTreeMap<&str, u64> = outside.filter_map(|line| parse_row(line)).collect();
    let row = |name: &str| rows.get(name).copied().unwrap_or(0);
    let boost = row("boost");
    let unboosted = |name: &str| row(name).checked_sub(boost);
    Some(ZoneStat {
        free: row("pages free"),
        free_in_blocks: row("nr_free_pages_blocks"),
        free_cma: row("nr_free_cma"),
        unevictable: row("nr_zone_unevictable"),
        mlocked: row("nr_mlock"),
        marks: Watermarks {
            min: unboosted("min")?,
            low: unboosted("low")?,
            high: unboosted("high")?,
            promo: unboosted("promo")?,
            boost,
        },
        spanned: row("spanned"),
        present: row("present"),
        managed: row("managed"),
        cma: row("cma"),
        protection: parse_protection(lines)?,
        numa: NumaStat {
            hit: row("numa_hit"),
            miss: row("numa_miss"),
            foreign: row("numa_foreign"),
            interleave: row("numa_interleave"),
            local: row("numa_local"),
            other: row("numa_other"),
        },
        pagesets: parse_pagesets(&lines[first_pageset..after_pagesets])?,
        node_unreclaimable: row("node_unreclaimable") > 0,
        start_pfn: row("start_pfn"),
        reserved_highatomic: row("reserved_highatomic"),
        free_highatomic: row("free_highatomic"),
        ..zeroed(node, zone)
    })
}

/// Reads a name and its number, whatever the padding.
fn parse_row(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.rsplit_once(' ')?;
    Some((name.trim().trim_end_matches(':'), value.parse().ok()?))
}

/// Returns what a zone keeps from others, if the line says that.
fn protection(line: &str) -> Option<&str> {
    line.trim().strip_prefix("protection: (")?.strip_suffix(')')
}

fn parse_protection(lines: &[&str]) -> Option<[u64; NR_ZONE_TYPES]> {
    let list = lines.iter().copied().find_map(protection)?;
    let frames: Vec<u64> = list.split(", ").map(|n| n.parse().ok()).collect::<Option<_>>()?;
    frames.try_into().ok()
}

fn parse_pagesets(lines: &[&str]) -> Option<Vec<PagesetStat>> {
    let mut pagesets: Vec<PagesetStat> = Vec::new();
    for (name, value) in lines.iter().filter_map(|line| parse_row(line)) {
        let value = u32::try_from(value).ok()?;
        if name == "cpu" {
            pagesets.push(PagesetStat { thread: value, ..Default::default() });
            continue;
        }
        let pageset = pagesets.last_mut()?;
        match name {
            "count" => pageset.count = value,
            "high" => pageset.high = value,
            "batch" => pageset.batch = value,
            "high_min" => pageset.high_min = value,
            "high_max" => pageset.high_max = value,
            "vm stats threshold" => pageset.stat_threshold = value,
            _ => return None,
        }
    }
    Some(pagesets)
}

/// Returns the lines of `text` whose names occur in `other` too.
pub(super) fn keep_common_rows<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    let name = |line: &str| parse_row(line).map(|(name, _)| name.to_owned());
    let known: BTreeSet<String> = other.lines().filter_map(name).collect();
    text.lines().filter(|line| name(line).is_none_or(|name| known.contains(&name))).collect()
}
