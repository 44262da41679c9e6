//! Runs what is wanted and compares it with what is listed.

use loom_tests::Run;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Leads a process to one run; followed by its name.
const EXPLORE: &str = "--explore";

/// Runs those of `runs` whose names contain one of the arguments, or all of them.
pub(crate) fn run(runs: Vec<Run>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &*arguments
        && flag == EXPLORE
    {
        let Some(run) = runs.iter().find(|run| run.name() == *name) else { return ExitCode::FAILURE };
        run.explore_and_exit();
    }
    // Flags of the ordinary test harness are let pass.
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));

    let mut ran = BTreeSet::new();
    let (mut models, mut failures) = (0, 0);
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
                }
                models += usize::from(!run.is_planted());
                ran.insert(name);
            }
            Err(error) => println!("{name}: not started: {error}"),
        }
    }

    let listed: BTreeSet<_> = listed().filter(|name| is_wanted(name)).collect();
    for name in listed.iter().filter(|name| !ran.contains(**name)) {
        println!("{name}: listed in models.txt, but did not run");
        failures += 1;
    }
    for name in ran.iter().filter(|name| !listed.contains(name.as_str())) {
        println!("{name}: ran, but models.txt does not list it");
        failures += 1;
    }
    println!("models: {models} models, {} planted bugs, {failures} failures", ran.len() - models);
    if failures == 0 && !ran.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives the names in `models.txt`, which has one a line and comments after `#`.
fn listed() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("../../models.txt").lines();
    lines.map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|name| !name.is_empty())
}
