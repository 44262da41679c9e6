//! The steps of the state machine, and what the model does in each.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use super::{
    model::{Ask, Held, Model, Taken},
    pageblocks::Change,
};
use crate::{
    frame::Mobility,
    gfp::{AllocFlags, MigrateType},
};

/// One step; positions are modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Smallest {
        order: u8,
        kind: MigrateType,
        taken_for: Mobility,
    },
    Request {
        order: u8,
        kind: MigrateType,
        flags: AllocFlags,
    },
    Refill {
        order: u8,
        count: u32,
        kind: MigrateType,
        flags: AllocFlags,
    },
    Frames {
        count: u32,
        kind: MigrateType,
    },
    Free {
        position: u32,
    },
    /// Frees frames through the batch: those that lie together, or those that were held for equally long.
    FreeBatch {
        position: u32,
        count: u32,
        together: bool,
    },
    /// Frees nearly all, as when a program ends.
    FreeMost {
        left: u32,
    },
    SetAside {
        pageblock: u32,
        kind: MigrateType,
    },
    Pageblock {
        pageblock: u32,
        change: Change,
    },
    /// Sets aside what a block that is held lies in.
    Reserve {
        position: u32,
    },
    /// Gives up some of what is set aside.
    Unreserve {
        kind: MigrateType,
    },
    /// Takes frames by address; those that are in use already make it fail.
    TakeRange {
        position: u32,
        frames: u32,
    },
}

/// What the model did in a step, for the buddy to do the same.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Began,
    Took { step: Step, ask: Ask, taken: Taken },
    Freed { blocks: Vec<Held>, batch: bool },
    TurnedOver { pfn: u32, from: MigrateType, to: MigrateType },
    Changed { pfn: u32, change: Change, done: bool },
    TookRange { start: u32, end: u32, done: bool },
    Reserved { held: Held, done: bool },
    Unreserved { kind: MigrateType, done: bool },
    Nothing,
}

/// The model and the blocks that are out.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) model: Model,
    pub(super) held: Vec<Held>,
    grouped: bool,
    steps: u32,
    pub(super) deed: Deed,
}

/// Zones that are small, large, begin or end in the middle of a pageblock, or are smaller than one.
const SHAPES: [(u32, u32, u8); 8] = [
    (0, 8192, 10),
    (4096, 12_000, 10),
    (3, 5000, 9),
    (0, 1 << 15, 14),
    (7 * 512 + 100, 31 * 512, 12),
    (1 << 13, 3 << 13, 11),
    (0, 200, 10),
    (0, 1 << 16, 18),
];

/// Picks by weight with the low bits of a random word, and returns the rest of the word.
fn pick<T: Copy>(word: u64, choices: &[(u64, T)]) -> (T, u64) {
    let total: u64 = choices.iter().map(|&(weight, _)| weight).sum();
    let mut at = word % total;
    for &(weight, choice) in choices {
        if at < weight {
            return (choice, word / total);
        }
        at -= weight;
    }
    unreachable!("the weights add up")
}

fn small(word: u64, below: u32) -> u32 {
    u32::try_from(word % u64::from(below)).expect("below 2^32")
}

