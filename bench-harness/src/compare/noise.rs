//! What cannot be told from a difference.

use super::pairs::{Pair, median};

/// The share of the rivals' cells, which did not change, that the stated noise is to cover.
pub const COVERED: f64 = 0.97;

/// With so few cells nothing is learned from them.
const LEAST_CELLS: usize = 20;

/// How intervals become noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// What an interval is not taken to be much smaller than: the median of all. A few samples agree by chance.
    usual: f64,
    /// What intervals are multiplied by.
    factor: f64,
}

impl Noise {
    /// Learns from the cells of rivals, given with their differences and half intervals.
    pub(super) fn learn(measured: &[(&Pair, f64, f64)]) -> Self {
        let halves: Vec<f64> = measured.iter().map(|&(_, _, half)| half).collect();
        let unscaled = Self { usual: median(&halves), factor: 1.0 };
        let fixed = measured.iter().filter(|(pair, ..)| pair.is_fixed());
        let mut factors: Vec<f64> = fixed
            .map(|&(_, difference, half)| difference.abs() / unscaled.of(half).max(f64::MIN_POSITIVE))
            .collect();
        if factors.len() < LEAST_CELLS {
            return unscaled;
        }
        factors.sort_by(f64::total_cmp);
        if factors.last() == Some(&0.0) {
            // A record beside itself: its rivals cannot tell what another run would have been.
            return unscaled;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the cells")]
        let covering = (crate::figures::real(factors.len() + 1) * COVERED).ceil() as usize;
        Self { factor: factors[covering.min(factors.len()) - 1], ..unscaled }
    }

    /// Returns the noise of a cell with that half interval, as a difference of logarithms.
    pub(super) fn of(&self, half: f64) -> f64 {
        half.hypot(self.usual) * self.factor
    }
}
