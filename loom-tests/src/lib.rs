//! Models of gfp: what runs them.
//!
//! A `Model` is a small program that a checker runs under many schedules, and a list of bugs that can be planted in the code.
//! The program must pass; with each bug planted it must panic with the expected text. So a model proves both that the
//! protocol holds and that it would notice if not.
//!
//! | | `tests/models/` | `tests/schedules/` |
//! |---|---|---|
//! | runs | `cargo loom` | `cargo shuttle` |
//! | program | one lock-free protocol, two or three threads | the whole allocator, eight threads |
//! | schedules | all of them, with every outcome of weak memory that can matter | random ones, and those of PCT; sequentially consistent |
//!
//! The README has a table of each, and a run fails when there are other models than it lists. To add a model, write its function in
//! a file of its folder, put it into that file's table, and have the README's written anew: `cargo loom -- --table`, or
//! `cargo shuttle -- --table`.
//!
//! Every run is a process of its own: when a program panics, the destructors of the threads that the checker had
//! suspended may panic as well, and that aborts.

#[cfg(loom)]
#[path = "explore/loom.rs"]
mod explore;
#[cfg(shuttle)]
#[path = "explore/shuttle.rs"]
mod explore;
#[cfg(any(loom, shuttle))]
mod model;
#[cfg(any(loom, shuttle))]
mod runner;
#[cfg(any(loom, shuttle))]
mod table;

#[cfg(any(loom, shuttle))]
pub use model::{Model, Outcome, Run};
#[cfg(any(loom, shuttle))]
pub use runner::run;

use std::process::ExitCode;

/// Ends a test that was built for another checker: passes by, unless the run was meant for `checker` and the flags of its
/// alias were lost.
pub fn built_for_another(checker: &str) -> ExitCode {
    // Set by the alias.
    if std::env::var_os(format!("GFP_{}", checker.to_uppercase())).is_none() {
        println!("skipped: needs cargo {checker}");
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "built without --cfg {checker}: RUSTFLAGS in the environment replaces the flags of the alias.\n\
         Unset it, or run: RUSTFLAGS=\"--cfg {checker} -C debug-assertions\" cargo {checker}"
    );
    ExitCode::FAILURE
}
