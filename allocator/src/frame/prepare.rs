//! The checks of a block's first frame wherever the block changes hands between the buddy, its owner and plain numbers.
//!
//! The kernel looks at a page's map count, mapping, reference count and flags; here they are one state of the descriptor.

use super::{
    BadFrame, Block, FrameTable, Order, PcpList, Pfn, ZoneNumber,
    descriptor::{Descriptor, FrameState},
};

/// Lets only a frame that is free by its descriptor out of the buddy (`check_new_page`).
pub fn check_new_page(found: Descriptor) -> Option<Descriptor> {
    Some(found).filter(|found| found.state() == Some(FrameState::FreeOrInterior))
}

/// Makes a block of what the buddy gave, if its first frame is in the state of a free one (`prep_new_page`).
///
/// `None` says that it is not: such a block must be left out of circulation.
#[inline]
pub fn prep_new_page(
    frames: &FrameTable,
    pfn: Pfn,
    list: PcpList,
    zone: ZoneNumber,
    order: Order,
) -> Option<Block> {
    let prepared =
        frames.update(pfn, |found| check_new_page(found).map(|found| found.allocated(list, zone, order)));
    prepared.ok().map(|descriptor| Block::new(frames.allocator(), pfn, descriptor))
}

/// Checks that a block is what its owner says, and gives its first frame the next state, which is returned
/// (`free_pages_prepare`).
///
/// # Errors
/// The descriptor that was found, when it is another; nothing is changed then.
#[inline]
pub fn free_pages_prepare(
    frames: &FrameTable,
    block: Block,
    next: impl FnOnce(Descriptor) -> Descriptor,
) -> Result<Descriptor, BadFrame> {
    frames.update(block.pfn(), |found| block.is_described_by(found).then(|| next(found)))
}

/// Makes single frames of a block, each with a descriptor of its own (`split_page`), and returns the first; the others are the
/// same kind of block [at](Block::at) the frames behind it.
///
/// # Errors
/// The descriptor that was found, when it is not that of the block; nothing is changed then.
pub fn split_page(frames: &FrameTable, block: Block) -> Result<Block, BadFrame> {
    let list = PcpList::of(Order::ZERO, block.list().migratetype());
    let zone = ZoneNumber::new(block.zone_index());
    let first = free_pages_prepare(frames, block, |found| found.allocated(list, zone, Order::ZERO))?;
    for index in 1..block.order().frames() {
        frames.update(block.pfn().add(index), |found| Some(found.allocated(list, zone, Order::ZERO)))?;
    }
    Ok(Block::new(frames.allocator(), block.pfn(), first))
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
