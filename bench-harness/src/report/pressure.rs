//! Memory under pressure.

use anyhow::Result;
use maud::{Markup, html};

use super::{
    plot::{Axis, Colour, Facet, INK, Lines, MUTED, Plot, Series, Stroke, facets, series},
    section::{Content, Section, View, cell, table},
};
use crate::{
    figures::{rate, size, time},
    record::{Pressure, Requests, Zone},
};

/// Frames of 4 KiB in a MiB.
const FRAMES_MIB: f64 = 256.0;

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let runs = &view.record.pressure;
    let content = if runs.is_empty() {
        None
    } else {
        let drawn = runs.iter().enumerate().filter(|(_, run)| !run.moments.is_empty());
        let plots = drawn.map(|(number, run)| plot(number, run)).collect::<Result<_>>()?;
        Some(Content { text: text(runs), plots, ..Content::default() })
    };
    Ok(Section { title: "Memory under pressure", command: "gfp pressure --json DIR/pressure.jsonl", content })
}

fn text(runs: &[Pressure]) -> Markup {
    let quantiles = |requests: &Requests| {
        format!(
            "{} · {} · {} · {}",
            time(requests.p50),
            time(requests.p99),
            time(requests.p99_9),
            time(requests.max)
        )
    };
    let lines: Vec<Vec<Markup>> = runs
        .iter()
        .map(|run| {
            let samples = run.samples.inside + run.samples.below_min + run.samples.above_high;
            vec![
                cell(format!("{} threads, {}, rate {}", run.threads, size(run.arena_bytes), asked(run))),
                cell(rate(run.pages_per_s)),
                cell(run.reclaimed_kswapd.to_string()),
                cell(run.reclaimed_direct.to_string()),
                cell(run.allocstall.to_string()),
                cell(quantiles(&run.latency_ns)),
                cell(quantiles(&run.direct_stall_ns)),
                cell(format!("{} of {samples}", run.samples.inside)),
                if run.broken.count == 0 && run.conservation.holds {
                    cell("none")
                } else {
                    html! { strong.missed { (run.broken.count) } }
                },
            ]
        })
        .collect();
    let head = [
        "run",
        "pages/s",
        "reclaimed by kswapd",
        "directly",
        "stalls",
        "request: p50 · p99 · p99.9 · max",
        "stalled request",
        "samples between the marks",
        "rules broken",
    ];
    html! {
        p { "Caches and requests want more than there is. Pages are reclaimed by kswapd, or by requests themselves, which then stall." }
        (table(&head, &lines))
        @for sentence in runs.iter().flat_map(|run| &run.broken.sentences) { p.warning { (sentence) } }
    }
}

fn asked(run: &Pressure) -> String {
    match &run.rate_asked {
        serde_json::Value::Null => "unlimited".into(),
        serde_json::Value::String(text) => text.clone(),
        other => format!("{other} pages/s"),
    }
}

/// A line of a zone's plot: what it is, its colour, and where it is found.
type Line = (&'static str, Colour, fn(&Zone) -> u64);

fn plot(number: usize, run: &Pressure) -> Result<Plot> {
    let lines: [Line; 4] = [
        ("high mark with boost", series(0), |zone| zone.high + zone.boost),
        ("low mark", MUTED, |zone| zone.low),
        ("min mark", series(3), |zone| zone.min),
        ("free memory", INK, |zone| zone.free),
    ];
    let zones = run.moments.first().map(|moment| moment.zones.as_slice()).unwrap_or_default();
    let facet = |(place, zone): (usize, &Zone)| {
        let curve = |&(_, colour, value): &Line| {
            #[expect(clippy::cast_precision_loss, reason = "numbers of frames are far below 2^52")]
            let points = run
                .moments
                .iter()
                .filter_map(|moment| Some((moment.at_s, value(moment.zones.get(place)?) as f64 / FRAMES_MIB)))
                .collect();
            Series { colour, stroke: if colour == INK { Stroke::Plain } else { Stroke::Thin }, points }
        };
        let series: Vec<Series> = lines.iter().map(curve).collect();
        let points = || series.iter().flat_map(|series| &series.points);
        Facet::Lines(Lines {
            title: format!("node {}, zone {}", zone.node, zone.zone),
            x: Axis::from_zero("seconds", points().map(|point| point.0)),
            y: Axis::from_zero("MiB", points().map(|point| point.1)),
            series,
        })
    };
    let plots: Vec<Facet> = zones.iter().enumerate().map(facet).collect();
    let legend: Vec<(String, Colour)> =
        lines.iter().map(|(name, colour, _)| ((*name).to_owned(), *colour)).collect();
    let description = format!("{} threads: free memory against the watermarks", run.threads);
    facets(&format!("pressure-{}", number + 1), &description, &plots, &legend, 2)
}
