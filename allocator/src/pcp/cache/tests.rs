//! One thread's cache over four zones, each of a node of its own.

use proptest::prelude::*;

use super::*;
use crate::{
    gfp::MigrateType,
    node::{MemPolicy, NodeMask},
    pcp::{
        CachedTotals, Drained, Refill,
        caches::retire,
        sizing::PcpTuning,
        tests::{LOW, ZONES, caches, free, owner},
    },
    sync::Owner,
    zone::watermark::Watermarks,
};

const LIST: PcpList = PcpList::UNMOVABLE;

fn blocks_of(caches: &Arc<Caches>, owner: &Owner<ThreadCache>, zone: usize, count: usize) -> Vec<Block> {
    let refill = Refill { list: LIST, migratetype: MigrateType::Unmovable, flags: LOW };
    let one = |_| caches.rmqueue_pcplist(owner, ZoneNumber::new(zone), refill).expect("nearly all is free");
    (0..count).map(one).collect()
}

/// Returns a cache whose lists of each zone hold one frame more than the zone's number.
fn filled(caches: &Arc<Caches>) -> Owner<ThreadCache> {
    let owner = owner(caches);
    let blocks: Vec<_> = (0..ZONES).flat_map(|zone| blocks_of(caches, &owner, zone, zone + 1)).collect();
    caches.drain_all();
    for block in blocks {
        assert_eq!(owner.enter().expect("nobody drains").put_any(block, End::Hot), Put::Cached);
    }
    owner
}

fn counts(cache: &ThreadCache) -> Vec<u32> {
    cache.zones().map(ZonePcp::count).collect()
}

proptest! {
    #[test]
    fn lists_keep_their_zone_whichever_is_hot(moves in prop::collection::vec((0..ZONES, any::<bool>()), 1..20)) {
        let caches = caches(Handover::Direct);
        let owner = filled(&caches);
        let mut cache = owner.enter().expect("nobody drains");
        for (to, bound) in moves {
            let policy = PolicyState::new(MemPolicy::Local, NodeMask::ALL).expect("it names all");
            cache.set_policy(bound.then_some(policy));
            cache.move_to(Nid::new(to), ZoneNumber::new(to));
            prop_assert_eq!(cache.node(), Nid::new(to));
            prop_assert_eq!(counts(&cache), [1, 2, 3, 4]);
            for (zone, count) in (0..ZONES).zip(1..) {
                prop_assert_eq!(cache.zone_mut(zone).map(|pcp| pcp.count()), Some(count));
            }
            prop_assert!(cache.zone_mut(ZONES).is_none());
            // The fast path serves the thread's own zone, and nothing while a policy must be asked.
            let taken = cache.take(ZoneType::Normal, LOW, LIST, Order::ZERO);
            prop_assert_eq!(taken.map(Block::zone_index), (!bound).then_some(to));
            if let Some(block) = taken {
                prop_assert_eq!(cache.put(block), Put::Cached);
            }
        }
    }
}

/// Returns the tuning of the first zone after each of some steps on one list of single frames: so many are taken, or given back.
fn tuned_by(list: PcpList, steps: &[(usize, bool)]) -> Vec<PcpTuning> {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list, migratetype: list.migratetype(), flags: LOW };
    let mut owned = Vec::new();
    let after = |&(count, take): &(usize, bool)| {
        if take {
            let one = |_| caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill);
            owned.extend((0..count).map_while(one));
        } else {
            owned.drain(owned.len().saturating_sub(count)..).for_each(|block| free(&caches, &owner, block));
        }
        owner.enter().expect("nobody drains").zones().map(|pcp| *pcp.tuning()).next().expect("there are four")
    };
    steps.iter().map(after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn single_frames_are_counted_alike_whatever_they_were_taken_for(
        steps in prop::collection::vec((1..150_usize, any::<bool>()), 2..20)
    ) {
        let lists = MigrateType::PCP.map(|kind| PcpList::of(Order::ZERO, kind));
        let [first, second, third] = lists.map(|list| tuned_by(list, &steps));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(&first, &third);
    }
}

