//! Comparisons of records whose truth is known.

use serde_json::json;

use super::{Comparison, Verdict, compare};
use crate::{record::Record, workload::Rng};

const RIVALS: [&str; 8] =
    ["empty", "mimalloc", "jemalloc", "snmalloc", "buddy-heap", "buddy-frames", "glibc", "talc"];
const ROWS: u32 = 40;

/// How much a machine disturbs what runs on it, in shares of a time.
#[derive(Clone, Copy)]
struct Machine {
    /// What lasts for a row of a run, for all alike.
    row: f64,
    /// What lasts for a round, for all alike.
    round: f64,
    /// What hits a single sample.
    sample: f64,
    /// What lasts for one allocator's part in a row of a run: where its memory happens to lie.
    placement: f64,
    /// How often a sample is an outlier, which takes half as long again or more.
    outliers: f64,
}

const SHARED: Machine = Machine { row: 0.15, round: 0.10, sample: 0.025, placement: 0.01, outliers: 0.05 };

struct Random(Rng);

impl Random {
    #[expect(clippy::cast_precision_loss, reason = "32 bits")]
    fn uniform(&mut self) -> f64 {
        (self.0.next() >> 32) as f64 / f64::from(u32::MAX)
    }

    /// About normal, with a standard deviation of 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Returns a record of `gfp` and rivals of it on a disturbed machine; gfp takes `slower` times as long.
fn record(machine: Machine, seed: u64, slower: f64, rounds: usize) -> Record {
    let mut random = Random(Rng::new(seed));
    let mut record = Record::default();
    for row in 0..ROWS {
        let of_row = machine.row * random.normal();
        let of_rounds: Vec<f64> = (0..rounds).map(|_| machine.round * random.normal()).collect();
        for (number, allocator) in ["gfp"].into_iter().chain(RIVALS).enumerate() {
            let base = 3.0 * f64::from(1 << number) * (1.0 + f64::from(row) / 10.0);
            let base = if allocator == "gfp" { base * slower } else { base };
            let placement = machine.placement * random.normal();
            let mut sample = |round: &f64| {
                let outlier = if random.uniform() < machine.outliers { 0.4 + random.uniform() } else { 0.0 };
                base * (of_row + round + placement + machine.sample * random.normal() + outlier).exp()
            };
            let samples: Vec<f64> = of_rounds.iter().map(&mut sample).collect();
            let summary = crate::measure::summarize(&samples).unwrap();
            let figure = json!({
                "workload": "pair", "order": row, "threads": 1, "workers": 1, "allocator": allocator, "samples_ns": samples,
                "ns_per_op": {"min": summary.min, "median": summary.median, "max": summary.max},
            });
            record.figures.push(serde_json::from_value(figure).unwrap());
        }
    }
    record
}

/// Compares two runs, the second with a gfp that takes `slower` times as long.
fn two_runs(machine: Machine, slower: f64, seed: u64) -> Comparison {
    compare(&record(machine, seed, 1.0, 21), &record(machine, seed + 1000, slower, 21), None)
}

#[expect(clippy::cast_precision_loss, reason = "a number of cells")]
fn share(comparison: &Comparison, ours: bool, verdict: Verdict) -> f64 {
    let cells: Vec<_> = comparison.cells.iter().filter(|cell| cell.cell.is_ours() == ours).collect();
    cells.iter().filter(|cell| cell.verdict == verdict).count() as f64 / cells.len() as f64
}

#[test]
fn two_runs_of_the_same_show_no_difference_and_little_noise() {
    let (mut ours, mut all, mut quiet) = (0.0, 0.0, 0.0);
    for seed in 1..=8 {
        let comparison = two_runs(SHARED, 1.0, seed);
        ours += share(&comparison, true, Verdict::NoDifference) / 8.0;
        all += crate::figures::real(comparison.count(Verdict::NoDifference))
            / 8.0
            / crate::figures::real(comparison.cells.len());
        quiet += comparison.share_within(0.1) / 8.0;
    }
    assert!(all >= 0.95 && ours >= 0.93, "{all} of all cells, {ours} of gfp's");
    assert!(quiet >= 0.8, "{quiet} of the cells have a noise of at most 10 %");
}

#[test]
fn what_is_a_tenth_slower_is_found_and_the_rivals_are_not_blamed() {
    let (mut found, mut blamed) = (0.0, 0.0);
    for seed in 1..=8 {
        let comparison = two_runs(SHARED, 1.1, seed);
        found += share(&comparison, true, Verdict::Slower) / 8.0;
        blamed += (1.0 - share(&comparison, false, Verdict::NoDifference)) / 8.0;
    }
    assert!(found >= 0.9, "{found}");
    assert!(blamed <= 0.05, "{blamed}");
    let faster = two_runs(SHARED, 0.8, 3);
    assert!(share(&faster, true, Verdict::Faster) >= 0.9);
}

#[test]
fn noise_that_rounds_do_not_show_is_stated_all_the_same() {
    let machine = Machine { placement: 0.08, ..SHARED };
    let comparison = two_runs(machine, 1.0, 5);
    assert!(share(&comparison, true, Verdict::NoDifference) >= 0.9);
    assert!(comparison.share_within(0.1) < 0.2, "{}", comparison.share_within(0.1));
}

#[test]
fn calibration_is_what_leaves_the_least() {
    use super::Calibration;
    assert_eq!(two_runs(SHARED, 1.0, 1).calibration, Calibration::Others);
}

#[test]
fn cells_are_matched_by_their_keys_and_one_may_stand_in_for_another() {
    let first = record(SHARED, 1, 1.0, 5);
    let mut second = first.clone();
    second.figures.retain(|figure| figure.cell.allocator != "talc");
    for figure in &mut second.figures {
        if figure.cell.allocator == "gfp" {
            figure.cell.allocator = "gfp-slow".into();
        }
    }
    let rows = ROWS as usize;
    let comparison = compare(&first, &second, None);
    assert_eq!((comparison.cells.len(), comparison.unmatched), (7 * rows, [2 * rows, rows]));
    let comparison = compare(&first, &second, Some(("gfp-slow", "gfp")));
    assert_eq!((comparison.cells.len(), comparison.unmatched), (8 * rows, [rows, 0]));
    assert!(comparison.cells.iter().all(|cell| cell.verdict == Verdict::NoDifference));
    assert!(comparison.cells.iter().any(|cell| cell.cell.allocator == "gfp"));
}

#[test]
fn within_one_record_noise_is_what_its_readings_say() {
    let mut once = record(SHARED, 1, 1.0, 5);
    let other = record(SHARED, 2, 1.0, 5);
    let slow = other.figures.into_iter().filter(|figure| figure.cell.allocator == "gfp").map(|mut figure| {
        figure.cell.allocator = "gfp-slow".into();
        figure
    });
    once.figures.extend(slow);
    let comparison = compare(&once, &once, Some(("gfp-slow", "gfp")));
    assert!(comparison.cells.iter().all(|cell| cell.noise > 0.01));
}

#[test]
fn records_without_samples_are_compared_by_their_extremes() {
    let committed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm"));
    let record = Record::read(committed).unwrap();
    let comparison = compare(&record, &record, None);
    assert!(comparison.cells.len() > 100);
    assert_eq!(comparison.count(Verdict::NoDifference), comparison.cells.len());
}
