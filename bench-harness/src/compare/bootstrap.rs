//! How far a difference of medians is determined by the samples at hand.
//!
//! From the rounds that are there, rounds are drawn again and again, and medians compared: a bootstrap. It knows nothing of what
//! was the same in all rounds of a visit, so that the medians of visits are compared with each other, too.

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

/// How many standard errors make half of an interval of 95 %.
const ERRORS: f64 = 1.96;

/// Returns half of the interval in which 95 % of the differences of medians are to be expected, of samples of which each visit
/// took so many.
#[must_use]
pub fn half_interval(samples: &[Vec<f64>; 2], visits: &[Vec<usize>; 2]) -> f64 {
    let variances = [0, 1].map(|record| variance_of_mean(&visit_medians(&samples[record], &visits[record])));
    within_visits(samples).hypot(ERRORS * variances.iter().sum::<f64>().sqrt())
}

/// Returns the median of each visit.
fn visit_medians(samples: &[f64], visits: &[usize]) -> Vec<f64> {
    let mut rest = samples;
    let parts = visits.iter().filter_map(|&taken| {
        let (part, behind) = rest.split_at_checked(taken)?;
        rest = behind;
        (!part.is_empty()).then(|| median(part))
    });
    parts.collect()
}

/// Returns by how much the mean of some numbers is off, squared, as far as they tell: 0 for fewer than two.
fn variance_of_mean(numbers: &[f64]) -> f64 {
    if numbers.len() < 2 {
        return 0.0;
    }
    let count = crate::figures::real(numbers.len());
    let mean = numbers.iter().sum::<f64>() / count;
    numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0) / count
}

/// Returns half of the interval in which 95 % of the differences of medians lie when samples are drawn anew from those that are
/// there.
fn within_visits(samples: &[Vec<f64>; 2]) -> f64 {
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
        assert_eq!((difference(&agreeing), within_visits(&agreeing)), (1.0, 0.0));
        let scattered = |scale: f64| {
            let samples: Vec<f64> = (0..15).map(|sample| f64::from(sample * 7 % 15) * scale).collect();
            within_visits(&[samples.clone(), samples])
        };
        assert!(scattered(0.1) > 0.1);
        assert!((scattered(0.2) / scattered(0.1) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn visits_that_do_not_agree_make_the_interval_wide_however_much_their_samples_do() {
        let samples = [vec![1.0, 1.0, 1.2, 1.2], vec![1.0, 1.0, 1.2, 1.2]];
        let once = half_interval(&samples, &[vec![4], vec![4]]);
        assert_eq!(once, within_visits(&samples));
        assert_eq!(once, half_interval(&samples, &[vec![], vec![]]), "a record without visits");
        // Each mean is off by 0.1, their difference by 0.14.
        let twice = half_interval(&samples, &[vec![2, 2], vec![2, 2]]);
        assert!((twice - once.hypot(1.96 * 0.02_f64.sqrt())).abs() < 1e-9, "{once} {twice}");
        // One that has no samples says nothing, and neither does what is missing.
        assert_eq!(twice, half_interval(&samples, &[vec![2, 0, 2], vec![2, 2, 7]]));
    }
}
