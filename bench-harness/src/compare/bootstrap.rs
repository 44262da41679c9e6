//! How far a difference of medians is determined by the samples at hand.

use super::pairs::median;
use crate::workload::Rng;

/// How often samples are drawn.
const DRAWS: usize = 1000;
/// The share of the draws that the interval leaves out at each end.
const TAIL: f64 = 0.025;
/// What the random numbers follow from: the same records give the same intervals.
const SEED: u64 = 1;

/// Returns the difference of the medians of samples, the second less the first.
pub(super) fn difference([first, second]: &[Vec<f64>; 2]) -> f64 {
    median(second) - median(first)
}

/// Returns half of the interval in which 95 % of the differences of medians lie when samples are drawn anew from those that are
/// there.
#[must_use]
pub fn half_interval(samples: &[Vec<f64>; 2]) -> f64 {
    let mut rng = Rng::new(SEED);
    let mut draw = |samples: &[f64], drawn: &mut Vec<f64>| {
        drawn.clear();
        drawn.extend((0..samples.len()).map(|_| samples[rng.below(samples.len())]));
        median_in_place(drawn)
    };
    let mut drawn = Vec::new();
    let mut differences: Vec<f64> =
        (0..DRAWS).map(|_| draw(&samples[1], &mut drawn) - draw(&samples[0], &mut drawn)).collect();
    differences.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the draws")]
    let tail = (crate::figures::real(DRAWS) * TAIL) as usize;
    (differences[DRAWS - 1 - tail] - differences[tail]) / 2.0
}

/// Returns the median of numbers, which it sorts; the upper one of two in the middle, which is enough for draws.
fn median_in_place(numbers: &mut [f64]) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() { 0.0 } else { *numbers.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_agree_have_no_interval_and_scattered_ones_have() {
        let agreeing = [vec![1.0; 9], vec![2.0; 9]];
        assert_eq!((difference(&agreeing), half_interval(&agreeing)), (1.0, 0.0));
        let scattered = |scale: f64| {
            let samples: Vec<f64> = (0..15).map(|sample| f64::from(sample * 7 % 15) * scale).collect();
            half_interval(&[samples.clone(), samples])
        };
        assert!(scattered(0.1) > 0.1);
        assert!((scattered(0.2) / scattered(0.1) - 2.0).abs() < 1e-9);
    }
}
