//! `gfp compare`: what changed from one record to another.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    compare::{Compared, Comparison, Verdict, compare},
    figures::{digits, share},
    record::Record,
    terminal::{Table, print},
};

/// Compares two records cell by cell: ratios with their noise.
///
/// A cell is what gfp bench measures of one allocator. Its ratio, the second record's time divided by the first's, is taken beside its
/// rivals, so that a machine that was slower for all does not count. What the ratio of an allocator that did not change may be
/// all the same is its stated noise: only a ratio further from 1 is a difference.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The record of before: a folder of gfp bench --record, or a file of --json.
    pub before: PathBuf,

    /// The record of after; may be the same, with --stand-in.
    pub after: PathBuf,

    /// Compares an allocator of the second record with another one of the first, such as gfp-slow=gfp.
    #[arg(long, value_name = "NAME=NAME", value_parser = parse_stand_in)]
    pub stand_in: Option<(String, String)>,

    /// Fails, with exit status 1, when gfp is slower somewhere.
    #[arg(long)]
    pub fail_on_slower: bool,

    /// Writes one JSON object a line to this file: each cell, at the end the summary.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Compares, prints the table and the summary, and emits records.
///
/// # Errors
/// A record cannot be read, they have no cell in common, or something cannot be written. That gfp is slower is no error: the
/// exit code says so if it is asked to.
pub fn run(args: &CompareArgs, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    let [before, after] = [Record::read(&args.before)?, Record::read(&args.after)?];
    let stand_in = args.stand_in.as_ref().map(|(theirs, ours)| (theirs.as_str(), ours.as_str()));
    let comparison = compare(&before, &after, stand_in);
    ensure!(
        !comparison.cells.is_empty(),
        "{} and {} have no cell in common: the same workload, order, threads, placement, set, touch, batch and allocator",
        args.before.display(),
        args.after.display()
    );
    for difference in differences(&before, &after) {
        print(format_args!("not the same conditions: {difference}\n"))?;
    }
    print(format_args!("{}\n{}", table(&comparison.cells), summary(&comparison)))?;
    comparison.cells.iter().map(cell_record).try_for_each(&mut *emit)?;
    emit(json!({
        "kind": "compare_summary",
        "cells": comparison.cells.len(),
        "faster": comparison.count(Verdict::Faster),
        "slower": comparison.count(Verdict::Slower),
        "no_difference": comparison.count(Verdict::NoDifference),
        "noise_at_most_10_percent": comparison.share_within(0.1),
        "calibration": comparison.calibration.to_string(),
        "unmatched": comparison.unmatched,
    }))?;
    let slower = comparison.cells.iter().any(|cell| cell.cell.is_ours() && cell.verdict == Verdict::Slower);
    Ok(if slower && args.fail_on_slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what may make figures differ besides the allocators.
fn differences(before: &Record, after: &Record) -> Vec<String> {
    let (Some(one), Some(other)) = (before.runs.first(), after.runs.first()) else { return Vec::new() };
    let (machine, others_machine) = (&one.environment, &other.environment);
    let cpus = |run: &crate::environment::Environment| format!("{} CPUs", run.allowed_cpus);
    [
        ("CPU", machine.cpu_model.clone(), others_machine.cpu_model.clone()),
        ("CPUs", cpus(machine), cpus(others_machine)),
        ("kernel", machine.kernel.clone(), others_machine.kernel.clone()),
        ("transparent huge pages", machine.thp.clone(), others_machine.thp.clone()),
        ("settings", one.settings.to_string(), other.settings.to_string()),
    ]
    .into_iter()
    .filter(|(_, one, other)| one != other)
    .map(|(what, one, other)| format!("{what}: {one}, then {other}"))
    .collect()
}

fn table(cells: &[Compared]) -> Table {
    let head = ["cell", "before, ns", "after, ns", "after ÷ before", "from", "to", "noise", "verdict"];
    let mut table = Table::new(&head);
    for cell in cells {
        let [from, to] = cell.interval;
        table.push(vec![
            format!("{}: {}", cell.cell.row, cell.cell.allocator),
            digits(cell.before),
            digits(cell.after),
            format!("{:.3}", cell.ratio),
            format!("{from:.3}"),
            format!("{to:.3}"),
            share(cell.noise * 100.0),
            cell.verdict.name().into(),
        ]);
    }
    table
}

fn summary(comparison: &Comparison) -> String {
    let count = |verdict: Verdict| format!("{} {}", comparison.count(verdict), verdict.name());
    let [before, after] = comparison.unmatched;
    format!(
        "{} cells: {}, {}, {}\nnoise of at most 10 % in {} of them; ratios are beside {}\n{before} cells are only in the first record, {after} only in the second\n",
        comparison.cells.len(),
        count(Verdict::Slower),
        count(Verdict::Faster),
        count(Verdict::NoDifference),
        share(comparison.share_within(0.1) * 100.0),
        comparison.calibration,
    )
}

fn cell_record(cell: &Compared) -> Value {
    let row = &cell.cell.row;
    json!({
        "kind": "compare",
        "workload": row.workload,
        "order": row.order,
        "allocator": cell.cell.allocator,
        "threads": row.threads,
        "placement": row.placement,
        "set": row.set,
        "touch": row.touch,
        "batch": row.batch,
        "before_ns": cell.before,
        "after_ns": cell.after,
        "ratio": cell.ratio,
        "interval": cell.interval,
        "noise": cell.noise,
        "verdict": cell.verdict.name(),
    })
}

fn parse_stand_in(text: &str) -> Result<(String, String)> {
    let pair = text.split_once('=').filter(|(one, other)| !one.is_empty() && !other.is_empty());
    pair.map(|(one, other)| (one.to_owned(), other.to_owned()))
        .with_context(|| format!("\"{text}\" is not two names such as gfp-slow=gfp"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::testing, *};

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm");

    fn compared(line: &str) -> (Result<ExitCode>, Vec<Value>) {
        let args: CompareArgs = testing::parse(line).unwrap();
        testing::with_records(|emit| run(&args, emit))
    }

    #[test]
    fn a_record_is_no_different_from_itself() {
        let (result, records) = compared(&format!("{COMMITTED} {COMMITTED} --fail-on-slower"));
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let summary = records.last().unwrap();
        assert_eq!((&summary["kind"], &summary["slower"]), (&json!("compare_summary"), &json!(0)));
        assert_eq!(summary["cells"], json!(records.len() - 1));
    }

    #[test]
    fn where_gfp_is_slower_the_exit_status_says_so_if_it_is_asked_to() {
        let folder = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, gfp: f64| {
            let figure = |allocator: &str, ns: f64| {
                let samples: Vec<f64> =
                    (0..11).map(|round| ns * (1.0 + f64::from(round % 4) / 1000.0)).collect();
                json!({"kind": "bench", "workload": "pair", "order": 0, "threads": 1, "workers": 1, "allocator": allocator,
                    "ns_per_op": {"min": ns, "median": ns, "max": ns}, "samples_ns": samples})
            };
            let lines = [json!({"kind": "environment"}), figure("gfp", gfp), figure("glibc", 20.0)];
            let file = folder.join(name);
            fs::write(&file, lines.map(|line| format!("{line}\n")).concat()).unwrap();
            file.display().to_string()
        };
        let (before, after) = (write("before.jsonl", 5.0), write("after.jsonl", 6.0));
        let exit = |line: &str| compared(line).0.unwrap();
        assert_eq!(exit(&format!("{before} {after} --fail-on-slower")), ExitCode::FAILURE);
        assert_eq!(exit(&format!("{before} {after}")), ExitCode::SUCCESS);
        assert_eq!(exit(&format!("{after} {before} --fail-on-slower")), ExitCode::SUCCESS);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let message = format!("{:#}", compared(&format!("{COMMITTED} /nowhere/at/all")).0.unwrap_err());
        assert!(message.contains("/nowhere/at/all"), "{message}");
        let message =
            format!("{:#}", compared(&format!("{COMMITTED} {COMMITTED}/replay-1.jsonl")).0.unwrap_err());
        assert!(message.contains("no cell in common"), "{message}");
        let message = testing::parse::<CompareArgs>("a b --stand-in gfp-slow").unwrap_err();
        assert!(message.contains("gfp-slow=gfp"), "{message}");
    }
}
