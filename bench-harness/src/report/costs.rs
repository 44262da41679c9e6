//! What an allocator takes besides time: memory, and the zones' locks.

use maud::{Markup, html};

use super::section::{Content, Section, View, cell, table};
use crate::{
    figures::{count, digits, size},
    record::Figure,
};

/// Makes the section.
pub(super) fn section(view: &View<'_>) -> Section {
    let figures = &view.record.figures;
    let memory: Vec<Vec<Markup>> = figures.iter().filter_map(|figure| memory(view, figure)).collect();
    let locks: Vec<Vec<Markup>> = figures.iter().filter_map(|figure| lock(view, figure)).collect();
    let text = html! {
        @if !memory.is_empty() {
            p {
                "What was resident of the process while blocks were in use, and after they were freed and the allocator was asked to give memory back. "
                "Blocks that nobody touched are not resident."
            }
            details {
                summary { "Memory" }
                (table(&["workload, order", "threads", "allocator", "arena", "resident", "after trim"], &memory))
            }
        }
        @if !locks.is_empty() {
            p { "How often gfp took the locks of its zones, and for how long, a thousand operations." }
            details open {
                summary { "Zone locks" }
                (table(&["workload, order", "threads", "allocator", "taken", "contended", "held, ns"], &locks))
            }
        }
    };
    let content = (!memory.is_empty() || !locks.is_empty()).then(|| Content { text, ..Content::default() });
    let command = "gfp bench --quick --record DIR (zone locks: built with --features lock-stats)";
    Section { title: "Memory and locks", command, content }
}

fn head(view: &View<'_>, figure: &Figure) -> Vec<Markup> {
    let row = &figure.cell.row;
    vec![cell(view.task(row)), cell(count(row.threads, "thread")), cell(&figure.cell.allocator)]
}

fn memory(view: &View<'_>, figure: &Figure) -> Option<Vec<Markup>> {
    let memory = figure.memory?;
    let fields = [memory.arena_bytes, memory.rss_bytes, memory.rss_after_trim_bytes];
    let mut line = head(view, figure);
    line.extend(fields.map(|bytes| cell(bytes.map_or_else(|| "–".into(), size))));
    fields.iter().any(Option::is_some).then_some(line)
}

fn lock(view: &View<'_>, figure: &Figure) -> Option<Vec<Markup>> {
    let lock = figure.lock?;
    let mut line = head(view, figure);
    line.extend([lock.acquired, lock.contended, lock.held_ns].map(|number| cell(digits(number))));
    Some(line)
}
