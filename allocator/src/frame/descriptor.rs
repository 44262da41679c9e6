//! The descriptor word of a frame.

use core::fmt;

use super::number::{Order, PAGEBLOCK_ORDER, ZONES_MAX, ZoneNumber};
use crate::gfp::MigrateType;

/// What is known of a frame by its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameState {
    /// No block that begins here was ever plain numbers.
    Unrecorded = 0,
    /// The last block that was plain numbers and begins here has been made of them again.
    Returned = 1,
    /// First frame of a block whose owner holds it as plain numbers.
    Raw = 2,
    /// First frame of a block whose free waits in its zone's pending map.
    Pending = 3,
    /// First frame of a block that several hold; how many, [`References`](super::References) counts.
    Shared = 4,
    /// First frame of a block that somebody owns, where handovers are checked.
    Owned = 5,
    /// First frame of a block that is left out of circulation.
    Withheld = 6,
}

/// Whether a block was taken for movable data.
///
/// A claim of a pageblock counts how much of it is alike; this is how a block remembers what it was taken for.
///
/// ```
/// use gfp::{frame::Mobility, gfp::MigrateType};
///
/// assert_eq!(Mobility::of(MigrateType::Movable), Mobility::Movable);
/// assert_eq!(Mobility::of(MigrateType::Reclaimable), Mobility::of(MigrateType::Unmovable));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mobility {
    /// Taken with `MigrateType::Movable`.
    Movable,
    /// Taken with any other type.
    Fixed,
}

impl Mobility {
    /// Returns what a block for this type is taken for.
    #[inline]
    pub const fn of(migratetype: MigrateType) -> Self {
        if matches!(migratetype, MigrateType::Movable) { Self::Movable } else { Self::Fixed }
    }
}

/// The list of a thread's cache that a block belongs to, or what it was taken for where no list holds its order.
///
/// | value | meaning |
/// |---|---|
/// | 0–11 | 3 × order + migrate type, orders 0–3 (`order_to_pindex`, 5.14 and later) |
/// | 12, 13 | order 9, not movable and movable |
/// | 14, 15 | an order without a list, movable and not |
///
/// ```
/// use gfp::{Order, frame::{Mobility, PcpList}, gfp::MigrateType};
///
/// let list = PcpList::of(Order::new(2), MigrateType::Movable);
/// assert_eq!((list.index(), list.is_listed()), (7, true));
/// assert_eq!(PcpList::with_index(7), (list, Order::new(2)));
/// assert_eq!((list.migratetype(), list.mobility()), (MigrateType::Movable, Mobility::Movable));
/// assert!(!PcpList::of(Order::new(4), MigrateType::Movable).is_listed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct PcpList(u8);

impl PcpList {
    /// Number of lists in a cache, per zone (`NR_PCP_LISTS`).
    pub const COUNT: usize = 14;
    /// Highest order of the small lists (`PAGE_ALLOC_COSTLY_ORDER`).
    pub const SMALL_ORDER_MAX: u8 = 3;
    /// Single unmovable frames.
    pub const UNMOVABLE: Self = Self(0);
    /// Single movable frames.
    pub const MOVABLE: Self = Self(1);
    const UNLISTED_MOVABLE: Self = Self(14);
    const UNLISTED_FIXED: Self = Self(15);

    /// Returns the list for a block of `order` taken for `migratetype`.
    #[inline(always)]
    pub const fn of(order: Order, migratetype: MigrateType) -> Self {
        let kind = migratetype as u8;
        if order.get() <= Self::SMALL_ORDER_MAX {
            // CMA and highatomic blocks are parked on the movable lists, as in the kernel.
            Self(3 * order.get() + if kind < 3 { kind } else { 1 })
        } else if order.get() == PAGEBLOCK_ORDER {
            Self(12 + (kind == MigrateType::Movable as u8) as u8)
        } else if kind == MigrateType::Movable as u8 {
            Self::UNLISTED_MOVABLE
        } else {
            Self::UNLISTED_FIXED
        }
    }

    /// Returns the list with an index below [`PcpList::COUNT`], and the order of its blocks.
    ///
    /// # Panics
    /// From [`PcpList::COUNT`] on.
    pub const fn with_index(index: usize) -> (Self, Order) {
        assert!(index < Self::COUNT);
        let index = index.to_le_bytes()[0];
        (Self(index), Order::new(if index < 12 { index / 3 } else { PAGEBLOCK_ORDER }))
    }

    /// Tells whether a cache has a list of this kind.
    #[inline(always)]
    pub const fn is_listed(self) -> bool {
        (self.0 as usize) < Self::COUNT
    }

