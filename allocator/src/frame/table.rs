//! The frame table: one descriptor for every frame of the arena.

use core::ptr::NonNull;

use super::{AllocatorNumber, BadFrame, Pfn, descriptor::Descriptor};
use crate::sync::{
    Arc, SeededBug, ZeroedSlice, ZeroedSliceError,
    atomic::{AtomicU32, Ordering},
    seeded,
};

/// The descriptors of all frames: 4 bytes a frame, committed when first written.
///
/// Who may write a descriptor: the owner of the block (its head), the thread that frees what was left pending, or the one that
/// [exchanges](Self::exchange) it first. The accesses are relaxed: whatever hands a block from one thread to another (the
/// zone lock, a cache's handshake, the user's own channel) orders them.
///
/// ```
/// use gfp::{Order, Pfn, frame::{AllocatorNumber, Descriptor, FrameTable, PcpList, ZoneNumber}};
///
/// let allocator = AllocatorNumber::new(1).expect("1 to 16383");
/// let frames = FrameTable::new(allocator, 1024).expect("4 KiB");
/// assert_eq!((frames.allocator(), frames.len(), frames.is_empty()), (allocator, 1024, false));
///
/// let block = Descriptor::of(PcpList::MOVABLE, ZoneNumber::new(0), Order::ZERO);
/// assert_eq!(frames.update(Pfn::new(3), |_| Some(block)), Ok(block));
/// assert_eq!(frames.get(Pfn::new(3)), Some(block));
///
/// let refused = frames.exchange(Pfn::new(3), |_| None).expect_err("no change was wanted");
/// assert_eq!(refused.found, Some(block));
/// assert_eq!(frames.exchange(Pfn::new(1024), Some).expect_err("outside").found, None);
/// ```
#[derive(Clone, Debug)]
pub struct FrameTable {
    /// The words of `memory`, at hand without two more loads.
    words: NonNull<AtomicU32>,
    frames: usize,
    allocator: AllocatorNumber,
    /// One less than the number of words, which is a power of two.
    mask: usize,
    _memory: Arc<ZeroedSlice<AtomicU32>>,
}

// SAFETY: it is a shared slice of atomics, kept alive by `_memory`.
unsafe impl Send for FrameTable {}
// SAFETY: as above.
unsafe impl Sync for FrameTable {}

impl FrameTable {
    /// Makes the table of an allocator, in which all frames are free.
    ///
    /// # Errors
    /// When the address space for 4 bytes a frame cannot be had.
    pub fn new(allocator: AllocatorNumber, frames: usize) -> Result<Self, ZeroedSliceError> {
        // Rounded up to a power of two, at the price of address space, so that a mask keeps every access inside.
        let memory = Arc::new(ZeroedSlice::new(frames.next_power_of_two())?);
        let slice: &[AtomicU32] = &memory;
        // A slice's pointer is never null.
        let words = NonNull::new(slice.as_ptr().cast_mut()).unwrap_or(NonNull::dangling());
        Ok(Self { words, frames, allocator, mask: slice.len() - 1, _memory: memory })
    }

    /// Returns whose frames these are.
    #[inline(always)]
    pub const fn allocator(&self) -> AllocatorNumber {
        self.allocator
    }

    /// Returns the number of frames.
    pub const fn len(&self) -> usize {
        self.frames
    }

    /// Tells whether there is no frame.
    pub const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Returns the word of a frame that lies in the arena; of some frame otherwise.
    #[inline(always)]
    fn word(&self, pfn: Pfn) -> &AtomicU32 {
        // SAFETY: masked, the index lies below the length of the slice that `words` points to.
        let word = unsafe { self.words.add(pfn.index() & self.mask) };
        // SAFETY: `_memory` keeps the slice alive as long as `self`, and nobody has exclusive access to it.
        unsafe { word.as_ref() }
    }

    /// Returns a frame's descriptor, or `None` outside the arena.
    #[inline]
    pub fn get(&self, pfn: Pfn) -> Option<Descriptor> {
        (pfn.index() < self.frames).then(|| self.read(pfn))
    }

    #[inline(always)]
    fn read(&self, pfn: Pfn) -> Descriptor {
        Descriptor::from_bits(self.word(pfn).load(Ordering::Relaxed))
    }

    /// Replaces the descriptor of a frame of the arena by `change` of it, if `change` gives one.
    ///
    /// # Errors
    /// The frame with what its descriptor said, when `change` refused it.
    #[inline(always)]
    pub fn update(
        &self,
        pfn: Pfn,
        change: impl FnOnce(Descriptor) -> Option<Descriptor>,
    ) -> Result<Descriptor, BadFrame> {
        debug_assert!(pfn.index() < self.frames, "{pfn} lies outside the arena");
        let word = self.word(pfn);
        let found = Descriptor::from_bits(word.load(Ordering::Relaxed));
        match change(found) {
            Some(new) => {
                word.store(new.bits(), Ordering::Relaxed);
                Ok(new)
            }
            None => Err(BadFrame { pfn, found: Some(found) }),
        }
    }

    /// Replaces the descriptor of any frame as [`update`](Self::update) does, in one atomic step: for those who cannot know
    /// that nobody else does the same.
    ///
    /// # Errors
    /// The frame with what its descriptor said, when `change` refused it or there is none.
    pub fn exchange(
        &self,
        pfn: Pfn,
        change: impl Fn(Descriptor) -> Option<Descriptor>,
    ) -> Result<Descriptor, BadFrame> {
        let mut found = self.get(pfn).ok_or(BadFrame { pfn, found: None })?;
        loop {
            let new = change(found).ok_or(BadFrame { pfn, found: Some(found) })?;
            let exchanged = self.word(pfn).compare_exchange(
                found.bits(),
                new.bits(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return Ok(new),
                Err(_) if seeded(SeededBug::ExchangeLostCas) => return Ok(new),
                Err(now) => found = Descriptor::from_bits(now),
            }
        }
    }
}
