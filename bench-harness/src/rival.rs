//! What an allocator must offer to be measured: blocks of 2^order frames, one handle a thread.
//!
//! A workload or a replay sees every allocator through [`Rival`], so that all of them pay for the same calls. The
//! trait is static (no `dyn`): the allocator's fast path inlines into the loop that measures it, as it would in
//! a program that uses it.

use std::sync::Arc;
use std::time::Duration;

/// Whether a block may be moved or reclaimed: the kernel's migrate types that requests choose between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Migrate {
    /// `MIGRATE_UNMOVABLE`, 0.
    Unmovable,
    /// `MIGRATE_MOVABLE`, 1.
    Movable,
    /// `MIGRATE_RECLAIMABLE`, 2.
    Reclaimable,
}

/// What a block's bytes must be when it is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zeroing {
    /// Any bytes; the allocator should not touch them.
    Untouched,
    /// All zero, as `__GFP_ZERO` asks.
    Zeroed,
}

/// What one block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The block has 2^order frames of 4 KiB and is aligned to its size.
    pub order: u32,
    /// Whether the block may be moved; only allocators that know migrate types look at it.
    pub migrate: Migrate,
    /// Whether the block is to be zeroed. An allocator without zeroing clears the block itself.
    pub zeroed: Zeroing,
}

/// An allocator under test, shared by the threads of a run.
pub trait Rival: Sync {
    /// What one thread allocates through.
    type Thread<'a>: RivalThread
    where
        Self: 'a;

    /// Returns the name that the command line and the records use.
    fn name(&self) -> &'static str;

    /// Makes what one thread allocates through (a handle, or nothing).
    fn thread(&self) -> Self::Thread<'_>;

    /// Returns the arena's base address, where blocks lie in one arena.
    fn base(&self) -> Option<usize>;

    /// Returns the allocator, where it is gfp: for what no other one can tell, or be told.
    fn as_gfp(&self) -> Option<&gfp::Allocator> {
        None
    }

    /// Tells whether it refused a request because the system lets no process have more of what its blocks are.
    fn is_at_system_limit(&self) -> bool {
        false
    }
}

/// The allocator itself, for whoever keeps it beside its threads.
impl<R: Rival + Send> Rival for Arc<R> {
    type Thread<'a>
        = R::Thread<'a>
    where
        R: 'a;

    fn name(&self) -> &'static str {
        R::name(self)
    }

    fn thread(&self) -> Self::Thread<'_> {
        R::thread(self)
    }

    fn base(&self) -> Option<usize> {
        R::base(self)
    }

    fn as_gfp(&self) -> Option<&gfp::Allocator> {
        R::as_gfp(self)
    }

    fn is_at_system_limit(&self) -> bool {
        R::is_at_system_limit(self)
    }
}

/// One thread's way into an allocator under test.
pub trait RivalThread {
    /// An owned block; some workloads send it to other threads.
    type Block: Send;

    /// Whether blocks are memory, which may be written to. Those of [`EMPTY`](crate::rivals::EMPTY) are not.
    const IS_MEMORY: bool = true;

    /// Allocates a block, or returns `None` when the allocator has none.
    fn alloc(&mut self, request: Request) -> Option<Self::Block>;

    /// Frees a block of the order that it was allocated with.
    fn free(&mut self, block: Self::Block, order: u32);

    /// Returns the address of the block's first byte.
    fn address(&self, block: &Self::Block) -> *mut u8;

    /// Allocates a block into every place, first to last, and returns how many it got; after a refusal the rest stays as it was.
    /// All places are empty before. An allocator that has no call for it allocates one by one.
    #[inline(always)]
    fn alloc_bulk(&mut self, request: Request, places: &mut [Option<Self::Block>]) -> usize {
        alloc_one_by_one(self, request, places)
    }

    /// Frees all blocks, of the order that they were allocated with, first to last, and leaves the places empty.
    #[inline(always)]
    fn free_bulk(&mut self, places: &mut [Option<Self::Block>], order: u32) {
        free_one_by_one(self, places, order);
    }

    /// Ends a sample, which took so long so far: what the allocator has put off until then belongs to it.
    fn end_sample(&mut self, _took: Duration) {}
}

/// Allocates into places as [`RivalThread::alloc_bulk`] does, with a call for each block.
#[inline(always)]
pub(crate) fn alloc_one_by_one<T: RivalThread + ?Sized>(
    thread: &mut T,
    request: Request,
    places: &mut [Option<T::Block>],
) -> usize {
    for (got, place) in places.iter_mut().enumerate() {
        let Some(block) = thread.alloc(request) else { return got };
        // The place is empty: an assignment would look at it first, to drop what is there.
        std::mem::forget(place.replace(block));
    }
    places.len()
}

/// Frees blocks as [`RivalThread::free_bulk`] does, with a call for each.
#[inline(always)]
pub(crate) fn free_one_by_one<T: RivalThread + ?Sized>(
    thread: &mut T,
    places: &mut [Option<T::Block>],
    order: u32,
) {
    for block in places.iter_mut().filter_map(Option::take) {
        thread.free(block, order);
    }
}
