//! Bulk: far more blocks than any thread's cache holds.

use super::slots::Slots;
use super::{BlockOrder, OutOfBlocks, Worker};
use crate::rival::RivalThread;

/// How many blocks are allocated before the first is freed: 512 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 17;

/// A cycle is 2^17 allocations, then 2^17 frees in the order of allocation. Nothing else is alive.
#[derive(Debug)]
pub struct Bulk<B, O> {
    order: O,
    slots: Slots<B, BLOCKS>,
}

impl<B, O: BlockOrder> Bulk<B, O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self { order, slots: Slots::new() }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Bulk<T::Block, O> {
    fn prepare(&mut self, _: &mut T) -> Result<(), OutOfBlocks> {
        Ok(())
    }

    fn run(&mut self, thread: &mut T, cycles: u64) -> Result<(), OutOfBlocks> {
        for _ in 0..cycles {
            self.slots.fill(thread, self.order.request())?;
            self.slots.free_first_to_last(thread, self.order.get());
        }
        Ok(())
    }

    fn finish(&mut self, thread: &mut T) {
        self.slots.free_first_to_last(thread, self.order.get());
    }
}
