//! The operations of a record again, one after the other, on one thread.

use anyhow::{Result, ensure};

use super::{
    faults,
    grounds::Grounds,
    mix::Kind,
    record::{Line, Record},
    seat::Seat,
    violation::{Place, Problem, Violation, caught},
    worker::Worker,
};

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Operations that were done.
    pub operations: u64,
    /// How many of them were served where the record says refused, or the other way round.
    pub different: u64,
    /// The first thing that was wrong.
    pub violation: Option<Violation>,
}

/// Does the operations of a record in their order on the calling thread, up to the first violation.
///
/// Each of the soak's threads has its blocks and its policy; there is one cache. A violation that needs two threads at the same
/// moment is not seen again, which tells that much about it.
///
/// # Errors
/// The arena cannot be had; or system calls failed in the soak, and cannot be made to here.
pub fn replay(record: &Record) -> Result<Replayed> {
    let config = record.config();
    ensure!(
        faults::AVAILABLE || !config.faults,
        "system calls failed in this soak: build the command with --features fault-injection"
    );
    let grounds = Grounds::build(config)?;
    let mut workers: Vec<_> = (0..config.threads).map(Worker::new).collect();
    workers.iter_mut().for_each(|worker| worker.begin(record.epoch()));
    let mut seat = Seat::new(&grounds.allocator);
    let (mut operations, mut different) = (0, 0);
    for line in record.lines() {
        match *line {
            Line::Operation { thread, outcome } => {
                let step = workers[thread].step(&grounds, &mut seat);
                operations += 1;
                different += u64::from(step.is_some_and(|step| step.outcome != outcome));
                if step.is_some_and(|step| step.kind == Kind::Depart) {
                    seat = Seat::new(&grounds.allocator);
                }
            }
            Line::Checkpoint => {
                workers.iter_mut().for_each(|worker| worker.pause(&grounds));
                check(&grounds, record.epoch(), Grounds::check);
            }
        }
        if grounds.watch.stops() {
            break;
        }
    }
    // A record may end in the middle of something.
    workers.iter_mut().for_each(|worker| worker.pause(&grounds));
    check(&grounds, record.epoch(), Grounds::check);
    if !grounds.watch.stops() {
        workers.iter_mut().for_each(|worker| worker.clear(&grounds, &mut seat));
        check(&grounds, record.epoch(), Grounds::check_empty);
    }
    let violation = grounds.watch.first();
    drop(seat);
    if violation.is_some() {
        // What is wrong cannot be freed safely; it goes with the process.
        std::mem::forget((workers, grounds));
    }
    Ok(Replayed { operations, different, violation })
}

fn check(grounds: &Grounds, epoch: u64, check: fn(&Grounds) -> Result<(), Problem>) {
    let place = Place { seed: grounds.config.seed, epoch, thread: None, operation: grounds.tickets() };
    place.enter();
    if !grounds.watch.stops()
        && let Err(problem) = caught(|| check(grounds))
    {
        grounds.watch.report(problem.during(place));
    }
}
