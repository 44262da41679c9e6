//! Pair: the same order, allocated and freed, again and again.

use std::hint::black_box;
use std::time::Instant;

use super::{BlockOrder, Stop, Worker};
use crate::rival::RivalThread;

/// One allocation and its free, again and again; a cycle is one of them. Nothing else is alive.
///
/// The block passes through `black_box` as a whole, so that no allocator can know that what it gets back is
/// what it has just given: the order is constant, the block is not.
#[derive(Debug)]
pub struct Pair<O>(O);

impl<O: BlockOrder> Pair<O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self(order)
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Pair<O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            let block = thread.alloc(self.0.request()).ok_or(Stop::OutOfBlocks)?;
            thread.free(black_box(block), self.0.get());
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut T, _: Instant) {}
}
