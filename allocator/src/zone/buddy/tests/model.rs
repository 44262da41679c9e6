//! A plain picture of the free areas: ordered sets of free blocks, and a mark for every frame.
//!
//! The rules are those of Linux 6.15 and later, written down a second time, one block at a time and without regard to
//! speed: what a bitmap answers with a count of zeros is a search here. Nothing is shared with what is tested.

use std::collections::BTreeSet;

use super::pageblocks::Aside;
use crate::{
    frame::Mobility,
    gfp::{AllocFlags, MigrateType},
};

/// log2 of a pageblock's frames, and their number.
pub(super) const BLOCK_ORDER: u8 = 9;
pub(super) const BLOCK_FRAMES: u32 = 512;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    Fixed,
    Movable,
}

/// A block that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) pfn: u32,
    pub(super) order: u8,
    pub(super) taken_for: Mobility,
}

/// How a request found its block, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Found {
    OwnType,
    Cma,
    ClaimWhole,
    ClaimPageblock,
    Steal,
    /// Nothing without mixing types, which the request forbids.
    RefusedByNoFragment,
    Nothing,
}

/// Where the next search of one critical section begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Normal,
    Cma,
    Claim,
    Steal,
}

/// What the requests of one critical section did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) pfns: Vec<u32>,
    pub(super) found: Vec<Found>,
    pub(super) claimed: u32,
    pub(super) stolen: u32,
    pub(super) boosts: u32,
    /// Pageblocks that were looked at and were neither free nor alike enough.
    pub(super) claims_refused: u32,
}

/// A request of one or several blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) order: u8,
    pub(super) kind: MigrateType,
    pub(super) flags: AllocFlags,
    pub(super) grouped: bool,
}

/// The free areas as sets.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) max_order: u8,
    types: Vec<MigrateType>,
    free: Vec<Vec<BTreeSet<u32>>>,
    pub(super) uses: Vec<Use>,
    pub(super) asides: Vec<Aside>,
}

const fn others(kind: MigrateType) -> [MigrateType; 2] {
    match kind {
        MigrateType::Unmovable => [MigrateType::Reclaimable, MigrateType::Movable],
        MigrateType::Movable => [MigrateType::Reclaimable, MigrateType::Unmovable],
        _ => [MigrateType::Unmovable, MigrateType::Movable],
    }
}

const fn mergeable(kind: MigrateType) -> bool {
    !matches!(kind, MigrateType::HighAtomic | MigrateType::Cma | MigrateType::Isolate)
}

impl Model {
    pub(super) fn new(start: u32, end: u32, max_order: u8) -> Self {
        let blocks = end.div_ceil(BLOCK_FRAMES) - start / BLOCK_FRAMES;
        let mut model = Self {
            start,
            end,
            max_order,
            types: vec![MigrateType::Movable; blocks as usize],
            free: vec![vec![BTreeSet::new(); usize::from(max_order) + 1]; MigrateType::ALL.len()],
            uses: vec![Use::Fixed; (end - start) as usize],
            asides: vec![Aside::default(); blocks as usize],
        };
        // Frame by frame: what cannot merge any further is what booting must arrive at.
        for pfn in start..end {
            model.free(Held { pfn, order: 0, taken_for: Mobility::Fixed });
        }
        model
    }

    pub(super) fn block(&self, pfn: u32) -> usize {
        (pfn / BLOCK_FRAMES - self.start / BLOCK_FRAMES) as usize
    }

    pub(super) fn kind(&self, pfn: u32) -> MigrateType {
        self.types[self.block(pfn)]
    }

    /// Returns how many pageblocks are of a type, counted one by one.
    pub(super) fn pageblocks(&self, kind: MigrateType) -> usize {
        self.types.iter().filter(|&&found| found == kind).count()
    }

    pub(super) fn set(&mut self, order: u8, kind: MigrateType) -> &mut BTreeSet<u32> {
        &mut self.free[kind.index()][usize::from(order)]
    }

    pub(super) fn listed(&self, order: u8, kind: MigrateType) -> &BTreeSet<u32> {
        &self.free[kind.index()][usize::from(order)]
    }

    pub(super) fn uses_of(&mut self, pfn: u32, order: u8) -> &mut [Use] {
        let first = (pfn - self.start) as usize;
        &mut self.uses[first..first + (1 << order)]
    }

    pub(super) fn nr_free(&self, order: u8, kind: MigrateType) -> u32 {
        u32::try_from(self.listed(order, kind).len()).expect("small")
    }

    pub(super) fn free_frames_of(&self, kind: MigrateType) -> u64 {
        (0u8..).zip(&self.free[kind.index()]).map(|(order, set)| (set.len() as u64) << order).sum()
    }

    pub(super) fn free_frames(&self) -> u64 {
        let circulating = MigrateType::ALL.iter().filter(|&&kind| kind != MigrateType::Isolate);
        circulating.map(|&kind| self.free_frames_of(kind)).sum()
    }

