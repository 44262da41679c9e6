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
