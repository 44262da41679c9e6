//! The record and the table made of a replay.

use serde_json::{Value, json};

use super::{Job, MeanPeak, Measured, Placement};
use crate::{
    terminal::Table,
    trace::{Lines, Source, Trace},
};

/// Returns what a reader must know to compare our placement with the recorded one; it comes with every outcome.
const fn bias(source: Source, is_prefilled: bool) -> &'static str {
    match source {
        Source::Kernel if is_prefilled => {
            "our arena has as many free blocks of each size and type as the kernel's memory had at one moment, at other places"
        }
        Source::Kernel => {
            "our arena starts empty and holds only the traced blocks; the kernel's memory was in use before \
             the trace began, and its placement had to fit in between"
        }
        Source::Gfp => {
            "our arena starts empty and holds all traced blocks; those that were recorded may have lain in several \
             arenas, of other sizes, and between blocks of before the recording"
        }
    }
}

/// A replay of one trace by one or more allocators.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The trace.
    pub trace: &'a Trace,
    /// Its name, for the record.
    pub trace_name: &'a str,
    /// How it was distributed.
    pub job: &'a Job,
    /// Size of the arena of each allocator that has one, in bytes.
    pub arena_bytes: u64,
    /// How many of its frames were in use before the trace began, where a snapshot was given.
    pub prefilled: Option<u64>,
    /// The kernel's placement.
    pub kernel: Placement,
    /// Each allocator's figures.
    pub measured: Vec<Measured>,
}

impl Outcome<'_> {
    /// Tells whether every allocation of every allocator succeeded and was as it should be.
    pub fn is_clean(&self) -> bool {
        self.measured.iter().all(Measured::is_clean)
    }

    /// Makes a record of `kind` `replay` for each allocator, and one of `kind` `timeline` where it was asked for.
    pub fn records(&self) -> Vec<Value> {
        let timelines = self.measured.iter().filter_map(|measured| {
            Some(measured.timeline.as_ref()?.record(self.trace_name, measured.allocator))
        });
        self.measured.iter().map(|measured| self.record(measured)).chain(timelines).collect()
    }

    fn record(&self, measured: &Measured) -> Value {
        let account = &self.trace.account;
        let verified = measured.verified.unwrap_or_default();
        let mut record = json!({
            "kind": "replay",
            "allocator": measured.allocator,
            "trace": self.trace_name,
            "format": self.trace.format.name(),
            "source": self.trace.source.name(),
            "threads": self.job.threads.name(),
            "workers": self.job.workers.len(),
            "pinned": measured.pinned,
            "arena_bytes": self.arena_bytes,
            "prefilled_frames": self.prefilled,
            "events": self.trace.events.len(),
            "allocs": account.allocs,
            "frees": account.frees,
            "unmatched_frees": account.unmatched_frees,
            "trace_failures": account.trace_failures,
            "failed": measured.failed,
            "overlaps": verified.overlaps,
            "peak_live_frames": account.peak_live_frames,
            "ns_per_event": median(&measured.ns_per_event),
            "ns_per_event_zeroed": median(&measured.ns_per_event_zeroed),
        });
        record["blocks_2m"] = beside(measured.placement.map(|ours| ours.blocks), self.kernel.blocks);
        record["mixed_blocks_2m"] = beside(measured.placement.map(|ours| ours.mixed), self.kernel.mixed);
        record["bias"] = json!(bias(self.trace.source, self.prefilled.is_some()));
        record["verified"] = json!(measured.verified.is_some());
        record["passes"] = passes_json(&measured.ns_per_event);
        record["passes_zeroed"] = passes_json(&measured.ns_per_event_zeroed);
        record["misaligned"] = json!(verified.misaligned);
        record["not_zeroed"] = json!(verified.not_zeroed);
        record["overwritten"] = json!(verified.overwritten);
        record["implicit_frees"] = json!(account.implicit_frees);
        record["partial_frees"] = json!(account.partial_frees);
        record["merged_frees"] = json!(account.merged_frees);
        record["live_frames_at_end"] = json!(account.live_frames_at_end);
        record["lines"] = lines_json(&self.trace.lines);
        record
    }

    /// Makes the text for people.
    pub fn text(&self) -> String {
        let account = &self.trace.account;
        let mut text = format!(
            "{}: {} events ({} allocations, {} frees), {} unmatched frees, {} failures in the trace, peak {} frames\n",
            self.trace_name,
            self.trace.events.len(),
            account.allocs,
            account.frees,
            account.unmatched_frees,
            account.trace_failures,
            account.peak_live_frames,
        );
        text += &self.remarks();
        let mut table = Table::new(&[
            "allocator",
            "ns/event",
            "min",
            "max",
            "passes",
            "zeroed",
            "passes",
            "failed",
            "overlaps",
            "2 MiB blocks",
            "peak",
            "mixed",
            "peak",
        ]);
        for measured in &self.measured {
            let figures = &measured.ns_per_event;
            let zeroed = &measured.ns_per_event_zeroed;
            let nanoseconds = |time: Option<f64>| format!("{:.1}", time.unwrap_or(0.0));
            let mut row = vec![
                measured.allocator.to_owned(),
                nanoseconds(Some(median(figures))),
                nanoseconds(figures.first().copied()),
                nanoseconds(figures.last().copied()),
                figures.len().to_string(),
                nanoseconds(Some(median(zeroed))),
                zeroed.len().to_string(),
            ];
            row.push(measured.failed.to_string());
            row.push(measured.verified.map_or("-".to_owned(), |verified| verified.overlaps.to_string()));
            if let Some(placement) = measured.placement {
                row.extend(placement_cells(placement));
            }
            table.push(row);
        }
        let recorded = match self.trace.source {
            Source::Kernel => "(the kernel)",
            Source::Gfp => "(as recorded)",
        };
        let mut row = vec![recorded.to_owned()];
        row.extend([""; 8].map(str::to_owned));
        row.extend(placement_cells(self.kernel));
        table.push(row);
        text += &table.to_string();
        text += &format!(
            "{}, arena {} MiB; ns/event is the median of the passes\nbias: {}\n",
            match self.job.workers.len() {
                1 => "1 thread".to_owned(),
                workers => format!("{workers} threads"),
            },
            self.arena_bytes >> 20,
            bias(self.trace.source, self.prefilled.is_some()),
        );
        for Measured { allocator, timeline, .. } in &self.measured {
            if let Some(timeline) = timeline {
                text += &format!("\n{}", timeline.table(allocator));
            }
        }
        text
    }

    /// Says what was unusual in the trace or wrong in a replay.
    fn remarks(&self) -> String {
        let account = &self.trace.account;
        let lines = &self.trace.lines;
        let mut text = String::new();
        if let Some((number, line)) = &lines.first_unparsable {
            text += &format!(
                "{} lines were not understood; the first is line {number}: {line}\n",
                lines.unparsable
            );
        }
        if lines.lost_reports > 0 {
            text += &format!(
                "the recorder lost events {} times ({} events where it said how many)\n",
                lines.lost_reports, lines.lost_events
            );
        }
        for (count, what) in [
            (account.implicit_frees, "frees were missing and made up when a frame was allocated again"),
            (account.partial_frees, "frees covered a part of a block, which was freed with its last part"),
            (account.merged_frees, "frees covered more than one block"),
            (
                lines.unusual_migratetypes,
                "allocations had an unusual migrate type, and were replayed as unmovable",
            ),
        ] {
            if count > 0 {
                text += &format!("{count} {what}\n");
            }
        }
        for measured in &self.measured {
            let verified = measured.verified.unwrap_or_default();
            for (count, what) in [
                (measured.failed, "allocations failed"),
                (verified.overlaps, "blocks overlapped a live one"),
                (verified.misaligned, "blocks were not aligned to their size"),
                (verified.not_zeroed, "blocks were not zeroed as asked"),
                (verified.overwritten, "blocks were overwritten while live"),
            ] {
                if count > 0 {
                    text += &format!("{}: {count} {what}\n", measured.allocator);
                }
            }
            if !measured.pinned {
                text += &format!("{}: not all threads could be pinned\n", measured.allocator);
            }
        }
        text
    }
}

