//! The workloads: what a thread asks of an allocator, again and again.
//!
//! One operation is one allocation with its free. A workload runs in whole *cycles* of operations. Blocks are read or
//! written only by [`Fault`] and where [`Touch`] says so, and what a workload does besides allocating and freeing is kept so
//! small that the allocator `empty` shows it.
//!
//! What becomes of an arena over time is no matter of cycles: [`fragmentation`].

mod batch;
mod bulk;
mod bulk_api;
mod churn;
mod contended;
mod count;
mod fault;
pub mod fragmentation;
mod frame_map;
mod handoff;
mod larson;
mod order;
mod pair;
mod queue;
mod random;
pub(crate) mod remote;
mod ring;
mod rng;
mod slots;
mod touch;
mod variant;
mod working_set;

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use gfp::platform::Backing;

pub use batch::Batch;
pub use bulk::Bulk;
pub use bulk_api::BulkApi;
pub(crate) use bulk_api::MOST as MOST_A_CALL;
pub use churn::Churn;
pub use count::{Count, Fixed, PowerOfTwo};
pub use fault::Fault;
pub(crate) use fault::zeroed;
pub use frame_map::{Misplaced, Pageblock};
pub use handoff::{Consume, Produce};
pub use larson::{Larson, Link, circle};
pub use order::{BlockOrder, Constant, Variable};
pub use pair::Pair;
pub use queue::{Consumer, Producer, queue};
pub use random::Random;
pub use ring::Ring;
pub(crate) use rng::Rng;
pub use touch::{Touch, Touching};
pub use variant::Variant;
pub use working_set::{Cache, Caches, SetSize, WorkingSet};

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

    /// Runs so many cycles; timed. To be inlined always, so that the thread is a variable of the caller's for all allocators: where
    /// two of them have threads of one type the compiler would make it a function of its own, which loads the thread anew for each
    /// operation.
    ///
    /// # Errors
    /// The allocator refused a request, or the deadline passed. What the worker still holds is freed by
    /// [`Worker::finish`].
    fn run(&mut self, thread: &mut T, cycles: u64, deadline: Instant) -> Result<(), Stop>;

    /// Frees what the worker holds; not timed. What it has not freed by the deadline it leaves to the arena's
    /// end, if there is one: some allocators would take hours.
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
    /// [`Pair`] with orders that no cache holds
    Contended,
    /// [`Produce`] and [`Consume`] on different nodes
    Remote,
    /// [`Larson`]
    Larson,
    /// [`Ring`]
    Ring,
    /// [`BulkApi`]
    BulkApi,
    /// [`Fault`], gfp with the pages that were chosen
    Fault,
    /// [`Fault`], gfp with transparent huge pages
    FaultThp,
}

