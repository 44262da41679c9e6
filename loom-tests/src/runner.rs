//! Runs what is wanted and compares what there is with the README.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use crate::{
    Model, Outcome, Run,
    explore::{COMMAND, describe},
    table::Readme,
};

/// Leads a process to one run; followed by its name.
const EXPLORE: &str = "--explore";
/// Has the README's table written.
const TABLE: &str = "--table";
/// Leads a process to one schedule; followed by the name of the run and the schedule.
#[cfg(shuttle)]
const REPLAY: &str = "--replay";

/// Runs those models and planted bugs whose names contain one of the arguments, or all of them.
#[must_use]
pub fn run(models: &[Model]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs: Vec<Run> = models.iter().flat_map(|model| model.runs()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [EXPLORE, name] => return with_run(&runs, name, |run| run.explore_and_exit()),
        #[cfg(shuttle)]
        [REPLAY, name, schedule] => return with_run(&runs, name, |run| run.replay(schedule)),
        _ => {}
    }
    println!("{}", describe());
    // Flags of the ordinary test harness are let pass.
    let parts: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));

    let start = Instant::now();
    let wanted: Vec<&Run> = runs.iter().filter(|run| is_wanted(&run.name())).collect();
    let (mut passed, mut bugs_found) = (Vec::new(), 0);
    for run in &wanted {
        match check(run).filter(|outcome| outcome.failure.is_none()) {
            Some(_) if run.is_planted() => bugs_found += 1,
            Some(outcome) => passed.push((run.model, outcome)),
            None => {}
        }
    }
    let failures = wanted.len() - passed.len() - bugs_found;
    println!(
        "{} models in {} executions, {bugs_found} planted bugs, {failures} failures, {:.1} s",
        passed.len(),
        passed.iter().map(|(_, outcome)| outcome.executions).sum::<u64>(),
        start.elapsed().as_secs_f64()
    );

    let listed = if arguments.iter().any(|argument| argument == TABLE) {
        write(models, &passed, failures)
    } else {
        compare(models)
    };
    if let Err(error) = &listed {
        println!("README.md: {error}");
    }
    if failures == 0 && !wanted.is_empty() && listed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Calls `f` with the run of that name.
fn with_run(runs: &[Run], name: &str, f: impl FnOnce(&Run)) -> ExitCode {
    let found = runs.iter().find(|run| run.name() == name);
    found.map_or(ExitCode::FAILURE, |run| {
        f(run);
        ExitCode::SUCCESS
    })
}

/// Does one run in a process of its own, and prints what came of it; `None` when it could not be started.
fn check(run: &Run) -> Option<Outcome> {
    let name = run.name();
    let outcome = match run.check(&[EXPLORE, &name]) {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("{name}: not started: {error}");
            return None;
        }
    };
    let seconds = outcome.elapsed.as_secs_f64();
    let verdict = outcome.failure.as_ref().map_or("ok", |_| "FAILED");
    println!("{name:<56} {:>9} executions {seconds:>7.2} s  {verdict}", outcome.executions);
    if let Some(failure) = &outcome.failure {
        println!("    {failure}");
        #[cfg(shuttle)]
        println!("    again: cargo shuttle {REPLAY} {name} SCHEDULE (its text, or a file with it)");
    }
    Some(outcome)
}

/// Writes the README's table with the figures of a run.
fn write(models: &[Model], passed: &[(Model, Outcome)], failures: usize) -> io::Result<()> {
    if passed.len() < models.len() || failures > 0 {
        return Err(io::Error::other(
            "the table is written by a run of everything, and only if nothing fails",
        ));
    }
    Readme::read()?.write(passed)
}

/// Compares the README's table with the models that there are.
fn compare(models: &[Model]) -> io::Result<()> {
    let differences = Readme::read()?.differences(models);
    if differences.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}; write it anew: {COMMAND}", differences.join(", "))))
}
