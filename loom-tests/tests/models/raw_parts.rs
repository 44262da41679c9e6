//! Blocks that were copied: of several threads that make a block of the same numbers, or free the same block, one succeeds.

use gfp::{
    Order, Pfn,
    frame::{
        AllocatorNumber, Block, FrameState, FrameTable, PcpList, ZoneNumber, hand_out, prep_new_page,
        put_together, take_apart, take_back,
    },
    gfp::MigrateType,
    sync::{SeededBug, thread},
};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "raw_parts_and_two_threads",
        property: "of several threads that make a block of the same numbers, one succeeds",
        bound: "two threads, one block",
        preemptions: None,
        program: raw_parts_and_two_threads,
        bugs: &[(SeededBug::ExchangeLostCas, "one thread makes the block")],
    },
    Model {
        name: "checked_block_and_two_frees",
        property: "of several frees of one block at the same moment, one succeeds where blocks are checked",
        bound: "two threads that free the same block",
        preemptions: None,
        program: checked_block_and_two_frees,
        bugs: &[(SeededBug::ExchangeLostCas, "one thread frees the block")],
    },
];

/// Makes an arena of two frames, and a block of one of them.
fn arena() -> (FrameTable, Block) {
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 2).expect("models have memory");
    let list = PcpList::of(Order::ZERO, MigrateType::Movable);
    let block = prep_new_page(&frames, Pfn::new(1), list, ZoneNumber::new(0), Order::ZERO);
    (frames, block)
}

fn raw_parts_and_two_threads() {
    let (frames, block) = arena();
    let (pfn, order) = (block.pfn(), block.order());
    let generation = take_apart(&frames, block).expect("it was not taken apart before");
    let other = thread::spawn({
        let frames = frames.clone();
        move || put_together(&frames, pfn, order, generation).is_ok()
    });
    let made = put_together(&frames, pfn, order, generation).is_ok();
    let makers = u32::from(made) + u32::from(other.join().unwrap());
    assert_eq!(makers, 1, "one thread makes the block");
    let found = frames.get(pfn).expect("it lies in the table");
    assert_eq!((found.state(), found.generation()), (Some(FrameState::Returned), generation + 1));
}

fn checked_block_and_two_frees() {
    let (frames, block) = arena();
    hand_out(&frames, block).expect("it is new");
    let other = thread::spawn({
        let frames = frames.clone();
        move || take_back(&frames, block).is_ok()
    });
    let freed = take_back(&frames, block).is_ok();
    let frees = u32::from(freed) + u32::from(other.join().unwrap());
    assert_eq!(frees, 1, "one thread frees the block");
}
