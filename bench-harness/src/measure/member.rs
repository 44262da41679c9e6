//! A member of a team: a thread that does with its worker what it is told.

use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::verify::Ledger;
use super::{Cpus, Fault, Plan};
use crate::rival::{Rival, RivalThread};
use crate::workload::{Stop, Worker};

/// How long a sample may take before it is abandoned. Samples are calibrated to be far shorter: only a
/// single cycle of an allocator whose time grows with the number of its blocks takes so long.
const SAMPLE_LIMIT: Duration = Duration::from_secs(4);
/// How long a member may take to bring its worker to the fill that samples start from.
const PREPARE_LIMIT: Duration = Duration::from_secs(20);
/// How long a member frees what it holds in the end, where what is left goes with the arena.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
/// The same where there is no arena: what is left would stay in use as long as the process lives.
const FINISH_LIMIT_WITHOUT_ARENA: Duration = Duration::from_secs(60);

/// What a member is told to do.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Verify,
    Sample { cycles: u64 },
}

/// When a member began and ended its part of a sample, or what is wrong.
pub(super) type Outcome = Result<(Instant, Instant), Fault>;

/// What the members of a team share.
pub(super) struct Shared<R, B> {
    pub(super) rival: R,
    pub(super) plan: Plan,
    pub(super) cpus: Cpus,
    pub(super) start: Barrier,
    pub(super) ledger: Ledger<B>,
}

/// A member's side of the channels.
pub(super) struct Mailbox {
    pub(super) index: usize,
    pub(super) tasks: Receiver<Task>,
    pub(super) outcomes: Sender<Outcome>,
}

impl Mailbox {
    /// Returns the seed of the member's random numbers.
    pub(super) fn seed(&self) -> u64 {
        self.index as u64 + 1
    }
}

/// Performs tasks with a worker until there will be no more.
///
/// Inlined, so that the thread and the worker are the caller's variables: behind pointers, each operation would load them anew.
#[inline(always)]
pub(super) fn drive<R, B, T, W>(shared: &Shared<R, B>, mut thread: T, mut worker: W, mailbox: &Mailbox)
where
    R: Rival,
    T: RivalThread<Block = B>,
    W: Worker<T>,
{
    while let Ok(task) = mailbox.tasks.recv() {
        let outcome = match task {
            Task::Verify => verify(shared, &mut thread, mailbox),
            Task::Sample { cycles } => {
                // Whoever cannot even begin comes to the barrier all the same: the others wait there.
                let prepared = worker.prepare(&mut thread, Instant::now() + PREPARE_LIMIT);
                shared.start.wait();
                let start = Instant::now();
                let ran = prepared.map(|()| worker.run(&mut thread, cycles, start + SAMPLE_LIMIT));
                thread.end_sample(start.elapsed());
                let end = Instant::now();
                match ran {
                    Ok(Ok(())) => Ok((start, end)),
                    Ok(Err(stop)) => Err(fault(stop, shared.plan.ns_per_op(SAMPLE_LIMIT, cycles))),
                    Err(stop) => Err(fault(stop, shared.plan.ns_per_block(PREPARE_LIMIT))),
                }
            }
        };
        let outcome = outcome.map_err(|fault| match fault {
            Fault::OutOfBlocks if shared.rival.is_at_system_limit() => Fault::SystemLimit,
            fault => fault,
        });
        if mailbox.outcomes.send(outcome).is_err() {
            break;
        }
    }
    let limit = if shared.rival.base().is_some() { FINISH_LIMIT } else { FINISH_LIMIT_WITHOUT_ARENA };
    worker.finish(&mut thread, Instant::now() + limit);
}

/// Says what is wrong with an allocator whose worker stopped; an operation takes more than the time, if time ran out.
fn fault(stop: Stop, above_ns_per_op: f64) -> Fault {
    match stop {
        Stop::OutOfBlocks => Fault::OutOfBlocks,
        Stop::OutOfTime => Fault::TooSlow { above_ns_per_op },
    }
}

fn verify<R, B, T>(shared: &Shared<R, B>, thread: &mut T, mailbox: &Mailbox) -> Outcome
where
    T: RivalThread<Block = B>,
{
    shared.start.wait();
    let start = Instant::now();
    shared.ledger.exercise(thread, mailbox.seed())?;
    Ok((start, Instant::now()))
}
