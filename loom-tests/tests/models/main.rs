//! Runs every model and every planted bug, and compares what there is with the README's table.
//!
//! `cargo loom` runs all; `cargo loom owner` those whose names contain `owner`. `cargo loom -- --table` runs all and writes the
//! table.

use std::process::ExitCode;

#[cfg(loom)]
mod asymmetric;
#[cfg(loom)]
mod cancel;
#[cfg(loom)]
mod doorbell;
#[cfg(loom)]
mod highatomic;
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
mod reporting;
#[cfg(loom)]
mod revocable;
#[cfg(loom)]
mod seq_count;
#[cfg(loom)]
mod shared;
#[cfg(loom)]
mod spin;
#[cfg(loom)]
mod zone;

/// All models, the slowest last; a new file adds its table here.
#[cfg(loom)]
const TABLES: &[&[loom_tests::Model]] = &[
    asymmetric::MODELS,
    spin::MODELS,
    owned::MODELS,
    registry::MODELS,
    revocable::MODELS,
    pending::MODELS,
    doorbell::MODELS,
    raw_parts::MODELS,
    references::MODELS,
    shared::MODELS,
    nodes::MODELS,
    cancel::MODELS,
    isolation::MODELS,
    places::MODELS,
    seq_count::MODELS,
    ledger::MODELS,
    reporting::MODELS,
    highatomic::MODELS,
    zone::MODELS,
];

#[cfg(loom)]
fn main() -> ExitCode {
    loom_tests::run(&TABLES.concat())
}

#[cfg(not(loom))]
fn main() -> ExitCode {
    loom_tests::built_for_another("loom")
}
