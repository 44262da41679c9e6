//! The `gfp` command.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use bench_harness::{
    commands::{
        bench::{self, BenchArgs},
        pressure::{self, PressureArgs},
        replay::{self, ReplayArgs},
        soak::{self, SoakArgs},
        stat::{self, StatArgs},
        topo,
    },
    environment::Environment,
    report::{self, JsonLines},
};
use clap::{Parser, Subcommand};

/// Linux's physical page allocator as a library: shows the machine, measures, replays traces, soaks, puts it under pressure, shows
/// its statistics.
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
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        if report::is_broken_pipe(&error) {
            // As if SIGPIPE had ended it, which Rust's programs ignore.
            return ExitCode::from(128 + 13);
        }
        eprintln!("gfp: {}", report::with_causes(&error));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Topo => topo::run().map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => {
            let mut records = records(args.json.as_deref())?;
            bench::run(&args, &topo::pin_order()?, &mut |record| records.write(&record))
        }
        Command::Replay(args) => {
            let mut records = records(args.json.as_deref())?;
            replay::run(&args, topo::pin_order()?, &mut |record| records.write(&record))
        }
        Command::Soak(args) => {
            let mut records = records(args.json.as_deref())?;
            soak::run(&args, &mut |record| records.write(&record))
        }
        Command::Pressure(args) => {
            let mut records = records(args.json.as_deref())?;
            pressure::run(&args, &mut |record| records.write(&record))
        }
        Command::Stat(args) => {
            let mut records = records(args.json.as_deref())?;
            stat::run(&args, &mut |record| records.write(&record)).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Opens the file of records, when one is asked for, with the environment as its first line.
fn records(path: Option<&Path>) -> Result<JsonLines> {
    JsonLines::create(path, &Environment::read())
}
