//! Requests and frees of many frames at a time.

use ::core::{cell::Cell, mem, panic::Location};

use super::{Allocator, Handle, Pages, core::Core, debug::Caller};
use crate::{
    alloc::{Busy, PutManyCached, TakeCached, TakeManyCached, alloc_pages_bulk},
    frame::{Block, Order},
    gfp::Gfp,
    pcp::{Put, ThreadCache, local},
    sync::{Owner, Visit},
};

/// Fills the only place from a cache, as a request for a single frame does; tells whether that was possible. `visit` enters the cache.
/// Frames that are to be cleared go another way.
#[inline(always)]
fn is_one(gfp: Gfp, slots: &mut [Option<Pages>], visit: impl FnOnce(TakeCached) -> Option<Block>) -> bool {
    let [place @ None] = slots else { return false };
    if gfp.contains(Gfp::ZERO) {
        return false;
    }
    let Some(block) = visit(TakeCached { gfp, order: Order::ZERO }) else { return false };
    // It was empty: there is nothing to be dropped.
    mem::forget(place.replace(Pages::new(block)));
    true
}

/// Takes single frames into the empty places, as many as these are.
#[inline(always)]
fn into_places(gfp: Gfp, slots: &mut [Option<Pages>]) -> TakeManyCached<impl FnMut(Block)> {
    let count = slots.iter().filter(|slot| slot.is_none()).count();
    let mut places = slots.iter_mut().filter(|slot| slot.is_none());
    let got = move |block| {
        if let Some(place) = places.next() {
            // It was empty: there is nothing to be dropped.
            mem::forget(place.replace(Pages::new(block)));
        }
    };
    TakeManyCached { gfp, count, got }
}

/// Tells whether the cache had all that was wanted; `visit` enters it. Frames that are to be cleared go another way: that is done outside.
#[inline(always)]
fn is_all<F>(take: TakeManyCached<F>, visit: impl FnOnce(TakeManyCached<F>) -> usize) -> bool {
    let wanted = take.count;
    !take.gfp.contains(Gfp::ZERO) && visit(take) == wanted
}

/// Fills the empty places, and returns how many are filled then.
fn fill(
    core: &Core,
    owner: Option<&Owner<ThreadCache>>,
    busy: &Busy,
    gfp: Gfp,
    slots: &mut [Option<Pages>],
    caller: Caller,
) -> usize {
    // What is missing shows in the number that is returned, as in the kernel.
    let plain = gfp.without(Gfp::ZERO);
    let all = slots.len();
    let TakeManyCached { count, mut got, .. } = into_places(plain, slots);
    let filled = match owner.filter(|_| !core.is_checked()) {
        Some(owner) => {
            let content = Cell::default();
            let asked = core.asked(Some(owner), plain, Order::ZERO, busy.waiting(), &content);
            alloc_pages_bulk(&asked, owner, count, got)
        }
        None => {
            // One by one: each goes to its owner by the slow path.
            let one = |_| core.alloc_through(owner, plain, Order::ZERO, busy.waiting(), caller).ok();
            (0..count).map_while(one).map(|(block, _)| got(block)).count()
        }
    };
    all - count + filled
}

/// Clears the frames that came into places which were empty before.
fn zero_new(slots: &mut [Option<Pages>], was_empty: impl Fn(usize) -> bool) {
    for (index, slot) in slots.iter_mut().enumerate() {
        if was_empty(index) {
            *slot = slot.take().map(|pages| pages.zero().into_pages());
        }
    }
}

impl Core {
    fn alloc_bulk(
        &self,
        owner: Option<&Owner<ThreadCache>>,
        busy: &Busy,
        gfp: Gfp,
        slots: &mut [Option<Pages>],
        caller: Caller,
    ) -> usize {
        if !gfp.contains(Gfp::ZERO) {
            return fill(self, owner, busy, gfp, slots, caller);
        }
        // In pieces, so that which places were empty needs no memory from elsewhere; and cleared outside of the cache.
        slots
            .chunks_mut(64)
            .map(|piece| {
                let mut empty = 0_u64;
                for (index, slot) in piece.iter().enumerate() {
                    empty |= u64::from(slot.is_none()) << index;
                }
                let filled = fill(self, owner, busy, gfp, piece, caller);
                zero_new(piece, |index| empty >> index & 1 == 1);
                filled
            })
            .sum()
    }

    /// Puts blocks into the cache, and does what is left to be done of one that it did not just take.
    #[cold]
    #[inline(never)]
    fn free_bulk(
        &self,
        owner: &Owner<ThreadCache>,
        left: Option<(Block, Put)>,
        blocks: &mut impl Iterator<Item = Block>,
        caller: Caller,
    ) {
        let put = |blocks: &mut _| PutManyCached(blocks).visit(owner.enter());
        let mut next = left.or_else(|| put(blocks));
        while let Some((block, left)) = next {
            if block.allocator() == self.number() {
                self.finish_free(owner, block, left, caller);
            } else {
                Pages::put(block, Some(caller));
            }
            next = put(blocks);
        }
    }
}

/// Returns the blocks of the places, which are empty then.
fn blocks_of(slots: &mut [Option<Pages>]) -> impl Iterator<Item = Block> {
    slots.iter_mut().filter_map(Option::take).map(Pages::into_freed)
}

