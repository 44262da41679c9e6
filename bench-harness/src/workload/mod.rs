//! The workloads: what a thread asks of an allocator, again and again.
//!
//! One operation is one allocation with its free. A workload runs in whole *cycles* of operations. No
//! workload reads or writes the blocks, and what a workload does besides allocating and freeing is kept so
//! small that the allocator `empty` shows it.

mod batch;
mod bulk;
mod churn;
mod handoff;
mod order;
mod pair;
mod queue;
mod random;
mod rng;
mod slots;

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

pub use batch::Batch;
pub use bulk::Bulk;
pub use churn::Churn;
pub use handoff::{Consume, Produce};
pub use order::{BlockOrder, Constant, Variable};
pub use pair::Pair;
pub use queue::{Consumer, Producer, queue};
pub use random::Random;
pub(crate) use rng::Rng;

use crate::rival::RivalThread;

/// Why a worker stopped before its work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The allocator had no block for a request.
    OutOfBlocks,
    /// The deadline passed. Only workloads whose single cycle can take minutes look at it.
    OutOfTime,
}

/// One thread's part in a workload, with the blocks that it keeps from one sample to the next.
pub trait Worker<T: RivalThread> {
    /// Brings the worker to the fill that its cycles start from; not timed.
    ///
    /// # Errors
    /// The allocator refused a request, or the deadline passed.
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop>;

    /// Runs so many cycles; timed.
    ///
    /// # Errors
    /// The allocator refused a request, or the deadline passed. What the worker still holds is freed by
    /// [`Worker::finish`].
    fn run(&mut self, thread: &mut T, cycles: u64, deadline: Instant) -> Result<(), Stop>;

    /// Frees what the worker holds; not timed. What it has not freed by the deadline it leaves to the arena's
    /// end: some allocators would take hours.
    fn finish(&mut self, thread: &mut T, deadline: Instant);
}

/// The name of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// [`Pair`]
    Pair,
    /// [`Batch`]
    Batch,
    /// [`Bulk`]
    Bulk,
    /// [`Random`]
    Random,
    /// [`Churn`]
    Churn,
    /// [`Produce`] and [`Consume`]
    Handoff,
}

impl Workload {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Pair, Self::Batch, Self::Bulk, Self::Random, Self::Churn, Self::Handoff];

    /// Returns the name that the command line and the records use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Batch => "batch",
            Self::Bulk => "bulk",
            Self::Random => "random",
            Self::Churn => "churn",
            Self::Handoff => "handoff",
        }
    }

    /// Returns how many operations a cycle has.
    #[must_use]
    pub fn cycle_ops(self) -> u64 {
        match self {
            Self::Pair | Self::Random => 1,
            Self::Batch => batch::BLOCKS as u64,
            Self::Bulk => bulk::BLOCKS as u64,
            Self::Churn => churn::HALF as u64,
            Self::Handoff => queue::BATCH as u64,
        }
    }

    /// Returns how many blocks one worker keeps alive at the most.
    #[must_use]
    pub fn live_blocks(self) -> usize {
        match self {
            Self::Pair => 1,
            Self::Batch => batch::BLOCKS,
            Self::Bulk => bulk::BLOCKS,
            Self::Random => random::BLOCKS,
            Self::Churn => churn::BLOCKS,
            Self::Handoff => queue::BATCHES * queue::BATCH,
        }
    }

    /// Returns how many workers run when `threads` are asked for: as many, but for handoff, whose workers
    /// come in pairs, the next even number.
    #[must_use]
    pub fn workers(self, threads: usize) -> usize {
        match self {
            Self::Handoff => threads.next_multiple_of(2),
            _ => threads,
        }
    }

    /// Returns how many of `workers` complete operations of their own: all, but for handoff, where a
    /// producer and its consumer complete each operation together.
    #[must_use]
    pub fn streams(self, workers: usize) -> usize {
        match self {
            Self::Handoff => workers / 2,
            _ => workers,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            anyhow::anyhow!("there is no workload \"{name}\"; there are: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse::<Workload>().unwrap(), workload);
        }
    }

    #[test]
    fn an_unknown_workload_is_answered_with_those_that_exist() {
        let message = "pairs".parse::<Workload>().unwrap_err().to_string();
        assert!(message.contains("\"pairs\"") && message.contains("handoff"), "{message}");
    }

    #[test]
    fn handoff_has_a_consumer_for_every_producer() {
        assert_eq!([1, 2, 3, 4].map(|threads| Workload::Handoff.workers(threads)), [2, 2, 4, 4]);
        assert_eq!([2, 4].map(|workers| Workload::Handoff.streams(workers)), [1, 2]);
        assert_eq!(Workload::Pair.workers(3), 3);
    }
}
