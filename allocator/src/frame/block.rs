//! A block outside of the buddy, in one word.

use core::{fmt, num::NonZeroU64};

use super::{AllocatorNumber, Descriptor, Order, PcpList, Pfn, ZoneNumber};

/// A block outside of the buddy, in a cache or with its owner.
///
/// | bits | field | meaning |
/// |---|---|---|
/// | 0–31 | pfn | the first frame |
/// | 32–35 | list | [`PcpList`] |
/// | 36–40 | order | |
/// | 41–49 | zone | number of the zone in its allocator |
/// | 50–63 | allocator | number of the allocator in its process, never 0 |
///
/// One word, and not zero, so that an optional block travels in a register too, and an array of blocks is as small as one
/// of pointers. The fields from the list on stand as in the frame's [`Descriptor`].
///
/// ```
/// use gfp::{Order, Pfn, gfp::MigrateType};
/// use gfp::frame::{AllocatorNumber, Block, Descriptor, HotList, HotZone, PcpList, ZoneNumber};
///
/// let (allocator, zone) = (AllocatorNumber::new(1).expect("1 to 16383"), ZoneNumber::new(3));
/// let (list, order) = (PcpList::of(Order::new(1), MigrateType::Movable), Order::new(1));
/// let block = Block::new(allocator, Pfn::new(10), Descriptor::of(list, zone, order));
/// assert_eq!((block.allocator(), block.zone_index(), block.pfn()), (allocator, 3, Pfn::new(10)));
/// assert_eq!((block.list(), block.order()), (list, order));
///
/// let [low, high] = [0, 1].map(|n| block.into_frames().nth(n).expect("two frames"));
/// assert_eq!((low.pfn(), high.pfn(), high.order()), (Pfn::new(10), Pfn::new(11), Order::ZERO));
/// assert_eq!(low.hot_list(HotZone::new(allocator, zone)), HotList::Movable);
/// assert_eq!(low.hot_list(HotZone::new(allocator, ZoneNumber::new(0))), HotList::Other);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Block(NonZeroU64);

impl Block {
    const TAG_SHIFT: u32 = 32;
    const ALLOCATOR_SHIFT: u32 = Self::TAG_SHIFT + Descriptor::STATE_SHIFT;

