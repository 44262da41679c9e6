//! Runs every model and every planted bug, and compares what there is with the README's table.
//!
//! `cargo loom` runs all; `cargo loom owner` those whose names contain `owner`. `cargo loom -- --table` runs all and writes the
//! table.

use std::process::ExitCode;

#[cfg(loom)]
mod asymmetric;
#[cfg(loom)]
mod isolation;
#[cfg(loom)]
mod ledger;
#[cfg(loom)]
mod nodes;
#[cfg(loom)]
mod owned;
#[cfg(loom)]
mod pending;
#[cfg(loom)]
mod places;
#[cfg(loom)]
mod raw_parts;
#[cfg(loom)]
mod references;
#[cfg(loom)]
mod registry;
#[cfg(loom)]
mod runner;
#[cfg(loom)]
mod seq_count;
#[cfg(loom)]
mod shared;
#[cfg(loom)]
mod spin;
#[cfg(loom)]
mod table;
#[cfg(loom)]
mod zone;

/// All models, the slowest last; a new file adds its table here.
#[cfg(loom)]
const TABLES: &[&[loom_tests::Model]] = &[
    asymmetric::MODELS,
    spin::MODELS,
    owned::MODELS,
    registry::MODELS,
    pending::MODELS,
    raw_parts::MODELS,
    references::MODELS,
    shared::MODELS,
    nodes::MODELS,
    isolation::MODELS,
    places::MODELS,
    seq_count::MODELS,
    ledger::MODELS,
    zone::MODELS,
];

#[cfg(loom)]
fn main() -> ExitCode {
    runner::run(&TABLES.concat())
}

/// Passes by without running anything, unless the run was meant for loom and got another build.
#[cfg(not(loom))]
fn main() -> ExitCode {
    // Set by the alias `cargo loom`.
    if std::env::var_os("GFP_LOOM").is_none() {
        println!("models: skipped: needs cargo loom");
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "models: built without --cfg loom: RUSTFLAGS in the environment replaces the flags of the alias.\n\
         Unset it, or run: RUSTFLAGS=\"--cfg loom -C debug-assertions\" cargo loom"
    );
    ExitCode::FAILURE
}
