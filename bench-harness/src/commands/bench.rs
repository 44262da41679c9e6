//! `gfp bench`: allocators side by side under synthetic workloads.

mod args;
mod table;

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

pub use args::{BenchArgs, parse_count, parse_size};
use table::{Cell, Reading, Table, million_ops_per_second};

use crate::measure::{Calibration, Cpus, Fault, Plan, StartTeam, Summary, Team, summarize};
use crate::record::{Resume, Row};
use crate::rivals;
use crate::terminal::print;

/// Takes one record of a report.
pub type Emit<'a> = dyn FnMut(Value) -> anyhow::Result<()> + 'a;

/// What Ctrl-C ends a run with, as it ends a program that does not wait for it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Measures every row that is asked for and not recorded yet, prints the tables, and emits one record for each figure.
///
/// # Errors
/// An allocator does not exist or cannot have its arena, or a record cannot be written. An allocator that
/// refuses a request or hands out overlapping blocks is shown as failed, and the exit code says so.
pub fn run(args: &BenchArgs, cpus: &Cpus, resume: &Resume, emit: &mut Emit<'_>) -> anyhow::Result<ExitCode> {
    let allocators = args.allocators()?;
    let (recorded, plans) = split(args.plans(), |&plan| Ok(resume.has(&row(plan)?, &allocators)))?;
    if !recorded.is_empty() {
        let all = recorded.len() + plans.len();
        print(format_args!("{} of {all} rows are in the record already\n", recorded.len()))?;
    }
    if plans.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = progress_bar(plans.len() * allocators.len() * (args.samples() + 1));
    let table = Table::new(&allocators);
    if let Some(remark) = args.remark(cpus) {
        print(format_args!("{remark}\n"))?;
    }
    print(format_args!(
        "ns per operation (one allocation with its free) and thread, median\n{}\n",
        table.head(&allocators)
    ))?;

    let mut throughputs = Vec::new();
    let mut failed = false;
    let mut left = plans.len();
    for plan in plans {
        if resume.is_interrupted() {
            progress.finish_and_clear();
            print(format_args!(
                "interrupted: the same command goes on with the {left} rows that are left\n"
            ))?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
        left -= 1;
        let figures = measure_row(args, plan, &allocators, cpus, &progress)?;
        let mut cells = cells(&allocators, &figures);
        let row = table.row(plan, &cells);
        progress.suspend(|| print(format_args!("{row}\n")))?;
        for (allocator, figure) in allocators.iter().zip(&figures) {
            if let Err(fault) = figure {
                // Slowness is a result; the other faults are defects, of the allocator or of the request.
                failed |= !matches!(fault, Fault::TooSlow { .. });
                progress
                    .suspend(|| eprintln!("{} of order {}: {allocator}: {fault}", plan.workload, plan.order));
            }
            emit(record(plan, allocator, figure))?;
        }
        for cell in &mut cells {
            cell.reading = cell.reading.throughput(plan.streams());
        }
        throughputs.push(table.figures(plan, &cells));
    }
    progress.finish_and_clear();

    print(format_args!(
        "\nmillion operations per second, all threads together, median\n{}\n",
        table.head_of_figures(&allocators)
    ))?;
    throughputs.iter().try_for_each(|row| print(format_args!("{row}\n")))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One allocator's figure of a row.
struct Figure {
    ns_per_op: Summary,
    cycles: u64,
    pinned: bool,
}

/// An allocator on its way through a row.
struct Contender {
    team: Team,
    calibration: Calibration,
    samples: Vec<f64>,
}

/// Measures one row: all allocators are set up, checked and warmed up, and then take turns, sample by sample,
/// so that whatever else the machine does hits them alike.
fn measure_row(
    args: &BenchArgs,
    plan: Plan,
    allocators: &[&str],
    cpus: &Cpus,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Result<Figure, Fault>>> {
    let memory = args.memory(plan);
    let mut contenders = Vec::new();
    for allocator in allocators {
        progress.set_message(format!("{} of order {}: {allocator}", plan.workload, plan.order));
        let team = rivals::with_rival(allocator, memory, StartTeam { plan, cpus })?;
        contenders.push(set_up(team, args));
        progress.inc(1);
    }
    for round in 0..args.samples() {
        for contender in &mut contenders {
            progress.inc(1);
            let Ok(ready) = contender else { continue };
            if let Err(fault) = ready.sample(round) {
                *contender = Err(fault);
            }
        }
    }
    Ok(contenders.into_iter().map(|contender| contender.and_then(Contender::figure)).collect())
}

fn set_up(mut team: Team, args: &BenchArgs) -> Result<Contender, Fault> {
    team.verify()?;
    let calibration = Calibration::of(&mut team, args.sample_length(), args.samples())?;
    Ok(Contender { team, calibration, samples: Vec::with_capacity(calibration.samples) })
}

impl Contender {
    /// Takes the sample of a round, unless this allocator has all of its samples.
    fn sample(&mut self, round: usize) -> Result<(), Fault> {
        if round < self.calibration.samples {
            let wall = self.team.sample(self.calibration.cycles)?;
            self.samples.push(self.team.plan().ns_per_op(wall, self.calibration.cycles));
        }
        Ok(())
    }

    fn figure(self) -> Result<Figure, Fault> {
        let ns_per_op = summarize(&self.samples).ok_or(Fault::ThreadLost)?;
        Ok(Figure { ns_per_op, cycles: self.calibration.cycles, pinned: self.team.pinned() })
    }
}

/// Makes the cells of a row of times.
fn cells(allocators: &[&str], figures: &[Result<Figure, Fault>]) -> Vec<Cell> {
    let cell = |(allocator, figure): (&&str, &Result<Figure, Fault>)| Cell {
        allocator: (*allocator).to_owned(),
        reading: match figure {
            Ok(figure) => Reading::Median(figure.ns_per_op.median),
            Err(Fault::TooSlow { above_ns_per_op }) => Reading::Above(*above_ns_per_op),
            Err(_) => Reading::Failed,
        },
    };
    allocators.iter().zip(figures).map(cell).collect()
}

/// Makes what every record of a row says of it. `workers` is the number of threads that ran, where `threads` is
/// what was asked for.
fn head(plan: Plan, allocator: &str) -> Value {
    json!({
        "kind": "bench",
        "workload": plan.workload.name(),
        "order": plan.order,
        "allocator": allocator,
        "threads": plan.threads,
        "workers": plan.workers(),
    })
}

/// Returns how records name a row.
fn row(plan: Plan) -> anyhow::Result<Row> {
    Ok(serde_json::from_value(head(plan, ""))?)
}

/// Separates what satisfies a condition from what does not.
fn split<T>(all: Vec<T>, condition: impl Fn(&T) -> anyhow::Result<bool>) -> anyhow::Result<(Vec<T>, Vec<T>)> {
    let (mut satisfying, mut others) = (Vec::new(), Vec::new());
    for one in all {
        if condition(&one)? { &mut satisfying } else { &mut others }.push(one);
    }
    Ok((satisfying, others))
}

/// Makes the record of an allocator's figure.
fn record(plan: Plan, allocator: &str, figure: &Result<Figure, Fault>) -> Value {
    let mut record = head(plan, allocator);
    match figure {
        Ok(figure) => {
            let Summary { min, median, max, samples } = figure.ns_per_op;
            record["ns_per_op"] = json!({ "min": min, "median": median, "max": max });
            record["samples"] = json!(samples);
            record["mops_per_s"] = json!(million_ops_per_second(plan.streams(), median));
            record["ops_per_sample"] = json!(figure.cycles * plan.workload.cycle_ops());
            record["pinned"] = json!(figure.pinned);
        }
        Err(Fault::TooSlow { above_ns_per_op }) => record["ns_per_op_above"] = json!(above_ns_per_op),
        Err(fault) => record["failed"] = json!(fault.to_string()),
    }
    record
}

/// Makes the bar, which shows itself on a terminal only.
fn progress_bar(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {elapsed} of {duration}  {msg}");
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::{super::testing, *};
    use crate::environment::Environment;

    fn records(line: &str) -> (anyhow::Result<ExitCode>, Vec<Value>) {
        let args: BenchArgs = testing::parse(line).unwrap();
        testing::with_records(|emit| run(&args, &Cpus::allowed().unwrap(), &Resume::default(), emit))
    }

    #[test]
    fn every_figure_has_a_record_of_the_agreed_form() {
        let (result, records) = records(
            "--workload pair,handoff --allocator empty,buddy-heap,system --threads 1,2 --samples 3 --sample-ms 1",
        );
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert_eq!(records.len(), 2 * 2 * 3);
        for record in &records {
            assert_eq!(record["kind"], "bench");
            assert_eq!(record["order"], 0);
            assert_eq!(record["samples"], 3);
            let ns = |key| record["ns_per_op"][key].as_f64().unwrap();
            assert!(0.0 < ns("min") && ns("min") <= ns("median") && ns("median") <= ns("max"));
        }
    }

    #[test]
    fn an_arena_that_is_too_small_is_a_failure_of_that_allocator_alone() {
        let (result, records) = records(
            "--workload random --allocator buddy-heap,system --arena 64M --threads 1 --samples 1 --sample-ms 1",
        );
        assert_eq!(result.unwrap(), ExitCode::FAILURE);
        assert!(records[0]["failed"].as_str().unwrap().contains("--arena"), "{}", records[0]);
        assert_eq!(records[1]["samples"], 1);
    }

    #[test]
    fn a_row_is_measured_once_for_a_record_and_ctrl_c_ends_between_rows() {
        let folder = std::env::temp_dir().join(format!("bench-record-{}", std::process::id()));
        let interrupted = Arc::new(AtomicBool::new(false));
        let run = |line: &str| {
            let args: BenchArgs = testing::parse(&format!("--samples 1 --sample-ms 1 {line}")).unwrap();
            let environment = Environment::read();
            let (resume, mut lines) =
                Resume::open(&folder, &environment, &args.settings(), Arc::clone(&interrupted)).unwrap();
            testing::with_records(|emit| {
                run(&args, &Cpus::allowed().unwrap(), &resume, &mut |figure| {
                    lines.write(&figure)?;
                    emit(figure)
                })
            })
        };
        let measured = |line: &str| run(line).1.len();
        assert_eq!(measured("--workload pair --allocator empty,system --threads 1"), 2);
        assert_eq!(measured("--workload pair --allocator empty,system --threads 1"), 0);
        assert_eq!(measured("--workload pair --allocator empty,system --threads 1,2"), 2);
        assert_eq!(measured("--workload pair --allocator empty,buddy-heap --threads 1"), 2);
        assert_eq!(measured("--workload pair --allocator empty,system --threads 1 --arena 2G"), 2);
        interrupted.store(true, Ordering::Relaxed);
        let (result, records) = run("--workload pair,batch --allocator empty --threads 1 --arena 1G");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((result.unwrap(), records.len()), (ExitCode::from(INTERRUPTED), 0));
    }
}