impl Reference {
    /// Reads a step out of random words; what is above the mark of how full the zone should be is freed.
    fn decode(words: (u64, u64), above: bool, plenty: bool, max_order: u8) -> Step {
        #[derive(Clone, Copy)]
        enum Kind {
            Smallest,
            Request,
            Refill,
            Frames,
            Free,
            FreeBatch,
            FreeMost,
            SetAside,
            Pageblock,
            TakeRange,
            Reserve,
            Unreserve,
        }
        let frees = if above { 80 } else { 25 };
        let (step, word) = pick(
            words.0,
            &[
                (6, Kind::Smallest),
                (30, Kind::Request),
                (9, Kind::Refill),
                (6, Kind::Frames),
                (frees, Kind::Free),
                (frees / 6, Kind::FreeBatch),
                (if above { 1 } else { 0 }, Kind::FreeMost),
                (2, Kind::SetAside),
                (6, Kind::Pageblock),
                (2, Kind::TakeRange),
                (2, Kind::Reserve),
                (3, Kind::Unreserve),
            ],
        );
        // Where much is free, large blocks can be had.
        let (small_orders, large_orders) = if plenty { (8, 30) } else { (30, 7) };
        let classes = [(small_orders, 0u8), (small_orders, 1), (20, 2), (large_orders, 3), (large_orders, 4)];
        let (class, word) = pick(word, &classes);
        let order = match class {
            0 => 0,
            1 => 1 + (word % 3) as u8,
            2 => 4 + (word % 5) as u8,
            3 => 9,
            _ => (10 + ((word % 9) & (word / 9 % 9)) as u8).min(max_order),
        };
        let word = words.1 >> 8;
        use MigrateType::{Cma, HighAtomic, Movable, Reclaimable, Unmovable};
        let (kind, word) = pick(word, &[(4, Unmovable), (4, Movable), (3, Reclaimable)]);
        let (flags, word) = pick(
            word,
            &[
                (6, AllocFlags::empty()),
                (3, AllocFlags::NOFRAGMENT),
                (2, AllocFlags::CMA),
                (1, AllocFlags::CMA.union(AllocFlags::NOFRAGMENT)),
            ],
        );
        match step {
            Kind::Smallest => {
                let (kind, word) = pick(word, &[(8, kind), (1, HighAtomic), (1, Cma)]);
                let (taken_for, _) = pick(word, &[(1, Mobility::Movable), (1, Mobility::Fixed)]);
                Step::Smallest { order, kind, taken_for }
            }
            Kind::Request => Step::Request { order, kind, flags },
            Kind::Refill => {
                let order = if class > 2 { 0 } else { order };
                Step::Refill { order, count: 1 + small(word, 64), kind, flags }
            }
            Kind::Frames => {
                let (kind, word) = pick(word, &[(8, kind), (1, HighAtomic), (1, Cma)]);
                Step::Frames { count: 1 + small(word, 512), kind }
            }
            Kind::Free => Step::Free { position: small(word, u32::MAX) },
            Kind::FreeBatch => Step::FreeBatch {
                position: small(word >> 16, u32::MAX),
                count: 1 + small(word, 200),
                together: word >> 9 & 1 == 1,
            },
            Kind::FreeMost => Step::FreeMost { left: small(word, 64) },
            Kind::SetAside => {
                let (kind, word) = pick(word, &[(2, HighAtomic), (2, Cma), (5, Movable), (1, Unmovable)]);
                Step::SetAside { pageblock: small(word, u32::MAX), kind }
            }
            Kind::Pageblock => {
                let (change, word) = pick(word, &Change::ALL.map(|change| (1, change)));
                // In a few, so that one change meets another.
                Step::Pageblock { pageblock: small(word, 8), change }
            }
            Kind::Reserve => Step::Reserve { position: small(word, u32::MAX) },
            Kind::Unreserve => Step::Unreserve { kind },
            Kind::TakeRange => {
                let most = if plenty { 3000 } else { 40 };
                Step::TakeRange { position: small(word >> 16, u32::MAX), frames: 1 + small(word, most) }
            }
        }
    }

    fn hold(&mut self, pfns: &[u32], order: u8, taken_for: Mobility) {
        self.held.extend(pfns.iter().map(|&pfn| Held { pfn, order, taken_for }));
    }

    fn take(&mut self, step: &Step, ask: Ask, taken: Taken, taken_for: Mobility) -> Deed {
        self.hold(&taken.pfns, ask.order, taken_for);
        Deed::Took { step: step.clone(), ask, taken }
    }

    fn ask(&self, order: u8, kind: MigrateType, flags: AllocFlags) -> Ask {
        Ask { order, kind, flags, grouped: self.grouped }
    }

    fn give_back(&mut self, blocks: Vec<Held>, batch: bool) -> Deed {
        for &held in &blocks {
            self.model.free(held);
        }
        if blocks.is_empty() { Deed::Nothing } else { Deed::Freed { blocks, batch } }
    }

