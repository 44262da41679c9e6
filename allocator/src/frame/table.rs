//! The frame table: one descriptor for every frame of the arena.

use core::ptr::NonNull;

use super::{BadFrame, Pfn, descriptor::Descriptor};
use crate::sync::{
    Arc, ZeroedSlice, ZeroedSliceError,
    atomic::{AtomicU32, Ordering},
};

/// The number of a zone in its allocator, below [`Descriptor::ZONES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ZoneNumber(u16);

impl ZoneNumber {
    /// Makes a zone number.
    ///
    /// # Panics
    /// From [`Descriptor::ZONES`] on.
    pub const fn new(number: usize) -> Self {
        assert!(number < Descriptor::ZONES, "too many zones");
        Self(u16::from_le_bytes([number.to_le_bytes()[0], number.to_le_bytes()[1]]))
    }

    /// Returns the number as an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The descriptors of all frames: 4 bytes a frame, committed when first written.
///
/// Who may write a descriptor: the owner of the block (its head), the thread whose cache holds it, or the thread that
/// has just taken it out of the buddy. The accesses are relaxed: whatever hands a block from one thread to another (the
/// zone lock, a cache's handshake, the user's own channel) orders them.
#[derive(Clone, Debug)]
pub struct FrameTable {
    /// The words of `memory`, at hand without two more loads.
    words: NonNull<AtomicU32>,
    frames: usize,
    _memory: Option<Arc<ZeroedSlice<AtomicU32>>>,
}

// SAFETY: it is a shared slice of atomics, kept alive by `_memory`.
unsafe impl Send for FrameTable {}
// SAFETY: as above.
unsafe impl Sync for FrameTable {}

impl FrameTable {
    /// Makes a table in which all frames are free.
    ///
    /// # Errors
    /// When the address space for 4 bytes a frame cannot be had.
    pub fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        let memory = Arc::new(ZeroedSlice::new(frames)?);
        let slice: &[AtomicU32] = &memory;
        // A slice's pointer is never null.
        let words = NonNull::new(slice.as_ptr().cast_mut()).unwrap_or(NonNull::dangling());
        Ok(Self { words, frames, _memory: Some(memory) })
    }

    /// Returns a table without frames.
    pub const fn empty() -> Self {
        Self { words: NonNull::dangling(), frames: 0, _memory: None }
    }

    /// Returns the number of frames.
    pub const fn len(&self) -> usize {
        self.frames
    }

    /// Tells whether there is no frame.
    pub const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    #[inline(always)]
    fn word(&self, pfn: Pfn) -> Option<&AtomicU32> {
        if pfn.index() < self.frames {
            // SAFETY: the index lies below the length of the slice that `words` points to.
            let word = unsafe { self.words.add(pfn.index()) };
            // SAFETY: `_memory` keeps the slice alive as long as `self`, and nobody has exclusive access to it.
            Some(unsafe { word.as_ref() })
        } else {
            None
        }
    }

    /// Returns a frame's descriptor, or `None` outside the arena.
    #[inline(always)]
    pub fn get(&self, pfn: Pfn) -> Option<Descriptor> {
        self.word(pfn).map(|word| Descriptor::from_bits(word.load(Ordering::Relaxed)))
    }

    /// Replaces the descriptor of `pfn` by `change` of it, if `change` gives one.
    ///
    /// # Errors
    /// The frame with what its descriptor said, when `change` refused it or it lies outside the arena.
    #[inline(always)]
    pub fn update(
        &self,
        pfn: Pfn,
        change: impl FnOnce(Descriptor) -> Option<Descriptor>,
    ) -> Result<Descriptor, BadFrame> {
        let Some(word) = self.word(pfn) else { return Err(BadFrame { pfn, found: None }) };
        let found = Descriptor::from_bits(word.load(Ordering::Relaxed));
        match change(found) {
            Some(new) => {
                word.store(new.bits(), Ordering::Relaxed);
                Ok(new)
            }
            None => Err(BadFrame { pfn, found: Some(found) }),
        }
    }
}
