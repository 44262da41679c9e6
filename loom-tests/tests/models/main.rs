//! Runs every model and every planted bug, and compares what ran with `models.txt`.
//!
//! `cargo loom` runs all; `cargo loom owner` those whose names contain `owner`.

use std::process::ExitCode;

#[cfg(loom)]
mod asymmetric;
#[cfg(loom)]
mod ledger;
#[cfg(loom)]
mod owned;
#[cfg(loom)]
mod pending;
#[cfg(loom)]
mod raw_parts;
#[cfg(loom)]
mod references;
#[cfg(loom)]
mod registry;
#[cfg(loom)]
mod runner;
#[cfg(loom)]
mod shared;
#[cfg(loom)]
mod spin;
#[cfg(loom)]
mod zone;

/// All models; a new file adds its table here.
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
    zone::MODELS,
    ledger::MODELS,
];

#[cfg(loom)]
fn main() -> ExitCode {
    runner::run(TABLES.iter().copied().flatten().flat_map(|model| model.runs()).collect())
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
