//! The `gfp` command.

use std::process::ExitCode;

use anyhow::Result;
use bench_harness::{
    commands::{
        bench::{self, BenchArgs, Perf, profile},
        compare::{self, CompareArgs},
        pressure::{self, PressureArgs},
        replay::{self, ReplayArgs},
        report::{self, ReportArgs},
        soak::{self, SoakArgs},
        stat::{self, StatArgs},
        topo,
    },
    environment::Environment,
    record::{JsonLines, Resume},
    rivals, terminal,
};
use clap::{Parser, Subcommand};

/// Linux's physical page allocator as a library: shows the machine, measures, compares and reports, replays traces, soaks, puts it
/// under pressure, shows its statistics.
#[derive(Parser)]
#[command(name = "gfp", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows nodes, CPUs, memory, distances and page sizes
    Topo,
    Bench(BenchArgs),
    Replay(ReplayArgs),
    Soak(SoakArgs),
    Pressure(PressureArgs),
    Stat(StatArgs),
    Report(ReportArgs),
    Compare(CompareArgs),
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        if terminal::is_broken_pipe(&error) {
            // As if SIGPIPE had ended it, which Rust's programs ignore.
            return ExitCode::from(128 + 13);
        }
        eprintln!("gfp: {}", terminal::with_causes(&error));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Topo => topo::run().map(|()| ExitCode::SUCCESS),
        Command::Bench(args) if args.take_turn => bench::take_turn(&args, &args.placement.cpus()?),
        Command::Bench(args) if args.perf == Some(Perf::Record) && !profile::is_running() => {
            profile::run(&args)
        }
        Command::Bench(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            let (resume, mut record) = match &args.record {
                Some(folder) => {
                    Resume::open(folder, &Environment::read(), &args.settings(), terminal::interrupts()?)?
                }
                None => Default::default(),
            };
            bench::run(&args, &args.placement.cpus()?, &resume, &mut |figure| {
                records.write(&figure)?;
                record.write(&figure)
            })
        }
        Command::Replay(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            replay::run(&args, topo::pin_order()?, &mut |record| records.write(&record))
        }
        Command::Soak(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            soak::run(&args, &mut |record| records.write(&record))
        }
        Command::Pressure(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            pressure::run(&args, &mut |record| records.write(&record))
        }
        Command::Stat(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            stat::run(&args, &mut |record| records.write(&record)).map(|()| ExitCode::SUCCESS)
        }
        Command::Compare(args) => {
            let mut records = JsonLines::create(args.json.as_deref())?;
            compare::run(&args, &mut |record| records.write(&record))
        }
        Command::Report(args) => report::run(&args, &rivals::bias).map(|()| ExitCode::SUCCESS),
    }
}
