//! A soak: threads do at random all that gfp offers, for as long as one likes, and everything is checked.
//!
//! What an operation does follows from the seed, the thread and the operation's number, and from what the thread holds. Work
//! is cut into epochs that begin with an arena in which all is free, so that the operations of one epoch are all that
//! a replay needs; they are kept, in their order, until the next one begins.
//!
//! | module | idea |
//! |---|---|
//! | `mix` | which operations there are, how frequent they are, and which one is next |
//! | `owners`, `stamp`, `holding` | who has which frame: a bit a frame, words in its memory, and blocks with both |
//! | `bags` | blocks that shrinkers give back when memory is short |
//! | `ledger` | what was said of the frames of nodes |
//! | `grounds` | the arena, what threads share, and what must be so when they pause |
//! | `worker`, `perform` | a thread's state and its operations |
//! | `seat` | what belongs to a thread of the system: its handle, and the memory policy in force |
//! | `faults` | system calls that fail |
//! | `crew` | the threads: pauses, ends and replacements |
//! | `record`, `replay` | the operations of the last epoch in a file, and again on one thread |

mod bag_shrinker;
mod bags;
mod crew;
mod faults;
mod grounds;
mod holding;
mod ledger;
mod mix;
mod owners;
mod perform;
mod record;
mod replay;
mod seat;
mod stamp;
mod tally;
mod violation;
mod worker;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    crew::{Progress, run},
    faults::AVAILABLE as FAULTS_AVAILABLE,
    mix::Kind,
    record::Record,
    replay::{Replayed, replay},
    tally::{Outcome, Tally},
    violation::Violation,
};

/// What a soak is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What all random numbers follow from.
    pub seed: u64,
    /// Threads that work at the same time, at least 1.
    pub threads: usize,
    /// Nodes of the made-up machine, 1 to 8.
    pub nodes: usize,
    /// Size of the arena in bytes: whole pageblocks of 2 MiB, several for each node.
    pub arena_bytes: usize,
    /// Whether system calls fail now and then; only where [`FAULTS_AVAILABLE`].
    pub faults: bool,
    /// The first thread spoils what is known of one of its blocks before its operation of this number in the first epoch, so
    /// that a violation is seen.
    pub spoil: Option<u64>,
}

/// When a soak ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After so many operations, rounded up to the same number for each thread.
    Operations(u64),
}

/// What came of a soak.
#[derive(Debug)]
pub struct Summary {
    /// How long it took.
    pub elapsed: Duration,
    /// Operations by kind, and faults by system call.
    pub tally: Tally,
    /// Threads that ended and were replaced.
    pub churned: u64,
    /// The most frames that were seen set aside for requests that cannot wait; none in zones below 200 MiB.
    pub highatomic: u64,
    /// Pauses in which all frames were accounted for.
    pub checkpoints: u64,
    /// Epochs after which everything was freed and the arena was as in the beginning.
    pub epochs: u64,
    /// What was wrong, with all that led there since the arena was last empty.
    pub violation: Option<(Violation, Record)>,
}
