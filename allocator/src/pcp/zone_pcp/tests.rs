//! The lists of one zone against plain queues and plain counts.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{
    frame::{AllocatorNumber, FrameTable, Pfn, ZoneNumber, prep_new_page},
    gfp::WmarkIndex,
    zone::{FirstFor, ZoneState},
};

const FRAMES: u32 = 1 << 18;
const LIMITS: PcpLimits = PcpLimits { batch: 7, high_min: 60, high_max: 400 };
const LOW: AllocFlags = AllocFlags::from_wmark(WmarkIndex::Low);

/// A zone's state in which requests may have a block, and which of its marks it is above.
fn state(high: bool) -> SharedZoneState {
    let state = SharedZoneState::new();
    state.publish(ZoneState::of(FirstFor::collect(|_| true), |_, mark, _| high || mark == WmarkIndex::Low));
    state
}

fn empty(state: SharedZoneState) -> ZonePcp {
    let mut pcp = ZonePcp::new(state, LIMITS).expect("there is memory");
    for (list, _) in (0..PcpList::COUNT).map(PcpList::with_index) {
        let memory = pcp.lists().memory().clone();
        let mut committed = u32::MAX;
        while committed != pcp.lists().committed(list) {
            committed = pcp.lists().committed(list);
            pcp.raise_capacity(list, memory.commit(list, committed));
        }
    }
    pcp
}

/// What the cache should hold and have counted, in the plainest form.
#[derive(Default)]
struct Plain {
    lists: [VecDeque<Block>; PcpList::COUNT],
    owned: Vec<Block>,
    next: u32,
    allocated: u64,
    freed: u64,
    high: u32,
    free_count: u32,
    alloc_factor: u8,
    singles: u32,
}

impl Plain {
    fn count(&self) -> u32 {
        self.lists.iter().flatten().map(|block| block.order().frames()).sum()
    }

    /// Returns blocks that the zone gives.
    fn fetch(&mut self, frames: &FrameTable, list: PcpList, order: Order, count: u32) -> Vec<Block> {
        let one = |_| {
            let pfn = Pfn::new(self.next);
            self.next = (self.next + order.frames()) % (FRAMES - 1024);
            prep_new_page(frames, pfn, list, ZoneNumber::new(0), order)
        };
        (0..count).map(one).collect()
    }

    fn took(&mut self, block: Block) {
        self.allocated += u64::from(block.order().frames());
        self.free_count /= 2;
        self.owned.push(block);
    }

    /// Notes that a block was put in, and says what that asks for, but for a stream of high orders.
    fn put(&mut self, block: Block, end: End) -> Put {
        let frames = block.order().frames();
        match end {
            End::Hot => self.lists[block.list().index()].push_back(block),
            End::Cold => self.lists[block.list().index()].push_front(block),
        }
        self.freed += u64::from(frames);
        if block.order() == Order::ZERO {
            self.free_count += 1;
            self.singles += 1;
        } else {
            self.alloc_factor /= 2;
            self.free_count += if self.free_count < LIMITS.batch << 5 { frames } else { 0 };
        }
        if self.count() < self.high { Put::Cached } else { Put::Overflow(FreeMode::Ordinary) }
    }

    /// Notes what the tuning hears of.
    fn hear(&mut self) {
        self.alloc_factor = self.alloc_factor.checked_shr(self.singles).unwrap_or(0);
        self.singles = 0;
        self.free_count = self.free_count.min(LIMITS.batch << 5);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { list: usize },
    TakeMany { list: usize, count: usize },
    Put { which: usize, cold: bool },
    PutAlike { which: usize },
    Refill { list: usize, count: u32 },
    PassThrough { list: usize },
    GiveUp { list: usize, blocks: usize },
    Tune { high: u32, alloc_factor: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let list = 0..PcpList::COUNT;
    prop_oneof![
        6 => list.clone().prop_map(|list| Step::Take { list }),
        2 => (0..3_usize, 0..12_usize).prop_map(|(list, count)| Step::TakeMany { list, count }),
        8 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, cold)| Step::Put { which, cold }),
        3 => any::<usize>().prop_map(|which| Step::PutAlike { which }),
        3 => (list.clone(), 1..9_u32).prop_map(|(list, count)| Step::Refill { list, count }),
        1 => list.clone().prop_map(|list| Step::PassThrough { list }),
        2 => (list, 0..9_usize).prop_map(|(list, blocks)| Step::GiveUp { list, blocks }),
        2 => (1..400_u32, 0..6_u8).prop_map(|(high, alloc_factor)| Step::Tune { high, alloc_factor }),
    ]
}

