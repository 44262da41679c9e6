//! The blocks that a worker keeps: a fixed number of places, written and read as plain words.
//!
//! Not `Vec<Option<Block>>`: a block without a spare bit pattern would take a third word there, and taking
//! it out would cost a store. Not `Vec<Block>`: keeping its length costs more than some allocators do.

use std::mem::MaybeUninit;
use std::time::Instant;

use super::{Count, Stop};
use crate::rival::{Request, RivalThread};

/// After how many blocks the caller is asked whether to go on.
const STRIDE: usize = 1024;

/// Places for `count` blocks, the first `len` of which hold one.
#[derive(Debug)]
pub(super) struct Slots<B, C: Count> {
    count: C,
    places: C::Places<B>,
    len: usize,
}

impl<B, C: Count> Slots<B, C> {
    /// Makes so many empty places; their memory is touched here, not when blocks are first put there.
    pub(super) fn new(count: C) -> Self {
        let mut places: Box<[MaybeUninit<B>]> =
            std::iter::repeat_with(MaybeUninit::zeroed).take(count.get()).collect();
        std::hint::black_box(&mut places);
        Self { count, places: count.places(places), len: 0 }
    }

    /// Allocates into every empty place, in order. After a refusal, or when the caller does not go on, it
    /// holds what it got.
    #[inline(always)]
    pub(super) fn fill<T: RivalThread<Block = B>>(
        &mut self,
        thread: &mut T,
        request: Request,
        go_on: impl Fn() -> bool,
    ) -> Result<(), Stop> {
        let mut filled = self.len;
        for stride in C::all(&mut self.places)[filled..].chunks_mut(STRIDE) {
            if !go_on() {
                self.len = filled;
                return Err(Stop::OutOfTime);
            }
            for (done, place) in stride.iter_mut().enumerate() {
                let Some(block) = thread.alloc(request) else {
                    self.len = filled + done;
                    return Err(Stop::OutOfBlocks);
                };
                place.write(block);
            }
            filled += stride.len();
        }
        self.len = self.count.get();
        Ok(())
    }

    /// Frees all blocks in the order in which they were put there, or those that it comes to.
    #[inline(always)]
    pub(super) fn free_first_to_last<T: RivalThread<Block = B>>(
        &mut self,
        thread: &mut T,
        order: u32,
        go_on: impl Fn() -> bool,
    ) -> Result<(), Stop> {
        let len = std::mem::take(&mut self.len);
        let mut freed = 0;
        let places = &mut C::all(&mut self.places)[..len];
        for stride in places.chunks(STRIDE) {
            if !go_on() {
                places.rotate_left(freed);
                self.len = len - freed;
                return Err(Stop::OutOfTime);
            }
            for place in stride {
                // SAFETY: the first `len` places held blocks; those read count as empty from here on.
                thread.free(unsafe { place.assume_init_read() }, order);
            }
            freed += stride.len();
        }
        Ok(())
    }

    /// Frees all blocks, the last one first.
    #[inline(always)]
    pub(super) fn free_last_to_first<T: RivalThread<Block = B>>(&mut self, thread: &mut T, order: u32) {
        let len = std::mem::take(&mut self.len);
        for place in C::all(&mut self.places)[..len].iter().rev() {
            // SAFETY: the first `len` places held blocks, and count as empty since `len` became 0.
            thread.free(unsafe { place.assume_init_read() }, order);
        }
    }

    /// Frees blocks until the deadline, and forgets the rest.
    pub(super) fn give_up<T: RivalThread<Block = B>>(
        &mut self,
        thread: &mut T,
        order: u32,
        deadline: Instant,
    ) {
        if self.free_first_to_last(thread, order, || Instant::now() < deadline).is_err() {
            self.len = 0;
        }
    }

    /// Returns the places for exchange, when every one of them holds a block.
    #[inline(always)]
    pub(super) fn full(&mut self) -> Option<Full<'_, B, C>> {
        (self.len == self.count.get()).then_some(Full(self))
    }

    /// Makes the blocks contiguous again after places became empty. `gaps` are their indices, all different.
    #[cold]
    fn close_gaps(&mut self, gaps: &mut [usize]) {
        gaps.sort_unstable();
        for &gap in gaps.iter().rev() {
            self.len -= 1;
            C::all(&mut self.places).swap(gap, self.len);
        }
    }
}

/// Places that all hold a block.
pub(super) struct Full<'a, B, C: Count>(&'a mut Slots<B, C>);