impl Workload {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 13] = [
        Self::Pair,
        Self::Batch,
        Self::Bulk,
        Self::Random,
        Self::Churn,
        Self::Handoff,
        Self::Contended,
        Self::Remote,
        Self::Larson,
        Self::Ring,
        Self::BulkApi,
        Self::Fault,
        Self::FaultThp,
    ];

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
            Self::Contended => "contended",
            Self::Remote => "remote",
            Self::Larson => "larson",
            Self::Ring => "ring",
            Self::BulkApi => "bulk-api",
            Self::Fault => "fault",
            Self::FaultThp => "fault-thp",
        }
    }

    /// Returns how many operations a cycle has.
    #[must_use]
    pub fn cycle_ops(self, variant: Variant) -> u64 {
        let operations = match self {
            Self::Churn => self.live_blocks(variant) / 2,
            Self::Batch | Self::Bulk | Self::BulkApi => self.live_blocks(variant),
            Self::Handoff | Self::Remote => queue::BATCH,
            Self::Larson => larson::REPLACEMENTS,
            Self::Pair | Self::Random | Self::Contended | Self::Ring | Self::Fault | Self::FaultThp => 1,
        };
        operations as u64
    }

    /// Returns how many blocks one worker keeps alive at the most.
    #[must_use]
    pub fn live_blocks(self, variant: Variant) -> usize {
        let of_set = |plain| variant.set.map_or(plain, |set| set.blocks);
        match self {
            Self::Pair | Self::Contended | Self::Fault | Self::FaultThp => 1,
            Self::Batch => of_set(batch::BLOCKS),
            Self::Bulk => bulk::BLOCKS,
            Self::Random => of_set(random::BLOCKS),
            Self::Churn => of_set(churn::BLOCKS),
            Self::Handoff | Self::Remote => queue::BATCHES * queue::BATCH,
            Self::Larson => larson::BLOCKS,
            Self::Ring => ring::BLOCKS,
            Self::BulkApi => variant.batch.unwrap_or(1),
        }
    }

    /// Says whether the number of its live blocks, and whether they are touched, can be chosen.
    #[must_use]
    pub fn has_sets(self) -> bool {
        matches!(self, Self::Batch | Self::Random | Self::Churn)
    }

    /// Returns the orders that are asked for unless others are named.
    #[must_use]
    pub fn orders(self) -> &'static [u32] {
        match self {
            Self::Contended => &contended::ORDERS,
            Self::Fault | Self::FaultThp => &fault::ORDERS,
            _ => &[0],
        }
    }

    /// Returns the numbers of blocks a call that are asked for unless others are named; none for a workload without such calls.
    #[must_use]
    pub fn batches(self) -> &'static [usize] {
        match self {
            Self::BulkApi => &bulk_api::BATCHES,
            _ => &[],
        }
    }

    /// Returns the pages that gfp's arena must have, where the workload is about them.
    #[must_use]
    pub fn backing(self) -> Option<Backing> {
        (self == Self::FaultThp).then_some(Backing::Thp)
    }

    /// Returns how many workers run when `threads` are asked for: as many, but for handoff and remote, whose
    /// workers come in pairs, the next even number.
    #[must_use]
    pub fn workers(self, threads: usize) -> usize {
        if self.has_pairs() { threads.next_multiple_of(2) } else { threads }
    }

    /// Returns how many of `workers` complete operations of their own: all, but for handoff and remote, where a
    /// producer and its consumer complete each operation together.
    #[must_use]
    pub fn streams(self, workers: usize) -> usize {
        if self.has_pairs() { workers / 2 } else { workers }
    }

    /// Says whether workers come in pairs, a producer and its consumer.
    pub(crate) fn has_pairs(self) -> bool {
        matches!(self, Self::Handoff | Self::Remote)
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
            let series = fragmentation::NAME;
            anyhow::anyhow!("there is no workload \"{name}\"; there are: {names}, {series}")
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
    fn a_cycle_is_what_a_variant_makes_of_it() {
        let (plain, of_16) = (Variant::default(), Variant { batch: Some(16), ..Variant::default() });
        let set = Some(SetSize { set: WorkingSet::L2, blocks: 128 });
        let small = Variant { set, ..plain };
        assert_eq!([plain, small].map(|variant| Workload::Batch.cycle_ops(variant)), [64, 128]);
        assert_eq!([plain, small].map(|variant| Workload::Churn.cycle_ops(variant)), [1 << 14, 64]);
        assert_eq!([plain, small].map(|variant| Workload::Bulk.cycle_ops(variant)), [1 << 17; 2]);
        assert_eq!([plain, of_16].map(|variant| Workload::BulkApi.cycle_ops(variant)), [1, 16]);
        assert_eq!(Workload::Random.live_blocks(small), 128);
    }

    #[test]
    fn handoff_has_a_consumer_for_every_producer() {
        assert_eq!([1, 2, 3, 4].map(|threads| Workload::Handoff.workers(threads)), [2, 2, 4, 4]);
        assert_eq!([2, 4].map(|workers| Workload::Handoff.streams(workers)), [1, 2]);
        assert_eq!(Workload::Pair.workers(3), 3);
    }
}
