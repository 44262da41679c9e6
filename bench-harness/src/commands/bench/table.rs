//! The table that `gfp bench` prints, row by row as rows are finished.

use std::fmt::{self, Write};

use crate::figures::digits;
use crate::measure::Plan;
use crate::rivals::{GFP, is_rival};

/// One allocator's place in a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) allocator: String,
    pub(super) reading: Reading,
}

/// What is known of an allocator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// The median of its samples.
    Median(f64),
    /// A time that it exceeds: it was not waited for.
    Above(f64),
    /// A throughput that it does not reach: it was not waited for.
    Below(f64),
    /// Nothing: it does not work.
    Failed,
}

impl Reading {
    /// Returns the median, if there is one.
    fn median(self) -> Option<f64> {
        match self {
            Self::Median(median) => Some(median),
            _ => None,
        }
    }

    /// Turns a time in nanoseconds into the throughput, in million operations per second, of so many streams
    /// of operations that each take that time.
    pub(super) fn throughput(self, streams: usize) -> Self {
        match self {
            Self::Median(ns) => Self::Median(million_ops_per_second(streams, ns)),
            Self::Above(ns) => Self::Below(million_ops_per_second(streams, ns)),
            Self::Below(_) | Self::Failed => Self::Failed,
        }
    }
}

/// Returns how many million operations per second streams complete whose operations each take so long.
#[expect(clippy::cast_precision_loss, reason = "a number of threads is far below 2^52")]
pub(super) fn million_ops_per_second(streams: usize, ns_per_op: f64) -> f64 {
    streams as f64 * 1e3 / ns_per_op
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match *self {
            Self::Median(value) => digits(value),
            Self::Above(value) => format!(">{}", digits(value)),
            Self::Below(value) => format!("<{}", digits(value)),
            Self::Failed => "failed".to_owned(),
        })
    }
}

/// The width of the first column: `random small touched`.
const LABEL: usize = 20;

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Makes a table with a column for each allocator.
    pub(super) fn new(allocators: &[&str]) -> Self {
        Self { widths: allocators.iter().map(|name| name.len().max(7)).collect() }
    }

    /// Returns the head of rows that are nothing but figures.
    pub(super) fn head_of_figures(&self, allocators: &[&str]) -> String {
        let mut line = format!("{:<LABEL$} {:>5} {:>7}", "workload", "order", "threads");
        for (name, width) in allocators.iter().zip(&self.widths) {
            _ = write!(line, "  {name:>width$}");
        }
        line
    }

    /// Returns the head of rows with the best rival and the ratio.
    pub(super) fn head(&self, allocators: &[&str]) -> String {
        format!("{}  {:>12}  {:>8}", self.head_of_figures(allocators), "best rival", "gfp ÷ it")
    }

    /// Returns a row with the best rival and gfp's ratio to it: small is good for times.
    pub(super) fn row(&self, plan: Plan, cells: &[Cell]) -> String {
        let mut line = self.figures(plan, cells);
        let best = best_rival(cells);
        _ = write!(line, "  {:>12}", best.map_or("-", |(name, _)| name));
        let ours = cells.iter().find(|cell| cell.allocator == GFP).and_then(|cell| cell.reading.median());
        match (ours, best) {
            (Some(ours), Some((_, best))) => _ = write!(line, "  {:>8.2}", ours / best),
            _ => _ = write!(line, "  {:>8}", "-"),
        }
        line
    }

    /// Returns a row of nothing but figures.
    pub(super) fn figures(&self, plan: Plan, cells: &[Cell]) -> String {
        let mut line = format!("{:<LABEL$} {:>5} {:>7}", plan.label(), plan.order, plan.threads);
        for (cell, width) in cells.iter().zip(&self.widths) {
            _ = write!(line, "  {:>width$}", cell.reading);
        }
        line
    }
}

/// Returns the rival with the smallest median: not gfp, and not `empty`, which allocates nothing.
pub(super) fn best_rival(cells: &[Cell]) -> Option<(&str, f64)> {
    cells
        .iter()
        .filter(|cell| is_rival(&cell.allocator))
        .filter_map(|cell| Some((cell.allocator.as_str(), cell.reading.median()?)))
        .min_by(|left, right| left.1.total_cmp(&right.1))
}

#[cfg(test)]
mod tests {
    use super::Reading::{Above, Failed, Median};
    use super::*;
    use crate::workload::Workload;

    fn cells(readings: &[(&str, Reading)]) -> Vec<Cell> {
        let cell = |&(name, reading): &(&str, Reading)| Cell { allocator: name.to_owned(), reading };
        readings.iter().map(cell).collect()
    }

    fn plan() -> Plan {
        Plan::new(Workload::Pair, 3, 2)
    }

    #[test]
    fn the_best_rival_is_neither_empty_nor_gfp_nor_one_that_failed() {
        let cells = cells(&[
            ("empty", Median(1.0)),
            ("gfp", Median(5.0)),
            ("gfp-tls", Median(6.0)),
            ("mimalloc", Median(22.0)),
            ("jemalloc", Median(27.0)),
            ("glibc", Failed),
        ]);
        assert_eq!(best_rival(&cells), Some(("mimalloc", 22.0)));
    }

    #[test]
    fn a_row_ends_with_the_ratio_of_gfp_to_the_best_rival() {
        let cells = cells(&[("gfp", Median(5.5)), ("mimalloc", Median(22.0)), ("jemalloc", Median(270.0))]);
        let row = Table::new(&["gfp", "mimalloc", "jemalloc"]).row(plan(), &cells);
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["pair", "3", "2", "5.50", "22.0", "270", "mimalloc", "0.25"]);
    }

    #[test]
    fn a_row_without_gfp_or_without_rivals_has_no_ratio() {
        let table = Table::new(&["gfp"]);
        assert!(table.row(plan(), &cells(&[("gfp", Median(5.0))])).ends_with('-'));
        assert!(table.row(plan(), &cells(&[("mimalloc", Median(5.0))])).ends_with('-'));
    }

    #[test]
    fn an_allocator_without_a_median_is_shown_and_is_not_the_best() {
        let cells = cells(&[("glibc", Failed), ("buddy-heap", Above(30517.0))]);
        let row = Table::new(&["glibc", "buddy-heap"]).row(plan(), &cells);
        assert!(row.contains("failed") && row.contains(">30517") && row.ends_with('-'), "{row}");
    }
}
