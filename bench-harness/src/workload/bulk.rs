//! Bulk: far more blocks than any thread's cache holds.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Fixed, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks are allocated before the first is freed: 512 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 17;

/// A cycle is 2^17 allocations, then 2^17 frees in the order of allocation. Nothing else is alive.
#[derive(Debug)]
pub struct Bulk<B, O> {
    order: O,
    slots: Slots<B, Fixed<BLOCKS>>,
}

impl<B, O: BlockOrder> Bulk<B, O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self { order, slots: Slots::new(Fixed) }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Bulk<T::Block, O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, deadline: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)?;
            self.slots.free_first_to_last(thread, self.order.get(), || Instant::now() < deadline)?;
        }
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.slots.give_up(thread, self.order.get(), deadline);
    }
}
