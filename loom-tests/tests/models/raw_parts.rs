//! Blocks as plain numbers: of several threads that make a block of the same numbers, one succeeds.

use gfp::{
    Order, Pfn,
    frame::{
        AllocatorNumber, FrameState, FrameTable, PcpList, ZoneNumber, prep_new_page, put_together, take_apart,
    },
    gfp::MigrateType,
    sync::{SeededBug, thread},
};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[Model {
    name: "raw_parts_and_two_threads",
    preemptions: None,
    program: raw_parts_and_two_threads,
    bugs: &[(SeededBug::ExchangeLostCas, "one thread makes the block")],
}];

fn raw_parts_and_two_threads() {
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 2).expect("models have memory");
    let (pfn, order) = (Pfn::new(1), Order::ZERO);
    let list = PcpList::of(order, MigrateType::Movable);
    let block = prep_new_page(&frames, pfn, list, ZoneNumber::new(0), order);
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
