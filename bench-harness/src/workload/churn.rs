//! Churn: half of a population goes at once, and comes back.

use std::time::Instant;

use super::slots::{Permutation, Slots};
use super::{BlockOrder, Rng, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a worker keeps alive: 128 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 15;
/// How many of them a cycle replaces.
pub(super) const HALF: usize = BLOCKS / 2;

/// A cycle frees a random half of 2^15 live blocks, in random order, then allocates as many. The blocks stay
/// alive from sample to sample.
#[derive(Debug)]
pub struct Churn<B, O> {
    order: O,
    slots: Slots<B, BLOCKS>,
    permutation: Permutation<BLOCKS>,
    rng: Rng,
}

impl<B, O: BlockOrder> Churn<B, O> {
    /// Makes a worker for blocks of that order, with the random sequence of the seed.
    pub fn new(order: O, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self { order, slots: Slots::new(), permutation: Permutation::draw(&mut rng), rng }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Churn<T::Block, O> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)
    }

    fn run(&mut self, thread: &mut T, cycles: u64, deadline: Instant) -> Result<(), Stop> {
        let mut full = self.slots.full().ok_or(Stop::OutOfBlocks)?;
        for _ in 0..cycles {
            let half = self.permutation.select_half(&mut self.rng);
            full = full.exchange(&half, thread, self.order.request(), || Instant::now() < deadline)?;
        }
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.slots.give_up(thread, self.order.get(), deadline);
    }
}
