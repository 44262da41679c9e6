//! A turn: one visit to each row that is due.
//!
//! Each turn is taken in a process of its own. Where a program, its stacks and its heap happen to lie changes what its loops take by
//! several percent, and stays as it is for as long as the process lives: all samples of one process agree in it, and those of the next
//! process disagree. The process is started with the same arguments and one more. It reads from its standard input which visits are
//! due, and writes to its standard output how far it is and what it measured.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use signal_hook::consts::SIGINT;

use super::{
    BenchArgs,
    progress::Watch,
    row::{Figure, Known, VisitTo},
};
use crate::{
    measure::{Counters, Cpus, Fault, Plan},
    terminal,
};

/// The argument that a process which takes a turn is started with, besides those of the whole.
const TAKE_TURN: &str = "--take-turn";
/// This program, even where its file has been replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A visit that is due.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Due {
    /// Which of the rows.
    pub(super) row: usize,
    pub(super) visit: usize,
    /// What earlier visits found out, for each allocator.
    pub(super) known: Vec<Known>,
}

/// What a visit brought, for each allocator.
#[derive(Serialize, Deserialize)]
pub(super) struct Visit {
    pub(super) figures: Vec<Result<Figure, Fault>>,
    pub(super) known: Vec<Known>,
}

/// What every visit needs, in whichever process.
#[derive(Clone, Copy)]
pub(super) struct Visitor<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) cpus: &'a Cpus,
    pub(super) allocators: &'a [&'a str],
    pub(super) plans: &'a [Plan],
}

impl Visitor<'_> {
    fn visit(
        self,
        due: Due,
        counters: Option<&mut Counters>,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<Visit> {
        let Self { args, cpus, allocators, plans } = self;
        let Due { row, visit, mut known } = due;
        let plan = *plans.get(row).with_context(|| format!("there is no row {row}"))?;
        let to = VisitTo { args, plan, cpus, allocators, schedule: args.schedule(plan), visit };
        let figures = to.measure(&mut known, counters, watch)?;
        Ok(Visit { figures, known })
    }
}

/// A turn that is being taken.
pub(super) enum Turn<'a> {
    /// By this process.
    Here {
        /// Who visits.
        visitor: Visitor<'a>,
        /// What is left.
        due: std::vec::IntoIter<Due>,
        /// What is counted.
        counters: Option<&'a mut Counters>,
    },
    /// By another.
    There(Taker),
}

impl<'a> Turn<'a> {
    /// Begins a turn, in a process of its own if everything need not be in one.
    ///
    /// # Errors
    /// No process can be started.
    pub(super) fn begin(
        visitor: Visitor<'a>,
        due: Vec<Due>,
        counters: Option<&'a mut Counters>,
    ) -> anyhow::Result<Self> {
        match visitor.args.one_process {
            true => Ok(Self::Here { visitor, due: due.into_iter(), counters }),
            false => Ok(Self::There(Taker::start(&due)?)),
        }
    }

    /// Waits for the next visit. None if the turn was interrupted.
    ///
    /// # Errors
    /// It cannot be measured, or the process that was to do it came to its end.
    pub(super) fn next(&mut self, watch: &mut dyn Watch) -> anyhow::Result<Option<Visit>> {
        match self {
            Self::Here { visitor, due, counters } => {
                let next = due.next().context("no visit is due")?;
                visitor.visit(next, counters.as_deref_mut(), watch).map(Some)
            }
            Self::There(taker) => taker.next(watch),
        }
    }
}

/// What a process that takes a turn says, a line each.
#[derive(Serialize, Deserialize)]
enum Message {
    /// So many more steps are done.
    Steps(u64),
    /// This comes next.
    Now(String),
    /// A visit is paid.
    Visit(Visit),
    /// Nothing more can be measured.
    Failed(String),
}

/// A process that takes a turn, which ends with this value.
pub(super) struct Taker {
    process: Child,
    messages: BufReader<ChildStdout>,
}

