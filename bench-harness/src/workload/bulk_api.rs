//! Bulk API: many blocks a call.

use std::hint::black_box;
use std::time::Instant;

use super::{BlockOrder, Stop, Worker};
use crate::rival::RivalThread;

/// How many blocks a call asks for unless others are named, one row each.
pub(super) const BATCHES: [usize; 5] = [1, 4, 16, 64, 256];
/// The most that a call can be made to ask for.
pub(crate) const MOST: usize = 4096;

/// A cycle asks for so many blocks with one call and frees them with another. Nothing else is alive.
///
/// Allocators without such calls are asked block by block; `batch` 1 shows what the call for many costs where there is one.
#[derive(Debug)]
pub struct BulkApi<B, O> {
    order: O,
    places: Box<[Option<B>]>,
}

impl<B, O: BlockOrder> BulkApi<B, O> {
    /// Makes a worker for so many blocks of that order a call.
    pub fn new(order: O, batch: usize) -> Self {
        Self { order, places: std::iter::repeat_with(|| None).take(batch).collect() }
    }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for BulkApi<T::Block, O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            let got = thread.alloc_bulk(self.order.request(), &mut self.places);
            // As a whole, so that no allocator can know that what it gets back is what it has just given.
            black_box(&mut self.places);
            thread.free_bulk(&mut self.places, self.order.get());
            if got < self.places.len() {
                return Err(Stop::OutOfBlocks);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut T, _: Instant) {}
}
