//! Random: a steady population whose members come and go one by one.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Rng, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a worker keeps alive: 128 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 15;

/// Of 2^15 live blocks, a random one is freed and another one allocated in its place; a cycle is one of
/// these steps. The blocks stay alive from sample to sample.
#[derive(Debug)]
pub struct Random<B, O> {
    order: O,
    slots: Slots<B, BLOCKS>,
    rng: Rng,
}

impl<B, O: BlockOrder> Random<B, O> {
    /// Makes a worker for blocks of that order, with the random sequence of the seed.
    pub fn new(order: O, seed: u64) -> Self {
        Self { order, slots: Slots::new(), rng: Rng::new(seed) }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Random<T::Block, O> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)
    }

    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        let mut full = self.slots.full().ok_or(Stop::OutOfBlocks)?;
        // Drawn in a local copy, which stays in a register whatever the allocator calls.
        let mut rng = self.rng.clone();
        for _ in 0..cycles {
            full = full.replace(rng.below(BLOCKS), thread, self.order.request())?;
        }
        self.rng = rng;
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.slots.give_up(thread, self.order.get(), deadline);
    }
}
