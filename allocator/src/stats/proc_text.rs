//! A reader of the kernel's texts for tests, which shares nothing with the writers but the structures.

use std::collections::{BTreeMap, BTreeSet};

use super::{NumaStat, PagesetStat, ZoneStat};
use crate::gfp::{NR_ZONE_TYPES, ZoneType};
use crate::zone::watermark::Watermarks;

/// Returns a zone with a different number in every field.
pub(super) fn sample() -> ZoneStat {
    let limits =
        PagesetStat { high: 3740, batch: 63, high_min: 3740, high_max: 26_624, ..Default::default() };
    ZoneStat {
        node: 0,
        zone: ZoneType::Normal,
        nr_free: vec![7, 8, 33],
        free: 282_959,
        free_in_blocks: 256_000,
        free_cma: 100,
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
        nr_free: Vec::new(),
        free: 0,
        free_in_blocks: 0,
        free_cma: 0,
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

/// Reads `Node N, zone NAME` and returns what follows the name.
fn parse_head(line: &str) -> Option<(u32, ZoneType, &str)> {
    let (node, rest) = line.strip_prefix("Node ")?.split_once(", zone ")?;
    let rest = rest.trim_start();
    let (name, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let zone = ZoneType::ALL.into_iter().find(|zone| zone.name() == name)?;
    Some((node.parse().ok()?, zone, rest))
}

/// Reads buddyinfo; nothing where a line is not of the format or names a zone that we do not have.
pub(super) fn parse_buddyinfo(text: &str) -> Option<Vec<ZoneStat>> {
    text.lines()
        .map(|line| {
            let (node, zone, counts) = parse_head(line)?;
            let nr_free = counts.split_whitespace().map(|n| n.parse().ok()).collect::<Option<_>>()?;
            Some(ZoneStat { nr_free, present: 1, ..zeroed(node, zone) })
        })
        .collect()
}

/// Reads zoneinfo by the names of its rows; nothing where the text is of a kernel too different to compare with.
pub(super) fn parse_zoneinfo(text: &str) -> Option<Vec<ZoneStat>> {
    let mut sections: Vec<(u32, ZoneType, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Node ") {
            let (node, zone, _) = parse_head(line)?;
            sections.push((node, zone, Vec::new()));
        } else {
            sections.last_mut()?.2.push(line);
        }
    }
    sections.into_iter().map(|(node, zone, lines)| parse_zone(node, zone, &lines)).collect()
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

fn parse_protection(lines: &[&str]) -> Option<[u64; NR_ZONE_TYPES]> {
    let list = lines.iter().find_map(|line| line.trim().strip_prefix("protection: (")?.strip_suffix(')'))?;
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
