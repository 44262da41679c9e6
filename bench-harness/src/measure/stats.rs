//! What is said about a set of samples.

use serde::{Deserialize, Serialize};

/// The median and the extremes of a set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The smallest sample.
    pub min: f64,
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// The largest sample.
    pub max: f64,
    /// How many samples there are.
    pub samples: usize,
}

/// Summarizes samples; returns nothing for none.
#[must_use]
pub fn summarize(samples: &[f64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    Some(Summary { min, median, max, samples: sorted.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_of_samples_is_the_middle_one() {
        let summary = summarize(&[9.0, 1.0, 4.0]).unwrap();
        assert_eq!(summary, Summary { min: 1.0, median: 4.0, max: 9.0, samples: 3 });
    }

    #[test]
    fn the_median_of_an_even_number_of_samples_is_between_the_middle_two() {
        let summary = summarize(&[9.0, 1.0, 4.0, 5.0]).unwrap();
        assert_eq!(summary, Summary { min: 1.0, median: 4.5, max: 9.0, samples: 4 });
    }

    #[test]
    fn no_samples_have_no_summary() {
        assert_eq!(summarize(&[]), None);
    }
}