impl Handle {
    /// Allocates a single frame into each empty place, as far as there are any to be had, and returns how many places are
    /// filled then (`alloc_pages_bulk`): the cache is entered once for all that it has. A request for one is a request for a single frame,
    /// as in the kernel.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let handle = allocator.handle()?;
    /// let mut ring = [const { None }; 64];
    /// assert_eq!(handle.alloc_pages_bulk(Gfp::KERNEL, &mut ring), 64);
    /// handle.free_pages_bulk(&mut ring);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "alloc_pages_bulk_array")]
    #[inline]
    #[track_caller]
    pub fn alloc_pages_bulk(&self, gfp: Gfp, slots: &mut [Option<Pages>]) -> usize {
        if is_one(gfp, slots, |take| take.visit(self.owner().enter())) {
            return 1;
        }
        self.alloc_many(gfp, slots, Location::caller())
    }

    #[inline(never)]
    fn alloc_many(&self, gfp: Gfp, slots: &mut [Option<Pages>], caller: Caller) -> usize {
        if is_all(into_places(gfp, slots), |take| take.visit(self.owner().enter())) {
            return slots.len();
        }
        self.alloc_pages_bulk_slow(gfp, slots, caller)
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_bulk_slow(&self, gfp: Gfp, slots: &mut [Option<Pages>], caller: Caller) -> usize {
        let busy = Busy::enter();
        self.allocator().core().alloc_bulk(Some(self.owner()), &busy, gfp, slots, caller)
    }

    /// Frees the blocks, of any order, into this thread's cache, which is entered once for all that it has room for, and empties
    /// the places.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut slots = [const { None }; 32];
    /// allocator.alloc_pages_bulk(Gfp::KERNEL, &mut slots);
    /// allocator.free_pages_bulk(&mut slots);
    /// assert!(slots.iter().all(Option::is_none));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "release_pages")]
    #[inline]
    #[track_caller]
    pub fn free_pages_bulk(&self, slots: &mut [Option<Pages>]) {
        match slots {
            [place] => place.take().into_iter().for_each(|pages| self.free_pages(pages)),
            _ => self.free_many(slots, Location::caller()),
        }
    }

    #[inline(never)]
    fn free_many(&self, slots: &mut [Option<Pages>], caller: Caller) {
        let mut blocks = blocks_of(slots);
        let left = PutManyCached(&mut blocks).visit(self.owner().enter());
        if left.is_some() {
            self.allocator().core().free_bulk(self.owner(), left, &mut blocks, caller);
        }
    }
}

impl Allocator {
    /// Allocates as [`Handle::alloc_pages_bulk`] does, through the calling thread's cache if there is one.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut pages: Vec<_> = std::iter::repeat_with(|| None).take(100).collect();
    /// assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL, &mut pages), 100);
    /// allocator.free_pages_bulk(&mut pages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_pages_bulk(&self, gfp: Gfp, slots: &mut [Option<Pages>]) -> usize {
        if is_one(gfp, slots, |take| local::with_last(local::key_of(self.number), take).flatten()) {
            return 1;
        }
        self.alloc_many(gfp, slots, Location::caller())
    }

    #[inline(never)]
    fn alloc_many(&self, gfp: Gfp, slots: &mut [Option<Pages>], caller: Caller) -> usize {
        let key = local::key_of(self.number);
        if is_all(into_places(gfp, slots), |take| local::with_last(key, take).unwrap_or(0)) {
            return slots.len();
        }
        self.alloc_pages_bulk_slow(gfp, slots, caller)
    }

    #[cold]
    #[inline(never)]
    fn alloc_pages_bulk_slow(&self, gfp: Gfp, slots: &mut [Option<Pages>], caller: Caller) -> usize {
        let core = self.core();
        let busy = Busy::enter();
        core.alloc_bulk(core.owner_for(&busy, gfp).as_ref(), &busy, gfp, slots, caller)
    }

    /// Frees as [`Handle::free_pages_bulk`] does, through the calling thread's cache.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut slots = [const { None }; 32];
    /// allocator.alloc_pages_bulk(Gfp::KERNEL, &mut slots);
    /// allocator.free_pages_bulk(&mut slots);
    /// assert!(slots.iter().all(Option::is_none));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn free_pages_bulk(&self, slots: &mut [Option<Pages>]) {
        match slots {
            [place] => place.take().into_iter().for_each(|pages| self.free_pages(pages)),
            _ => self.free_many(slots, Location::caller()),
        }
    }

    #[inline(never)]
    fn free_many(&self, slots: &mut [Option<Pages>], caller: Caller) {
        let mut blocks = blocks_of(slots);
        let left = local::with_last(local::key_of(self.number), PutManyCached(&mut blocks));
        if !matches!(left, Some(None)) {
            self.free_pages_bulk_slow(left.flatten(), &mut blocks, caller);
        }
    }

    #[cold]
    #[inline(never)]
    fn free_pages_bulk_slow(
        &self,
        left: Option<(Block, Put)>,
        blocks: &mut impl Iterator<Item = Block>,
        caller: Caller,
    ) {
        let core = self.core();
        let owner = core.owner(&Busy::enter());
        match owner {
            Some(owner) => core.free_bulk(&owner, left, blocks, caller),
            None => left
                .map(|(block, _)| block)
                .into_iter()
                .chain(blocks)
                .for_each(|block| Pages::put(block, Some(caller))),
        }
    }
}