#[test]
fn a_zone_that_is_none_of_the_caches_is_not_moved_to() {
    let caches = caches(Handover::Direct);
    let owner = filled(&caches);
    let mut cache = owner.enter().expect("nobody drains");
    cache.move_to(Nid::new(7), ZoneNumber::new(ZONES));
    assert_eq!((cache.node(), counts(&cache)), (Nid::new(7), vec![1, 2, 3, 4]));
    let block = cache.take(ZoneType::Normal, LOW, LIST, Order::ZERO).expect("the hot zone is what it was");
    assert_eq!(block.zone_index(), 0);
    assert_eq!(cache.put(block), Put::Cached);
}

#[test]
fn where_each_handover_is_checked_the_fast_path_gives_and_takes_nothing() {
    let caches = caches(Handover::Checked);
    let owner = filled(&caches);
    let mut cache = owner.enter().expect("nobody drains");
    assert_eq!(cache.take(ZoneType::Normal, LOW, LIST, Order::ZERO), None);
    assert_eq!(cache.take_many(ZoneType::Normal, LOW, LIST, 1, |_| ()), 0);
    let block = cache.take_from(0, LIST, Order::ZERO).expect("there is one");
    assert_eq!(cache.put(block), Put::NoRoom);
    assert_eq!(cache.put_any(block, End::Hot), Put::Cached);
    cache.move_to(Nid::new(2), ZoneNumber::new(2));
    assert_eq!(cache.take(ZoneType::Normal, LOW, LIST, Order::ZERO), None);
}

#[test]
fn a_block_goes_to_the_end_of_its_list_that_was_asked() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let blocks = blocks_of(&caches, &owner, 1, 3);
    caches.drain_all();
    let mut cache = owner.enter().expect("nobody drains");
    for (&block, end) in blocks.iter().zip([End::Hot, End::Hot, End::Cold]) {
        assert_eq!(cache.put_any(block, end), Put::Cached);
    }
    let mut next = || cache.take_from(1, LIST, Order::ZERO);
    assert_eq!([next(), next(), next(), next()], [Some(blocks[1]), Some(blocks[0]), Some(blocks[2]), None]);
}

#[test]
fn a_request_whose_turn_is_elsewhere_is_served_there_or_told_that_it_may_not() {
    let caches = caches(Handover::Direct);
    let owner = filled(&caches);
    let mut cache = owner.enter().expect("nobody drains");
    let mut turn = |zone| cache.take_in_turn(ZoneNumber::new(zone), ZoneType::Normal, LOW, LIST, Order::ZERO);
    assert_eq!(turn(3).flatten().map(Block::zone_index), Some(3));
    assert_eq!(turn(0).flatten().map(Block::zone_index), Some(0));
    assert_eq!(turn(0), Some(None), "it may, and the list is empty");
    assert_eq!(turn(ZONES), None);
    let marks = Watermarks { min: 1 << 20, low: 1 << 20, high: 1 << 20, promo: 1 << 20, boost: 0 };
    caches.zones()[3].set_watermarks(marks, [0; 5]);
    assert_eq!(turn(3), None, "below its low mark");
}

#[test]
fn a_cache_whose_owner_is_inside_is_skipped_and_drained_when_it_has_left() {
    let caches = caches(Handover::Direct);
    let owner = filled(&caches);
    assert_eq!(caches.skipped(), 0);
    let inside = owner.enter().expect("nobody drains");
    assert_eq!((caches.drain_all(), caches.skipped()), (Drained { frames: 0, skipped: 1 }, 1));
    drop(inside);
    assert_eq!((caches.drain_all(), caches.skipped()), (Drained { frames: 10, skipped: 0 }, 1));
    let totals = caches.totals();
    assert!(totals.iter().all(|zone| zone.cached_frames == 0 && zone.allocated_frames == zone.freed_frames));
    assert_eq!(totals[2], CachedTotals { cached_frames: 0, allocated_frames: 3, freed_frames: 3 });
}

#[test]
fn what_nobody_used_for_three_visits_goes_back() {
    let caches = caches(Handover::Direct);
    let owner = filled(&caches);
    let aged = || caches.age().frames;
    // The first visit sees what was handed out and freed before it.
    assert_eq!([aged(), aged(), aged()], [0, 0, 0]);
    assert_eq!([aged(), aged()], [10, 0]);
    drop(owner);
}