impl<'a, B, C: Count> Full<'a, B, C> {
    /// Frees the block at `index`, modulo the number of places, and allocates another one into its place. After a refusal the
    /// places are not full any more, so they are given up.
    #[inline(always)]
    pub(super) fn replace<T>(
        self,
        index: usize,
        thread: &mut T,
        request: Request,
    ) -> Result<Full<'a, B, C>, Stop>
    where
        T: RivalThread<Block = B>,
    {
        let index = self.0.count.wrap(index);
        let place = C::at(&mut self.0.places, index);
        // SAFETY: every place holds a block; this one is written below, or taken for a gap.
        thread.free(unsafe { place.assume_init_read() }, request.order);
        let Some(block) = thread.alloc(request) else {
            self.0.close_gaps(&mut [index]);
            return Err(Stop::OutOfBlocks);
        };
        place.write(block);
        Ok(self)
    }

    /// Frees the blocks that the selection names, then allocates into their places. After a refusal, or when
    /// the caller does not go on, the places are not full any more, so they are given up.
    #[inline(always)]
    pub(super) fn exchange<T: RivalThread<Block = B>>(
        self,
        selection: &Selection<'_, C>,
        thread: &mut T,
        request: Request,
        go_on: impl Fn() -> bool,
    ) -> Result<Full<'a, B, C>, Stop> {
        for (done, index) in selection.iter().enumerate() {
            if done % STRIDE == 0 && !go_on() {
                self.0.close_gaps(&mut selection.iter().take(done).collect::<Vec<_>>());
                return Err(Stop::OutOfTime);
            }
            // SAFETY: every place held a block before this loop, and a selection names none twice.
            let block = unsafe { C::at(&mut self.0.places, index).assume_init_read() };
            thread.free(block, request.order);
        }
        for (done, index) in selection.iter().enumerate() {
            let Some(block) = thread.alloc(request) else {
                self.0.close_gaps(&mut selection.iter().skip(done).collect::<Vec<_>>());
                return Err(Stop::OutOfBlocks);
            };
            C::at(&mut self.0.places, index).write(block);
        }
        Ok(self)
    }
}

/// A permutation of the indices of places, to select random ones from without drawing each.
#[derive(Debug)]
pub(super) struct Permutation<C> {
    count: C,
    indices: Box<[u32]>,
}

impl<C: Count> Permutation<C> {
    /// Draws one.
    pub(super) fn draw(count: C, rng: &mut super::Rng) -> Self {
        let indices = u32::try_from(count.get()).expect("places are counted in 32 bits");
        let mut indices: Box<[u32]> = (0..indices).collect();
        for last in (1..count.get()).rev() {
            indices.swap(last, rng.below(last + 1));
        }
        Self { count, indices }
    }

    /// Selects half of the places: a random window of the permutation, its indices exclusive-ored with a
    /// random mask, so that no two selections are alike though the table is drawn only once.
    pub(super) fn select_half(&self, rng: &mut super::Rng) -> Selection<'_, C> {
        let count = self.count;
        Selection {
            count,
            indices: &self.indices,
            start: rng.below(count.get()),
            mask: rng.below(count.get()),
        }
    }
}

/// Half of the places, each named once.
pub(super) struct Selection<'a, C> {
    count: C,
    indices: &'a [u32],
    start: usize,
    mask: usize,
}

