//! How throughput grows with threads: against one thread, and beyond the CPUs against a thread for each.

use super::table::{Cell, Reading, Table};
use crate::measure::Plan;
use crate::terminal::print;

/// The times of a row of the report.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) plan: Plan,
    pub(super) cells: Vec<Cell>,
}

/// What a row is compared with.
#[derive(Clone, Copy, Debug)]
enum Comparison {
    /// The row with one thread: throughput ÷ (threads × its throughput).
    Efficiency,
    /// The row with a thread for each CPU: throughput ÷ its throughput.
    Oversubscription,
}

impl Comparison {
    /// Returns the threads of the row that others are compared with.
    fn base(self, cpus: usize) -> usize {
        match self {
            Self::Efficiency => 1,
            Self::Oversubscription => cpus,
        }
    }

    /// Tells whether a row with so many threads is one to be compared.
    fn concerns(self, threads: usize, cpus: usize) -> bool {
        match self {
            Self::Efficiency => threads > 1 && threads <= cpus,
            Self::Oversubscription => threads > cpus,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Efficiency => "scaling efficiency: throughput ÷ (threads × throughput of one thread)",
            Self::Oversubscription => {
                "more threads than CPUs: throughput ÷ throughput with a thread for each CPU"
            }
        }
    }

    /// Compares a row with its base; both have the same allocators.
    fn compare(self, row: &Times, base: &Times) -> Vec<Cell> {
        // Handoff completes an operation for two threads: streams, not threads, is what throughput multiplies by.
        let streams = match self {
            Self::Efficiency => 1.0,
            Self::Oversubscription => ratio(row.plan.streams(), base.plan.streams()),
        };
        let ratio = |cell: &Cell, base: &Cell| match (cell.reading, base.reading) {
            (Reading::Median(ns), Reading::Median(base_ns)) => Reading::Median(streams * base_ns / ns),
            (Reading::Above(ns), Reading::Median(base_ns)) => Reading::Below(streams * base_ns / ns),
            _ => Reading::Failed,
        };
        let cells = row.cells.iter().zip(&base.cells);
        cells
            .map(|(cell, base)| Cell { allocator: cell.allocator.clone(), reading: ratio(cell, base) })
            .collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of threads are far below 2^52")]
fn ratio(count: usize, base: usize) -> f64 {
    count as f64 / base as f64
}

/// Prints how rows of several threads compare with those of one, and with those of a thread for each CPU, as far as there are any.
///
/// # Errors
/// Nothing can be printed.
pub(super) fn print_scaling(
    rows: &[Times],
    cpus: usize,
    table: &Table,
    allocators: &[&str],
) -> anyhow::Result<()> {
    for comparison in [Comparison::Efficiency, Comparison::Oversubscription] {
        let compared = compared(comparison, rows, cpus);
        if compared.is_empty() {
            continue;
        }
        print(format_args!("\n{}\n{}\n", comparison.title(), table.head_of_figures(allocators)))?;
        for (plan, cells) in compared {
            print(format_args!("{}\n", table.figures(plan, &cells)))?;
        }
    }
    Ok(())
}

/// Returns the rows that there is something to compare with.
fn compared(comparison: Comparison, rows: &[Times], cpus: usize) -> Vec<(Plan, Vec<Cell>)> {
    let base_of = |row: &Times| {
        // Not by the plan itself: a set that threads share has fewer blocks for each of them.
        let task = |plan: Plan| (plan.order, plan.label());
        rows.iter()
            .find(|base| base.plan.threads == comparison.base(cpus) && task(base.plan) == task(row.plan))
    };
    rows.iter()
        .filter(|row| comparison.concerns(row.plan.threads, cpus))
        .filter_map(|row| Some((row, base_of(row)?)))
        // One pair of threads is what one thread is for handoff, and two threads as well.
        .filter(|(row, base)| row.plan.streams() > base.plan.streams())
        .map(|(row, base)| (row.plan, comparison.compare(row, base)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn row(workload: Workload, threads: usize, reading: Reading) -> Times {
        let plan = Plan::new(workload, 0, threads);
        Times { plan, cells: vec![Cell { allocator: "gfp".to_owned(), reading }] }
    }

    fn readings(comparison: Comparison, rows: &[Times], cpus: usize) -> Vec<(usize, Reading)> {
        let compared = compared(comparison, rows, cpus);
        compared.into_iter().map(|(plan, cells)| (plan.threads, cells[0].reading)).collect()
    }

    #[test]
    fn efficiency_is_the_time_of_one_thread_over_that_of_many() {
        let times = [(1, 10.0), (2, 12.5), (4, 40.0), (8, 80.0)];
        let rows = times.map(|(threads, ns)| row(Workload::Pair, threads, Reading::Median(ns)));
        let expected = [(2, Reading::Median(0.8)), (4, Reading::Median(0.25))];
        assert_eq!(readings(Comparison::Efficiency, &rows, 4), expected);
    }

    #[test]
    fn oversubscription_compares_the_throughput_of_all_threads_together() {
        // Eight threads on two CPUs, each a quarter as fast: nothing is lost.
        let rows = [(2, 10.0), (8, 40.0)].map(|(n, ns)| row(Workload::Pair, n, Reading::Median(ns)));
        assert_eq!(readings(Comparison::Oversubscription, &rows, 2), [(8, Reading::Median(1.0))]);
        let pairs = [(2, 10.0), (8, 80.0)].map(|(n, ns)| row(Workload::Handoff, n, Reading::Median(ns)));
        assert_eq!(readings(Comparison::Oversubscription, &pairs, 2), [(8, Reading::Median(0.5))]);
    }

    #[test]
    fn what_was_not_waited_for_is_a_bound_and_what_has_no_base_is_left_out() {
        let rows =
            [row(Workload::Bulk, 1, Reading::Median(10.0)), row(Workload::Bulk, 2, Reading::Above(100.0))];
        assert_eq!(readings(Comparison::Efficiency, &rows, 2), [(2, Reading::Below(0.1))]);
        assert_eq!(readings(Comparison::Efficiency, &rows[1..], 2), []);
        let pairs = [1, 2].map(|threads| row(Workload::Handoff, threads, Reading::Median(10.0)));
        assert_eq!(readings(Comparison::Efficiency, &pairs, 2), []);
        assert_eq!(readings(Comparison::Oversubscription, &rows, 2), []);
    }
}
