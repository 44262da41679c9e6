//! Axes: what a value's place is, and which values are named.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::figures::real;

/// How values lie along an axis.
#[derive(Clone, Debug, PartialEq)]
enum Scale {
    Linear,
    /// Equal ratios are equal distances.
    Logarithmic,
    /// Names at equal distances; their values are 0, 1, 2, …
    Named(Vec<String>),
}

/// An axis: its label with the unit, and what lies between its ends.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Axis {
    /// What it shows, with the unit.
    pub(in crate::report) label: String,
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    /// Makes an axis from 0 to the largest of the values.
    pub(in crate::report) fn from_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let high = values.into_iter().fold(0.0, f64::max);
        let high = if high > 0.0 { high * 1.03 } else { 1.0 };
        Self { label: label.to_owned(), scale: Scale::Linear, low: 0.0, high }
    }

    /// Makes an axis on which equal ratios are equal distances, with room for all values above 0.
    pub(in crate::report) fn logarithmic(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        let (low, high) =
            values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low / 1.25, high * 1.25) } else { (1.0, 10.0) };
        Self { label: format!("{label}, log scale"), scale: Scale::Logarithmic, low, high }
    }

    /// Makes an axis with these names at equal distances.
    pub(in crate::report) fn named(label: &str, names: Vec<String>) -> Self {
        let high = real(names.len().saturating_sub(1));
        Self { label: label.to_owned(), scale: Scale::Named(names), low: -0.3, high: high + 0.3 }
    }

    /// Returns the share of the axis below a value: 0 at its begin, 1 at its end.
    fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            Scale::Linear | Scale::Named(_) => (value - self.low) / (self.high - self.low),
        }
    }

    /// Returns the values that are named, about `most` of them at the most.
    fn ticks(&self, most: usize) -> Vec<f64> {
        match &self.scale {
            Scale::Linear => linear_ticks(self.low, self.high, most),
            Scale::Logarithmic => logarithmic_ticks(self.low, self.high, most),
            Scale::Named(names) => {
                let step = names.len().div_ceil(most.max(1)).max(1);
                (0..names.len()).step_by(step).map(real).collect()
            }
        }
    }

    /// Returns the longest name of `most` ticks.
    pub(super) fn longest_name(&self, most: usize) -> String {
        let names = self.ticks(most).into_iter().map(|tick| self.format_ext(&tick));
        names.max_by_key(|name| name.chars().count()).unwrap_or_default()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "it is a pixel of the plot")]
    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        begin + (self.share(*value) * f64::from(end - begin)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lighter lines between those that are named would only be in the way.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks(hint.max_num_points()) }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }

    fn format_ext(&self, value: &f64) -> String {
        match &self.scale {
            Scale::Named(names) => {
                let name = names.iter().enumerate().find(|(index, _)| real(*index).total_cmp(value).is_eq());
                name.map_or_else(String::new, |(_, name)| name.clone())
            }
            Scale::Linear | Scale::Logarithmic => short(*value),
        }
    }
}

/// Returns multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let least_step = (high - low) / real(most.max(1));
    let power = 10_f64.powf(least_step.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= least_step);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    (0..=most).map(|index| (first + real(index)) * step).take_while(|tick| *tick <= high).collect()
}

/// Returns powers of ten; with 2 and 5 times them where these are few.
fn logarithmic_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let within = |digits: &[f64], power: i32| -> Vec<f64> {
        let ticks = digits.iter().map(move |digit| digit * 10_f64.powi(power));
        ticks.filter(|tick| (low..=high).contains(tick)).collect()
    };
    #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a time or a count is small")]
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let powers = || first..=last;
    for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0]] {
        let ticks: Vec<f64> = powers().flat_map(|power| within(digits, power)).collect();
        if ticks.len() <= most {
            return ticks;
        }
    }
    let ticks: Vec<f64> = powers().flat_map(|power| within(&[1.0], power)).collect();
    let step = ticks.len().div_ceil(most.max(1)).max(1);
    ticks.into_iter().step_by(step).collect()
}

/// Writes a tick's value: with k, M or G for thousands, millions and more.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        ..9_999.5 => (value, ""),
        ..1e6 => (value / 1e3, "k"),
        ..1e9 => (value / 1e6, "M"),
        _ => (value / 1e9, "G"),
    };
    // The sum of steps of a tenth is not always the nearest number.
    let text = format!("{scaled:.4}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis, most: usize) -> Vec<String> {
        axis.ticks(most).iter().map(|tick| axis.format_ext(tick)).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_not_too_many() {
        let axis = Axis::from_zero("share", [0.1, 0.97]);
        assert_eq!(names(&axis, 6), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(
            names(&Axis::from_zero("events", [63_000.0]), 5),
            ["0", "20k", "40k", "60k"].map(str::to_owned)
        );
        assert_eq!(names(&Axis::from_zero("nothing", []), 5).first().map(String::as_str), Some("0"));
        for most in 1..9 {
            assert!(axis.ticks(most).len() <= most + 1);
        }
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten_when_the_range_is_wide() {
        let wide = Axis::logarithmic("ns", [2.0, 150_000.0]);
        assert_eq!(names(&wide, 6), ["10", "100", "1000", "10k", "100k"]);
        let narrow = Axis::logarithmic("ns", [3.0, 60.0]);
        assert_eq!(names(&narrow, 6), ["5", "10", "20", "50"]);
        assert_eq!(names(&Axis::logarithmic("ns", [1.0, 1e9]), 4).len(), 4);
    }

    #[test]
    fn every_value_has_its_place_between_the_ends() {
        let axis = Axis::logarithmic("ns", [2.0, 200.0]);
        let [small, middle, large] = [2.0, 20.0, 200.0].map(|value| axis.map(&value, (100, 1100)));
        assert!(100 < small && large < 1100);
        assert!((small + large - 2 * middle).abs() <= 1);
        let none = Axis::logarithmic("ns", [0.0, f64::NAN]);
        assert!(none.map(&0.0, (0, 10)) == 0 && none.low < none.high);
        // From bottom to top pixels descend.
        assert_eq!(Axis::from_zero("share", [1.0 / 1.03]).map(&1.0, (200, 0)), 0);
    }

    #[test]
    fn names_are_thinned_out_where_there_is_no_room() {
        let axis = Axis::named("threads", ["1", "2", "4", "8"].map(str::to_owned).to_vec());
        assert_eq!(names(&axis, 4), ["1", "2", "4", "8"]);
        assert_eq!(names(&axis, 2), ["1", "4"]);
    }
}
