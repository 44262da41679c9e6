//! Which figures of two records belong together.

use std::collections::HashMap;

use crate::{
    measure::summarize,
    record::{Cell, Figure, Record},
};

/// From so many visits on, each counts as one reading.
const FEWEST_VISITS: usize = 4;

/// A cell that was measured in both records.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The cell, as the first record names it.
    pub(super) cell: Cell,
    /// The medians, in nanoseconds.
    pub(super) medians: [f64; 2],
    /// The logarithms of the readings, in their order: the median of each visit, or each sample where visits are few.
    pub(super) readings: [Vec<f64>; 2],
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
                readings: [readings(before)?, readings(after)?],
            })
        })
        .collect();
    let unmatched = [first, second].map(|record| measured(record) - pairs.len());
    (pairs, unmatched)
}

/// Returns the logarithms of a figure's readings. Where a record has only the extremes and the median, these stand for them.
fn readings(figure: &Figure) -> Option<Vec<f64>> {
    let spread = figure.measured()?;
    let visits: Vec<f64> = figure.visits().filter(|visit| !visit.is_empty()).map(median).collect();
    let readings = match &figure.samples_ns[..] {
        [] => vec![spread.min, spread.median, spread.max],
        _ if visits.len() >= FEWEST_VISITS => visits,
        samples => samples.to_vec(),
    };
    Some(readings.iter().map(|reading| reading.ln()).collect())
}

/// Returns the median of some numbers, 0 of none.
pub(super) fn median(numbers: &[f64]) -> f64 {
    summarize(numbers).map_or(0.0, |summary| summary.median)
}

/// Returns the mean of the middle half of some numbers, 0 of none: hardly easier to spoil than the median, and determined better.
pub(super) fn midmean(numbers: &[f64]) -> f64 {
    midmean_in_place(&mut numbers.to_vec())
}

/// The same of numbers that it sorts.
pub(super) fn midmean_in_place(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    let outer = numbers.len().div_ceil(4).min(numbers.len().saturating_sub(1) / 2);
    let middle = &numbers[outer..numbers.len() - outer];
    middle.iter().sum::<f64>() / crate::figures::real(middle.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_does_not_see_the_outer_quarters() {
        for (numbers, expected) in [
            (&[][..], 0.0),
            (&[3.0], 3.0),
            (&[1.0, 2.0], 1.5),
            (&[99.0, 1.0, 2.0], 2.0),
            (&[99.0, 1.0, 2.0, 3.0], 2.5),
            (&[1.0, -99.0, 2.0, 99.0, 6.0, 3.0, -99.0, 99.0], 3.0),
        ] {
            assert_eq!(midmean(numbers), expected, "{numbers:?}");
        }
    }

    /// The readings of a figure of visits with these samples.
    fn readings_of(visits: &[[f64; 2]]) -> Vec<f64> {
        let visit = |samples: &[f64; 2]| {
            let figure = serde_json::json!({
                "workload": "pair", "order": 0, "threads": 1, "workers": 1, "allocator": "gfp", "samples_ns": samples,
                "ns_per_op": {"min": samples[0], "median": median(samples), "max": samples[1]},
            });
            serde_json::from_value(figure).unwrap()
        };
        readings(&Figure::of_visits(visits.iter().map(visit).collect()).unwrap()).unwrap()
    }

    #[test]
    fn visits_that_do_not_agree_make_the_interval_wide_however_much_their_samples_do() {
        let logarithms = |numbers: &[f64]| numbers.iter().map(|number| number.ln()).collect::<Vec<_>>();
        let once = readings_of(&[[1.0, 1.2]]);
        assert_eq!(once, logarithms(&[1.0, 1.2]), "each sample, where visits are few");
        let agreeing = readings_of(&[[1.0, 1.2]; FEWEST_VISITS]);
        assert_eq!(agreeing, logarithms(&[1.1; FEWEST_VISITS]));
        let [low, high] = [[1.0, 1.0], [1.2, 1.2]];
        let scattered = readings_of(&[low, high, low, high]);
        assert_eq!(scattered, logarithms(&[1.0, 1.2, 1.0, 1.2]));
        let half = |readings: &Vec<f64>| super::super::half_interval(&[readings.clone(), readings.clone()]);
        assert_eq!(half(&agreeing), 0.0);
        assert!(half(&scattered) > 0.1, "{}", half(&scattered));
    }
}
