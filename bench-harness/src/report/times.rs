//! Nanoseconds an operation by workload and allocator.

use std::collections::BTreeSet;

use anyhow::Result;
use itertools::Itertools;
use maud::{Markup, html};

use super::{
    judge::{JUDGED, judge},
    plot::{Axis, Dot, Dots, Facet, Mark, Plot, facets},
    section::{Content, Section, View, cell, table},
};
use crate::{
    figures::{count, digits},
    record::{Figure, Outcome},
};

/// Of how many numbers of threads the times are drawn; those of more are in the curves and the tables.
const DRAWN: usize = 2;

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let content = if view.record.figures.is_empty() { None } else { Some(content(view)?) };
    Ok(Section { title: "Nanoseconds an operation", command: "gfp bench --quick --record DIR", content })
}

fn content(view: &View<'_>) -> Result<Content> {
    let rows = view.record.rows();
    let threads: BTreeSet<usize> = rows.iter().map(|row| row[0].cell.row.threads).collect();
    let mut plots = Vec::new();
    for &threads in threads.iter().take(DRAWN) {
        let rows: Vec<_> =
            rows.iter().filter(|row| row[0].cell.row.threads == threads).map(Vec::as_slice).collect();
        plots.push(times(view, &rows, threads)?);
    }
    let text = html! {
        p {
            "One operation is one allocation with its free. Shown is the median of the samples with its extremes; those of all allocators of a row were taken in turns. "
            code { "empty" } " allocates nothing: it is the harness's own cost, and part of every other figure. Less is better."
        }
        (ratios(view, &rows))
    };
    Ok(Content { text, plots, more: all(view, &rows) })
}

/// Draws the rows of one number of threads, a facet each, on a common axis.
pub(super) fn times(view: &View<'_>, rows: &[&[&Figure]], threads: usize) -> Result<Plot> {
    let measured = || rows.iter().flat_map(|row| row.iter());
    let ends = measured().flat_map(|figure| match figure.outcome() {
        Outcome::Measured(spread) => vec![spread.min, spread.max],
        Outcome::Above(ns) => vec![ns],
        Outcome::Failed(_) => vec![],
    });
    let axis = Axis::logarithmic("ns per operation", ends);
    let plots: Vec<Facet> = rows
        .iter()
        .map(|row| {
            let dots = row.iter().map(|figure| dot(view, figure)).collect();
            Facet::Dots(Dots { title: view.task(&row[0].cell.row), axis: axis.clone(), dots })
        })
        .collect();
    let threads = count(threads, "thread");
    let name = format!("times-{}", threads.replace(' ', "-"));
    let description = format!(
        "{threads}: nanoseconds an operation by workload, order and allocator; minimum, median and maximum"
    );
    facets(&name, &description, &plots, &[], 3)
}

fn dot(view: &View<'_>, figure: &Figure) -> Dot {
    let mark = match figure.outcome() {
        Outcome::Measured(spread) => {
            Mark::Figure { values: [spread.min, spread.median, spread.max], text: digits(spread.median) }
        }
        Outcome::Above(ns) => Mark::Above(ns, format!("> {}", digits(ns))),
        Outcome::Failed(_) => Mark::Nothing("failed".into()),
    };
    let allocator = &figure.cell.allocator;
    Dot { label: allocator.clone(), colour: view.palette.of(allocator), mark }
}

/// Makes the table of gfp beside the best rival.
fn ratios(view: &View<'_>, rows: &[Vec<&Figure>]) -> Markup {
    let mut lines = Vec::new();
    for verdict in rows.iter().filter_map(|row| judge(row)) {
        let row = &verdict.ours.cell.row;
        let ratio = verdict.ratio.map_or_else(|| "–".into(), digits);
        let aim = verdict
            .aim
            .map(|aim| format!("≤ {aim} {}", if verdict.is_met() == Some(true) { "✓" } else { "✗" }));
        let lost = verdict.is_met() == Some(false) || verdict.ratio.is_some_and(|ratio| ratio > 1.0);
        let ratio = html! {
            @if lost { strong.missed { (ratio) } } @else { (ratio) }
            @if let Some(aim) = aim { " " small { (aim) } }
        };
        lines.push(vec![
            cell(view.task(row)),
            cell(row.threads.to_string()),
            cell(reading(verdict.ours)),
            cell(verdict.best.map_or_else(|| "–".into(), |(name, ns)| format!("{} ({name})", digits(ns)))),
            ratio,
        ]);
    }
    html! {
        @if !lines.is_empty() {
            (table(&["workload, order", "threads", "gfp, ns", "best rival, ns", "gfp ÷ it, aim"], &lines))
        }
    }
}

/// Makes the table of everything that was measured.
fn all(view: &View<'_>, rows: &[Vec<&Figure>]) -> Markup {
    let figures = &view.record.figures;
    let allocators: Vec<&str> =
        figures.iter().map(|figure| figure.cell.allocator.as_str()).unique().collect();
    let mut head = vec!["workload, order", "threads"];
    head.extend(&allocators);
    let lines: Vec<Vec<Markup>> = rows
        .iter()
        .map(|row| {
            let key = &row[0].cell.row;
            let mut line = vec![cell(view.task(key)), cell(key.threads.to_string())];
            for allocator in &allocators {
                let figure = row.iter().find(|figure| figure.cell.allocator == *allocator);
                let text = figure.map_or_else(|| "–".into(), |figure| reading(figure));
                line.push(if *allocator == JUDGED {
                    html! { strong { (text) } }
                } else {
                    cell(text)
                });
            }
            line
        })
        .collect();
    html! {
        details {
            summary { "All medians, in ns" }
            (table(&head, &lines))
        }
    }
}

/// Writes what came of a measurement.
pub(super) fn reading(figure: &Figure) -> String {
    match figure.outcome() {
        Outcome::Measured(spread) => digits(spread.median),
        Outcome::Above(ns) => format!("> {}", digits(ns)),
        Outcome::Failed(_) => "failed".into(),
    }
}
