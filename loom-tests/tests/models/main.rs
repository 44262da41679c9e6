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
    let runs: Vec<_> = TABLES.iter().copied().flatten().flat_map(|model| model.runs()).collect();
    loom_tests::run(&runs, include_str!("../../models.txt"))
}

#[cfg(not(loom))]
fn main() -> ExitCode {
    loom_tests::built_for_another("loom")
}