/// Makes a step on both, and compares what they answer.
fn make(step: Step, pcp: &mut ZonePcp, plain: &mut Plain, frames: &FrameTable) -> Result<(), TestCaseError> {
    match step {
        Step::Take { list } => {
            let (list, order) = PcpList::with_index(list);
            let taken = pcp.take_above_low(ZoneType::Normal, LOW, list, order);
            prop_assert_eq!(taken, plain.lists[list.index()].pop_back());
            taken.into_iter().for_each(|block| plain.took(block));
        }
        Step::TakeMany { list, count } => {
            let (list, _) = PcpList::with_index(list);
            let mut taken = Vec::new();
            let number =
                pcp.take_many_above_low(ZoneType::Normal, LOW, list, count, |block| taken.push(block));
            let there = &mut plain.lists[list.index()];
            let expected: Vec<_> = (0..count).map_while(|_| there.pop_back()).collect();
            prop_assert_eq!((number, &taken), (expected.len(), &expected));
            taken.into_iter().for_each(|block| plain.took(block));
        }
        Step::Put { which, cold } if !plain.owned.is_empty() => {
            let block = plain.owned.swap_remove(which % plain.owned.len());
            if pcp.make_room(block.list(), 1) == 0 {
                return Ok(());
            }
            let end = if cold { End::Cold } else { End::Hot };
            let expected = plain.put(block, end);
            let left = match block.order() {
                Order::ZERO if !cold => pcp.put_single(block.list(), block),
                order if order <= Order::new(3) && !cold => pcp.put_small(block.list(), order, block),
                _ => pcp.put(block, end),
            };
            // A stream of high orders is the tuning's to see, and its tests'.
            let is_stream = left == Put::Overflow(FreeMode::DrainAll) && block.order() != Order::ZERO;
            prop_assert!(is_stream || left == expected, "{left:?} for {expected:?}");
        }
        Step::PutAlike { which } => {
            let singles: Vec<_> =
                plain.owned.iter().filter(|block| block.order() == Order::ZERO).copied().collect();
            let Some(&first) = singles.get(which.checked_rem(singles.len()).unwrap_or(0)) else {
                return Ok(());
            };
            let mut rest = singles.iter().copied();
            let other = pcp.put_alike(first.list(), &mut rest, |block| block.list() == first.list());
            let room = plain.high.saturating_sub(plain.count() + 1) as usize;
            let fitting = singles.iter().take_while(|block| block.list() == first.list()).take(room).count();
            prop_assert_eq!(singles.len() - fitting, rest.len() + usize::from(other.is_some()));
            prop_assert_eq!(other, other.and_then(|_| singles.get(fitting).copied()));
            for &block in &singles[..fitting] {
                prop_assert_eq!(plain.put(block, End::Hot), Put::Cached);
                plain.owned.retain(|owned| *owned != block);
            }
        }
        Step::Refill { list, count } => {
            let (list, order) = PcpList::with_index(list);
            let room =
                u32::try_from(pcp.make_room(list, count as usize)).expect("a list holds at most 4096 blocks");
            let blocks = plain.fetch(frames, list, order, count.min(room));
            pcp.refill(list, order, blocks.iter().copied(), |_| unreachable!("there is room"));
            plain.lists[list.index()].extend(blocks);
        }
        Step::PassThrough { list } => {
            let (list, order) = PcpList::with_index(list);
            let block = plain.fetch(frames, list, order, 1)[0];
            pcp.count_passed_through(order);
            plain.took(block);
        }
        Step::GiveUp { list, blocks } => {
            let (list, _) = PcpList::with_index(list);
            let mut batch = FrameBatch::new();
            let given = pcp.give_up(list, blocks, &mut batch) as usize;
            let there = &mut plain.lists[list.index()];
            let expected: Vec<_> = (0..blocks).map_while(|_| there.pop_front()).map(Block::pfn).collect();
            prop_assert_eq!((given, batch.iter().collect::<Vec<_>>()), (expected.len(), expected));
        }
        Step::Tune { high, alloc_factor } => {
            plain.hear();
            let heard = pcp.tune(|tuning, count, pressure| {
                let heard = (count, pressure, tuning.free_count, tuning.alloc_factor);
                (tuning.high, tuning.alloc_factor) = (high, alloc_factor);
                heard
            });
            let expected = (plain.count(), ZonePressure::empty(), plain.free_count, plain.alloc_factor);
            prop_assert_eq!(heard, expected);
            (plain.high, plain.alloc_factor) = (high, alloc_factor);
        }
        Step::Put { .. } => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn lists_and_counts_are_those_of_plain_queues(steps in prop::collection::vec(step(), 1..150)) {
        let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), FRAMES as usize).expect("1 MiB");
        let (mut pcp, mut plain) = (empty(state(true)), Plain { high: LIMITS.high_min, ..Plain::default() });
        for step in steps {
            make(step, &mut pcp, &mut plain, &frames)?;
            prop_assert_eq!((pcp.count(), pcp.lists().frames()), (plain.count(), plain.count()));
            prop_assert_eq!((pcp.allocated_frames(), pcp.freed_frames()), (plain.allocated, plain.freed));
        }
    }
}