    /// Makes a block of its first frame and what that frame's descriptor says.
    #[inline(always)]
    pub const fn new(allocator: AllocatorNumber, pfn: Pfn, descriptor: Descriptor) -> Self {
        let allocator = (allocator.get() as u64) << Self::ALLOCATOR_SHIFT;
        let bits = allocator | (descriptor.tag() as u64) << Self::TAG_SHIFT | pfn.get() as u64;
        // SAFETY: an allocator's number is not 0, and its 14 bits stay inside of the word.
        Self(unsafe { NonZeroU64::new_unchecked(bits) })
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

    /// Returns what the block has in common with its first frame's descriptor.
    #[inline(always)]
    pub(super) const fn descriptor(self) -> Descriptor {
        Descriptor::from_bits((self.0.get() >> Self::TAG_SHIFT) as u32)
    }

    /// Returns the first frame.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the frame's number")]
    pub const fn pfn(self) -> Pfn {
        Pfn::new(self.0.get() as u32)
    }

    /// Returns the single frames that the block is made of, lowest first (`split_page`).
    pub fn into_frames(self) -> impl ExactSizeIterator<Item = Self> {
        let list = PcpList::of(Order::ZERO, self.list().migratetype());
        let kind = Descriptor::of(list, ZoneNumber::new(self.zone_index()), Order::ZERO);
        let frame = move |index| Self::new(self.allocator(), self.pfn().add(index), kind);
        (0..self.order().frames()).map(frame)
    }

    /// Returns the list of a cache that the block belongs to.
    #[inline(always)]
    pub const fn list(self) -> PcpList {
        self.descriptor().list()
    }

    /// Returns the order.
    #[inline(always)]
    pub const fn order(self) -> Order {
        self.descriptor().order()
    }

    /// Returns the zone's number.
    #[inline(always)]
    pub const fn zone_index(self) -> usize {
        self.descriptor().zone_index()
    }

    /// Returns the number of the allocator.
    #[inline(always)]
    pub fn allocator(self) -> AllocatorNumber {
        AllocatorNumber::of_block((self.0.get() >> Self::ALLOCATOR_SHIFT).to_le_bytes())
    }

    /// Tells which list of `hot` the block belongs to, if it is of at most order 3 and of that zone.
    #[inline(always)]
    pub const fn hot_list(self, hot: HotZone) -> HotList {
        // List and order stand lowest: what is left of a block of another zone is large.
        let rest = ((self.0.get() >> Self::TAG_SHIFT) as u32).wrapping_sub(hot.0);
        match rest {
            0 => HotList::Unmovable,
            1 => HotList::Movable,
            2..HotList::SMALL_END => HotList::Small(Descriptor::from_bits(rest)),
            _ => HotList::Other,
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("allocator", &self.allocator())
            .field("zone", &self.zone_index())
            .field("pfn", &self.pfn())
            .field("order", &self.order())
            .field("list", &self.list())
            .finish()
    }
}

/// A zone and its allocator as they stand in a block: one subtraction tells whether a block is of a common kind.
///
/// ```
/// use gfp::frame::{AllocatorNumber, HotZone, ZoneNumber};
///
/// let zone_of = |allocator| HotZone::new(AllocatorNumber::new(allocator).expect("not 0"), ZoneNumber::new(0));
/// assert_ne!(zone_of(1), zone_of(2));
/// assert_ne!(zone_of(1), HotZone::NONE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct HotZone(u32);

impl HotZone {
    /// No block is of this zone: its allocator has the number 0.
    pub const NONE: Self = Self(0);

    /// Returns what the blocks of a zone have in common.
    pub const fn new(allocator: AllocatorNumber, zone: ZoneNumber) -> Self {
        Self(
            (allocator.get() as u32) << (Block::ALLOCATOR_SHIFT - Block::TAG_SHIFT)
                | zone.to_bits() << Descriptor::ZONE_SHIFT,
        )
    }
}

/// The lists that a free tells apart, the most common first.
///
/// Those of single frames by a branch each, so that the processor goes on with a list's address before it knows the block:
/// otherwise a pair waits for one store after the other to come back (5 ns instead of 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotList {
    /// Unmovable single frames.
    Unmovable,
    /// Movable single frames.
    Movable,
    /// Of at most order 3: the list and the order, as in a descriptor.
    Small(Descriptor),
    /// Of another zone or order.
    Other,
}

impl HotList {
    const SMALL_END: u32 = (PcpList::SMALL_ORDER_MAX as u32 + 1) << Descriptor::ORDER_SHIFT;
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::{frame::FrameState, gfp::MigrateType};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_is_what_it_was_made_of(
            allocator in 1..=AllocatorNumber::MAX, pfn: u32, order in 0u8..=18, zone in 0usize..512, state: u32
        ) {
            let (order, allocator) = (Order::new(order), AllocatorNumber::new(allocator).expect("in range"));
            let list = PcpList::of(order, MigrateType::Movable);
            let known = Descriptor::of(list, ZoneNumber::new(zone), order);
            let found = Descriptor::from_bits(state).recorded(known, FrameState::Raw);
            let block = Block::new(allocator, Pfn::new(pfn), found);
            prop_assert_eq!(block, Block::new(allocator, Pfn::new(pfn), known));
            prop_assert_eq!((block.allocator(), block.pfn(), block.list()), (allocator, Pfn::new(pfn), list));
            prop_assert_eq!((block.order(), block.zone_index()), (order, zone));
            let hot = HotZone::new(allocator, ZoneNumber::new(zone));
            let small = Descriptor::of(list, ZoneNumber::new(0), order).bits();
            prop_assert_eq!(block.hot_list(hot), match order.get() {
                0 => HotList::Movable,
                1..=3 => HotList::Small(Descriptor::from_bits(small)),
                _ => HotList::Other,
            });
            let other_zone = HotZone::new(allocator, ZoneNumber::new(zone ^ 1));
            let other_number = if allocator.get() == 1 { 2 } else { 1 };
            let other = HotZone::new(AllocatorNumber::new(other_number).expect("in range"), ZoneNumber::new(zone));
            prop_assert_eq!((block.hot_list(other_zone), block.hot_list(other)), (HotList::Other, HotList::Other));
        }
    }
}
