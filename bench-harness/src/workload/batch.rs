//! Batch: as a cache's user takes a handful and gives it back.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a batch has.
pub(super) const BLOCKS: usize = 64;

/// A cycle is 64 allocations, then 64 frees, the last block first. Nothing else is alive.
#[derive(Debug)]
pub struct Batch<B, O> {
    order: O,
    slots: Slots<B, BLOCKS>,
}

impl<B, O: BlockOrder> Batch<B, O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self { order, slots: Slots::new() }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Batch<T::Block, O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

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