    /// Returns the free and the movable frames of the pageblock around `pfn`, counted one by one.
    pub(super) fn block_use(&self, pfn: u32) -> (u32, u32) {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        let inside = first.max(self.start)..(first + BLOCK_FRAMES).min(self.end);
        let uses = &self.uses[(inside.start - self.start) as usize..(inside.end - self.start) as usize];
        let count = |wanted| uses.iter().filter(|&&found| found == wanted).count();
        let small = |count| u32::try_from(count).expect("at most 512");
        (small(count(Use::Free)), small(count(Use::Movable)))
    }

    /// Tells whether no free block that touches the pageblock is larger than half of it.
    pub(super) fn is_split(&self, pfn: u32) -> bool {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        (BLOCK_ORDER..=self.max_order).all(|order| {
            let head = first >> order << order;
            !MigrateType::ALL.iter().any(|&kind| self.listed(order, kind).contains(&head))
        })
    }

    /// Compares what lies where with what lists say: every free frame in exactly one block, of its pageblock's type, and
    /// no two blocks that could be one.
    pub(super) fn check(&self) {
        let mut covered = vec![false; self.uses.len()];
        for kind in MigrateType::ALL {
            for order in 0..=self.max_order {
                for &pfn in self.listed(order, kind) {
                    assert_eq!(pfn & ((1 << order) - 1), 0);
                    assert_eq!(self.kind(pfn), kind, "the block at {pfn:#x} is on another type's list");
                    for frame in pfn - self.start..pfn - self.start + (1 << order) {
                        assert!(!covered[frame as usize] && self.uses[frame as usize] == Use::Free);
                        covered[frame as usize] = true;
                    }
                    let buddy = pfn ^ 1 << order;
                    let inside = (self.start..self.end).contains(&buddy);
                    if order < self.max_order
                        && inside
                        && self.listed(order, self.kind(buddy)).contains(&buddy)
                    {
                        assert!(order >= BLOCK_ORDER && !(mergeable(kind) && mergeable(self.kind(buddy))));
                    }
                }
            }
        }
        let free = self.uses.iter().filter(|&&found| found == Use::Free).count();
        assert_eq!(covered.iter().filter(|&&covered| covered).count(), free);
    }

    pub(super) fn retag(&mut self, pfn: u32, order: u8, kind: MigrateType) {
        for block in 0..1u32 << (order - BLOCK_ORDER) {
            let block = self.block(pfn + block * BLOCK_FRAMES);
            self.types[block] = kind;
        }
    }

    fn expand(&mut self, pfn: u32, low: u8, high: u8, kind: MigrateType) {
        let mut order = high;
        while order > low {
            order -= 1;
            self.set(order, kind).insert(pfn + (1 << order));
        }
    }

    fn hand_out(&mut self, pfn: u32, order: u8, taken_for: Mobility) -> u32 {
        let mark = if taken_for == Mobility::Movable { Use::Movable } else { Use::Fixed };
        let uses = self.uses_of(pfn, order);
        assert!(uses.iter().all(|&found| found == Use::Free), "handed out twice");
        uses.fill(mark);
        pfn
    }

    pub(super) fn smallest(&mut self, order: u8, kind: MigrateType, taken_for: Mobility) -> Option<u32> {
        let current = (order..=self.max_order).find(|&current| !self.listed(current, kind).is_empty())?;
        let pfn = self.set(current, kind).pop_first()?;
        self.expand(pfn, order, current, kind);
        Some(self.hand_out(pfn, order, taken_for))
    }

    /// Serves one critical section's requests.
    pub(super) fn bulk(&mut self, ask: Ask, count: u32) -> Taken {
        let mut taken = Taken::default();
        let mut mode = Mode::Normal;
        for _ in 0..count {
            let (pfn, found) = self.rmqueue(ask, &mut mode, &mut taken);
            taken.found.push(found);
            let Some(pfn) = pfn else { break };
            taken.pfns.push(pfn);
        }
        taken
    }

    fn rmqueue(&mut self, ask: Ask, mode: &mut Mode, taken: &mut Taken) -> (Option<u32>, Found) {
        let Ask { order, kind, flags, .. } = ask;
        let mobility = Mobility::of(kind);
        let cma = flags.contains(AllocFlags::CMA);
        if cma && self.free_frames_of(MigrateType::Cma) > self.free_frames() / 2 {
            let pfn = self.smallest(order, MigrateType::Cma, mobility);
            if pfn.is_some() {
                return (pfn, Found::Cma);
            }
        }
        loop {
            match *mode {
                Mode::Normal => {
                    let pfn = self.smallest(order, kind, mobility);
                    if pfn.is_some() {
                        return (pfn, Found::OwnType);
                    }
                    *mode = Mode::Cma;
                }
                Mode::Cma => {
                    let pfn = if cma { self.smallest(order, MigrateType::Cma, mobility) } else { None };
                    if pfn.is_some() {
                        return (pfn, Found::Cma);
                    }
                    *mode = Mode::Claim;
                }
                Mode::Claim => {
                    if let Some((pfn, found)) = self.claim(ask, taken) {
                        *mode = Mode::Normal;
                        taken.claimed += 1;
                        return (Some(pfn), found);
                    }
                    *mode = Mode::Steal;
                }
                Mode::Steal if flags.contains(AllocFlags::NOFRAGMENT) => {
                    return (None, Found::RefusedByNoFragment);
                }
                Mode::Steal => {
                    let pfn = self.steal(ask);
                    taken.stolen += u32::from(pfn.is_some());
                    return (pfn, if pfn.is_some() { Found::Steal } else { Found::Nothing });
                }
            }
        }
    }

