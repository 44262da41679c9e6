//! An allocated block in one word.

use core::{fmt, num::NonZeroU64};

use super::{Descriptor, FrameState, Pfn};

/// A block outside of the buddy, in a cache or with its owner: its first frame, and that frame's descriptor.
///
/// One word, and not zero, so that an optional block travels in a register too; a copy through memory that is wider than
/// the stores that made it costs 10 ns (a stalled store forwarding).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Block(NonZeroU64);

impl Block {
    /// The state of an owned block, where it stands in this word.
    const ALLOCATED: NonZeroU64 =
        NonZeroU64::new((Descriptor::ALLOCATED as u64) << 32).expect("not all states are 0");

    /// Makes a block of its first frame and that frame's descriptor, which says allocated.
    #[inline(always)]
    pub fn new(pfn: Pfn, descriptor: Descriptor) -> Self {
        debug_assert_eq!(descriptor.state(), Some(FrameState::Allocated));
        Self(Self::ALLOCATED | u64::from(descriptor.bits()) << 32 | u64::from(pfn.get()))
    }

    #[inline(always)]
    pub(super) const fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// Reads what [`to_bits`](Self::to_bits) gave.
    ///
    /// # Safety
    /// `bits` came from there.
    #[inline(always)]
    pub(super) const unsafe fn from_bits(bits: u64) -> Self {
        // SAFETY: the caller promises that these are a block's bits, which are not 0.
        Self(unsafe { NonZeroU64::new_unchecked(bits) })
    }

    /// Returns the first frame.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the frame's number")]
    pub const fn pfn(self) -> Pfn {
        Pfn::new(self.0.get() as u32)
    }

    /// Returns the descriptor of the first frame.
    #[inline(always)]
    pub const fn descriptor(self) -> Descriptor {
        Descriptor::from_bits((self.0.get() >> 32) as u32)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("pfn", &self.pfn()).field("descriptor", &self.descriptor()).finish()
    }
}
