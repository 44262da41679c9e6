//! Fragmentation over time, and the map of an arena.

use std::collections::BTreeMap;

use anyhow::Result;
use maud::html;

use super::{
    judge::JUDGED,
    plot::{Axis, Colour, Facet, Lines, Map, MapCell, Series, Stroke, facets, map, series},
    section::{Content, Section, View},
};
use crate::{
    figures::{count, real},
    record::{Blocks, Fragmentation, FragmentationPoint},
};

/// Frames of a pageblock.
const PAGEBLOCK_FRAMES: f64 = 512.0;
/// Frames of 4 KiB in a MiB.
const FRAMES_MIB: f64 = 256.0;
const COMMAND: &str = "gfp bench --workload fragmentation --record DIR";

/// Makes the section of fragmentation over time.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let all = &view.record.fragmentation;
    let content = if all.is_empty() { None } else { Some(content(view, all)?) };
    Ok(Section { title: "Fragmentation over time", command: COMMAND, content })
}

#[expect(clippy::cast_precision_loss, reason = "numbers of operations and frames are far below 2^52")]
fn content(view: &View<'_>, all: &[Fragmentation]) -> Result<Content> {
    let orders = all.iter().flat_map(|series| &series.points).map(|point| point.unusable_index.len()).max();
    let largest = orders.unwrap_or(0).saturating_sub(1);
    let middle = largest / 2;
    let index =
        |order: usize| move |point: &FragmentationPoint| point.unusable_index.get(order).copied().flatten();
    let curves = [
        curve(view, &format!("order {largest}"), "unusable index (0 to 1)", all, index(largest)),
        curve(view, &format!("order {middle}"), "unusable index (0 to 1)", all, index(middle)),
        curve(view, "largest free block", "order", all, |point| point.largest_free_order.map(f64::from)),
        curve(view, "live memory", "MiB", all, |point| Some(point.live_frames as f64 / FRAMES_MIB)),
    ];
    let names: Vec<&str> = all.iter().map(|series| series.allocator.as_str()).collect();
    let description =
        "Fragmentation of an arena over the course of a workload of mixed orders and lifetimes, by allocator";
    let plot = facets("fragmentation", description, &curves.map(Facet::Lines), &view.legend(&names), 2)?;
    let text = html! {
        p {
            "The unusable index is the share of free memory that lies in blocks smaller than the order asked for: 0 is good, at 1 no request of that order can be served. "
            @for series in all.iter().take(1) { "The same " (series.operations) " operations for all, from seed " (series.seed) "." }
        }
    };
    Ok(Content { text, plots: vec![plot], ..Content::default() })
}

#[expect(clippy::cast_precision_loss, reason = "numbers of operations are far below 2^52")]
fn curve(
    view: &View<'_>,
    title: &str,
    label: &str,
    all: &[Fragmentation],
    value: impl Fn(&FragmentationPoint) -> Option<f64>,
) -> Lines {
    let mut all: Vec<&Fragmentation> = all.iter().collect();
    all.sort_by_key(|series| series.allocator == JUDGED);
    let curves: Vec<Series> = all
        .iter()
        .map(|one| Series {
            colour: view.palette.of(&one.allocator),
            stroke: Stroke::Plain,
            points: one
                .points
                .iter()
                .filter_map(|point| Some((point.operations as f64, value(point)?)))
                .collect(),
        })
        .collect();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    Lines {
        title: title.to_owned(),
        x: Axis::from_zero("operations", points().map(|point| point.0)),
        y: Axis::from_zero(label, points().map(|point| point.1)),
        series: curves,
    }
}

/// Makes the section of the maps.
pub(super) fn map_section(view: &View<'_>) -> Result<Section> {
    let maps = &view.record.blocks;
    let content = if maps.is_empty() {
        None
    } else {
        let plots = maps
            .iter()
            .enumerate()
            .map(|(number, blocks)| pageblocks(number, blocks))
            .collect::<Result<_>>()?;
        let text = html! {
            p { "Every pageblock of 2 MiB, in the order of addresses: the colour is its migrate type, the height of its bar how much of it is in use." }
        };
        Some(Content { text, plots, ..Content::default() })
    };
    Ok(Section { title: "Map of an arena", command: COMMAND, content })
}

#[expect(clippy::cast_precision_loss, reason = "a pageblock has 512 frames")]
fn pageblocks(number: usize, blocks: &Blocks) -> Result<crate::report::plot::Plot> {
    let mut types: BTreeMap<&str, (usize, Colour)> = BTreeMap::new();
    for block in &blocks.pageblocks {
        let next = series(types.len());
        types.entry(&block.migrate_type).or_insert((0, next)).0 += 1;
    }
    let cells = blocks.pageblocks.iter().map(|block| MapCell {
        colour: types[block.migrate_type.as_str()].1,
        fill: block.used_frames as f64 / PAGEBLOCK_FRAMES,
    });
    let legend = types
        .iter()
        .map(|(name, (blocks, colour))| (format!("{name}: {}", count(*blocks, "pageblock")), *colour));
    let used: f64 = blocks.pageblocks.iter().map(|block| block.used_frames as f64).sum();
    let all = real(blocks.pageblocks.len()) * PAGEBLOCK_FRAMES;
    let description = format!(
        "{}, {}: {:.0} % of the arena in use",
        blocks.allocator,
        blocks.when,
        used / all.max(1.0) * 100.0
    );
    let what = Map {
        cells: cells.collect(),
        numbered: "number of the first pageblock".into(),
        legend: legend.collect(),
    };
    map(&format!("map-{}", number + 1), &description, &what)
}
