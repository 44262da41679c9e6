//! The model's pageblocks that change what they are for, and ranges that are taken by address.

use super::model::{BLOCK_FRAMES, BLOCK_ORDER, Held, Model, Use};
use crate::{frame::Mobility, gfp::MigrateType};

/// What becomes of a pageblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    SetType(MigrateType),
    Isolate,
    UndoIsolate,
    Offline,
    Online,
}

impl Change {
    pub(super) const ALL: [Self; 6] = [
        Self::SetType(MigrateType::Movable),
        Self::SetType(MigrateType::Cma),
        Self::Isolate,
        Self::UndoIsolate,
        Self::Offline,
        Self::Online,
    ];
}

/// What a pageblock was before it was isolated, and whether it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Aside {
    before: Option<MigrateType>,
    offline: bool,
}

impl Model {
    /// Returns the first frame of the pageblock number `index`, modulo how many there are, as far as the zone has it.
    pub(super) fn pageblock(&self, index: u32) -> u32 {
        let blocks = self.end.div_ceil(BLOCK_FRAMES) - self.start / BLOCK_FRAMES;
        ((self.start / BLOCK_FRAMES + index % blocks) * BLOCK_FRAMES).max(self.start)
    }

    fn aside(&mut self, pfn: u32) -> &mut Aside {
        let block = self.block(pfn);
        &mut self.asides[block]
    }

    /// Tells whether all frames of the pageblock are there and free.
    fn is_whole_and_free(&self, pfn: u32) -> bool {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        first >= self.start && first + BLOCK_FRAMES <= self.end && self.block_use(pfn).0 == BLOCK_FRAMES
    }

    /// Takes the pageblock out of the block around it; the rest of that stays, in the largest blocks that it has.
    fn lift(&mut self, first: u32) {
        let kind = self.kind(first);
        let around = (BLOCK_ORDER..=self.max_order)
            .find(|&order| self.listed(order, kind).contains(&(first >> order << order)));
        let order = around.expect("a free pageblock is in a free block");
        let head = first >> order << order;
        self.set(order, kind).remove(&head);
        for half in BLOCK_ORDER..order {
            let other = (first >> half ^ 1) << half;
            self.set(half, kind).insert(other);
        }
    }

    fn set_type(&mut self, pfn: u32, kind: MigrateType) {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        if self.is_whole_and_free(pfn) {
            self.lift(first);
            self.retag(first, BLOCK_ORDER, kind);
            self.merge(first, BLOCK_ORDER);
        } else {
            self.turn_over(pfn, kind);
        }
    }

    /// Makes the change if it is possible, and tells whether it was.
    pub(super) fn change(&mut self, pfn: u32, change: Change) -> bool {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        let kind = self.kind(pfn);
        let Aside { before, offline } = *self.aside(pfn);
        match (change, before) {
            (Change::SetType(to), None) => {
                self.set_type(pfn, to);
                true
            }
            (Change::Isolate, None) => {
                self.set_type(pfn, MigrateType::Isolate);
                self.aside(pfn).before = Some(kind);
                true
            }
            (Change::UndoIsolate, Some(before)) if !offline => {
                self.set_type(pfn, before);
                self.aside(pfn).before = None;
                true
            }
            (Change::Offline, Some(_)) if !offline && self.is_whole_and_free(pfn) => {
                self.lift(first);
                self.uses_of(first, BLOCK_ORDER).fill(Use::Fixed);
                self.aside(pfn).offline = true;
                true
            }
            (Change::Online, Some(_)) if offline => {
                *self.aside(pfn) = Aside::default();
                self.retag(first, BLOCK_ORDER, MigrateType::Movable);
                self.free(Held { pfn: first, order: BLOCK_ORDER, taken_for: Mobility::Fixed });
                true
            }
            _ => false,
        }
    }

    /// Sets aside the pageblocks that a block lies in, if all of them are whole and of types that merge.
    pub(super) fn reserve(&mut self, held: Held) -> bool {
        let first = held.pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        let last = held.pfn + (1 << held.order) - 1;
        let pageblocks: Vec<u32> = (first..=last).step_by(BLOCK_FRAMES as usize).collect();
        let may = pageblocks.iter().all(|&at| {
            let whole = at >= self.start && at + BLOCK_FRAMES <= self.end;
            whole && MigrateType::PCP.contains(&self.kind(at))
        });
        if may {
            pageblocks.into_iter().for_each(|at| self.turn_over(at, MigrateType::HighAtomic));
        }
        may
    }

    /// Turns what is around the lowest of the smallest free blocks that are set aside over to a type, if there is one.
    pub(super) fn unreserve(&mut self, kind: MigrateType) -> bool {
        let aside = MigrateType::HighAtomic;
        let smallest =
            (0..=self.max_order).find_map(|order| Some((order, *self.listed(order, aside).first()?)));
        let Some((order, pfn)) = smallest else { return false };
        if order < BLOCK_ORDER {
            self.turn_over(pfn, kind);
        } else {
            self.set(order, aside).remove(&pfn);
            self.retag(pfn, order, kind);
            self.merge(pfn, order);
        }
        true
    }

    /// Takes all frames from `start` to before `end` if all are free, and returns the aligned blocks of at most 128 that they
    /// are.
    pub(super) fn take_range(&mut self, start: u32, end: u32) -> Option<Vec<Held>> {
        let range = (start - self.start) as usize..(end - self.start) as usize;
        if self.uses[range].iter().any(|&found| found != Use::Free) {
            return None;
        }
        for pfn in start..end {
            self.take_frame(pfn);
        }
        let mut blocks = Vec::new();
        let mut at = start;
        while at < end {
            let order = (0..=7).rev().find(|order| at.is_multiple_of(1 << order) && at + (1 << order) <= end);
            let order = order.expect("a frame is one");
            blocks.push(Held { pfn: at, order, taken_for: Mobility::Fixed });
            at += 1 << order;
        }
        Some(blocks)
    }

    /// Takes one free frame out of the block that it is in.
    fn take_frame(&mut self, pfn: u32) {
        let kind = self.kind(pfn);
        let around =
            (0..=self.max_order).find(|&order| self.listed(order, kind).contains(&(pfn >> order << order)));
        let order = around.expect("it is free");
        self.set(order, kind).remove(&(pfn >> order << order));
        for half in 0..order {
            self.set(half, kind).insert((pfn >> half ^ 1) << half);
        }
        self.uses_of(pfn, 0).fill(Use::Fixed);
    }

    /// Tells what the pageblock is besides its type.
    pub(super) fn aside_of(&self, pfn: u32) -> (bool, bool) {
        let Aside { before, offline } = self.asides[self.block(pfn)];
        (before.is_some() && !offline, offline)
    }
}
