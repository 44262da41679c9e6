//! A batch of frames on its way between a zone and a cache.

use core::mem::MaybeUninit;

use super::Pfn;

/// Up to 512 block heads on the stack, in order.
///
/// Refills and drains move blocks in batches of at most this size, so that neither needs memory from elsewhere; its
/// memory is not cleared when it is made.
///
/// ```
/// use gfp::{Pfn, frame::FrameBatch};
///
/// let mut batch = FrameBatch::new();
/// batch.push(Pfn::new(7));
/// batch.push_run(Pfn::new(16), 2);
/// batch.push_bits(Pfn::new(64), 0b101);
/// assert_eq!(batch.numbers(), [7, 16, 17, 64, 66]);
/// assert_eq!(batch.iter().next_back(), Some(Pfn::new(66)));
/// assert_eq!((batch.len(), batch.room()), (5, FrameBatch::CAPACITY - 5));
/// batch.clear();
/// assert!(batch.is_empty());
/// ```
pub struct FrameBatch {
    len: usize,
    /// More than fit, because [`push_bits`](Self::push_bits) writes four at a time.
    pfns: [MaybeUninit<u32>; Self::CAPACITY + 4],
}

impl FrameBatch {
    /// How many blocks fit: 2 KiB of stack.
    pub const CAPACITY: usize = 512;

    /// Makes an empty batch.
    #[inline]
    pub const fn new() -> Self {
        Self { len: 0, pfns: [const { MaybeUninit::uninit() }; Self::CAPACITY + 4] }
    }

    /// Returns how many more blocks fit.
    #[inline]
    pub const fn room(&self) -> usize {
        Self::CAPACITY - self.len
    }

    /// Appends a block.
    ///
    /// # Panics
    /// When the batch is full.
    #[inline]
    pub fn push(&mut self, pfn: Pfn) {
        assert!(self.len < Self::CAPACITY, "a batch has room for 512 blocks");
        self.pfns[self.len].write(pfn.get());
        self.len += 1;
    }

    /// Appends `count` single frames from `first` on.
    ///
    /// # Panics
    /// When they do not fit.
    #[inline]
    pub fn push_run(&mut self, first: Pfn, count: u32) {
        let run = &mut self.pfns[..Self::CAPACITY][self.len..self.len + count as usize];
        for (slot, pfn) in run.iter_mut().zip(first.get()..) {
            slot.write(pfn);
        }
        self.len += count as usize;
    }

    /// Appends the frames that are set bits of a word, counted from `first` on.
    ///
    /// Writes four places at a time, and only then asks whether that was all: how many bits are set is not to be guessed where
    /// they are few, and often there is none.
    ///
    /// # Panics
    /// When they do not fit.
    #[inline]
    pub fn push_bits(&mut self, first: Pfn, bits: u64) {
        let mut left = bits;
        let mut len = self.len;
        loop {
            for _ in 0..4 {
                self.pfns[len].write(first.get().wrapping_add(left.trailing_zeros()));
                len += usize::from(left != 0);
                left &= left.wrapping_sub(1);
            }
            assert!(len <= Self::CAPACITY, "a batch has room for 512 blocks");
            if left == 0 {
                self.len = len;
                return;
            }
        }
    }

    /// Removes all blocks.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Returns the blocks as plain frame numbers.
    #[inline]
    pub fn numbers(&self) -> &[u32] {
        // SAFETY: the first `len` elements were written by the functions above, and u32 and MaybeUninit<u32> have the
        // same layout.
        unsafe { core::slice::from_raw_parts(self.pfns.as_ptr().cast::<u32>(), self.len) }
    }

    /// Returns the blocks, oldest first.
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Pfn> + ExactSizeIterator {
        self.numbers().iter().map(|&number| Pfn::new(number))
    }

    /// Returns the number of blocks.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is no block.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for FrameBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for FrameBatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
