//! Throughput over numbers of threads.

use std::collections::BTreeSet;

use anyhow::Result;
use itertools::Itertools;
use maud::{Markup, html};

use super::{
    judge::JUDGED,
    plot::{Axis, Facet, Lines, Plot, Series, Stroke, facets},
    section::{Content, Section, View, cell, table},
};
use crate::{
    figures::{digits, real},
    record::Figure,
    rivals::is_rival,
};

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Result<Section> {
    let tasks = tasks(view);
    let content = if tasks.is_empty() {
        None
    } else {
        let text = html! {
            p {
                "Throughput of all threads together. A workload that scales doubles it with each doubling of the threads, until every CPU has one. "
                "More is better."
            }
        };
        Some(Content { text, plots: vec![curves(view, &tasks)?], more: speedups(&tasks) })
    };
    Ok(Section { title: "Scaling", command: "gfp bench --threads 1,2,4,8,16 --record DIR", content })
}

/// The figures of one workload over numbers of threads.
struct Task<'a> {
    name: String,
    figures: Vec<&'a Figure>,
}

impl<'a> Task<'a> {
    /// Returns the throughputs of an allocator, with the threads, ascending.
    fn of(&self, allocator: &str) -> Vec<(usize, f64)> {
        let own = self.figures.iter().filter(|figure| figure.cell.allocator == allocator);
        let mut points: Vec<_> =
            own.filter_map(|figure| Some((figure.cell.row.threads, figure.mops_per_s?))).collect();
        points.sort_by_key(|point| point.0);
        points
    }

    fn allocators(&self) -> Vec<&'a str> {
        self.figures.iter().map(|figure| figure.cell.allocator.as_str()).unique().collect()
    }

    fn threads(&self) -> BTreeSet<usize> {
        self.figures
            .iter()
            .filter(|figure| figure.mops_per_s.is_some())
            .map(|figure| figure.cell.row.threads)
            .collect()
    }
}

/// Returns what was measured with several numbers of threads.
fn tasks<'a>(view: &View<'a>) -> Vec<Task<'a>> {
    let mut tasks: Vec<Task<'a>> = Vec::new();
    for figure in &view.record.figures {
        let name = view.task(&figure.cell.row);
        match tasks.iter_mut().find(|task| task.name == name) {
            Some(task) => task.figures.push(figure),
            None => tasks.push(Task { name, figures: vec![figure] }),
        }
    }
    tasks.retain(|task| task.threads().len() > 1);
    tasks
}

/// Draws all curves of a record; nothing where it has none.
pub(super) fn plot(view: &View<'_>) -> Result<Option<Plot>> {
    let tasks = tasks(view);
    if tasks.is_empty() { Ok(None) } else { curves(view, &tasks).map(Some) }
}

fn curves(view: &View<'_>, tasks: &[Task<'_>]) -> Result<Plot> {
    let mut named: Vec<&str> = Vec::new();
    let mut plots = Vec::new();
    for task in tasks {
        let threads: Vec<usize> = task.threads().into_iter().collect();
        let at = |threads_of_point: usize| {
            real(threads.iter().position(|&threads| threads == threads_of_point).unwrap_or(0))
        };
        // gfp last, above the others.
        let mut allocators: Vec<&str> = task.allocators();
        allocators.sort_by_key(|&allocator| allocator == JUDGED);
        named.extend(&allocators);
        let throughputs = allocators.iter().flat_map(|allocator| task.of(allocator));
        let y = Axis::logarithmic("million operations/s", throughputs.map(|point| point.1));
        let series = allocators
            .iter()
            .map(|allocator| Series {
                colour: view.palette.of(allocator),
                stroke: Stroke::Dotted,
                points: task.of(allocator).into_iter().map(|(threads, mops)| (at(threads), mops)).collect(),
            })
            .collect();
        let x = Axis::named("threads", threads.iter().map(ToString::to_string).collect());
        plots.push(Facet::Lines(Lines { title: task.name.clone(), x, y, series }));
    }
    let legend = view.legend(&named);
    facets("scaling", "Throughput over the number of threads by workload and allocator", &plots, &legend, 3)
}

/// Makes the table of speed-ups: the throughput of the most threads divided by that of one.
fn speedups(tasks: &[Task<'_>]) -> Markup {
    let mut lines = Vec::new();
    for task in tasks {
        let (Some(ours), threads) = (last(&task.of(JUDGED)), task.threads()) else { continue };
        let rivals = task.allocators().into_iter().filter(|name| is_rival(name));
        let best = rivals
            .filter_map(|name| Some((name, last(&task.of(name))?)))
            .max_by(|left, right| left.1.throughput.total_cmp(&right.1.throughput));
        lines.push(vec![
            cell(&task.name),
            cell(format!("{} → {}", ours.from, threads.last().copied().unwrap_or(ours.to))),
            cell(digits(ours.throughput)),
            cell(format!("{} ×", digits(ours.speedup))),
            cell(
                best.map_or_else(
                    || "–".into(),
                    |(name, best)| format!("{} ({name})", digits(best.throughput)),
                ),
            ),
            cell(best.map_or_else(|| "–".into(), |(_, best)| format!("{} ×", digits(best.speedup)))),
        ]);
    }
    html! {
        (table(&["workload, order", "threads", "gfp, million/s", "speed-up", "best rival, million/s", "its speed-up"], &lines))
    }
}

/// What more threads bring.
#[derive(Clone, Copy)]
struct Speedup {
    from: usize,
    to: usize,
    throughput: f64,
    speedup: f64,
}

fn last(points: &[(usize, f64)]) -> Option<Speedup> {
    let (&(from, first), &(to, throughput)) = (points.first()?, points.last()?);
    (from < to).then(|| Speedup { from, to, throughput, speedup: throughput / first })
}
