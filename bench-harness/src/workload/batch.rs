//! Batch: as a cache's user takes a handful and gives it back.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Count, Fixed, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a batch has.
pub(super) const BLOCKS: usize = 64;

/// A cycle is 64 allocations, then 64 frees, the last block first. Nothing else is alive. With a working set a batch is that large.
#[derive(Debug)]
pub struct Batch<B, O, C: Count = Fixed<BLOCKS>> {
    order: O,
    slots: Slots<B, C>,
}

impl<B, O: BlockOrder> Batch<B, O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self::of(order, Fixed)
    }
}

impl<B, O: BlockOrder, C: Count> Batch<B, O, C> {
    /// Makes a worker for batches of so many blocks of that order.
    pub fn of(order: O, count: C) -> Self {
        Self { order, slots: Slots::new(count) }
    }
}

impl<T: RivalThread, O: BlockOrder, C: Count> Worker<T> for Batch<T::Block, O, C> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            self.slots.fill(thread, self.order.request(), || true)?;
            self.slots.free_last_to_first(thread, self.order.get());
        }
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, _: Instant) {
        self.slots.free_last_to_first(thread, self.order.get());
    }
}
