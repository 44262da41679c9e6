//! Churn: half of a population goes at once, and comes back.

use std::time::Instant;

use super::slots::{Permutation, Slots};
use super::{BlockOrder, Count, Fixed, Rng, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a worker keeps alive: 128 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 15;

/// A cycle frees a random half of 2^15 live blocks, in random order, then allocates as many. The blocks stay
/// alive from sample to sample. With a working set it is that many blocks.
#[derive(Debug)]
pub struct Churn<B, O, C: Count = Fixed<BLOCKS>> {
    order: O,
    slots: Slots<B, C>,
    permutation: Permutation<C>,
    rng: Rng,
}

impl<B, O: BlockOrder> Churn<B, O> {
    /// Makes a worker for blocks of that order, with the random sequence of the seed.
    pub fn new(order: O, seed: u64) -> Self {
        Self::of(order, Fixed, seed)
    }
}

impl<B, O: BlockOrder, C: Count> Churn<B, O, C> {
    /// Makes a worker that keeps so many blocks of that order alive.
    pub fn of(order: O, count: C, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self { order, slots: Slots::new(count), permutation: Permutation::draw(count, &mut rng), rng }
    }
}

impl<T: RivalThread, O: BlockOrder, C: Count> Worker<T> for Churn<T::Block, O, C> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)
    }

    #[inline(always)]
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
