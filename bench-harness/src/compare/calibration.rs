//! Taking out what disturbed all allocators of a row alike.

use std::fmt;

use super::{
    bootstrap::difference,
    pairs::{Pair, median, midmean},
};
use crate::record::Row;

/// How an allocator is seen beside its rivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// Not at all: times as they are.
    Nothing,
    /// By the median of what all rivals of the row went through: a geometric mean that no single rival can spoil.
    Others,
    /// By one rival's time in the same visit; that rival itself by the median of the others.
    Rival(String),
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing: times as they are"),
            Self::Others => f.write_str("the median of all rivals of the row"),
            Self::Rival(name) => write!(f, "{name} in the same row"),
        }
    }
}

/// Another calibration than by all rivals must leave less than this share of the differences: of so many one is always a little
/// better by chance.
const CLEARLY_LESS: f64 = 0.9;

impl Calibration {
    /// Chooses what leaves the least difference between the cells of rivals, which are the same code in both records.
    pub(super) fn choose(pairs: &[Pair]) -> Self {
        let mut candidates = vec![Self::Others, Self::Nothing];
        for pair in pairs.iter().filter(|pair| pair.is_fixed()) {
            let candidate = Self::Rival(pair.cell.allocator.clone());
            // One that is not in every row would leave some without.
            let rows = pairs.iter().filter(|other| other.cell.allocator == pair.cell.allocator).count();
            if !candidates.contains(&candidate) && rows == row_count(pairs) {
                candidates.push(candidate);
            }
        }
        let left = |candidate: &Self| {
            let fixed = pairs.iter().filter(|pair| pair.is_fixed());
            let differences: Vec<f64> =
                fixed.map(|pair| difference(&candidate.calibrate(pairs, pair)).abs()).collect();
            median(&differences)
        };
        let score = |candidate: Self| match candidate {
            Self::Others => (left(&candidate) * CLEARLY_LESS, candidate),
            _ => (left(&candidate), candidate),
        };
        let scored = candidates.into_iter().map(score);
        scored.min_by(|one, other| one.0.total_cmp(&other.0)).map_or(Self::Others, |(_, best)| best)
    }

    /// Returns the logarithms of a cell's readings, of both records, without what its rivals went through, too.
    pub(super) fn calibrate(&self, pairs: &[Pair], subject: &Pair) -> [Vec<f64>; 2] {
        let others: Vec<&Pair> = pairs
            .iter()
            .filter(|pair| pair.cell.row == subject.cell.row && pair.cell.allocator != subject.cell.allocator)
            .filter(|pair| pair.is_fixed())
            .collect();
        let by: Vec<&Pair> = match self {
            Self::Nothing => Vec::new(),
            Self::Rival(name) if others.iter().any(|pair| pair.cell.allocator == *name) => {
                others.into_iter().filter(|pair| pair.cell.allocator == *name).collect()
            }
            Self::Others | Self::Rival(_) => others,
        };
        [0, 1].map(|record| {
            let readings = &subject.readings[record];
            let shift = |pair: &Pair| midmean(&pair.readings[record]) - midmean(&pair.readings[0]);
            let level = median(&by.iter().map(|pair| shift(pair)).collect::<Vec<_>>());
            let drift = drift(&by, record, readings.len());
            readings.iter().zip(drift).map(|(reading, drift)| reading - level - drift).collect()
        })
    }
}

/// Returns how far the rivals of a row were from their middles at each reading, where they have as many.
fn drift(by: &[&Pair], record: usize, count: usize) -> Vec<f64> {
    let beside = by.iter().map(|pair| &pair.readings[record]).filter(|readings| readings.len() == count);
    let beside: Vec<(&Vec<f64>, f64)> = beside.map(|readings| (readings, midmean(readings))).collect();
    let at =
        |place: usize| beside.iter().map(|(readings, middle)| readings[place] - middle).collect::<Vec<_>>();
    (0..count).map(|place| median(&at(place))).collect()
}

fn row_count(pairs: &[Pair]) -> usize {
    let mut rows: Vec<&Row> = pairs.iter().map(|pair| &pair.cell.row).collect();
    rows.sort();
    rows.dedup();
    rows.len()
}
