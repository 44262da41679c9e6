//! Replays of traces: times, and our placement beside the recorded one.

use anyhow::Result;
use maud::{Markup, html};

use super::{
    judge::{JUDGED, file_name},
    plot::{Axis, Dot, Dots, Facet, INK, Lines, Mark, Plot, Series, Stroke, facets},
    section::{Content, Section, View, cell, table},
};
use crate::{
    figures::{count, digits, size},
    record::{Beside, Place, Replay, Timeline},
};

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let record = view.record;
    let content = if record.replays.is_empty() && record.timelines.is_empty() {
        None
    } else {
        let mut plots = Vec::new();
        if !record.replays.is_empty() {
            plots.push(times(view)?);
        }
        if !record.timelines.is_empty() {
            plots.push(placements(view)?);
        }
        Some(Content { text: text(&record.replays), plots, ..Content::default() })
    };
    let command = "gfp replay TRACE --allocator gfp,mimalloc,jemalloc --timeline --json DIR/replay.jsonl";
    Ok(Section { title: "Replay of traces", command, content })
}

/// Returns what tells replays apart that are not beside each other.
fn race(replay: &Replay) -> String {
    format!("{}, {}", file_name(&replay.trace), count(replay.workers, "thread"))
}

fn text(replays: &[Replay]) -> Markup {
    let lines: Vec<Vec<Markup>> = replays
        .iter()
        .map(|replay| {
            let [ours_blocks, kernel_blocks] = pair(replay.blocks_2m);
            let [ours_mixed, kernel_mixed] = pair(replay.mixed_blocks_2m);
            vec![
                cell(race(replay)),
                if replay.allocator == JUDGED {
                    html! { strong { (replay.allocator) } }
                } else {
                    cell(&replay.allocator)
                },
                cell(digits(replay.ns_per_event)),
                cell(digits(replay.ns_per_event_zeroed)),
                cell(ours_blocks),
                cell(kernel_blocks),
                cell(ours_mixed),
                cell(kernel_mixed),
            ]
        })
        .collect();
    let mut biases: Vec<&str> =
        replays.iter().map(|replay| replay.bias.as_str()).filter(|bias| !bias.is_empty()).collect();
    biases.dedup();
    let arena = replays.iter().map(|replay| replay.arena_bytes).max();
    let head = [
        "trace",
        "allocator",
        "ns an event",
        "with zeroing",
        "2 MiB blocks",
        "as recorded",
        "mixed blocks",
        "as recorded",
    ];
    html! {
        p {
            "Every allocation and free of a trace, in its order. Blocks of 2 MiB with live memory in them, mean and peak: the fewer hold the same memory, and the fewer of them "
            "hold movable and other memory together, the less fragmented it is. "
            @if let Some(bytes) = arena { "The arena has " (size(bytes)) "." }
        }
        @for bias in &biases { p { strong { "Not the same conditions: " } (bias) "." } }
        (table(&head, &lines))
    }
}

fn pair(pair: Beside) -> [String; 2] {
    let text =
        |placement: crate::record::MeanPeak| format!("{} ({})", digits(placement.mean), placement.peak);
    [pair.ours.map_or_else(|| "–".into(), text), text(pair.kernel)]
}

/// Draws nanoseconds an event, a facet for each trace and number of threads.
pub(super) fn times(view: &View<'_>) -> Result<Plot> {
    let replays = &view.record.replays;
    let spread = |replay: &Replay| {
        let passes = replay.passes;
        let end = |end: Option<f64>| end.unwrap_or(replay.ns_per_event);
        [
            end(passes.and_then(|passes| passes.min)),
            replay.ns_per_event,
            end(passes.and_then(|passes| passes.max)),
        ]
    };
    let axis = Axis::logarithmic("ns per event", replays.iter().flat_map(spread));
    let mut plots: Vec<Dots> = Vec::new();
    for replay in replays {
        let dot = Dot {
            label: replay.allocator.clone(),
            colour: view.palette.of(&replay.allocator),
            mark: Mark::Figure { values: spread(replay), text: digits(replay.ns_per_event) },
        };
        let title = race(replay);
        match plots.iter_mut().find(|plot| plot.title == title) {
            Some(plot) => plot.dots.push(dot),
            None => plots.push(Dots { title, axis: axis.clone(), dots: vec![dot] }),
        }
    }
    let plots: Vec<Facet> = plots.into_iter().map(Facet::Dots).collect();
    facets(
        "replay",
        "Nanoseconds an event of replayed traces by allocator; minimum, median and maximum of the passes",
        &plots,
        &[],
        2,
    )
}

/// Draws placements over the course of traces.
fn placements(view: &View<'_>) -> Result<Plot> {
    let mut plots = Vec::new();
    let mut traces: Vec<&str> =
        view.record.timelines.iter().map(|timeline| timeline.trace.as_str()).collect();
    traces.dedup();
    for trace in traces {
        let timelines: Vec<&Timeline> =
            view.record.timelines.iter().filter(|timeline| timeline.trace == trace).collect();
        for (what, label, value) in FACES {
            plots.push(Facet::Lines(placement(
                view,
                &timelines,
                &format!("{}: {what}", file_name(trace)),
                label,
                value,
            )));
        }
    }
    let names: Vec<&str> = view.record.timelines.iter().map(|timeline| timeline.allocator.as_str()).collect();
    let mut legend = view.legend(&names);
    legend.push(("as recorded".into(), INK));
    facets(
        "timeline",
        "Placement over the course of the trace: allocators beside the recorded one",
        &plots,
        &legend,
        3,
    )
}

/// A number of a placement: what it is, its unit, and where it is found.
type Face = (&'static str, &'static str, fn(&Place) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "numbers of blocks are far below 2^52")]
const FACES: [Face; 3] = [
    ("blocks in use", "blocks of 2 MiB", |place| Some(place.blocks_2m as f64)),
    ("mixed blocks", "blocks of 2 MiB", |place| Some(place.mixed_blocks_2m as f64)),
    ("highest free order", "order", |place| place.highest_free_order.map(f64::from)),
];

#[expect(clippy::cast_precision_loss, reason = "numbers of events are far below 2^52")]
fn placement(
    view: &View<'_>,
    timelines: &[&Timeline],
    title: &str,
    label: &str,
    value: fn(&Place) -> Option<f64>,
) -> Lines {
    let recorded = timelines.iter().take(1).map(|timeline| Series {
        colour: INK,
        stroke: Stroke::Thin,
        points: timeline
            .points
            .iter()
            .filter_map(|point| Some((point.event as f64, value(&point.kernel)?)))
            .collect(),
    });
    let ours = timelines.iter().map(|timeline| Series {
        colour: view.palette.of(&timeline.allocator),
        stroke: Stroke::Plain,
        points: timeline
            .points
            .iter()
            .filter_map(|point| Some((point.event as f64, value(point.ours.as_ref()?)?)))
            .collect(),
    });
    let series: Vec<Series> = recorded.chain(ours).collect();
    let points = || series.iter().flat_map(|series| &series.points);
    Lines {
        title: title.to_owned(),
        x: Axis::from_zero("events", points().map(|point| point.0)),
        y: Axis::from_zero(label, points().map(|point| point.1)),
        series,
    }
}