#[test]
fn a_zone_below_its_high_mark_is_under_pressure() {
    assert_eq!(empty(state(false)).tune(|_, _, pressure| pressure), ZonePressure::BELOW_HIGH);
    assert_eq!(empty(state(true)).tune(|_, _, pressure| pressure), ZonePressure::empty());
}

#[test]
fn a_shut_door_gives_nothing_until_it_is_opened() {
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), FRAMES as usize).expect("1 MiB");
    let mut pcp = empty(state(true));
    let list = PcpList::MOVABLE;
    let blocks = Plain::default().fetch(&frames, list, Order::ZERO, 2);
    pcp.refill(list, Order::ZERO, blocks.into_iter(), |_| unreachable!("there is room"));
    pcp.shut(&SharedZoneState::new());
    assert_eq!(pcp.take_above_low(ZoneType::Normal, LOW, list, Order::ZERO), None);
    assert_eq!(pcp.take_many_above_low(ZoneType::Normal, LOW, list, 2, |_| ()), 0);
    assert!(pcp.is_willing(ZoneType::Normal, LOW), "a request by turns does not come through the door");
    pcp.open();
    assert_eq!(pcp.take_many_above_low(ZoneType::Normal, LOW, list, 1, |_| ()), 1);
    assert!(pcp.take_above_low(ZoneType::Normal, LOW, list, Order::ZERO).is_some());
}

#[test]
fn a_block_without_room_is_not_counted() {
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), FRAMES as usize).expect("1 MiB");
    let mut pcp = ZonePcp::new(state(true), LIMITS).expect("there is memory");
    for (list, order) in [0, 1, 4, 13].map(PcpList::with_index) {
        let block = Plain::default().fetch(&frames, list, order, 1)[0];
        let puts = [pcp.put_single(list, block), pcp.put_small(list, order, block)];
        assert_eq!(puts, [Put::NoRoom, Put::NoRoom]);
        assert_eq!([End::Hot, End::Cold].map(|end| pcp.put(block, end)), [Put::NoRoom, Put::NoRoom]);
        let mut refused = Vec::new();
        pcp.refill(list, order, [block].into_iter(), |block| refused.push(block));
        assert_eq!((refused, pcp.count(), pcp.freed_frames()), (vec![block], 0, 0));
    }
}

#[test]
fn a_cache_is_as_old_as_nothing_happened_to_it() {
    let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), FRAMES as usize).expect("1 MiB");
    let mut pcp = empty(state(true));
    assert_eq!([pcp.age(), pcp.age()], [1, 2]);
    let block = Plain::default().fetch(&frames, PcpList::MOVABLE, Order::ZERO, 1)[0];
    pcp.count_passed_through(Order::ZERO);
    assert_eq!([pcp.age(), pcp.age()], [0, 1], "one was handed out");
    assert_eq!(pcp.put_single(PcpList::MOVABLE, block), Put::Cached);
    assert_eq!([pcp.age(), pcp.age(), pcp.age()], [0, 1, 2], "one was freed");
}
