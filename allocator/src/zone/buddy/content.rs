//! What is known of the memory behind pageblocks: which hold nothing but zeroes.
//!
//! Memory of the system's is zero until somebody writes to it, and again when the system has had it back. Who writes has a
//! block, so a pageblock is *touched* from the moment at which any part of it leaves the free areas. Three places see to that, and
//! none lies on the way of a small block out of a pageblock that is in use in part already:
//!
//! | what leaves | where |
//! |---|---|
//! | the low part of a free block, of half a pageblock and more: the pageblock that it begins with | `take_lowest` |
//! | several pageblocks as one block: the others | `hand_out` |
//! | frames by address | `take_range` |
//!
//! Merging, isolation and a change of type touch nothing: what is known of each pageblock stays.

use core::ops::Range;

use super::{Buddy, PAGEBLOCK_FRAMES};
use crate::{
    frame::{Order, PAGEBLOCK_ORDER, Pfn},
    gfp::MigrateType,
    sync::{Arc, Doorbell, SeededBug, ZeroedSlice, ZeroedSliceError, seeded},
};

/// The wish with which [`notify_free`](crate::zone::Zone::notify_free) has a bell rung.
pub const FREED: u32 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Anything.
    #[default]
    Unknown,
    /// Nothing but zeroes.
    Zero,
}

/// The pageblocks that may hold something else than zeroes, a bit each; and what follows from that.
#[derive(Debug)]
pub(super) struct Contents {
    touched: ZeroedSlice<u64>,
    /// How many pageblocks are touched.
    count: u64,
    /// What the last block of at least a pageblock held that was handed out; until it is, what its first pageblock did.
    last: Content,
    /// Rung when a block of at least a pageblock comes back.
    bell: Option<Arc<Doorbell>>,
}

impl Contents {
    /// Says of so many pageblocks that they are zero; a bit each.
    pub(super) fn new(blocks: usize) -> Result<Self, ZeroedSliceError> {
        let touched = ZeroedSlice::new(blocks.div_ceil(64))?;
        Ok(Self { touched, count: 0, last: Content::Unknown, bell: None })
    }

    fn is_touched(&self, block: usize) -> bool {
        self.touched[block / 64] >> (block % 64) & 1 == 1
    }

    /// Notes that a pageblock may be written to from now on, and tells what it held until then.
    fn touch(&mut self, block: usize) -> Content {
        if self.is_touched(block) {
            return Content::Unknown;
        }
        if !seeded(SeededBug::KnownZeroKept) {
            self.touched[block / 64] |= 1 << (block % 64);
            self.count += 1;
        }
        Content::Zero
    }

    /// Notes that a pageblock holds nothing but zeroes.
    fn clear(&mut self, block: usize) {
        if self.is_touched(block) {
            self.touched[block / 64] &= !(1 << (block % 64));
            self.count -= 1;
        }
    }

