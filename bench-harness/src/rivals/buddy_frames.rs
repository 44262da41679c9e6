//! `buddy_system_allocator`'s frame allocator: a spinlock around ordered sets of frame numbers.

use buddy_system_allocator::LockedFrameAllocator;

use super::mapping::Mapping;
use crate::rival::{Request, Rival, RivalThread, Zeroing};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "Frame numbers in ordered sets, whose nodes come from the C library's malloc: no free memory is touched. One spinlock, \
     no thread caches, no migrate types; has no zeroing, so that the harness clears blocks for it.";

/// Sets for blocks up to 2^32 frames, enough for any arena here.
const ORDERS: usize = 33;

/// A `LockedFrameAllocator` over an arena of its own.
pub struct BuddyFrames {
    frames: LockedFrameAllocator<ORDERS>,
    arena: Mapping,
}

impl std::fmt::Debug for BuddyFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuddyFrames").field("arena", &self.arena).finish_non_exhaustive()
    }
}

impl BuddyFrames {
    /// Makes a frame allocator over a new arena.
    ///
    /// # Errors
    /// The arena cannot be mapped.
    pub fn new(arena_bytes: usize) -> anyhow::Result<Self> {
        let arena = Mapping::new(arena_bytes)?;
        let frames = LockedFrameAllocator::new();
        frames.lock().add_frame(0, arena.bytes() / 4096);
        Ok(Self { frames, arena })
    }
}

impl Rival for BuddyFrames {
    type Thread<'a> = BuddyFramesThread<'a>;

    fn name(&self) -> &'static str {
        "buddy-frames"
    }

    fn thread(&self) -> BuddyFramesThread<'_> {
        BuddyFramesThread { frames: &self.frames, base: self.arena.base() }
    }

    fn base(&self) -> Option<usize> {
        Some(self.arena.base())
    }
}

/// One thread's way in.
pub struct BuddyFramesThread<'a> {
    frames: &'a LockedFrameAllocator<ORDERS>,
    base: usize,
}

impl std::fmt::Debug for BuddyFramesThread<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuddyFramesThread").field("base", &self.base).finish_non_exhaustive()
    }
}

/// An owned run of frames, named by its first one.
#[derive(Debug)]
pub struct Frames(usize);

impl RivalThread for BuddyFramesThread<'_> {
    type Block = Frames;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<Frames> {
        let block = self.frames.lock().alloc(1 << request.order).map(Frames)?;
        if request.zeroed == Zeroing::Zeroed {
            // SAFETY: the block is mapped, owned by the caller only from here on, and that long.
            unsafe { self.address(&block).write_bytes(0, 4096 << request.order) };
        }
        Some(block)
    }

    #[inline(always)]
    fn free(&mut self, block: Frames, order: u32) {
        self.frames.lock().dealloc(block.0, 1 << order);
    }

    #[inline(always)]
    fn address(&self, block: &Frames) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.base + block.0 * 4096)
    }
}
