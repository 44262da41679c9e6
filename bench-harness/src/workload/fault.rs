//! Fault: what a page fault of anonymous memory asks for, and what the program does next.

use std::hint::black_box;
use std::time::Instant;

use super::touch::write_lines;
use super::{BlockOrder, Stop, Worker};
use crate::rival::{Request, RivalThread, Zeroing};

/// The orders that are asked for unless others are named: a page, and a huge page.
pub(super) const ORDERS: [u32; 2] = [0, 9];

/// A cycle allocates a zeroed block, writes to each line of it and frees it. Nothing else is alive.
///
/// Other than in the remaining workloads the time is mostly that of memory: of clearing, here or in the system, and of page faults
/// where an allocator gives memory back in between. An allocator that has no zeroing has its blocks cleared by the harness. The
/// blocks of `empty` are no memory, and are not written to.
#[derive(Debug)]
pub struct Fault<O>(O);

impl<O: BlockOrder> Fault<O> {
    /// Makes a worker for blocks of that order.
    pub fn new(order: O) -> Self {
        Self(order)
    }
}

/// Returns what the workload asks for.
#[inline(always)]
pub(crate) fn zeroed(request: Request) -> Request {
    Request { zeroed: Zeroing::Zeroed, ..request }
}

impl<T: RivalThread, O: BlockOrder> Worker<T> for Fault<O> {
    fn prepare(&mut self, _: &mut T, _: Instant) -> Result<(), Stop> {
        Ok(())
    }

    #[inline(always)]
    fn run(&mut self, thread: &mut T, cycles: u64, _: Instant) -> Result<(), Stop> {
        for _ in 0..cycles {
            let block = thread.alloc(zeroed(self.0.request())).ok_or(Stop::OutOfBlocks)?;
            write_lines(thread, &block, self.0.get());
            thread.free(black_box(block), self.0.get());
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut T, _: Instant) {}
}
