//! How long single operations take.

use anyhow::Result;
use maud::{Markup, html};

use super::{
    judge::JUDGED,
    plot::{Axis, Facet, Lines, Series, Stroke, facets},
    section::{Content, Section, View, cell, table},
};
use crate::{
    figures::{count, real, time},
    measure::Quantiles,
    record::Figure,
};

const QUANTILES: [&str; 6] = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
fn quantiles(latency: &Quantiles) -> [f64; 6] {
    latency.times().map(|(_, ns)| ns as f64)
}

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let rows: Vec<Vec<(&Figure, Quantiles)>> = view
        .record
        .rows()
        .into_iter()
        .map(|row| row.into_iter().filter_map(|figure| Some((figure, figure.latency_ns?))).collect())
        .filter(|row: &Vec<_>| !row.is_empty())
        .collect();
    let content = if rows.is_empty() { None } else { Some(content(view, &rows)?) };
    Ok(Section {
        title: "Latency of single operations",
        command: "gfp bench --quick --latency --record DIR",
        content,
    })
}

fn content(view: &View<'_>, rows: &[Vec<(&Figure, Quantiles)>]) -> Result<Content> {
    let values = rows.iter().flatten().flat_map(|(_, latency)| quantiles(latency));
    let y = Axis::logarithmic("ns", values);
    let mut named: Vec<&str> = Vec::new();
    let mut plots = Vec::new();
    let mut lines = Vec::new();
    for row in rows {
        let key = &row[0].0.cell.row;
        let title = format!("{}, {}", view.task(key), count(key.threads, "thread"));
        let mut row = row.clone();
        row.sort_by_key(|(figure, _)| figure.cell.allocator == JUDGED);
        let mut series = Vec::new();
        for (figure, latency) in &row {
            let allocator = figure.cell.allocator.as_str();
            named.push(allocator);
            let points = quantiles(latency).into_iter().enumerate().map(|(index, ns)| (real(index), ns));
            series.push(Series {
                colour: view.palette.of(allocator),
                stroke: Stroke::Dotted,
                points: points.collect(),
            });
            let mut line: Vec<Markup> = vec![cell(&title), cell(allocator)];
            line.extend(latency.times().map(|(_, ns)| cell(time(ns))));
            lines.push(line);
        }
        let x = Axis::named("share of operations that take no longer", QUANTILES.map(str::to_owned).to_vec());
        plots.push(Facet::Lines(Lines { title, x, y: y.clone(), series }));
    }
    let legend = view.legend(&named);
    let description = "How long single operations take, by workload and allocator: quantiles, the clock's own cost included";
    let text = html! {
        p { "Operations were timed one by one in a pass of their own; what the clock costs is part of every figure, and is what " code { "empty" } " shows. Less is better." }
    };
    let mut head = vec!["workload, order, threads", "allocator"];
    head.extend(QUANTILES);
    let more = html! { details { summary { "All quantiles" } (table(&head, &lines)) } };
    Ok(Content { text, plots: vec![facets("latency", description, &plots, &legend, 3)?], more })
}
