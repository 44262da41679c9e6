//! What a team does.

use std::time::Duration;

use crate::workload::{Variant, Workload};

/// How many blocks of a thread are alive at the most while blocks are verified.
pub(super) const VERIFIED_BLOCKS: usize = 128;

/// A workload with all that is chosen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The workload.
    pub workload: Workload,
    /// The order of its blocks.
    pub order: u32,
    /// The number of threads that was asked for; see [`Workload::workers`].
    pub threads: usize,
    /// What else was chosen.
    pub variant: Variant,
}

impl Plan {
    /// Makes the plan of a workload as its definition says.
    #[must_use]
    pub fn new(workload: Workload, order: u32, threads: usize) -> Self {
        Self { workload, order, threads, variant: Variant::default() }
    }

    /// Returns how many threads the team has.
    #[must_use]
    pub fn workers(self) -> usize {
        self.workload.workers(self.threads)
    }

    /// Returns how many of them complete operations of their own; see [`Workload::streams`].
    #[must_use]
    pub fn streams(self) -> usize {
        self.workload.streams(self.workers())
    }

    /// Returns how many operations a cycle has.
    #[must_use]
    pub fn cycle_ops(self) -> u64 {
        self.workload.cycle_ops(self.variant)
    }

    /// Returns the nanoseconds of one operation when every stream's cycles took so long.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of operations is far below 2^52")]
    pub fn ns_per_op(self, wall: Duration, cycles: u64) -> f64 {
        wall.as_secs_f64() * 1e9 / (cycles * self.cycle_ops()) as f64
    }

    /// Returns the nanoseconds of one allocation when it took so long to bring a thread's blocks to life.
    #[expect(clippy::cast_precision_loss, reason = "a count of blocks is far below 2^52")]
    pub(super) fn ns_per_block(self, wall: Duration) -> f64 {
        wall.as_secs_f64() * 1e9 / self.workload.live_blocks(self.variant) as f64
    }

    /// Returns the size in bytes of an arena that is large enough: 4 GiB, or 1.25 times what is alive at the
    /// most, rounded up to 2 MiB. Alive is a frame more for each block: there some allocators keep a word.
    #[must_use]
    pub fn arena_bytes(self) -> usize {
        let blocks = self.workload.live_blocks(self.variant).max(VERIFIED_BLOCKS);
        let live = blocks.saturating_mul(self.workers()).saturating_mul((4096 << self.order) + 4096);
        live.saturating_add(live / 4).clamp(4 << 30, 1 << 46).next_multiple_of(2 << 20)
    }

    /// Returns the workload's name with what was chosen of it, for tables.
    #[must_use]
    pub fn label(self) -> String {
        format!("{}{}", self.workload, self.variant.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_operation_is_per_thread() {
        let ns = |workload, threads, cycles| {
            Plan::new(workload, 0, threads).ns_per_op(Duration::from_nanos(6400), cycles)
        };
        assert_eq!(ns(Workload::Batch, 2, 10), 10.0);
        assert_eq!(ns(Workload::Handoff, 2, 10), 10.0);
        assert_eq!(ns(Workload::Pair, 4, 64), 100.0);
    }
}
