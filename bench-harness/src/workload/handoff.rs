//! Handoff: one thread allocates, another one frees.

use std::mem::MaybeUninit;
use std::time::Instant;

use super::queue::BATCH;
use super::{BlockOrder, Consumer, Producer, Stop, Worker};
use crate::rival::RivalThread;

/// The producer of a pair of threads: a cycle allocates 64 blocks and hands them over through a bounded
/// queue.
///
/// Producers and consumers come in pairs that share nothing but their queue. The time of an operation is the
/// pair's time over the number of blocks handed over: what the slower of the two needs for a block.
#[derive(Debug)]
pub struct Produce<B, O> {
    order: O,
    queue: Producer<B>,
}

impl<B, O: BlockOrder> Produce<B, O> {
    /// Makes a producer of blocks of that order.
    pub fn new(order: O, queue: Producer<B>) -> Self {
        Self { order, queue }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Produce<T::Block, O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            let sent = self.queue.send(|| thread.alloc(self.order.request()));
            if let Err(blocks) = sent {
                self.queue.close();
                for block in blocks {
                    thread.free(block, self.order.get());
                }
                return Err(Stop::OutOfBlocks);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut T, _: Instant) {
        self.queue.close();
    }
}

/// The consumer of a pair of threads: a cycle takes 64 blocks from the queue and frees them, first to last.
#[derive(Debug)]
pub struct Consume<B, O> {
    order: O,
    queue: Consumer<B>,
    batch: Box<[MaybeUninit<B>; BATCH]>,
}

impl<B, O: BlockOrder> Consume<B, O> {
    /// Makes a consumer of blocks of that order.
    pub fn new(order: O, queue: Consumer<B>) -> Self {
        Self { order, queue, batch: Box::new([const { MaybeUninit::uninit() }; BATCH]) }
    }

    /// Receives a batch and frees it; fails when the producer has closed the queue.
    fn free_batch<T: RivalThread<Block = B>>(&mut self, thread: &mut T) -> Result<(), Stop> {
        if !self.queue.receive(&mut self.batch) {
            return Err(Stop::OutOfBlocks);
        }
        for place in &*self.batch {
            // SAFETY: a batch received is 64 blocks, and each place is read once for each batch.
            thread.free(unsafe { place.assume_init_read() }, self.order.get());
        }
        Ok(())
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Consume<T::Block, O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        (0..cycles).try_for_each(|_| self.free_batch(thread))
    }

    fn finish(&mut self, thread: &mut T, _: Instant) {
        while self.free_batch(thread).is_ok() {}
    }
}
