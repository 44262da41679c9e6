//! Ring: the receive ring of a network card.

use std::time::Instant;

use super::slots::Slots;
use super::{BlockOrder, Fixed, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks the ring has outstanding, as many as drivers of fast cards do.
pub(super) const BLOCKS: usize = 1024;

/// 1024 blocks are outstanding. A cycle frees the one that was allocated first and allocates another: one packet out, one buffer in.
/// The blocks stay alive from sample to sample.
#[derive(Debug)]
pub struct Ring<B, O> {
    order: O,
    slots: Slots<B, Fixed<BLOCKS>>,
    /// The place of the block that was allocated first, modulo the number of places.
    oldest: usize,
}

impl<B, O: BlockOrder> Ring<B, O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self { order, slots: Slots::new(Fixed), oldest: 0 }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Ring<T::Block, O> {
    fn prepare(&mut self, thread: &mut T, deadline: Instant) -> Result<(), Stop> {
        self.slots.fill(thread, self.order.request(), || Instant::now() < deadline)
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        let mut full = self.slots.full().ok_or(Stop::OutOfBlocks)?;
        let mut oldest = self.oldest;
        for _ in 0..cycles {
            full = full.replace(oldest, thread, self.order.request())?;
            oldest = oldest.wrapping_add(1);
        }
        self.oldest = oldest;
        Ok(())
    }

    fn finish(&mut self, thread: &mut T, deadline: Instant) {
        self.slots.give_up(thread, self.order.get(), deadline);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::rival::Request;
    use crate::workload::Constant;

    /// Hands out numbers, and takes them back in the order in which it handed them out, no other.
    #[derive(Default)]
    struct InOrder {
        next: u32,
        out: VecDeque<u32>,
        most: usize,
    }

    impl RivalThread for InOrder {
        type Block = u32;

        fn alloc(&mut self, _: Request) -> Option<u32> {
            self.next += 1;
            self.out.push_back(self.next);
            self.most = self.most.max(self.out.len());
            Some(self.next)
        }

        fn free(&mut self, block: u32, _: u32) {
            assert_eq!(self.out.pop_front(), Some(block));
        }

        fn address(&self, _: &u32) -> *mut u8 {
            unreachable!("the ring asks for no address")
        }
    }

    #[test]
    fn the_block_that_was_allocated_first_is_freed_first_from_sample_to_sample() {
        let (mut thread, mut ring) = (InOrder::default(), Ring::new(Constant::<0>));
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        for cycles in [10, 3000, 1] {
            ring.prepare(&mut thread, deadline).unwrap();
            ring.run(&mut thread, cycles, deadline).unwrap();
            assert_eq!(thread.out.len(), BLOCKS);
        }
        assert_eq!((thread.most, thread.next), (BLOCKS, 3011 + 1024));
    }
}
