//! Runs what is wanted and compares it with what is listed.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use crate::{Run, explore::describe};

/// Leads a process to one run; followed by its name.
const EXPLORE: &str = "--explore";

/// Leads a process to one schedule; followed by the name of the run and the schedule.
#[cfg(shuttle)]
const REPLAY: &str = "--replay";

/// Runs those of `runs` whose names contain one of the arguments, or all of them, and compares their names with those that
/// `listed` has, one a line, with comments after `#`.
#[must_use]
pub fn run(runs: &[Run], listed: &str) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [EXPLORE, name] => return with_run(runs, name, |run| run.explore_and_exit()),
        #[cfg(shuttle)]
        [REPLAY, name, schedule] => return with_run(runs, name, |run| run.replay(schedule)),
        _ => {}
    }
    println!("{}", describe());
    // Flags of the ordinary test harness are let pass.
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));

    let mut ran = BTreeSet::new();
    let (mut models, mut executions, mut failures) = (0, 0, 0);
    let start = Instant::now();
    for run in runs.iter().filter(|run| is_wanted(&run.name())) {
        let name = run.name();
        match run.check(&[EXPLORE, &name]) {
            Ok(outcome) => {
                let seconds = outcome.elapsed.as_secs_f64();
                let verdict = outcome.failure.as_ref().map_or("ok", |_| "FAILED");
                println!("{name:<56} {:>9} executions {seconds:>7.2} s  {verdict}", outcome.executions);
                failures += usize::from(outcome.failure.is_some());
                if let Some(failure) = outcome.failure {
                    println!("    {failure}");
                    #[cfg(shuttle)]
                    println!(
                        "    again: cargo shuttle {REPLAY} {name} SCHEDULE (its text, or a file with it)"
                    );
                }
                models += usize::from(!run.is_planted());
                executions += outcome.executions;
                ran.insert(name);
            }
            Err(error) => println!("{name}: not started: {error}"),
        }
    }

    let listed: BTreeSet<_> = names(listed).filter(|name| is_wanted(name)).collect();
    for name in listed.iter().filter(|name| !ran.contains(**name)) {
        println!("{name}: listed, but did not run");
        failures += 1;
    }
    for name in ran.iter().filter(|name| !listed.contains(name.as_str())) {
        println!("{name}: ran, but is not listed");
        failures += 1;
    }
    println!(
        "{models} models, {} planted bugs, {executions} executions, {failures} failures, {:.1} s",
        ran.len() - models,
        start.elapsed().as_secs_f64()
    );
    if failures == 0 && !ran.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Calls `f` with the run of that name.
fn with_run(runs: &[Run], name: &str, f: impl FnOnce(&Run)) -> ExitCode {
    let found = runs.iter().find(|run| run.name() == name);
    found.map_or(ExitCode::FAILURE, |run| {
        f(run);
        ExitCode::SUCCESS
    })
}

/// Gives the names in a list.
fn names(list: &str) -> impl Iterator<Item = &str> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|name| !name.is_empty())
}
