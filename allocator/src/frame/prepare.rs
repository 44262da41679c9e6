//! What is checked and recorded wherever a block leaves the way that the compiler follows.

use super::{
    BadFrame, Block, FrameTable, Order, PcpList, Pfn, ZoneNumber,
    descriptor::{Descriptor, FrameState},
};

/// Tells whether the buddy may hand out a frame: not one that somebody holds as plain numbers, that several hold, or whose
/// free is pending (`check_new_page`).
pub fn check_new_page(found: Descriptor) -> bool {
    matches!(found.state(), Some(FrameState::Unrecorded | FrameState::Returned))
}

/// Makes a block of what the buddy gave (`prep_new_page`).
///
/// As in a kernel without page debugging, whether the frame was free is checked in debug builds only: the buddy's map is what
/// says so, and it has been changed under the zone's lock.
#[inline]
pub fn prep_new_page(frames: &FrameTable, pfn: Pfn, list: PcpList, zone: ZoneNumber, order: Order) -> Block {
    debug_assert!(frames.get(pfn).is_some_and(check_new_page), "{pfn} came from the buddy in use");
    Block::new(frames.allocator(), pfn, Descriptor::of(list, zone, order))
}

/// Records that a block's owner holds it as plain numbers, shares it, or leaves its free to another thread
/// (`free_pages_prepare`); returns the new descriptor.
///
/// # Errors
/// The descriptor that was found, when the block is in such a state already: somebody copied it. Nothing is changed then.
pub(super) fn record(frames: &FrameTable, block: Block, state: FrameState) -> Result<Descriptor, BadFrame> {
    frames
        .update(block.pfn(), |found| check_new_page(found).then(|| found.recorded(block.descriptor(), state)))
}

/// Records that a block goes to its owner, where handovers are checked.
///
/// # Errors
/// The descriptor that was found, when somebody has the block; nothing is changed then.
pub fn hand_out(frames: &FrameTable, block: Block) -> Result<(), BadFrame> {
    let owned = |found: Descriptor| {
        check_new_page(found).then(|| found.recorded(block.descriptor(), FrameState::Owned))
    };
    frames.exchange(block.pfn(), owned).map(drop)
}

/// Records that a block comes back from its owner, where handovers are checked; of several threads that try it at the same
/// moment, one succeeds.
///
/// # Errors
/// The descriptor that was found, when nobody has the block, or one of another order there; nothing is changed then.
pub fn take_back(frames: &FrameTable, block: Block) -> Result<(), BadFrame> {
    let returned = |found: Descriptor| {
        let same = found.state() == Some(FrameState::Owned) && found.tag() == block.descriptor().tag();
        same.then(|| found.returned())
    };
    frames.exchange(block.pfn(), returned).map(drop)
}

/// Records that a block which is between its owners is left out of circulation.
///
/// # Errors
/// As [`take_apart`].
pub fn withhold(frames: &FrameTable, block: Block) -> Result<(), BadFrame> {
    record(frames, block, FrameState::Withheld).map(drop)
}

/// Makes a block again of one that was left out of circulation.
///
/// # Errors
/// The descriptor that was found, when there is none; nothing is changed then.
pub fn bring_back(frames: &FrameTable, pfn: Pfn) -> Result<Block, BadFrame> {
    let back = |found: Descriptor| (found.state() == Some(FrameState::Withheld)).then(|| found.returned());
    frames.exchange(pfn, back).map(|descriptor| Block::new(frames.allocator(), pfn, descriptor))
}

/// Takes a block apart into plain numbers, and returns its generation.
///
/// # Errors
/// The descriptor that was found, when the block was taken apart or freed before; nothing is changed then.
pub fn take_apart(frames: &FrameTable, block: Block) -> Result<u16, BadFrame> {
    record(frames, block, FrameState::Raw).map(Descriptor::generation)
}

/// Records a free that another thread will do (`free_pages_prepare`).
///
/// # Errors
/// As [`take_apart`].
pub fn free_pages_prepare(frames: &FrameTable, block: Block) -> Result<(), BadFrame> {
    record(frames, block, FrameState::Pending).map(drop)
}

/// Makes a block of plain numbers again; of several threads that try it with the same numbers, one succeeds.
///
/// # Errors
/// The descriptor that was found, when no block of this order and generation is out there as plain numbers; nothing is
/// changed then.
pub fn put_together(frames: &FrameTable, pfn: Pfn, order: Order, generation: u16) -> Result<Block, BadFrame> {
    let same = |found: Descriptor| {
        let named = found.state() == Some(FrameState::Raw)
            && found.order() == order
            && found.generation() == generation;
        named.then(|| found.put_together())
    };
    frames.exchange(pfn, same).map(|descriptor| Block::new(frames.allocator(), pfn, descriptor))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::{
        frame::{AllocatorNumber, MAX_MAX_ORDER},
        gfp::MigrateType,
    };
    use std::cell::Cell;

    const PFN: Pfn = Pfn::new(0);

    fn table() -> FrameTable {
        FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 1).expect("one frame")
    }

    fn new_block(frames: &FrameTable, order: Order) -> Block {
        let list = PcpList::of(order, MigrateType::Movable);
        prep_new_page(frames, PFN, list, ZoneNumber::new(0), order)
    }

    #[test]
    fn who_loses_an_exchange_looks_at_what_is_there_now_whatever_the_order() {
        for order in (0..=MAX_MAX_ORDER).map(Order::new) {
            let frames = table();
            let generation = take_apart(&frames, new_block(&frames, order)).expect("it has an owner");
            let other_comes_first = Cell::new(true);
            let lost = frames.exchange(PFN, |found| {
                if other_comes_first.take() {
                    put_together(&frames, PFN, order, generation).expect("nobody was faster");
                }
                (found.state() == Some(FrameState::Raw)).then(|| found.put_together())
            });
            let there = frames.get(PFN);
            assert_eq!(lost, Err(BadFrame { pfn: PFN, found: there }), "{order:?}: two made one block");
            assert_eq!(there.map(Descriptor::generation), Some(generation + 1), "{order:?}");
        }
    }

    #[test]
    fn a_checked_block_comes_back_once_and_as_what_it_was_handed_out() {
        for order in (0..=MAX_MAX_ORDER).map(Order::new) {
            let frames = table();
            let block = new_block(&frames, order);
            hand_out(&frames, block).expect("it is new");
            assert!(hand_out(&frames, block).is_err(), "{order:?}: it has an owner");
            let other = new_block_of_another_order(&frames, order);
            assert!(take_back(&frames, other).is_err(), "{order:?}: it is of another order");
            take_back(&frames, block).expect("its owner has it");
            assert!(take_back(&frames, block).is_err(), "{order:?}: it is back");
        }
    }

    fn new_block_of_another_order(frames: &FrameTable, order: Order) -> Block {
        let other = Order::new((order.get() + 1) % (MAX_MAX_ORDER + 1));
        let list = PcpList::of(other, MigrateType::Movable);
        Block::new(frames.allocator(), PFN, Descriptor::of(list, ZoneNumber::new(0), other))
    }
}