    /// Returns the first touched pageblock of a range.
    fn next_touched(&self, blocks: Range<usize>) -> Option<usize> {
        let mut at = blocks.start;
        while at < blocks.end {
            let rest = self.touched[at / 64] >> (at % 64);
            if rest != 0 {
                return Some(at + rest.trailing_zeros() as usize).filter(|&found| found < blocks.end);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

/// What a buddy knows of the memory behind its frames:
///
/// ```
/// use gfp::{Order, Pfn, frame::Mobility, gfp::MigrateType, zone::buddy::{Buddy, Content}};
///
/// // 16 pageblocks of fresh memory.
/// let end = Pfn::new(8192);
/// let mut buddy = Buddy::new(Pfn::new(0), end, end, Order::new(10))?;
/// assert_eq!(buddy.known_zero(), 16);
///
/// // Whoever has a block may write to it, and its pageblocks stay touched when it comes back.
/// let (order, mobility) = (Order::new(10), Mobility::Movable);
/// let block = buddy.rmqueue_smallest(order, MigrateType::Movable, mobility).expect("all is free");
/// assert_eq!((buddy.last_content(), buddy.content(block)), (Content::Zero, Content::Unknown));
/// assert!(buddy.free(block, order, mobility));
/// assert_eq!(buddy.known_zero(), 14);
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
impl Buddy {
    /// Returns what the pageblock around a frame holds as long as nobody has a part of it.
    pub fn content(&self, pfn: Pfn) -> Content {
        if self.contents.is_touched(self.block_of(pfn)) { Content::Unknown } else { Content::Zero }
    }

    /// Returns what the last block of at least a pageblock held when it was handed out.
    pub const fn last_content(&self) -> Content {
        self.contents.last
    }

    /// Returns how many pageblocks of the zone are known to hold nothing but zeroes.
    pub fn known_zero(&self) -> u64 {
        let blocks = self.end.index().div_ceil(PAGEBLOCK_FRAMES as usize);
        (blocks - (self.start.index() >> PAGEBLOCK_ORDER)) as u64 - self.contents.count
    }

    /// Notes that the low part of a free block, of a leaf or more, goes to somebody who may write to it.
    #[inline(never)]
    pub(super) fn touch_first(&mut self, pfn: Pfn) {
        let block = self.block_of(pfn);
        self.contents.last = self.contents.touch(block);
    }

    /// Notes the same of those pageblocks of the part that are behind the first.
    #[inline(never)]
    pub(super) fn touch_others(&mut self, pfn: Pfn, order: Order) {
        let first = self.block_of(pfn);
        for block in first + 1..first + (1 << (order.get() - PAGEBLOCK_ORDER)) {
            if self.contents.touch(block) == Content::Unknown {
                self.contents.last = Content::Unknown;
            }
        }
    }

    /// Notes that frames go to somebody who may write to them.
    pub(super) fn touch_range(&mut self, start: Pfn, end: Pfn) {
        for block in self.block_of(start)..=self.block_of(Pfn::new(end.get() - 1)) {
            self.contents.touch(block);
        }
    }

    /// Notes that nothing is known of the memory of all frames: somebody had it before.
    pub(in crate::zone) fn forget_contents(&mut self) {
        self.touch_range(self.start, self.end);
    }

    /// Notes that whole pageblocks, which nobody has, hold nothing but zeroes: the system had them back.
    pub(in crate::zone) fn note_zeroed(&mut self, start: Pfn, end: Pfn) {
        for block in self.block_of(start)..self.block_of(Pfn::new(end.get() - 1)) + 1 {
            self.contents.clear(block);
        }
    }

    /// Has a bell rung whenever a block of at least a pageblock comes back, with the zone's lock held.
    pub(in crate::zone) fn set_bell(&mut self, bell: Option<Arc<Doorbell>>) -> Option<Arc<Doorbell>> {
        core::mem::replace(&mut self.contents.bell, bell)
    }

    /// Lets whoever wants to know know that a block came back (`page_reporting_notify_free`).
    pub(super) fn notify_free(&self, order: u8) {
        if order >= PAGEBLOCK_ORDER
            && let Some(bell) = &self.contents.bell
        {
            bell.ring_once(FREED);
        }
    }

    /// Returns the first pageblock that lies in a range as a whole, may hold something else than zeroes, and is free and in circulation.
    pub(in crate::zone) fn next_unreported(&self, range: &Range<Pfn>) -> Option<Pfn> {
        let whole = PAGEBLOCK_FRAMES - 1;
        let start = range.start.max(self.start).get().checked_add(whole)? & !whole;
        let end = range.end.min(self.end).get() & !whole;
        let mut rest =
            (start < end).then(|| self.block_of(Pfn::new(start))..self.block_of(Pfn::new(end - 1)) + 1)?;
        while let Some(block) = self.contents.next_touched(rest.clone()) {
            let at = self.pageblock_start(block);
            let is_free = matches!(self.free_block_around(at), Some((_, PAGEBLOCK_ORDER..)));
            if is_free && self.pageblock_type(at) != MigrateType::Isolate {
                return Some(at);
            }
            rest.start = block + 1;
        }
        None
    }

    fn pageblock_start(&self, block: usize) -> Pfn {
        let block = block + (self.start.index() >> PAGEBLOCK_ORDER);
        Pfn::new(u32::try_from(block << PAGEBLOCK_ORDER).expect("a pageblock lies in the arena"))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::frame::Mobility;

    const START: Pfn = Pfn::new(8 << 9);
    const MOBILITY: Mobility = Mobility::Movable;

    /// Returns the free areas of 12 pageblocks that do not begin at the arena's start.
    fn buddy() -> Buddy {
        let end = Pfn::new(20 << 9);
        Buddy::new(START, end, end, Order::new(10)).expect("small")
    }

    #[test]
    fn what_the_system_had_back_is_zero_again() {
        let mut buddy = buddy();
        assert_eq!(buddy.known_zero(), 12);
        buddy.forget_contents();
        assert_eq!(buddy.known_zero(), 0);
        let [first, fourth] = [START, Pfn::new(11 << 9)];
        buddy.note_zeroed(first, fourth);
        buddy.note_zeroed(first, fourth);
        assert_eq!(buddy.known_zero(), 3);
        assert_eq!([first, fourth].map(|pfn| buddy.content(pfn)), [Content::Zero, Content::Unknown]);
        assert_eq!(buddy.next_unreported(&(START..Pfn::new(20 << 9))), Some(fourth));
    }

    #[test]
    fn the_first_touched_pageblock_of_a_range_is_found_within_it_alone() {
        let mut contents = Contents::new(200).expect("small");
        contents.touch(70);
        contents.touch(128);
        for (range, found) in [
            (0..200, Some(70)),
            (0..70, None),
            (70..71, Some(70)),
            (71..128, None),
            (64..64, None),
            (71..200, Some(128)),
            (129..200, None),
        ] {
            assert_eq!(contents.next_touched(range.clone()), found, "{range:?}");
        }
    }

    #[test]
    fn the_bell_rings_for_a_pageblock_that_comes_back_and_for_nothing_smaller() {
        let mut buddy = buddy();
        let bell = Arc::new(Doorbell::default());
        assert!(buddy.set_bell(Some(Arc::clone(&bell))).is_none());
        for (order, rings) in [(Order::new(8), 0), (Order::new(9), FREED)] {
            // In use beside it is what it could merge with.
            let taken = [(); 2]
                .map(|()| buddy.rmqueue_smallest(order, MigrateType::Movable, MOBILITY).expect("free"));
            assert!(buddy.free(taken[0], order, MOBILITY));
            assert_eq!(bell.take(), rings, "{order:?}");
        }
        assert!(buddy.set_bell(None).is_some_and(|was| Arc::ptr_eq(&was, &bell)));
    }
}
