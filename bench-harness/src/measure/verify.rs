//! The check that comes before every timing: no two live blocks share memory, and what is to be zeroed is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::VERIFIED_BLOCKS;
use super::{Fault, Plan};
use crate::rival::{Request, RivalThread, Zeroing};
use crate::workload::{BlockOrder, Rng, Variable, Workload, zeroed};

/// How often each thread allocates and frees a batch.
const ROUNDS: usize = 64;
/// How many blocks a thread allocates at a time: there are twice as many before it frees the first.
const BATCH: usize = VERIFIED_BLOCKS / 2;

/// What blocks are asked for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exercise {
    request: Request,
    calls: Calls,
    /// How many blocks a thread allocates at a time, and takes to free.
    batch: usize,
}

/// How many blocks a call allocates or frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    OneByOne,
    Bulk,
}

impl Exercise {
    /// Returns the exercise for a workload: its order, its zeroing, its calls.
    pub(super) fn of(plan: Plan) -> Self {
        let request = Variable(plan.order).request();
        let exercise = Self { request, calls: Calls::OneByOne, batch: BATCH };
        match plan.workload {
            // All bytes are looked at: fewer blocks where they are large.
            Workload::Fault | Workload::FaultThp => {
                Self { request: zeroed(request), batch: (BATCH >> plan.order.min(31)).max(1), ..exercise }
            }
            Workload::BulkApi => Self { calls: Calls::Bulk, ..exercise },
            _ => exercise,
        }
    }

    fn alloc<T: RivalThread>(self, thread: &mut T) -> Vec<T::Block> {
        match self.calls {
            Calls::OneByOne => std::iter::from_fn(|| thread.alloc(self.request)).take(self.batch).collect(),
            Calls::Bulk => {
                let mut places: Vec<_> = std::iter::repeat_with(|| None).take(self.batch).collect();
                let got = thread.alloc_bulk(self.request, &mut places);
                let blocks: Vec<_> = places.into_iter().flatten().collect();
                debug_assert_eq!(blocks.len(), got);
                blocks
            }
        }
    }

    fn free<T: RivalThread>(self, thread: &mut T, blocks: Vec<T::Block>) {
        match self.calls {
            Calls::OneByOne => blocks.into_iter().for_each(|block| thread.free(block, self.request.order)),
            Calls::Bulk => {
                let mut places: Vec<_> = blocks.into_iter().map(Some).collect();
                thread.free_bulk(&mut places, self.request.order);
            }
        }
    }

    /// Checks that a block which is to be zeroed is, and writes other bytes to it.
    fn inspect<T: RivalThread>(self, thread: &T, block: &T::Block) -> Result<(), Fault> {
        if self.request.zeroed != Zeroing::Zeroed || !T::IS_MEMORY {
            return Ok(());
        }
        let (address, bytes) = (thread.address(block), 4096 << self.request.order);
        // SAFETY: the block is ours and that long; an allocator that has not written zeros hands out bytes of the system, or of
        // this harness.
        let memory = unsafe { std::slice::from_raw_parts_mut(address, bytes) };
        let dirty = memory.iter().position(|&byte| byte != 0);
        memory.fill(0xa5);
        dirty.map_or(Ok(()), |offset| Err(Fault::NotZeroed { address: address.addr() + offset }))
    }
}

/// The live blocks of all threads: where each one lies, and the blocks themselves, which any thread may take
/// and free.
pub(super) struct Ledger<B> {
    live: Mutex<Live<B>>,
    exercise: Exercise,
}

struct Live<B> {
    /// End by start, in bytes.
    spans: BTreeMap<usize, usize>,
    blocks: Vec<B>,
}

impl<B> Ledger<B> {
    /// Makes an empty ledger for an exercise.
    pub(super) fn new(exercise: Exercise) -> Self {
        Self { live: Mutex::new(Live { spans: BTreeMap::new(), blocks: Vec::new() }), exercise }
    }

    fn lock(&self) -> MutexGuard<'_, Live<B>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's part: it allocates a batch, enters it, takes random blocks of any thread out, frees
    /// those, again and again, and frees what is left in the end. It allocates and frees without the ledger's
    /// lock, so that the allocator's threads meet.
    pub(super) fn exercise<T>(&self, thread: &mut T, seed: u64) -> Result<(), Fault>
    where
        T: RivalThread<Block = B>,
    {
        let exercise = self.exercise;
        let mut rng = Rng::new(seed);
        let mut verdict = Ok(());
        for round in 0..ROUNDS {
            let new = exercise.alloc(thread);
            if new.len() < exercise.batch {
                verdict = verdict.and(Err(Fault::OutOfBlocks));
            }
            verdict = verdict.and_then(|()| new.iter().try_for_each(|block| exercise.inspect(thread, block)));
            verdict = verdict.and(self.enter(thread, new, exercise.request.order));
            if verdict.is_err() {
                break;
            }
            if round > 0 {
                let taken = self.take(thread, &mut rng);
                exercise.free(thread, taken);
            }
        }
        loop {
            let rest = self.take(thread, &mut rng);
            if rest.is_empty() {
                return verdict;
            }
            exercise.free(thread, rest);
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
        let count = self.exercise.batch.min(live.blocks.len());
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
        for workload in [Workload::Pair, Workload::BulkApi] {
            let ledger = Ledger::new(Exercise::of(Plan::new(workload, 0, 1)));
            let verdict = ledger.exercise(&mut Forgetful(0), 1);
            assert!(matches!(verdict, Err(Fault::Overlap { .. })), "{verdict:?}");
        }
    }

    /// Hands out the C library's memory as it is, or from some time on.
    struct Careless<T>(T, u32);

    impl<T: RivalThread> RivalThread for Careless<T> {
        type Block = T::Block;

        fn alloc(&mut self, request: Request) -> Option<T::Block> {
            self.1 = self.1.saturating_sub(1);
            let zeroed = if self.1 == 0 { Zeroing::Untouched } else { request.zeroed };
            self.0.alloc(Request { zeroed, ..request })
        }

        fn free(&mut self, block: T::Block, order: u32) {
            self.0.free(block, order);
        }

        fn address(&self, block: &T::Block) -> *mut u8 {
            self.0.address(block)
        }
    }

    #[test]
    fn memory_that_is_not_zeroed_is_found_where_it_is_to_be() {
        use crate::rival::Rival;
        let frames = crate::rivals::BuddyFrames::new(512 << 20).unwrap();
        for order in [0, 3, 9] {
            let ledger = Ledger::new(Exercise::of(Plan::new(Workload::Fault, order, 1)));
            // Memory of the system is zero when it comes: it must have been in use to be dirty.
            let verdict = ledger.exercise(&mut Careless(frames.thread(), 20), 1);
            assert!(matches!(verdict, Err(Fault::NotZeroed { .. })), "{verdict:?}");
            assert_eq!(ledger.exercise(&mut Careless(frames.thread(), u32::MAX), 1), Ok(()));
            let ledger = Ledger::new(Exercise::of(Plan::new(Workload::Pair, order, 1)));
            assert_eq!(ledger.exercise(&mut Careless(frames.thread(), 1), 1), Ok(()));
        }
    }
}