    fn run(&mut self, step: &Step) -> Deed {
        match *step {
            Step::Smallest { order, kind, taken_for } => {
                let pfns: Vec<_> = self.model.smallest(order, kind, taken_for).into_iter().collect();
                let taken = Taken { pfns, ..Taken::default() };
                self.take(step, self.ask(order, kind, AllocFlags::empty()), taken, taken_for)
            }
            Step::Request { order, kind, flags } => {
                let ask = self.ask(order, kind, flags);
                let taken = self.model.bulk(ask, 1);
                self.take(step, ask, taken, Mobility::of(kind))
            }
            Step::Refill { order, count, kind, flags } => {
                let ask = self.ask(order, kind, flags);
                let taken = self.model.bulk(ask, count);
                self.take(step, ask, taken, Mobility::of(kind))
            }
            Step::Frames { count, kind } => {
                let mobility = Mobility::of(kind);
                let pfns = (0..count).map_while(|_| self.model.smallest(0, kind, mobility)).collect();
                let ask = self.ask(0, kind, AllocFlags::empty());
                self.take(step, ask, Taken { pfns, ..Taken::default() }, mobility)
            }
            Step::Free { .. } if self.held.is_empty() => Deed::Nothing,
            Step::Free { position } => {
                // Every eighth is one of the largest, of which there are few.
                let held = self.held.swap_remove(self.place(position, 8));
                self.give_back(vec![held], false)
            }
            Step::FreeBatch { position, count, together } => {
                let blocks = self.alike(position, count, together);
                self.give_back(blocks, true)
            }
            Step::FreeMost { left } => {
                let blocks = self.held.split_off(self.held.len().min(left as usize));
                self.give_back(blocks, false)
            }
            Step::SetAside { pageblock, kind } => {
                let pfn = self.model.pageblock(pageblock);
                let from = self.model.kind(pfn);
                if from == kind || from == MigrateType::Isolate || !self.model.is_split(pfn) {
                    return Deed::Nothing;
                }
                self.model.turn_over(pfn, kind);
                Deed::TurnedOver { pfn, from, to: kind }
            }
            Step::Pageblock { pageblock, change } => {
                let pfn = self.model.pageblock(pageblock);
                Deed::Changed { pfn, change, done: self.model.change(pfn, change) }
            }
            Step::Reserve { .. } if self.held.is_empty() => Deed::Nothing,
            Step::Reserve { position } => {
                let held = self.held[self.place(position, 2)];
                Deed::Reserved { held, done: self.model.reserve(held) }
            }
            Step::Unreserve { kind } => Deed::Unreserved { kind, done: self.model.unreserve(kind) },
            Step::TakeRange { position, frames } => {
                let (start, total) = (self.model.start, self.model.end - self.model.start);
                let start = start + position % total;
                let end = (start + frames).min(self.model.end);
                let taken = self.model.take_range(start, end);
                let done = taken.is_some();
                self.held.extend(taken.into_iter().flatten());
                Deed::TookRange { start, end, done }
            }
        }
    }

    /// Returns the place of a block that is held; every so many times one of the largest.
    fn place(&self, position: u32, largest_of: u32) -> usize {
        match position % largest_of {
            0 => (0..self.held.len()).max_by_key(|&at| self.held[at].order).unwrap_or(0),
            _ => position as usize % self.held.len(),
        }
    }

    /// Takes up to `count` blocks of one order that were taken for the same out of what is held.
    fn alike(&mut self, position: u32, count: u32, together: bool) -> Vec<Held> {
        let Some(&first) = self.held.get(position as usize % self.held.len().max(1)) else {
            return Vec::new();
        };
        let wanted = |held: &Held| held.order == first.order && held.taken_for == first.taken_for;
        let mut blocks = Vec::new();
        let limit = count as usize;
        if together {
            let mut near: Vec<Held> =
                self.held.iter().copied().filter(|held| wanted(held) && held.pfn >= first.pfn).collect();
            near.sort_unstable_by_key(|held| held.pfn);
            near.truncate(limit);
            self.held
                .retain(|held| !(wanted(held) && near.binary_search_by_key(&held.pfn, |s| s.pfn).is_ok()));
            blocks = near;
        } else {
            self.held.retain(|held| {
                let take = blocks.len() < limit && wanted(held);
                if take {
                    blocks.push(*held);
                }
                !take
            });
        }
        blocks
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        (prop::sample::select(&SHAPES[..]), prop::bool::weighted(0.9))
            .prop_map(|((start, end, max_order), grouped)| Self {
                model: Model::new(start, end, max_order),
                held: Vec::new(),
                grouped,
                steps: 0,
                deed: Deed::Began,
            })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        // Times of plenty, of need, and in between.
        const FULL_PERCENT: [u64; 6] = [30, 101, 75, 97, 50, 90];
        let full = FULL_PERCENT[state.steps as usize / 120 % FULL_PERCENT.len()];
        let total = u64::from(state.model.end - state.model.start);
        let above = (total - state.model.free_frames()) * 100 > total * full;
        let max_order = state.model.max_order;
        any::<(u64, u64)>().prop_map(move |words| Self::decode(words, above, full <= 50, max_order)).boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.steps += 1;
        state.deed = state.run(step);
        state
    }
}
