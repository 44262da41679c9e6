//! What is known of single operations, locks and counters: tables below those of times.

use super::row::Figure;
use crate::figures::time;
use crate::measure::{Fault, Plan};
use crate::terminal::{Table, print};

/// Tables that are filled row by row, of which those with rows are printed.
#[derive(Debug)]
pub(super) struct Details {
    latency: Part,
    locks: Part,
    counters: Part,
}

/// A table with its title.
#[derive(Debug)]
struct Part {
    title: &'static str,
    table: Option<Table>,
}

impl Default for Details {
    fn default() -> Self {
        let part = |title| Part { title, table: None };
        Self {
            latency: part(
                "time of single operations (a request and its free, each timed by itself; what empty shows is the clock)",
            ),
            locks: part("zone locks of gfp, for 1000 operations"),
            counters: part("an operation, counted by the processor and the kernel"),
        }
    }
}

impl Details {
    /// Adds what a figure has.
    pub(super) fn add(&mut self, plan: Plan, allocator: &str, figure: &Result<Figure, Fault>) {
        let Ok(figure) = figure else { return };
        let name = format!("{} {} ×{} {allocator}", plan.label(), plan.order, plan.threads);
        if let Some(latency) = figure.latency {
            let times = latency.times().map(|(name, ns)| (name, time(ns)));
            self.latency.add(&name, &times);
        }
        if let Some(lock) = figure.lock {
            let cells = [
                ("acquired", format!("{:.2}", lock.acquired)),
                ("contended", format!("{:.2}", lock.contended)),
                ("held, ns", format!("{:.0}", lock.held_ns)),
            ];
            self.locks.add(&name, &cells);
        }
        if let Some(counts) = &figure.perf {
            let shown =
                |count: Option<f64>| count.map_or_else(|| "n/a".to_owned(), |count| format!("{count:.4}"));
            let cells: Vec<_> = counts.iter().map(|(name, count)| (name, shown(count))).collect();
            self.counters.add(&name, &cells);
        }
    }

    /// Prints the tables that have rows.
    ///
    /// # Errors
    /// Nothing can be printed.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let parts = [&self.latency, &self.locks, &self.counters];
        parts.into_iter().try_for_each(|part| match &part.table {
            Some(table) => print(format_args!("\n{}\n{table}", part.title)),
            None => Ok(()),
        })
    }
}

impl Part {
    /// Adds a row of cells, each with the name of its column.
    fn add(&mut self, name: &str, cells: &[(&str, String)]) {
        let (columns, mut row): (Vec<&str>, Vec<String>) = cells.iter().cloned().unzip();
        let table = self.table.get_or_insert_with(|| {
            Table::new(&[&["workload, order, threads, allocator"], columns.as_slice()].concat())
        });
        row.insert(0, name.to_owned());
        table.push(row);
    }
}
