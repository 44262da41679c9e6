//! Runs the whole allocator on eight threads under random schedules, and compares what there is with the README's table.
//!
//! `cargo shuttle` runs all; `cargo shuttle close` those whose names contain `close`; `cargo shuttle -- --table` runs all and writes
//! the table.
//! `cargo shuttle --replay NAME SCHEDULE` runs one schedule again, which a failure has printed.

use std::process::ExitCode;

#[cfg(shuttle)]
mod call;
#[cfg(shuttle)]
mod machine;
#[cfg(shuttle)]
mod owned;
#[cfg(shuttle)]
mod parts;
#[cfg(shuttle)]
mod scenarios;
#[cfg(shuttle)]
mod shrinkers;
#[cfg(shuttle)]
mod stamps;
#[cfg(shuttle)]
mod worker;

#[cfg(shuttle)]
fn main() -> ExitCode {
    loom_tests::run(&[scenarios::MODELS, &[shrinkers::MODEL, owned::MODEL]].concat())
}

#[cfg(not(shuttle))]
fn main() -> ExitCode {
    loom_tests::built_for_another("shuttle")
}