/// Returns the median of ascending figures, or 0 of none.
fn median(figures: &[f64]) -> f64 {
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        length if length.is_multiple_of(2) => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}

fn passes_json(figures: &[f64]) -> Value {
    json!({"count": figures.len(), "min": figures.first(), "median": median(figures), "max": figures.last()})
}

fn lines_json(lines: &Lines) -> Value {
    let first_unparsable =
        lines.first_unparsable.as_ref().map(|(number, text)| json!({"line": number, "text": text}));
    json!({
        "total": lines.total,
        "mm_page_alloc": lines.page_alloc,
        "mm_page_free": lines.page_free,
        "mm_page_free_batched": lines.page_free_batched,
        "mm_page_alloc_zone_locked": lines.page_alloc_zone_locked,
        "mm_page_pcpu_drain": lines.page_pcpu_drain,
        "mm_page_alloc_extfrag": lines.page_alloc_extfrag,
        "other_events": lines.other_events,
        "lost_events": lines.lost_events,
        "lost_reports": lines.lost_reports,
        "unparsable": lines.unparsable,
        "first_unparsable": first_unparsable,
        "unusual_migratetypes": lines.unusual_migratetypes,
    })
}

fn beside(ours: Option<MeanPeak>, kernel: MeanPeak) -> Value {
    let figure = |value: MeanPeak| json!({"mean": value.mean, "peak": value.peak});
    json!({"ours": ours.map(figure), "kernel": figure(kernel)})
}

fn placement_cells(placement: Placement) -> [String; 4] {
    [
        format!("{:.1}", placement.blocks.mean),
        placement.blocks.peak.to_string(),
        format!("{:.1}", placement.mixed.mean),
        placement.mixed.peak.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
    }
}
