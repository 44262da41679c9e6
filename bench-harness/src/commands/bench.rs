//! `gfp bench`: allocators side by side under synthetic workloads.

mod args;
mod details;
mod fragmentation;
pub mod profile;
mod progress;
mod record;
mod row;
mod scaling;
mod schedule;
mod table;
mod threads;
mod turn;

use std::process::ExitCode;

use serde_json::Value;

pub use args::{BenchArgs, Perf, parse_count, parse_size};
use details::Details;
use progress::Progress;
use record::{Where, record, row};
use row::{Figure, Known};
use scaling::{Times, print_scaling};
use schedule::Schedule;
use table::{Cell, Reading, Table};
pub use threads::Threads;
use turn::{Due, Turn, Visit, Visitor};

use crate::measure::{Cpus, Fault, Plan, Seating, summarize};
use crate::record::{Resume, Row};
use crate::terminal::print;
use crate::workload::Workload;

/// Takes one record of a report.
pub type Emit<'a> = dyn FnMut(Value) -> anyhow::Result<()> + 'a;

/// What Ctrl-C ends a run with, as it ends a program that does not wait for it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Measures every row that is asked for and not recorded yet, prints the tables, and emits one record for each figure.
///
/// # Errors
/// An allocator does not exist or cannot have its arena, or a record cannot be written. An allocator that
/// refuses a request or hands out overlapping blocks is shown as failed, and the exit code says so, unless what is wrong
/// is a [result](Fault::is_result).
pub fn run(args: &BenchArgs, cpus: &Cpus, resume: &Resume, emit: &mut Emit<'_>) -> anyhow::Result<ExitCode> {
    let allocators = args.allocators()?;
    let place = Where { placement: args.placement, cpus };
    let plans = args.plans(cpus.count())?;
    let begin =
        |&plan: &Plan| Ok(Visited::begin(plan, args.schedule(plan), &row(plan, place)?, resume, &allocators));
    let visited = plans.iter().map(begin).collect::<anyhow::Result<Vec<Visited>>>()?;
    let left: Vec<&Visited> = visited.iter().filter(|row| row.is_left()).collect();
    if left.len() < plans.len() {
        print(format_args!(
            "{} of {} rows are in the record already\n",
            plans.len() - left.len(),
            plans.len()
        ))?;
    }
    if left.is_empty() && !args.wants_fragmentation() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::begin(allocators.len() * left.iter().map(|row| row.steps()).sum::<usize>());
    let table = Table::new(&allocators);
    if let Some(remark) = args.remark(cpus) {
        print(format_args!("{remark}\n"))?;
    }
    let is_simulated = |row: &&Visited| Seating::of(row.plan, cpus).simulated;
    if left.iter().any(|row| row.plan.workload == Workload::Remote && is_simulated(row)) {
        print(format_args!(
            "remote is simulated: all CPUs are of one node, blocks go to another CPU of it\n"
        ))?;
    }
    if !left.is_empty() {
        print(format_args!(
            "ns per operation (one allocation with its free) and thread, median\n{}\n",
            table.head(&allocators)
        ))?;
    }

    let visitor = Visitor { args, cpus, allocators: &allocators, plans: &plans };
    let mut bench = Bench { visitor, place, table, details: Details::default(), failed: false };
    let Some(rows) = bench.visit_all(visited, resume, &mut progress, emit)? else {
        progress.finish();
        print(format_args!("interrupted: the same command goes on with what is left\n"))?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    progress.finish();
    let Bench { table, details, mut failed, .. } = bench;
    if !rows.is_empty() {
        print(format_args!(
            "\nmillion operations per second, all threads together, median\n{}\n",
            table.head_of_figures(&allocators)
        ))?;
    }
    for Times { plan, cells } in &rows {
        let streams = plan.streams();
        let throughput = |cell: &Cell| Cell { reading: cell.reading.throughput(streams), ..cell.clone() };
        let cells: Vec<Cell> = cells.iter().map(throughput).collect();
        print(format_args!("{}\n", table.figures(*plan, &cells)))?;
    }
    print_scaling(&rows, cpus.count(), &table, &allocators)?;
    details.print()?;
    if args.wants_fragmentation() {
        failed |= !fragmentation::run(args, &allocators, emit)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Takes a turn for the process that started this one, which told it what is due.
///
/// # Errors
/// That process cannot be understood, or is gone.
pub fn take_turn(args: &BenchArgs, cpus: &Cpus) -> anyhow::Result<ExitCode> {
    let (allocators, plans) = (args.allocators()?, args.plans(cpus.count())?);
    turn::take(Visitor { args, cpus, allocators: &allocators, plans: &plans })?;
    Ok(ExitCode::SUCCESS)
}

/// What is measured, and what came of it so far.
struct Bench<'a> {
    visitor: Visitor<'a>,
    place: Where<'a>,
    table: Table,
    details: Details,
    /// Whether an allocator is broken, or was asked for what it cannot do.
    failed: bool,
}

impl Bench<'_> {
    /// Visits all rows in turn until they have all of their visits, emits what each takes, and shows each row at its last. `None` if
    /// it was interrupted.
    fn visit_all(
        &mut self,
        mut visited: Vec<Visited>,
        resume: &Resume,
        progress: &mut Progress,
        emit: &mut Emit<'_>,
    ) -> anyhow::Result<Option<Vec<Times>>> {
        let Visitor { args, allocators, .. } = self.visitor;
        // Before any thread is started: they inherit them.
        let mut counters = args.one_process.then(|| args.counters()).flatten();
        let turns = visited.iter().map(|row| row.schedule.turns()).max().unwrap_or(0);
        let mut rows = Vec::new();
        for number in 0..turns {
            let due: Vec<Due> =
                visited.iter().enumerate().filter_map(|(row, visited)| visited.due(number, row)).collect();
            if due.is_empty() {
                continue;
            }
            let visits: Vec<(usize, usize)> = due.iter().map(|due| (due.row, due.visit)).collect();
            let mut turn = Turn::begin(self.visitor, due, counters.as_mut())?;
            for (row, visit) in visits {
                if resume.is_interrupted() {
                    return Ok(None);
                }
                let Some(Visit { mut figures, known }) = turn.next(progress)? else {
                    return Ok(None);
                };
                let row = &mut visited[row];
                row.known = known;
                for (allocator, figure) in allocators.iter().zip(&figures) {
                    emit(record(row.plan, self.place, visit, allocator, figure))?;
                }
                row.put_together(&mut figures);
                if row.schedule.is_last(visit) {
                    rows.push(self.show(row.plan, &figures, progress)?);
                }
            }
        }
        Ok(Some(rows))
    }

    /// Shows a row that has all of its visits, and what is wrong with it.
    fn show(
        &mut self,
        plan: Plan,
        figures: &[Result<Figure, Fault>],
        progress: &Progress,
    ) -> anyhow::Result<Times> {
        let cells = cells(self.visitor.allocators, figures);
        let shown = self.table.row(plan, &cells);
        progress.suspend(|| print(format_args!("{shown}\n")))?;
        for (allocator, figure) in self.visitor.allocators.iter().zip(figures) {
            self.details.add(plan, allocator, figure);
            if let Err(fault) = figure {
                self.failed |= !fault.is_result();
                progress.suspend(|| {
                    eprintln!("{} of order {}: {allocator}: {fault}", plan.workload, plan.order);
                });
            }
        }
        Ok(Times { plan, cells })
    }
}

/// A row on its way through its visits.
struct Visited {
    plan: Plan,
    schedule: Schedule,
    /// How many of them the record had.
    visits: usize,
    known: Vec<Known>,
    /// The samples so far of each allocator.
    samples: Vec<Vec<f64>>,
}

impl Visited {
    fn begin(plan: Plan, schedule: Schedule, row: &Row, resume: &Resume, allocators: &[&str]) -> Self {
        let visits = (0..).take_while(|&visit| resume.has(row, visit, allocators)).count();
        let samples = allocators.iter().map(|allocator| resume.samples(row, visits, allocator)).collect();
        Self { plan, schedule, visits, known: vec![Known::default(); allocators.len()], samples }
    }

    /// Tells whether visits are left.
    fn is_left(&self) -> bool {
        self.visits < self.schedule.visits()
    }

    /// Returns the visit that is due in a turn, if one is; the row has this number.
    fn due(&self, turn: usize, row: usize) -> Option<Due> {
        let visit = self.schedule.due(turn).filter(|&visit| visit >= self.visits)?;
        Some(Due { row, visit, known: self.known.clone() })
    }

    /// Returns how many steps each allocator has left.
    fn steps(&self) -> usize {
        (self.visits..self.schedule.visits()).map(|visit| self.schedule.steps(visit)).sum()
    }

    /// Adds the figures of a visit, and makes them figures of all visits.
    fn put_together(&mut self, figures: &mut [Result<Figure, Fault>]) {
        for (samples, figure) in self.samples.iter_mut().zip(figures) {
            let Ok(figure) = figure else { continue };
            samples.extend(&figure.samples_ns);
            if let Some(all) = summarize(samples) {
                figure.ns_per_op = all;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use core_affinity::CoreId;
    use serde_json::json;

    use super::{super::testing, *};
    use crate::{environment::Environment, record::Record};

    fn records(line: &str) -> (anyhow::Result<ExitCode>, Vec<Value>) {
        let args: BenchArgs = testing::parse(&format!("--one-process {line}")).unwrap();
        testing::with_records(|emit| run(&args, &Cpus::allowed().unwrap(), &Resume::default(), emit))
    }

    #[test]
    fn every_figure_has_a_record_of_the_agreed_form() {
        let (result, records) = records(
            "--workload pair,handoff --allocator empty,buddy-heap,glibc --threads 1,2 --samples 3 --visits 1 --sample-ms 1",
        );
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert_eq!(records.len(), 2 * 2 * 3);
        for record in &records {
            assert_eq!(record["kind"], "bench");
            assert_eq!(record["order"], 0);
            assert_eq!(record["samples"], 3);
            let ns = |key| record["ns_per_op"][key].as_f64().unwrap();
            assert!(0.0 < ns("min") && ns("min") <= ns("median") && ns("median") <= ns("max"));
            let samples: Vec<f64> = serde_json::from_value(record["samples_ns"].clone()).unwrap();
            assert_eq!(samples.len(), 3);
            assert!(samples.contains(&ns("min")) && samples.contains(&ns("max")));
            assert_eq!((&record["placement"], &record["simulated"]), (&json!("node"), &json!(false)));
            assert_eq!(record["cpus"].as_array().unwrap().len() as u64, record["workers"].as_u64().unwrap());
        }
    }

    #[test]
    fn a_described_machine_is_said_to_be_simulated() {
        let args: BenchArgs = testing::parse(
            "--workload pair --allocator empty,gfp --threads all,2x --samples 1 --sample-ms 1 --placement spread --one-process",
        )
        .unwrap();
        let described: Vec<CoreId> = [0, 2, 1, 3].map(|id| CoreId { id }).to_vec();
        let cpus = Cpus::simulated(&described, core_affinity::get_core_ids().unwrap()).unwrap();
        let (result, records) = testing::with_records(|emit| run(&args, &cpus, &Resume::default(), emit));
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert_eq!(records.len(), 4);
        assert!(records.iter().all(|record| record["simulated"] == true && record["placement"] == "spread"));
        assert_eq!(records[0]["cpus"], json!([0, 2, 1, 3]));
        assert_eq!(records[2]["cpus"], json!([0, 2, 1, 3, 0, 2, 1, 3]));
        assert!(args.remark(&cpus).unwrap().starts_with("simulated"));
    }

    #[test]
    fn what_is_measured_after_the_samples_is_in_the_record() {
        let (result, records) = records(
            "--workload batch --allocator empty,gfp --per-node --threads 2 --samples 2 --sample-ms 1 --latency --perf stat",
        );
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let names: Vec<_> = records.iter().map(|record| record["allocator"].as_str().unwrap()).collect();
        assert_eq!(names, ["empty", "gfp", "gfp-node"].repeat(2));
        let (first, records) = records.split_at(3);
        let after = ["latency_ns", "perf", "memory"];
        assert!(first.iter().all(|record| after.iter().all(|what| record[what].is_null())), "{first:?}");
        for record in records {
            let latency = &record["latency_ns"];
            assert!(latency["count"].as_u64().unwrap() > 0, "{record}");
            assert!(latency["p50"].as_u64().unwrap() <= latency["p9999"].as_u64().unwrap(), "{record}");
            let perf = record["perf"].as_object().unwrap();
            assert!(perf.contains_key("cycles") && perf.contains_key("dtlb_misses"), "{record}");
            let memory = &record["memory"];
            assert!(memory["rss_after_trim_bytes"].as_u64() <= memory["rss_bytes"].as_u64(), "{record}");
        }
        assert_eq!(records[1]["memory"]["arena_bytes"], 4_u64 << 30);
        assert!(records[0]["memory"]["arena_bytes"].is_null());
        let counted = cfg!(feature = "lock-stats");
        assert_eq!(
            records.iter().map(|record| record["lock"].is_object()).collect::<Vec<_>>(),
            [false, counted, false]
        );
    }

    #[test]
    fn what_was_chosen_of_a_workload_is_in_its_records() {
        let (result, records) = records(
            "--workload random,bulk-api,remote --allocator buddy-frames --threads 1 --set small,l2 --touch --batch 7 --samples 1 \
             --sample-ms 1",
        );
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let field = |name: &str| records.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
        assert_eq!(field("set"), [json!("small"), json!("l2"), Value::Null, Value::Null]);
        assert_eq!(field("touch"), ["lines", "lines", "untouched", "untouched"]);
        assert_eq!(field("batch"), [Value::Null, Value::Null, json!(7), Value::Null]);
        // Nobody has said on which nodes the CPUs are.
        assert_eq!(field("simulated"), [false, false, false, true]);
    }

    #[test]
    fn fragmentation_has_a_series_and_a_map_for_every_arena_and_no_times() {
        let (result, records) =
            records("--workload fragmentation --allocator glibc,buddy-frames --arena 32M");
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let kinds: Vec<&Value> = records.iter().map(|record| &record["kind"]).collect();
        assert_eq!(kinds, ["series", "blocks"]);
        assert!(records.iter().all(|record| record["allocator"] == "buddy-frames"));
        assert_eq!(records[0]["points"].as_array().unwrap().len(), 100);
        assert_eq!(records[0]["points"][99]["unusable_index"].as_array().unwrap().len(), 11);
        assert_eq!(records[1]["pageblocks"].as_array().unwrap().len(), 16);
    }

    #[test]
    fn an_arena_that_is_too_small_is_a_failure_of_that_allocator_alone() {
        let (result, records) = records(
            "--workload random --allocator buddy-heap,glibc --arena 64M --threads 1 --samples 1 --sample-ms 1",
        );
        assert_eq!(result.unwrap(), ExitCode::FAILURE);
        assert!(records[0]["failed"].as_str().unwrap().contains("--arena"), "{}", records[0]);
        assert_eq!(records[1]["samples"], 1);
    }

    #[test]
    fn rows_are_visited_in_turn_and_what_is_left_of_the_visits_is_done_later() {
        let folder = std::env::temp_dir().join(format!("bench-visits-{}", std::process::id()));
        let line = "--workload pair,batch --allocator empty,glibc --threads 1 --samples 5 --visits 2 --sample-ms 1 --one-process";
        let args: BenchArgs = testing::parse(line).unwrap();
        let run = |end_after: usize| {
            let interrupted = Arc::new(AtomicBool::new(false));
            let settings = args.settings();
            let (resume, mut lines) =
                Resume::open(&folder, &Environment::read(), &settings, Arc::clone(&interrupted)).unwrap();
            let mut written = 0;
            testing::with_records(|emit| {
                run(&args, &Cpus::allowed().unwrap(), &resume, &mut |figure| {
                    written += 1;
                    interrupted.store(written == end_after, Ordering::Relaxed);
                    lines.write(&figure)?;
                    emit(figure)
                })
            })
        };
        let visits = |records: &[Value]| -> Vec<(String, u64, usize)> {
            let of = |record: &Value| {
                let samples = record["samples_ns"].as_array().unwrap().len();
                (record["workload"].as_str().unwrap().to_owned(), record["visit"].as_u64().unwrap(), samples)
            };
            records.iter().step_by(2).map(of).collect()
        };
        let (result, first) = run(6);
        assert_eq!(result.unwrap(), ExitCode::from(INTERRUPTED));
        assert_eq!(visits(&first), [("pair".into(), 0, 3), ("batch".into(), 0, 3), ("pair".into(), 1, 2)]);
        let (result, rest) = run(0);
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert_eq!(visits(&rest), [("batch".into(), 1, 2)]);
        let record = Record::read(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(record.figures.len(), 4);
        for figure in &record.figures {
            assert!(figure.visits().map(<[f64]>::len).eq([3, 2]));
            let spread = figure.measured().unwrap();
            assert_eq!(spread.median, summarize(&figure.samples_ns).unwrap().median);
            assert!(figure.memory.is_some(), "the last visit measures it");
        }
        assert!(record.figures[0].runs().eq([0, 0]) && record.figures[2].runs().eq([0, 1]));
    }

    #[test]
    fn a_row_is_measured_once_for_a_record_and_ctrl_c_ends_between_rows() {
        let folder = std::env::temp_dir().join(format!("bench-record-{}", std::process::id()));
        let interrupted = Arc::new(AtomicBool::new(false));
        let run = |line: &str| {
            let args: BenchArgs =
                testing::parse(&format!("--one-process --samples 1 --sample-ms 1 {line}")).unwrap();
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
        assert_eq!(measured("--workload pair --allocator empty,glibc --threads 1"), 2);
        assert_eq!(measured("--workload pair --allocator empty,glibc --threads 1"), 0);
        assert_eq!(measured("--workload pair --allocator empty,glibc --threads 1,2"), 2);
        assert_eq!(measured("--workload pair --allocator empty,buddy-heap --threads 1"), 2);
        assert_eq!(measured("--workload pair --allocator empty,glibc --threads 1 --arena 2G"), 2);
        interrupted.store(true, Ordering::Relaxed);
        let (result, records) = run("--workload pair,batch --allocator empty --threads 1 --arena 1G");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((result.unwrap(), records.len()), (ExitCode::from(INTERRUPTED), 0));
    }
}
