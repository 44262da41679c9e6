//! The operations of an epoch in the order in which they began, as a file.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Config, Violation, grounds::Grounds, mix::Mix, tally::Outcome, worker::Worker};

/// What a file begins with.
const KIND: &str = "soak record";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    kind: String,
    config: Config,
    epoch: u64,
    violation: Violation,
}

/// What happened next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The next operation of a thread.
    Operation { thread: usize, outcome: Outcome },
    /// All threads paused.
    Checkpoint,
}

/// All that led from an empty arena to a violation.
///
/// As a file it is a line of JSON, then a line for each operation: its thread, its number there, its name, and what came of
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    header: Header,
    lines: Vec<Line>,
}

impl Record {
    pub(super) fn of(grounds: &Grounds, violation: Violation, workers: &[Worker], pauses: &[u64]) -> Self {
        let operations = workers.iter().flat_map(|worker| {
            let line = |outcome| Line::Operation { thread: worker.index, outcome };
            worker.done.iter().map(move |done| (done.ticket, line(done.outcome)))
        });
        let pauses = pauses.iter().map(|&ticket| (ticket, Line::Checkpoint));
        let mut lines: Vec<_> = operations.chain(pauses).collect();
        lines.sort_unstable_by_key(|&(ticket, _)| ticket);
        let header =
            Header { kind: KIND.into(), config: grounds.config.clone(), epoch: violation.epoch, violation };
        Self { header, lines: lines.into_iter().map(|(_, line)| line).collect() }
    }

    /// Returns what the soak was made of.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.header.config
    }

    /// Returns what was wrong.
    #[must_use]
    pub const fn violation(&self) -> &Violation {
        &self.header.violation
    }

    /// Returns the epoch that it is of.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.header.epoch
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Writes a file.
    ///
    /// # Errors
    /// It cannot be written; the message names it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let written = || -> Result<()> {
            let mut file = BufWriter::new(File::create(path)?);
            writeln!(file, "{}", serde_json::to_string(&self.header)?)?;
            let mix = Mix::new(self.config().seed);
            let mut numbers = vec![0; self.config().threads];
            for line in &self.lines {
                match *line {
                    Line::Operation { thread, outcome } => {
                        let number = &mut numbers[thread];
                        let (kind, _) = mix.draw(self.epoch(), thread, *number);
                        writeln!(file, "{thread} {number} {} {}", outcome.name(), kind.name())?;
                        *number += 1;
                    }
                    Line::Checkpoint => writeln!(file, "checkpoint")?,
                }
            }
            Ok(file.flush()?)
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not a record; the message names it.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let mut lines = BufReader::new(File::open(path)?).lines();
            let first = lines.next().context("it is empty")??;
            let header: Header =
                serde_json::from_str(&first).context("its first line is not that of a record")?;
            ensure!(header.kind == KIND, "it is a {:?} and not a {KIND:?}", header.kind);
            let threads = header.config.threads;
            let parsed = lines.map(|line| {
                let line = line?;
                parse(&line, threads).with_context(|| format!("{line:?} is not a line of a record"))
            });
            Ok(Self { lines: parsed.collect::<Result<_>>()?, header })
        };
        read().with_context(|| format!("cannot read the record {}", path.display()))
    }
}

fn parse(line: &str, threads: usize) -> Option<Line> {
    if line == "checkpoint" {
        return Some(Line::Checkpoint);
    }
    let mut words = line.split(' ');
    let thread = words.next()?.parse().ok().filter(|&thread| thread < threads)?;
    let _number: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let outcome = [Outcome::Served, Outcome::Refused].into_iter().find(|outcome| outcome.name() == name)?;
    Some(Line::Operation { thread, outcome })
}
