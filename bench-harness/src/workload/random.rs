//! Random: a steady population whose members come and go one by one.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Count, Fixed, Rng, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a worker keeps alive: 128 MiB of order 0.
pub(super) const BLOCKS: usize = 1 << 15;

/// Of 2^15 live blocks, a random one is freed and another one allocated in its place; a cycle is one of
/// these steps. The blocks stay alive from sample to sample. With a working set it is that many blocks.
#[derive(Debug)]
pub struct Random<B, O, C: Count = Fixed<BLOCKS>> {
    order: O,
    count: C,
    slots: Slots<B, C>,
    rng: Rng,
}

impl<B, O: BlockOrder> Random<B, O> {
    /// Makes a worker for blocks of that order, with the random sequence of the seed.
    pub fn new(order: O, seed: u64) -> Self {
        Self::of(order, Fixed, seed)
    }
}

impl<B, O: BlockOrder, C: Count> Random<B, O, C> {
    /// Makes a worker that keeps so many blocks of that order alive.
    pub fn of(order: O, count: C, seed: u64) -> Self {
        Self { order, count, slots: Slots::new(count), rng: Rng::new(seed) }
    }
}

impl<T: RivalThread, O: BlockOrder, C: Count> Worker<T> for Random<T::Block, O, C> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        let mut full = self.slots.full().ok_or(Stop::OutOfBlocks)?;
        // Drawn in a local copy, which stays in a register whatever the allocator calls.
        let (mut rng, count) = (self.rng.clone(), self.count);
        for _ in 0..cycles {
            full = full.replace(rng.below(count.get()), thread, self.order.request())?;
        }
        self.rng = rng;
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.slots.give_up(thread, self.order.get(), deadline);
    }
}
