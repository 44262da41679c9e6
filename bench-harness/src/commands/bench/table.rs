//! The table that `gfp bench` prints, row by row as rows are finished.

use std::fmt::Write;

use crate::measure::Plan;
use crate::rivals::{EMPTY, OURS};

/// One allocator's place in a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) allocator: String,
    /// The median, or nothing where the allocator failed.
    pub(super) median: Option<f64>,
}

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
        let mut line = format!("{:<8} {:>5} {:>7}", "workload", "order", "threads");
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
        let ours = cells.iter().find(|cell| cell.allocator == OURS[0]).and_then(|cell| cell.median);
        match (ours, best) {
            (Some(ours), Some((_, best))) => _ = write!(line, "  {:>8.2}", ours / best),
            _ => _ = write!(line, "  {:>8}", "-"),
        }
        line
    }

    /// Returns a row of nothing but figures.
    pub(super) fn figures(&self, plan: Plan, cells: &[Cell]) -> String {
        let mut line = format!("{:<8} {:>5} {:>7}", plan.workload, plan.order, plan.threads);
        for (cell, width) in cells.iter().zip(&self.widths) {
            _ = write!(line, "  {:>width$}", figure(cell.median));
        }
        line
    }
}

/// Returns the rival with the smallest median: not gfp, and not `empty`, which allocates nothing.
pub(super) fn best_rival(cells: &[Cell]) -> Option<(&str, f64)> {
    cells
        .iter()
        .filter(|cell| cell.allocator != EMPTY && !OURS.contains(&cell.allocator.as_str()))
        .filter_map(|cell| Some((cell.allocator.as_str(), cell.median?)))
        .min_by(|left, right| left.1.total_cmp(&right.1))
}

/// Writes a figure with about three digits.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "failed".to_owned(),
        Some(value) if value < 9.995 => format!("{value:.2}"),
        Some(value) if value < 99.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn cells(medians: &[(&str, Option<f64>)]) -> Vec<Cell> {
        medians.iter().map(|&(name, median)| Cell { allocator: name.to_owned(), median }).collect()
    }

    const PLAN: Plan = Plan { workload: Workload::Pair, order: 3, threads: 2 };

    #[test]
    fn the_best_rival_is_neither_empty_nor_gfp_nor_one_that_failed() {
        let cells = cells(&[
            ("empty", Some(1.0)),
            ("gfp", Some(5.0)),
            ("gfp-tls", Some(6.0)),
            ("mimalloc", Some(22.0)),
            ("jemalloc", Some(27.0)),
            ("system", None),
        ]);
        assert_eq!(best_rival(&cells), Some(("mimalloc", 22.0)));
    }

    #[test]
    fn a_row_ends_with_the_ratio_of_gfp_to_the_best_rival() {
        let cells = cells(&[("gfp", Some(5.5)), ("mimalloc", Some(22.0)), ("jemalloc", Some(270.0))]);
        let row = Table::new(&["gfp", "mimalloc", "jemalloc"]).row(PLAN, &cells);
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["pair", "3", "2", "5.50", "22.0", "270", "mimalloc", "0.25"]);
    }

    #[test]
    fn a_row_without_gfp_or_without_rivals_has_no_ratio() {
        let table = Table::new(&["gfp"]);
        assert!(table.row(PLAN, &cells(&[("gfp", Some(5.0))])).ends_with('-'));
        assert!(table.row(PLAN, &cells(&[("mimalloc", Some(5.0))])).ends_with('-'));
    }

    #[test]
    fn a_failed_allocator_is_shown_as_failed() {
        let row = Table::new(&["system"]).row(PLAN, &cells(&[("system", None)]));
        assert!(row.contains("failed"));
    }
}
