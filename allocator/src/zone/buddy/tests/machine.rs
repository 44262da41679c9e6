//! The state machine: the same steps through the buddy and through the model, compared after each.

use proptest::{prelude::*, test_runner::TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::{
    contents::Touched,
    coverage::Coverage,
    model::{Ask, Held, Model, Taken},
    pageblocks::Change,
    reference::{Deed, Reference, Step},
};
use crate::{
    frame::{FrameBatch, Mobility, Order, Pfn},
    gfp::MigrateType,
    zone::buddy::{Buddy, Fallback, Grouping, RmqueueMode},
};

/// The buddy under test.
pub(super) struct Tested {
    buddy: Buddy,
    coverage: Coverage,
    steps: u32,
    touched: Touched,
}

impl Tested {
    fn take(&mut self, step: &Step, ask: Ask, expected: &Taken) {
        let Ask { kind, flags, .. } = ask;
        let order = Order::new(ask.order);
        let grouping = if ask.grouped { Grouping::ByMobility } else { Grouping::Disabled };
        let mut batch = FrameBatch::new();
        let mut done = Fallback::default();
        match *step {
            Step::Smallest { taken_for, .. } => {
                self.buddy
                    .rmqueue_smallest(order, kind, taken_for)
                    .into_iter()
                    .for_each(|pfn| batch.push(pfn));
            }
            Step::Request { .. } => {
                let mut mode = RmqueueMode::default();
                let pfn = self.buddy.rmqueue(order, kind, flags, grouping, &mut mode, &mut done);
                pfn.into_iter().for_each(|pfn| batch.push(pfn));
            }
            Step::Refill { count, .. } => {
                done = self.buddy.rmqueue_bulk(order, count, kind, flags, grouping, &mut batch);
            }
            Step::Frames { count, .. } => {
                let taken = self.buddy.rmqueue_frames(count, kind, Mobility::of(kind), &mut batch);
                assert_eq!(taken as usize, batch.len());
            }
            _ => unreachable!("the other steps take nothing"),
        }
        assert_eq!(batch.numbers(), expected.pfns, "the blocks of {step:?}");
        for &pfn in batch.numbers() {
            let content = self.touched.take(pfn, pfn + order.frames());
            assert!(batch.len() > 1 || order < Order::PAGEBLOCK || self.buddy.last_content() == content);
        }
        let Taken { claimed, stolen, boosts, .. } = *expected;
        assert_eq!(done, Fallback { claimed, stolen, boosts }, "the fallbacks of {step:?}");
    }

    fn give_back(&mut self, blocks: &[Held], batch: bool) {
        if batch {
            let pfns: Vec<u32> = blocks.iter().map(|held| held.pfn).collect();
            let (order, taken_for) = (Order::new(blocks[0].order), blocks[0].taken_for);
            assert_eq!(self.buddy.free_batch(&pfns, order, taken_for), 0);
            // A second time, nothing is changed, which the comparison with the model sees.
            let twice = &pfns[..pfns.len().min(8)];
            assert_eq!(self.buddy.free_batch(twice, order, taken_for), twice.len() as u64);
        } else {
            for held in blocks {
                let (pfn, order) = (Pfn::new(held.pfn), Order::new(held.order));
                assert!(self.buddy.is_used(pfn, order.min(Order::PAGEBLOCK)));
                assert!(self.buddy.free(pfn, order, held.taken_for));
                assert!(self.buddy.is_free(pfn));
                assert!(!self.buddy.free(pfn, order, held.taken_for));
            }
        }
    }

    fn change(&mut self, pfn: u32, change: Change, expected: bool) {
        let pfn = Pfn::new(pfn);
        let done = match change {
            Change::SetType(_) if !expected => false,
            Change::SetType(to) => {
                self.buddy.set_migratetype(pfn, to);
                true
            }
            Change::Isolate => self.buddy.start_isolate(pfn),
            Change::UndoIsolate => self.buddy.undo_isolate(pfn),
            Change::Offline => self.buddy.take_offline(pfn),
            Change::Online => self.buddy.bring_online(pfn),
        };
        assert_eq!(done, expected, "{change:?} of the pageblock at {pfn}");
    }

    fn compare(&self, model: &Model) {
        for kind in MigrateType::ALL {
            let mut available = 0;
            for order in 0..=model.max_order {
                let expected = model.nr_free(order, kind);
                let found = self.buddy.nr_free(Order::new(order), kind);
                assert_eq!(found, expected, "free {kind} blocks of order {order}");
                available |= u32::from(expected > 0) << order;
            }
            assert_eq!(self.buddy.available(kind), available, "{kind}");
            assert_eq!(self.buddy.free_frames_of(kind), model.free_frames_of(kind), "{kind}");
            assert_eq!(self.buddy.pageblocks(kind) as usize, model.pageblocks(kind), "{kind} pageblocks");
        }
        assert_eq!(self.buddy.free_frames(), model.free_frames());
    }

    fn compare_pageblocks(&self, model: &Model) {
        model.check();
        for block in model.start / 512..model.end.div_ceil(512) {
            let pfn = (block * 512).max(model.start);
            assert_eq!(self.buddy.pageblock_type(Pfn::new(pfn)), model.kind(pfn), "pageblock {block}");
            let aside = (self.buddy.is_isolated(Pfn::new(pfn)), self.buddy.is_offline(Pfn::new(pfn)));
            assert_eq!(aside, model.aside_of(pfn), "pageblock {block}");
            let frames = (pfn / 512 * 512 + 512).min(model.end) - pfn;
            let used = self.buddy.used_in_pageblock(Pfn::new(pfn));
            assert_eq!(used, frames - model.block_use(pfn).0, "frames in use of pageblock {block}");
            // Asked only of pageblocks with a free block inside.
            if model.is_split(pfn) && model.block_use(pfn).0 > 0 {
                let found = self.buddy.pageblock_use(Pfn::new(pfn), model.kind(pfn));
                assert_eq!(found, model.block_use(pfn), "free and movable frames of pageblock {block}");
            }
        }
    }
}

/// Runs [`Reference`] against [`Buddy`].
struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Tested;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Tested {
        let Model { start, end, max_order, .. } = reference.model;
        let buddy =
            Buddy::new(Pfn::new(start), Pfn::new(end), Pfn::new(end), Order::new(max_order)).expect("small");
        Tested { buddy, coverage: Coverage::default(), steps: 0, touched: Touched::default() }
    }

    fn apply(mut tested: Tested, reference: &Reference, _: Step) -> Tested {
        match &reference.deed {
            Deed::Began | Deed::Nothing => {}
            Deed::Took { step, ask, taken } => {
                tested.take(step, *ask, taken);
                tested.coverage.took(step, *ask, taken);
            }
            Deed::Freed { blocks, batch } => {
                tested.give_back(blocks, *batch);
                tested.coverage.freed(blocks, *batch);
            }
            &Deed::TurnedOver { pfn, from, to } => {
                tested.buddy.move_freepages_block(Pfn::new(pfn), from, to);
                tested.coverage.turned_over();
            }
            &Deed::Changed { pfn, change, done } => {
                tested.change(pfn, change, done);
                tested.coverage.changed(change, done);
            }
            &Deed::TookRange { start, end, done } => {
                let taken = tested.buddy.take_range(Pfn::new(start), Pfn::new(end));
                assert_eq!(taken.is_ok(), done, "frames {start:#x} to {end:#x}: {taken:?}");
                if done {
                    tested.touched.take(start, end);
                }
                tested.coverage.took_range(done);
            }
            &Deed::Reserved { held, done } => {
                let (pfn, order) = (Pfn::new(held.pfn), Order::new(held.order));
                assert_eq!(tested.buddy.reserve_highatomic(pfn, order), done, "{held:?}");
                tested.coverage.reserved(held.order, done);
            }
            &Deed::Unreserved { kind, done } => {
                assert_eq!(tested.buddy.unreserve_highatomic(kind), done, "for {kind}");
                tested.coverage.unreserved(done);
            }
        }
        tested.coverage.steps += 1;
        tested.steps += 1;
        if tested.steps.is_multiple_of(256) {
            tested.compare_pageblocks(&reference.model);
            tested.touched.compare_and_report(&mut tested.buddy, &reference.model);
        }
        tested
    }

    fn check_invariants(tested: &Tested, reference: &Reference) {
        tested.compare(&reference.model);
    }

    fn teardown(mut tested: Tested, mut reference: Reference) {
        tested.compare_pageblocks(&reference.model);
        let rest = std::mem::take(&mut reference.held);
        for held in rest {
            reference.model.free(held);
            tested.give_back(&[held], false);
        }
        for pageblock in 0..u32::try_from(reference.model.asides.len()).expect("few") {
            let pfn = reference.model.pageblock(pageblock);
            for change in [Change::Online, Change::UndoIsolate] {
                let done = reference.model.change(pfn, change);
                tested.change(pfn, change, done);
            }
        }
        tested.compare(&reference.model);
        tested.compare_pageblocks(&reference.model);
        let all = u64::from(reference.model.end - reference.model.start);
        assert_eq!(tested.buddy.free_frames(), all);
        tested.coverage.add_to_total();
    }
}

#[test]
fn every_block_and_every_count_is_as_the_rules_say() {
    const CASES: u32 = 110;
    const STEPS: usize = 5500;
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config.clone()).run(
        &Reference::sequential_strategy(STEPS..=STEPS),
        |(reference, steps, seen)| {
            Machine::test_sequential(config.clone(), reference, steps, seen);
            Ok(())
        },
    );
    if let Err(failure) = result {
        panic!("{failure}");
    }
    Coverage::total().check(u64::from(CASES) * STEPS as u64);
}
