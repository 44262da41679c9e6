//! Programs, the bugs planted in them, and the processes in which they run.

use gfp::sync::{SeededBug, with_seeded_bug};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{io, panic, process};

use crate::explore::explore;

/// A program and the bugs that it must find.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Name, as in the README.
    pub name: &'static str,
    /// What holds in every execution, in words.
    pub property: &'static str,
    /// How much the program runs: threads and what each does.
    pub bound: &'static str,
    /// How often a schedule may preempt a thread that could go on; `None` explores all schedules.
    #[cfg(loom)]
    pub preemptions: Option<usize>,
    /// How many schedules of each kind are tried.
    #[cfg(shuttle)]
    pub schedules: usize,
    /// The program; it runs once for each execution and panics where a rule is broken.
    pub program: fn(),
    /// Bugs, each with a part of the message with which the program panics when the bug is planted; parts of several messages,
    /// with | between, where it depends on the schedule.
    pub bugs: &'static [(SeededBug, &'static str)],
}

/// A model, with one of its bugs planted or with none.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub(crate) model: Model,
    bug: Option<(SeededBug, &'static str)>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Executions that were explored; up to the first that panics.
    pub executions: u64,
    /// Time taken.
    pub elapsed: Duration,
    /// Why the run failed, if it did.
    pub failure: Option<String>,
}

impl Model {
    /// Gives the run without a bug, and one for each bug.
    pub fn runs(self) -> impl Iterator<Item = Run> {
        let planted = self.bugs.iter().map(move |&bug| Run { model: self, bug: Some(bug) });
        std::iter::once(Run { model: self, bug: None }).chain(planted)
    }
}

/// Separates the number of executions from the message in the report of a run's process.
const REPORT: char = '\u{1e}';

static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

impl Run {
    /// Gives the name: the model's, or `model/Bug`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.bug {
            None => self.model.name.to_owned(),
            Some((bug, _)) => format!("{}/{bug:?}", self.model.name),
        }
    }

    /// Answers whether a bug is planted.
    #[must_use]
    pub fn is_planted(&self) -> bool {
        self.bug.is_some()
    }

    /// Explores the model in this process, reports on standard output, and exits.
    pub fn explore_and_exit(&self) -> ! {
        panic::set_hook(Box::new(|info| {
            report(info.payload_as_str().unwrap_or("a panic without a message"));
        }));
        let program = self.model.program;
        let counted = move || {
            EXECUTIONS.fetch_add(1, Ordering::Relaxed);
            program();
        };
        self.with_bug(|| explore(&self.model, counted));
        report("")
    }

    /// Runs the model under one schedule, given as text or as a file with it, and lets it panic.
    #[cfg(shuttle)]
    pub fn replay(&self, schedule: &str) {
        self.with_bug(|| crate::explore::replay(schedule, self.model.program));
    }

    fn with_bug(&self, f: impl FnOnce()) {
        match self.bug {
            Some((bug, _)) => with_seeded_bug(bug, f),
            None => f(),
        }
    }

    /// Explores the model in a process of its own, in which `arguments` lead to
    /// [`explore_and_exit`](Self::explore_and_exit).
    ///
    /// # Errors
    ///
    /// When the process cannot be started.
    pub fn check(&self, arguments: &[&str]) -> io::Result<Outcome> {
        let start = Instant::now();
        let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
        let elapsed = start.elapsed();
        let text = String::from_utf8_lossy(&output.stdout);
        let report = text.rsplit(REPORT).next().and_then(|report| report.split_once(' '));
        let parsed = report.and_then(|(number, panicked)| Some((number.parse().ok()?, panicked.trim())));
        // The checker's own words, among them how to see that schedule again.
        let words = || String::from_utf8_lossy(&output.stderr);
        let Some((executions, panicked)) = parsed else {
            let failure = Some(format!("no report; {}\n{}", output.status, words()));
            return Ok(Outcome { executions: 0, elapsed, failure });
        };
        let failure = match self.bug {
            None => (!panicked.is_empty()).then(|| format!("{panicked}\n{}", words())),
            Some((_, expected)) if expected.split('|').any(|part| panicked.contains(part)) => None,
            Some((_, expected)) if panicked.is_empty() => {
                Some(format!("the planted bug was not found; expected a panic with \"{expected}\""))
            }
            Some((_, expected)) => Some(format!("expected a panic with \"{expected}\", got: {panicked}")),
        };
        Ok(Outcome { executions, elapsed, failure })
    }
}

/// Reports how many executions there were and the message of the panic that ended them, and exits.
fn report(panicked: &str) -> ! {
    println!("{REPORT}{} {panicked}", EXECUTIONS.load(Ordering::Relaxed));
    process::exit(0)
}
