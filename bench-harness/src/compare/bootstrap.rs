//! How far a difference is determined by the readings at hand.
//!
//! From the readings that are there, as many are drawn again and again, and compared: a bootstrap. A reading of a visit has in it
//! what disturbed a sample as well as what lasted for the visit, so that nothing need be known of either.

use super::pairs::{midmean, midmean_in_place};
use crate::workload::Rng;

/// How often readings are drawn.
const DRAWS: usize = 1000;
/// The share of the draws that the interval leaves out at each end.
const TAIL: f64 = 0.025;
/// What the random numbers follow from: the same records give the same intervals.
const SEED: u64 = 1;

/// Returns the difference of the readings of two records, the second less the first.
pub(super) fn difference([first, second]: &[Vec<f64>; 2]) -> f64 {
    midmean(second) - midmean(first)
}

/// Returns half of the interval in which 95 % of the differences lie when readings are drawn anew from those that are there.
#[must_use]
pub fn half_interval(readings: &[Vec<f64>; 2]) -> f64 {
    let mut rng = Rng::new(SEED);
    let mut draw = |readings: &[f64], drawn: &mut Vec<f64>| {
        drawn.clear();
        drawn.extend((0..readings.len()).map(|_| readings[rng.below(readings.len())]));
        midmean_in_place(drawn)
    };
    let mut drawn = Vec::new();
    let mut differences: Vec<f64> =
        (0..DRAWS).map(|_| draw(&readings[1], &mut drawn) - draw(&readings[0], &mut drawn)).collect();
    differences.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the draws")]
    let tail = (crate::figures::real(DRAWS) * TAIL) as usize;
    (differences[DRAWS - 1 - tail] - differences[tail]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_that_agree_have_no_interval_and_scattered_ones_have() {
        let agreeing = [vec![1.0; 9], vec![2.0; 9]];
        assert_eq!((difference(&agreeing), half_interval(&agreeing)), (1.0, 0.0));
        let scattered = |scale: f64| {
            let readings: Vec<f64> = (0..15).map(|reading| f64::from(reading * 7 % 15) * scale).collect();
            half_interval(&[readings.clone(), readings])
        };
        assert!(scattered(0.1) > 0.1);
        assert!((scattered(0.2) / scattered(0.1) - 2.0).abs() < 1e-9);
    }
}