#[test]
fn many_blocks_are_put_in_until_one_leaves_something_to_be_done() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    // Two zones in turn: what is alike is put in together, what is not by itself.
    let blocks: Vec<_> =
        [0, 0, 1, 0, 2, 2].into_iter().flat_map(|zone| blocks_of(&caches, &owner, zone, 1)).collect();
    caches.drain_all();
    let mut cache = owner.enter().expect("nobody drains");
    assert_eq!(cache.put_many(&mut blocks.iter().copied()), None);
    assert_eq!(counts(&cache), [3, 1, 2, 0]);
    assert_eq!(cache.balance(), 0);
    let mut took = Vec::new();
    assert_eq!(cache.take_many(ZoneType::Normal, LOW, LIST, 2, |block| took.push(block)), 2);
    // The last one that was put in is hot.
    assert_eq!(took, [blocks[3], blocks[1]]);
    assert_eq!((counts(&cache), cache.balance()), (vec![1, 1, 2, 0], -2));
    // Lists have room for so many; the next one is too much.
    let mut many = core::iter::repeat_n(blocks[0], 1 << 16);
    let (left, put) = cache.put_many(&mut many).expect("no list is so long");
    assert_eq!(left, blocks[0]);
    assert_ne!(put, Put::Cached);
    assert!(many.len() > 0);
}

#[test]
fn what_a_cache_gave_and_took_is_told_by_its_number_after_its_thread_has_ended_too() {
    let caches = caches(Handover::Direct);
    let [first, second] = [owner(&caches), owner(&caches)];
    let numbers = [&first, &second].map(|owner| owner.enter().expect("nobody drains").serial());
    assert_ne!(numbers[0], numbers[1]);
    let blocks = blocks_of(&caches, &first, 1, 3);
    // It gives back what it got, and one of the other's.
    let own = blocks_of(&caches, &second, 1, 1)[0];
    for block in [own, blocks[0]] {
        assert_eq!(second.enter().expect("nobody drains").put_any(block, End::Hot), Put::Cached);
    }
    let told = || {
        let mut told = Vec::new();
        let other = caches.balances(|number, balance| told.push((number, balance)));
        (told, other.ended)
    };
    assert_eq!(told(), (vec![(numbers[0], -3), (numbers[1], 1)], 0));
    let mut seen = Vec::new();
    caches.for_each(|place, cache| seen.push((place, cache.serial())));
    assert_eq!(seen, [(0, numbers[0]), (1, numbers[1])]);
    retire(&second);
    assert_eq!(told(), (vec![(numbers[0], -3)], 1));
}

#[test]
fn the_cache_of_an_ended_thread_lets_go_of_the_allocator() {
    let caches = caches(Handover::Direct);
    let alone = Arc::strong_count(&caches);
    let owner = owner(&caches);
    assert_eq!(Arc::strong_count(&caches), alone + 1);
    assert!(!caches.is_empty());
    retire(&owner);
    assert!(caches.is_empty());
    assert_eq!(Arc::strong_count(&caches), alone, "its thread may hold on to it for long");
}

#[test]
fn caches_that_nobody_sees_any_more_take_no_others() {
    let caches = caches(Handover::Direct);
    let owner = filled(&caches);
    caches.orphan();
    assert!(caches.is_empty());
    assert!(Caches::register(&caches, core::num::NonZeroUsize::MIN, Nid::new(0)).is_err());
    assert_eq!(caches.drain_all(), Drained::default());
    drop(owner);
}

#[test]
fn shares_change_when_threads_come_and_go_and_lists_shrink_to_them() {
    let caches = caches(Handover::Direct);
    let first = owner(&caches);
    let high_max = |owner: &Owner<ThreadCache>| {
        owner.enter().expect("nobody drains").zones().map(|pcp| pcp.tuning().high_max).next()
    };
    let alone = high_max(&first);
    let second = owner(&caches);
    let shared = high_max(&first);
    assert_ne!(alone, shared);
    assert_eq!(high_max(&second), shared);
    retire(&second);
    assert_eq!(high_max(&first), alone);
}