impl Taker {
    /// Starts this program with the arguments of this process, and tells it what is due.
    ///
    /// # Errors
    /// It cannot be started, or has ended already.
    fn start(due: &[Due]) -> anyhow::Result<Self> {
        let mut process = Command::new(THIS_PROGRAM)
            .args(std::env::args_os().skip(1))
            .arg(TAKE_TURN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start this program again for a turn (--one-process does without)")?;
        let messages = BufReader::new(process.stdout.take().context("a turn has no output")?);
        let input = process.stdin.take().context("a turn has no input")?;
        let taker = Self { process, messages };
        serde_json::to_writer(input, due).context("cannot tell a turn what is due")?;
        Ok(taker)
    }

    fn next(&mut self, watch: &mut dyn Watch) -> anyhow::Result<Option<Visit>> {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.messages.read_line(&mut line).context("cannot read what a turn says")?;
            if length == 0 {
                return ended(self.process.wait().context("cannot wait for a turn")?);
            }
            match serde_json::from_str(&line).with_context(|| format!("a turn says {line}"))? {
                Message::Steps(steps) => (0..steps).for_each(|_| watch.step()),
                Message::Now(now) => watch.say(now),
                Message::Visit(visit) => return Ok(Some(visit)),
                Message::Failed(why) => bail!(why),
            }
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Who has ended already cannot be killed, and leaves its status all the same.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Says what it means that a process came to its end before all was measured. Ctrl-C reaches both, and this one goes on.
fn ended(status: ExitStatus) -> anyhow::Result<Option<Visit>> {
    match status.signal() {
        Some(SIGINT) => Ok(None),
        _ => bail!("the process that measured has ended before it was done: {status}"),
    }
}

/// Takes a turn for the process that started this one with [`TAKE_TURN`].
///
/// # Errors
/// It cannot be told what is due, or nobody listens any more. What goes wrong while it measures, it says to the other.
pub(super) fn take(visitor: Visitor<'_>) -> anyhow::Result<()> {
    let due: Vec<Due> =
        serde_json::from_reader(std::io::stdin().lock()).context("cannot read which visits are due")?;
    // Before any thread is started: they inherit them.
    let mut counters = visitor.args.counters();
    let mut teller = Teller { out: std::io::stdout().lock(), steps: 0 };
    for due in due {
        match visitor.visit(due, counters.as_mut(), &mut teller) {
            Ok(visit) => {
                teller.tell_steps()?;
                teller.tell(&Message::Visit(visit))?;
            }
            Err(error) => return teller.tell(&Message::Failed(terminal::with_causes(&error))),
        }
    }
    Ok(())
}

/// Tells the other process how far this one is.
struct Teller<W> {
    out: W,
    /// Steps that were not told yet: that would wake the other while something is timed.
    steps: u64,
}

impl<W: Write> Teller<W> {
    fn tell(&mut self, message: &Message) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.out, message)?;
        writeln!(self.out)?;
        Ok(self.out.flush()?)
    }

    fn tell_steps(&mut self) -> anyhow::Result<()> {
        match std::mem::take(&mut self.steps) {
            0 => Ok(()),
            steps => self.tell(&Message::Steps(steps)),
        }
    }
}

impl<W: Write> Watch for Teller<W> {
    fn say(&mut self, now: String) {
        // Where nobody listens the visit cannot be told either, which ends it.
        _ = self.tell_steps().and_then(|()| self.tell(&Message::Now(now)));
    }

    fn step(&mut self) {
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_with_what_comes_next() {
        let mut teller = Teller { out: Vec::new(), steps: 0 };
        teller.say("one".to_owned());
        teller.step();
        teller.step();
        assert_eq!(
            teller.out.iter().filter(|&&byte| byte == b'\n').count(),
            1,
            "nothing while samples are taken"
        );
        teller.say("two".to_owned());
        let told = String::from_utf8(teller.out).unwrap();
        let told: Vec<Message> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [Message::Now(one), Message::Steps(2), Message::Now(two)] = &told[..] else {
            panic!("something else was told");
        };
        assert_eq!((&one[..], &two[..]), ("one", "two"));
    }

    #[test]
    fn a_process_that_ends_early_is_an_error_unless_it_was_interrupted() {
        assert!(ended(ExitStatus::from_raw(SIGINT)).unwrap().is_none());
        let message = ended(ExitStatus::from_raw(9)).err().unwrap().to_string();
        assert!(message.contains("signal: 9"), "{message}");
        assert!(ended(ExitStatus::from_raw(0)).is_err());
    }
}
