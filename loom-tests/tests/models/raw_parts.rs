//! Blocks as plain numbers: of several threads that make a block of the same numbers, one succeeds.

use gfp::{
    Order, Pfn,
    frame::{
        AllocatorNumber, Descriptor, FrameTable, PcpList, ZoneNumber, free_pages_prepare, prep_new_page,
        put_together,
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
    let block = prep_new_page(&frames, pfn, list, ZoneNumber::new(0), order).expect("it is free");
    let raw = free_pages_prepare(&frames, block, Descriptor::taken_apart).expect("it is allocated");
    let generation = raw.generation();
    let other = thread::spawn({
        let frames = frames.clone();
        move || put_together(&frames, pfn, order, generation).is_ok()
    });
    let made = put_together(&frames, pfn, order, generation).is_ok();
    let makers = u32::from(made) + u32::from(other.join().unwrap());
    assert_eq!(makers, 1, "one thread makes the block");
    let found = frames.get(pfn).expect("it lies in the table");
    assert!(block.is_described_by(found) && found.generation() == generation + 1);
}
