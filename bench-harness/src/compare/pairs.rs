//! Which figures of two records belong together.

use std::collections::HashMap;

use crate::{
    measure::summarize,
    record::{Cell, Figure, Record},
};

/// A cell that was measured in both records.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The cell, as the first record names it.
    pub(super) cell: Cell,
    /// The medians, in nanoseconds.
    pub(super) medians: [f64; 2],
    /// The logarithms of the samples, in the order of rounds.
    pub(super) samples: [Vec<f64>; 2],
    /// How many of them each visit took.
    pub(super) visits: [Vec<usize>; 2],
}

impl Pair {
    /// Tells whether the cell is one of an allocator that is the same code in both records.
    pub(super) fn is_fixed(&self) -> bool {
        !self.cell.is_ours()
    }
}

/// Returns the measured cells that both records have, in the order of the first, and how many only one of them has.
pub(super) fn pairs(
    first: &Record,
    second: &Record,
    stand_in: Option<(&str, &str)>,
) -> (Vec<Pair>, [usize; 2]) {
    let named = |figure: &Figure| match stand_in {
        Some((theirs, ours)) if figure.cell.allocator == theirs => {
            Some(Cell { allocator: ours.to_owned(), ..figure.cell.clone() })
        }
        Some((_, ours)) if figure.cell.allocator == ours => None,
        _ => Some(figure.cell.clone()),
    };
    let measured = |record: &Record| record.figures.iter().filter(|figure| figure.median().is_some()).count();
    let after: HashMap<Cell, &Figure> =
        second.figures.iter().filter_map(|figure| Some((named(figure)?, figure))).collect();
    let pairs: Vec<Pair> = first
        .figures
        .iter()
        .filter_map(|before| {
            let after = after.get(&before.cell)?;
            Some(Pair {
                cell: before.cell.clone(),
                medians: [before.median()?, after.median()?],
                samples: [logarithms(before)?, logarithms(after)?],
                visits: [before, after].map(|figure| figure.visits().map(<[f64]>::len).collect()),
            })
        })
        .collect();
    let unmatched = [first, second].map(|record| measured(record) - pairs.len());
    (pairs, unmatched)
}

/// Returns the logarithms of a figure's samples. Where a record has only their extremes and median, these stand for them.
fn logarithms(figure: &Figure) -> Option<Vec<f64>> {
    let spread = figure.measured()?;
    let extremes = [spread.min, spread.median, spread.max];
    let samples = if figure.samples_ns.is_empty() { &extremes[..] } else { &figure.samples_ns };
    Some(samples.iter().map(|sample| sample.ln()).collect())
}

/// Returns the median of some numbers, 0 of none.
pub(super) fn median(numbers: &[f64]) -> f64 {
    summarize(numbers).map_or(0.0, |summary| summary.median)
}