    /// Returns the list's index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the migrate type that the blocks of this list were taken for: of orders above 3, where others than movable share
    /// a list, unmovable for those.
    pub const fn migratetype(self) -> MigrateType {
        match self.0 {
            small @ 0..12 if small % 3 == 2 => MigrateType::Reclaimable,
            _ => match self.mobility() {
                Mobility::Movable => MigrateType::Movable,
                Mobility::Fixed => MigrateType::Unmovable,
            },
        }
    }

    /// Tells what the blocks of this list were taken for.
    #[inline(always)]
    pub const fn mobility(self) -> Mobility {
        // One bit for each value of the table above.
        const MOVABLE: u16 = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 10 | 1 << 13 | 1 << 14;
        if MOVABLE >> (self.0 & 15) & 1 == 1 { Mobility::Movable } else { Mobility::Fixed }
    }
}

/// The value of a frame's descriptor.
///
/// | bits | field | meaning |
/// |---|---|---|
/// | 0–3 | list | [`PcpList`]: which list of a cache, hence what the block was taken for |
/// | 4–8 | order | of the block that begins here |
/// | 9–17 | zone | number of the zone in its allocator |
/// | 18–21 | state | [`FrameState`] |
/// | 22–31 | generation | grows by one, modulo 1024, whenever a block that begins here comes back from plain numbers |
///
/// All-zero is a frame of which nothing is recorded, so that zeroed memory is a valid table. Only the head of a block is written.
///
/// A descriptor changes where a block's way is not followed by the compiler: when it becomes plain numbers, when it is made of
/// them again, when it is shared and no longer shared, when its free is left to another thread, and where a debug mode checks
/// handovers, when it goes to its owner and comes back. Otherwise, on its way from the buddy through a thread's cache to its owner
/// and back, a [`Block`](super::Block) is its own proof: there the table, four bytes a frame, is neither read nor written. What
/// is free is what the buddy's map says.
///
/// ```
/// use gfp::{Order, frame::{Descriptor, FrameState, PcpList, ZoneNumber}};
///
/// let block = Descriptor::of(PcpList::MOVABLE, ZoneNumber::new(5), Order::ZERO);
/// assert_eq!((block.list(), block.zone_index(), block.order()), (PcpList::MOVABLE, 5, Order::ZERO));
/// assert_eq!(block.state(), Some(FrameState::Unrecorded));
/// assert_eq!(Descriptor::from_bits(block.bits()), block);
///
/// // A generation counts how often the block has come back from plain numbers.
/// let back = block.put_together();
/// assert_eq!((back.state(), back.generation()), (Some(FrameState::Returned), 1));
/// assert_eq!(block.returned().generation(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(u32);

impl Descriptor {
    const LIST_MASK: u32 = 0xf;
    pub(super) const ORDER_SHIFT: u32 = 4;
    pub(super) const ZONE_SHIFT: u32 = 9;
    const ZONE_MASK: u32 = 0x1ff;
    pub(super) const STATE_SHIFT: u32 = 18;
    const STATE_MASK: u32 = 0xf;
    /// List, order and zone: what an owned block knows of itself.
    const TAG_MASK: u32 = (1 << Self::STATE_SHIFT) - 1;
    const GENERATION_SHIFT: u32 = 22;
    const GENERATION_ONE: u32 = 1 << Self::GENERATION_SHIFT;
    const GENERATION_MASK: u32 = !(Self::GENERATION_ONE - 1);

    /// Reads a word.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the word.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the state, or `None` for a word that nothing in this library writes.
    #[inline]
    pub const fn state(self) -> Option<FrameState> {
        match self.0 >> Self::STATE_SHIFT & Self::STATE_MASK {
            0 => Some(FrameState::Unrecorded),
            1 => Some(FrameState::Returned),
            2 => Some(FrameState::Raw),
            3 => Some(FrameState::Pending),
            4 => Some(FrameState::Shared),
            5 => Some(FrameState::Owned),
            6 => Some(FrameState::Withheld),
            _ => None,
        }
    }

    /// Returns the list.
    #[inline(always)]
    pub const fn list(self) -> PcpList {
        PcpList((self.0 & Self::LIST_MASK) as u8)
    }

    /// Returns list, order and zone.
    #[inline(always)]
    pub(super) const fn tag(self) -> u32 {
        self.0 & Self::TAG_MASK
    }

    /// Returns the zone's number.
    #[inline(always)]
    pub const fn zone_index(self) -> usize {
        (self.0 >> Self::ZONE_SHIFT & Self::ZONE_MASK) as usize
    }