    fn victim(&self, order: u8, kind: MigrateType) -> Option<MigrateType> {
        others(kind).into_iter().find(|&other| !self.listed(order, other).is_empty())
    }

    fn claim(&mut self, ask: Ask, taken: &mut Taken) -> Option<(u32, Found)> {
        let Ask { order, kind, flags, grouped } = ask;
        let least = if flags.contains(AllocFlags::NOFRAGMENT) { order.max(BLOCK_ORDER) } else { order };
        let mut current = self.max_order + 1;
        while current > least {
            current -= 1;
            let worth = current >= BLOCK_ORDER / 2
                || kind == MigrateType::Unmovable
                || kind == MigrateType::Reclaimable
                || !grouped;
            if !worth {
                return None;
            }
            let Some(victim) = self.victim(current, kind) else { continue };
            let pfn = *self.listed(current, victim).first().expect("the victim has one");
            if current >= BLOCK_ORDER {
                self.set(current, victim).remove(&pfn);
                // However large the block is, 4 MiB of it change hands, unless the request is larger.
                let converted = current.min(order.max(10));
                self.expand(pfn, converted, current, victim);
                self.retag(pfn, converted, kind);
                self.expand(pfn, order, converted, kind);
                return Some((self.hand_out(pfn, order, Mobility::of(kind)), Found::ClaimWhole));
            }
            taken.boosts += 1;
            let (free, movable) = self.block_use(pfn);
            let alike = if kind == MigrateType::Movable {
                movable
            } else if victim == MigrateType::Movable {
                BLOCK_FRAMES - free - movable
            } else {
                0
            };
            if free + alike >= BLOCK_FRAMES / 2 || !grouped {
                self.turn_over(pfn, kind);
                let pfn =
                    self.smallest(order, kind, Mobility::of(kind)).expect("what was turned over is there");
                return Some((pfn, Found::ClaimPageblock));
            }
            taken.claims_refused += 1;
        }
        None
    }

    /// Moves the free blocks of a split pageblock to another type's lists.
    pub(super) fn turn_over(&mut self, pfn: u32, kind: MigrateType) {
        let first = pfn / BLOCK_FRAMES * BLOCK_FRAMES;
        let from = self.kind(pfn);
        for order in 0..BLOCK_ORDER {
            let moved: Vec<u32> =
                self.listed(order, from).range(first..first + BLOCK_FRAMES).copied().collect();
            for pfn in moved {
                self.set(order, from).remove(&pfn);
                self.set(order, kind).insert(pfn);
            }
        }
        self.retag(pfn, BLOCK_ORDER, kind);
    }

    fn steal(&mut self, ask: Ask) -> Option<u32> {
        let (current, victim) =
            (ask.order..=self.max_order).find_map(|order| Some((order, self.victim(order, ask.kind)?)))?;
        let pfn = self.set(current, victim).pop_first()?;
        self.expand(pfn, ask.order, current, victim);
        Some(self.hand_out(pfn, ask.order, Mobility::of(ask.kind)))
    }

    /// Frees a block, pageblock by pageblock, each merged as far as it goes.
    pub(super) fn free(&mut self, held: Held) {
        let Held { pfn, order, .. } = held;
        let uses = self.uses_of(pfn, order);
        assert!(uses.iter().all(|&found| found != Use::Free), "freed twice");
        uses.fill(Use::Free);
        let piece = order.min(BLOCK_ORDER);
        for index in 0..1u32 << (order - piece) {
            self.merge(pfn + (index << piece), piece);
        }
    }

    pub(super) fn merge(&mut self, pfn: u32, order: u8) {
        let kind = self.kind(pfn);
        let (mut at, mut order) = (pfn, order);
        while order < self.max_order {
            let buddy = at ^ 1 << order;
            if !(self.start..self.end).contains(&buddy) {
                break;
            }
            let other = self.kind(buddy);
            if !self.listed(order, other).contains(&buddy) {
                break;
            }
            if other != kind {
                if !(mergeable(other) && mergeable(kind)) {
                    break;
                }
                self.retag(buddy, order, kind);
            }
            self.set(order, other).remove(&buddy);
            at &= buddy;
            order += 1;
        }
        self.set(order, kind).insert(at);
    }
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "frames {:#x}..{:#x}, orders 0 to {}", self.start, self.end, self.max_order)
    }
}
