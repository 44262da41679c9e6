//! The numbers of frames and of block sizes.

use core::{fmt, num::NonZeroU16};

/// log2 of a frame's size in bytes.
pub const FRAME_SHIFT: u32 = 12;
/// A frame's size in bytes; the host's page size must be the same.
pub const FRAME_BYTES: usize = 1 << FRAME_SHIFT;
/// Order of a pageblock, the unit that has a migrate type: 2 MiB (`pageblock_order` on x86-64).
pub const PAGEBLOCK_ORDER: u8 = 9;
/// The smallest value that an allocator's maximum order may have: a pageblock must be allocatable.
pub const MIN_MAX_ORDER: u8 = PAGEBLOCK_ORDER;
/// The largest value that an allocator's maximum order may have: 1 GiB blocks.
pub const MAX_MAX_ORDER: u8 = 18;

/// Number of zones that an allocator may have: what the zone field of a descriptor can tell apart.
pub const ZONES_MAX: usize = 512;

/// A page frame number: a frame's offset in the arena, in frames of 4 KiB. 32 bits name 16 TiB.
///
/// ```
/// use gfp::{Order, Pfn};
///
/// let pfn = Pfn::new(24);
/// assert_eq!((pfn.get(), pfn.index(), pfn.offset_bytes()), (24, 24, 24 * 4096));
/// assert!(pfn.is_aligned(Order::new(3)) && !pfn.is_aligned(Order::new(4)));
/// assert_eq!(pfn.add(8), Pfn::new(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pfn(u32);

impl Pfn {
    /// Makes a frame number.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the number as an index into a table.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the frame's offset in the arena in bytes.
    #[inline(always)]
    pub const fn offset_bytes(self) -> usize {
        (self.0 as usize) << FRAME_SHIFT
    }

    /// Returns the frame that lies `frames` behind this one.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, frames: u32) -> Self {
        Self(self.0 + frames)
    }

    /// Tells whether a block of `order` may start here.
    #[inline(always)]
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.frames() - 1) == 0
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// log2 of a block's size in frames: 0 to [`MAX_MAX_ORDER`]; an allocator may allow less.
///
/// ```
/// use gfp::Order;
///
/// let order = Order::try_new(9).expect("at most 18");
/// assert_eq!((order, order.get(), order.index()), (Order::PAGEBLOCK, 9, 9));
/// assert_eq!((order.frames(), order.bytes()), (512, 2 << 20));
/// assert_eq!(Order::try_new(19), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One frame.
    pub const ZERO: Self = Self(0);
    /// One pageblock, which is also a huge page.
    pub const PAGEBLOCK: Self = Self(PAGEBLOCK_ORDER);

    /// Makes an order.
    ///
    /// # Panics
    /// Above [`MAX_MAX_ORDER`]; [`Order::try_new`] refuses without a panic.
    #[inline(always)]
    pub const fn new(order: u8) -> Self {
        assert!(order <= MAX_MAX_ORDER, "an order is at most 18");
        Self(order)
    }

    /// Makes an order, or `None` above [`MAX_MAX_ORDER`].
    #[inline(always)]
    pub const fn try_new(order: u32) -> Option<Self> {
        // The cast keeps the value: it was just compared.
        if order <= MAX_MAX_ORDER as u32 { Some(Self(order.to_le_bytes()[0])) } else { None }
    }

    /// Returns the order as a number.
    #[inline(always)]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Returns the order as an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the number of frames of a block.
    #[inline(always)]
    pub const fn frames(self) -> u32 {
        // The mask tells the compiler that the shift cannot overflow.
        1 << (self.0 & 31)
    }

    /// Returns a block's size in bytes.
    #[inline(always)]
    pub const fn bytes(self) -> usize {
        (self.frames() as usize) << FRAME_SHIFT
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {}", self.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of a zone in its allocator, below [`ZONES_MAX`].
///
/// ```
/// assert_eq!(gfp::frame::ZoneNumber::new(2).index(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ZoneNumber(u16);

impl ZoneNumber {
    /// Makes a zone number.
    ///
    /// # Panics
    /// From [`ZONES_MAX`] on.
    pub const fn new(number: usize) -> Self {
        assert!(number < ZONES_MAX, "too many zones");
        Self(u16::from_le_bytes([number.to_le_bytes()[0], number.to_le_bytes()[1]]))
    }

    /// Returns the number as an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the number as it stands in a descriptor.
    pub(super) const fn to_bits(self) -> u32 {
        self.0 as u32
    }
}

/// The number of an allocator among those that are alive in the process, from 1 on.
///
/// ```
/// use gfp::frame::AllocatorNumber;
///
/// let last = AllocatorNumber::new(AllocatorNumber::MAX).expect("the last one");
/// assert_eq!((last.get(), last.non_zero().get()), (16383, 16383));
/// assert_eq!(AllocatorNumber::new(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct AllocatorNumber(NonZeroU16);

impl AllocatorNumber {
    /// The highest number: what the allocator's field of a block can hold.
    pub const MAX: u16 = (1 << 14) - 1;

    /// Makes a number; `None` for 0 and above [`MAX`](Self::MAX).
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// Reads the highest field of a block, which is not 0.
    #[inline(always)]
    pub(super) fn of_block(field: [u8; 8]) -> Self {
        let number = NonZeroU16::new(u16::from_le_bytes([field[0], field[1]]));
        // SAFETY: a block is made with a number that is not 0, and nothing changes it.
        Self(unsafe { number.unwrap_unchecked() })
    }

    /// Returns the number.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
    /// Returns the number, which is not 0.
    #[inline(always)]
    pub const fn non_zero(self) -> NonZeroU16 {
        self.0
    }
}

/// Number of nodes that an allocator may have.
pub const NODES_MAX: usize = 64;

/// The number of a node in its allocator, below [`NODES_MAX`].
///
/// Not the machine's number of it: an allocator may use some of the machine's nodes, or simulate others.
///
/// ```
/// use gfp::Nid;
///
/// assert_eq!(Nid::new(3).index(), 3);
/// assert_eq!(Nid::try_new(64), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Nid(u8);

impl Nid {
    /// Makes a node number.
    ///
    /// # Panics
    /// From [`NODES_MAX`] on; [`Nid::try_new`] refuses without a panic.
    pub const fn new(number: usize) -> Self {
        match Self::try_new(number) {
            Some(node) => node,
            None => panic!("an allocator has at most 64 nodes"),
        }
    }

    /// Makes a node number, or `None` from [`NODES_MAX`] on.
    pub const fn try_new(number: usize) -> Option<Self> {
        if number < NODES_MAX { Some(Self(number.to_le_bytes()[0])) } else { None }
    }

    /// Returns the number as an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<Nid> for u16 {
    fn from(node: Nid) -> Self {
        Self::from(node.0)
    }
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