    /// Returns the block's order.
    #[inline(always)]
    pub const fn order(self) -> Order {
        // 5 bits hold up to 31; the word was written from an Order, and a forged one is refused before it gets here.
        let order = (self.0 >> Self::ORDER_SHIFT).to_le_bytes()[0] & 31;
        Order::new(if order > super::number::MAX_MAX_ORDER { super::number::MAX_MAX_ORDER } else { order })
    }

    /// Returns the generation, 0 to 1023.
    #[inline]
    pub const fn generation(self) -> u16 {
        (self.0 >> Self::GENERATION_SHIFT) as u16
    }

    /// Returns what the descriptor of a block's first frame says of the block, and nothing else.
    #[inline(always)]
    #[must_use]
    pub const fn of(list: PcpList, zone: ZoneNumber, order: Order) -> Self {
        Self(list.0 as u32 | zone.to_bits() << Self::ZONE_SHIFT | (order.get() as u32) << Self::ORDER_SHIFT)
    }

    const fn with_state(self, state: FrameState) -> Self {
        Self(self.0 & !(Self::STATE_MASK << Self::STATE_SHIFT) | (state as u32) << Self::STATE_SHIFT)
    }

    /// Records a block in `state`; the generation is kept.
    #[must_use]
    pub(super) const fn recorded(self, block: Self, state: FrameState) -> Self {
        Self(self.0 & Self::GENERATION_MASK | block.tag()).with_state(state)
    }

    /// Turns raw into returned, one generation on: the block is made of its parts again.
    #[must_use]
    pub const fn put_together(self) -> Self {
        Self(self.with_state(FrameState::Returned).0.wrapping_add(Self::GENERATION_ONE))
    }

    /// Turns any state into returned: the block is back in the buddy or on its way there, or has one owner again.
    #[must_use]
    pub const fn returned(self) -> Self {
        self.with_state(FrameState::Returned)
    }
}

const _: () = assert!(Descriptor::ZONE_MASK as usize + 1 == ZONES_MAX);

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor")
            .field("state", &self.state())
            .field("list", &self.list().0)
            .field("zone", &self.zone_index())
            .field("order", &self.order())
            .field("generation", &self.generation())
            .finish()
    }
}

/// A frame whose descriptor is not what the operation needs, with the descriptor that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The frame.
    pub pfn: super::Pfn,
    /// Its descriptor as it was found; `None` for a frame outside the arena.
    pub found: Option<Descriptor>,
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_list_knows_its_order_and_what_its_blocks_were_taken_for() {
        for index in 0..PcpList::COUNT {
            let (list, order) = PcpList::with_index(index);
            let kind = if list.mobility() == Mobility::Movable {
                MigrateType::Movable
            } else {
                MigrateType::Unmovable
            };
            if index % 3 != 2 || index >= 12 {
                assert_eq!(PcpList::of(order, kind), list);
            }
        }
        assert_eq!(PcpList::of(Order::new(2), MigrateType::Reclaimable).index(), 8);
        assert_eq!(PcpList::of(Order::new(9), MigrateType::Movable).index(), 13);
        assert!(!PcpList::of(Order::new(4), MigrateType::Movable).is_listed());
    }

    #[test]
    fn putting_together_raises_the_generation_and_a_full_turn_brings_it_back() {
        let (list, zone) = (PcpList::of(Order::ZERO, MigrateType::Movable), ZoneNumber::new(5));
        let block = Descriptor::of(list, zone, Order::ZERO);
        let first = Descriptor::from_bits(0).recorded(block, FrameState::Raw);
        let mut raw = first;
        for turn in 0..1024u16 {
            assert_eq!((raw.generation(), raw.state()), (turn, Some(FrameState::Raw)));
            assert_eq!((raw.zone_index(), raw.order(), raw.list()), (5, Order::ZERO, list));
            let returned = raw.put_together();
            assert_eq!(returned.state(), Some(FrameState::Returned));
            assert_eq!(returned.tag(), block.tag());
            raw = returned.recorded(block, FrameState::Raw);
        }
        assert_eq!(raw, first);
    }

    #[test]
    fn a_record_replaces_all_but_the_generation() {
        let movable = |order| PcpList::of(Order::new(order), MigrateType::Movable);
        let large = Descriptor::of(movable(7), ZoneNumber::new(2), Order::new(7));
        let small = Descriptor::of(movable(1), ZoneNumber::new(3), Order::new(1));
        let once = Descriptor::from_bits(0).recorded(large, FrameState::Raw).put_together();
        let pending = once.recorded(small, FrameState::Pending);
        assert_eq!((pending.generation(), pending.tag()), (1, small.tag()));
        assert_eq!(pending.state(), Some(FrameState::Pending));
        assert_eq!(
            (pending.returned().state(), pending.returned().generation()),
            (Some(FrameState::Returned), 1)
        );
    }
}
