//! The check that comes before every timing: no two live blocks share memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Fault;
use crate::rival::{Request, RivalThread};
use crate::workload::Rng;

/// How often each thread allocates and frees a batch.
const ROUNDS: usize = 64;

/// The live blocks of all threads: where each one lies, and the blocks themselves, which any thread may take
/// and free.
pub(super) struct Ledger<B> {
    live: Mutex<Live<B>>,
    batch: usize,
}

struct Live<B> {
    /// End by start, in bytes.
    spans: BTreeMap<usize, usize>,
    blocks: Vec<B>,
}

impl<B> Ledger<B> {
    /// Makes an empty ledger; a thread will allocate `batch` blocks at a time and up to twice as many live.
    pub(super) fn new(batch: usize) -> Self {
        Self { live: Mutex::new(Live { spans: BTreeMap::new(), blocks: Vec::new() }), batch: batch.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Live<B>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's part: it allocates a batch, enters it, takes random blocks of any thread out, frees
    /// those, again and again, and frees what is left in the end. It allocates and frees without the ledger's
    /// lock, so that the allocator's threads meet.
    pub(super) fn exercise<T>(&self, thread: &mut T, request: Request, seed: u64) -> Result<(), Fault>
    where
        T: RivalThread<Block = B>,
    {
        let mut rng = Rng::new(seed);
        let mut verdict = Ok(());
        for round in 0..ROUNDS {
            let new: Vec<B> = std::iter::from_fn(|| thread.alloc(request)).take(self.batch).collect();
            if new.len() < self.batch {
                verdict = verdict.and(Err(Fault::OutOfBlocks));
            }
            verdict = verdict.and(self.enter(thread, new, request.order));
            if verdict.is_err() {
                break;
            }
            if round > 0 {
                for block in self.take(thread, &mut rng) {
                    thread.free(block, request.order);
                }
            }
        }
        loop {
            let rest = self.take(thread, &mut rng);
            if rest.is_empty() {
                return verdict;
            }
            rest.into_iter().for_each(|block| thread.free(block, request.order));
        }
    }

    /// Enters new blocks, and says whether one of them shares memory with a live one.
    fn enter<T>(&self, thread: &T, blocks: Vec<B>, order: u32) -> Result<(), Fault>
    where
        T: RivalThread<Block = B>,
    {
        let mut verdict = Ok(());
        let mut live = self.lock();
        for block in blocks {
            let start = thread.address(&block).addr();
            verdict = verdict.and(live.enter(start, start + (4096 << order)));
            live.blocks.push(block);
        }
        verdict
    }

    /// Takes up to a batch of random blocks out; from then on their memory may be handed out again.
    fn take<T>(&self, thread: &T, rng: &mut Rng) -> Vec<B>
    where
        T: RivalThread<Block = B>,
    {
        let mut live = self.lock();
        let count = self.batch.min(live.blocks.len());
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let index = rng.below(live.blocks.len());
            let block = live.blocks.swap_remove(index);
            live.spans.remove(&thread.address(&block).addr());
            taken.push(block);
        }
        taken
    }
}

impl<B> Live<B> {
    /// Enters a span, and says whether it is aligned and free.
    fn enter(&mut self, start: usize, end: usize) -> Result<(), Fault> {
        if !start.is_multiple_of(4096) {
            return Err(Fault::Misaligned { address: start });
        }
        if let Some((&live, &live_end)) = self.spans.range(..end).next_back()
            && live_end > start
        {
            return Err(Fault::Overlap { address: start, live });
        }
        self.spans.insert(start, end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{BlockOrder, Constant};

    fn live() -> Live<()> {
        Live { spans: BTreeMap::from([(0x10000, 0x14000)]), blocks: Vec::new() }
    }

    #[test]
    fn spans_that_touch_a_live_one_are_entered() {
        let mut live = live();
        assert_eq!(live.enter(0xc000, 0x10000), Ok(()));
        assert_eq!(live.enter(0x14000, 0x18000), Ok(()));
    }

    #[test]
    fn spans_that_share_a_frame_with_a_live_one_are_refused() {
        for (start, end) in [(0x10000, 0x14000), (0xc000, 0x11000), (0x13000, 0x14000), (0x8000, 0x20000)] {
            assert_eq!(live().enter(start, end), Err(Fault::Overlap { address: start, live: 0x10000 }));
        }
    }

    #[test]
    fn a_span_within_a_frame_is_refused() {
        assert_eq!(live().enter(0x20010, 0x21010), Err(Fault::Misaligned { address: 0x20010 }));
    }

    /// Hands out frames round robin, whether they are free or not, so that the ninth overlaps the first.
    struct Forgetful(usize);

    impl RivalThread for Forgetful {
        type Block = usize;

        fn alloc(&mut self, _: Request) -> Option<usize> {
            self.0 += 1;
            Some(4096 * (1 + self.0 % 8))
        }

        fn free(&mut self, _: usize, _: u32) {}

        fn address(&self, block: &usize) -> *mut u8 {
            std::ptr::without_provenance_mut(*block)
        }
    }

    #[test]
    fn an_allocator_that_hands_a_live_block_out_again_is_found() {
        let verdict = Ledger::new(16).exercise(&mut Forgetful(0), Constant::<0>.request(), 1);
        assert!(matches!(verdict, Err(Fault::Overlap { .. })), "{verdict:?}");
    }
}