impl<C: Count> Selection<'_, C> {
    /// Returns the indices, all different and below the number of places.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = usize> {
        let (until_end, from_start) = (&self.indices[self.start..], &self.indices[..self.start]);
        let (count, mask) = (self.count, self.mask);
        // The exclusive or is one-to-one on 0..count, a power of two; wrapping only tells the compiler so.
        let half = until_end.iter().chain(from_start).take(count.get() / 2);
        half.map(move |&index| count.wrap(index as usize ^ mask))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workload::{Fixed, PowerOfTwo, Rng};

    #[test]
    fn a_selection_names_half_of_the_places_and_none_twice() {
        let mut rng = Rng::new(3);
        let permutation = Permutation::draw(Fixed::<64>, &mut rng);
        for _ in 0..100 {
            let selection = permutation.select_half(&mut rng);
            let places: BTreeSet<usize> = selection.iter().collect();
            assert_eq!(places.len(), 32);
            assert!(places.iter().all(|&place| place < 64));
        }
    }

    /// Gives out the numbers up to a limit, and notes which are out.
    struct Numbers {
        limit: u32,
        next: u32,
        out: BTreeSet<u32>,
    }

    impl RivalThread for Numbers {
        type Block = u32;

        fn alloc(&mut self, _: Request) -> Option<u32> {
            if self.next == self.limit {
                return None;
            }
            self.next += 1;
            assert!(self.out.insert(self.next));
            Some(self.next)
        }

        fn free(&mut self, block: u32, _: u32) {
            assert!(self.out.remove(&block), "{block} was not out");
        }

        fn address(&self, _: &u32) -> *mut u8 {
            unreachable!("places never ask for addresses")
        }
    }

    fn request() -> Request {
        use crate::workload::{BlockOrder, Constant};
        Constant::<0>.request()
    }

    #[test]
    fn a_refusal_in_an_exchange_loses_no_block_and_frees_none_twice() {
        for limit in [64, 65, 80, 95, 96] {
            let mut thread = Numbers { limit, next: 0, out: BTreeSet::new() };
            let mut slots = Slots::<u32, _>::new(Fixed::<64>);
            slots.fill(&mut thread, request(), || true).unwrap();
            let mut rng = Rng::new(u64::from(limit));
            let permutation = Permutation::draw(Fixed::<64>, &mut rng);
            let full = slots.full().unwrap();
            let half = permutation.select_half(&mut rng);
            let done = full.exchange(&half, &mut thread, request(), || true).is_ok();
            assert_eq!(done, limit == 96);
            slots.free_first_to_last(&mut thread, 0, || true).unwrap();
            assert!(thread.out.is_empty());
        }
    }

    #[test]
    fn a_count_that_is_known_only_at_run_time_serves_as_well() {
        let count = PowerOfTwo::new(128).unwrap();
        let mut thread = Numbers { limit: 1000, next: 0, out: BTreeSet::new() };
        let mut slots = Slots::<u32, _>::new(count);
        slots.fill(&mut thread, request(), || true).unwrap();
        assert_eq!(thread.out.len(), 128);
        let full = slots.full().unwrap().replace(127 + 128, &mut thread, request()).unwrap();
        assert!(!thread.out.contains(&128) && thread.out.contains(&129), "the last place's was replaced");
        let mut rng = Rng::new(2);
        let permutation = Permutation::draw(count, &mut rng);
        let half = permutation.select_half(&mut rng);
        _ = full.exchange(&half, &mut thread, request(), || true).unwrap();
        assert_eq!((thread.out.len(), thread.next), (128, 129 + 64));
        slots.free_last_to_first(&mut thread, 0);
        assert!(thread.out.is_empty());
    }

    #[test]
    fn a_refusal_in_a_replacement_loses_no_block() {
        let mut thread = Numbers { limit: 64, next: 0, out: BTreeSet::new() };
        let mut slots = Slots::<u32, _>::new(Fixed::<64>);
        slots.fill(&mut thread, request(), || true).unwrap();
        assert!(slots.full().unwrap().replace(70, &mut thread, request()).is_err());
        assert!(slots.full().is_none());
        assert_eq!(thread.out.len(), 63);
        slots.free_last_to_first(&mut thread, 0);
        assert!(thread.out.is_empty());
    }

    #[test]
    fn a_refusal_while_filling_keeps_what_it_got() {
        let mut thread = Numbers { limit: 10, next: 0, out: BTreeSet::new() };
        let mut slots = Slots::<u32, _>::new(Fixed::<64>);
        assert_eq!(slots.fill(&mut thread, request(), || true), Err(Stop::OutOfBlocks));
        assert_eq!(thread.out.len(), 10);
        slots.free_last_to_first(&mut thread, 0);
        assert!(thread.out.is_empty());
    }

    /// Goes on for so many strides.
    fn strides(count: usize) -> impl Fn() -> bool {
        let left = std::cell::Cell::new(count);
        move || left.replace(left.get().saturating_sub(1)) > 0
    }

    #[test]
    fn running_out_of_time_loses_no_block_and_frees_none_twice() {
        const PLACES: usize = 4 * STRIDE;
        let mut thread = Numbers { limit: u32::MAX, next: 0, out: BTreeSet::new() };
        let mut slots = Slots::<u32, _>::new(Fixed::<PLACES>);
        assert_eq!(slots.fill(&mut thread, request(), strides(3)), Err(Stop::OutOfTime));
        assert_eq!(thread.out.len(), 3 * STRIDE);
        assert_eq!(slots.free_first_to_last(&mut thread, 0, strides(1)), Err(Stop::OutOfTime));
        assert_eq!(thread.out.len(), 2 * STRIDE);

        slots.fill(&mut thread, request(), || true).unwrap();
        let mut rng = Rng::new(5);
        let permutation = Permutation::draw(Fixed::<PLACES>, &mut rng);
        let half = permutation.select_half(&mut rng);
        let stopped = slots.full().unwrap().exchange(&half, &mut thread, request(), strides(1)).err();
        assert_eq!(stopped, Some(Stop::OutOfTime));
        assert_eq!(thread.out.len(), 3 * STRIDE);

        slots.free_last_to_first(&mut thread, 0);
        assert!(thread.out.is_empty());
    }
}
