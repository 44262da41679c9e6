//! Two records, cell by cell: what became faster or slower, and what is noise.
//!
//! On a shared machine every figure changes from run to run, by far more than what one wants to see. Three things are done
//! about that:
//!
//! 1. *Calibration* ([`Calibration`]). The samples of a row are interleaved, so what disturbs the machine disturbs all
//!    allocators of a visit. What the rivals of a row have in common is taken out, visit by visit within a record, and row by row
//!    between the two: an allocator is slower if it is slower beside its rivals. How rivals are made use of is chosen by what
//!    leaves the least difference between the rivals themselves, which are the same code in both records.
//! 2. *An interval* ([`half_interval`]). A row is visited again and again, and the median of each visit is a reading: what disturbs a
//!    sample, what the machine does for minutes, and what lasts as long as an allocator or its process lives make readings differ.
//!    From those that are there readings are drawn again and again, and the means of their middle halves compared: a bootstrap. It
//!    says how far a difference is determined by the readings at hand.
//! 3. *Noise* ([`Noise`]). What stays constant within a run but not from one to the next, neither shows. The rivals show it: the
//!    intervals are stretched, or may shrink, so that they contain no difference for [`COVERED`] of the rivals' cells. That is a
//!    cell's stated noise, and only a larger difference is one.

mod bootstrap;
mod calibration;
mod noise;
mod pairs;
#[cfg(test)]
mod synthetic;

pub use bootstrap::half_interval;
pub use calibration::Calibration;
pub use noise::{COVERED, Noise};

use crate::record::{Cell, Record};
use pairs::{Pair, pairs};

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes less time than before, by more than noise.
    Faster,
    /// It takes more time than before, by more than noise.
    Slower,
    /// What there is of a difference is noise.
    NoDifference,
}

impl Verdict {
    /// Returns the words for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifference => "no difference",
        }
    }
}

/// A cell that both records have.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The cell.
    pub cell: Cell,
    /// The median of the first record, in nanoseconds an operation.
    pub before: f64,
    /// The median of the second record.
    pub after: f64,
    /// The second divided by the first, beside the rivals.
    pub ratio: f64,
    /// The stated noise: a ratio that is not further from 1 than by this share is no difference.
    pub noise: f64,
    /// The ends of the ratio's interval.
    pub interval: [f64; 2],
    /// What became of it.
    pub verdict: Verdict,
}

/// What comes of comparing two records.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The cells that both have, the largest difference first.
    pub cells: Vec<Compared>,
    /// How they were calibrated.
    pub calibration: Calibration,
    /// How many measured cells only the one or only the other has.
    pub unmatched: [usize; 2],
}

impl Comparison {
    /// Returns how many cells have a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cells.iter().filter(|cell| cell.verdict == verdict).count()
    }

    /// Returns the share of the cells whose stated noise is at most so much.
    #[must_use]
    pub fn share_within(&self, noise: f64) -> f64 {
        let within = self.cells.iter().filter(|cell| cell.noise <= noise).count();
        crate::figures::real(within) / crate::figures::real(self.cells.len().max(1))
    }
}

/// Compares the second record with the first. With `stand_in` (an allocator of the second record, and one of the first) the
/// one is compared with the other in its place.
#[must_use]
pub fn compare(first: &Record, second: &Record, stand_in: Option<(&str, &str)>) -> Comparison {
    let (pairs, unmatched) = pairs(first, second, stand_in);
    let calibration = Calibration::choose(&pairs);
    let measured: Vec<(&Pair, f64, f64)> = pairs
        .iter()
        .map(|pair| {
            let readings = calibration.calibrate(&pairs, pair);
            (pair, bootstrap::difference(&readings), half_interval(&readings))
        })
        .collect();
    let noise = Noise::learn(&measured);
    let mut cells: Vec<Compared> = measured
        .into_iter()
        .map(|(pair, difference, half)| {
            let noise = noise.of(half);
            let verdict = match difference {
                _ if difference > noise => Verdict::Slower,
                _ if difference < -noise => Verdict::Faster,
                _ => Verdict::NoDifference,
            };
            Compared {
                cell: pair.cell.clone(),
                before: pair.medians[0],
                after: pair.medians[1],
                ratio: difference.exp(),
                noise: noise.exp_m1(),
                interval: [(difference - noise).exp(), (difference + noise).exp()],
                verdict,
            }
        })
        .collect();
    cells.sort_by(|left, right| right.ratio.ln().abs().total_cmp(&left.ratio.ln().abs()));
    Comparison { cells, calibration, unmatched }
}
