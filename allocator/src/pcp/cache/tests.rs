//! One thread's cache over four zones, each of a node of its own.

use proptest::prelude::*;

use super::*;
use crate::{
    gfp::MigrateType,
    node::{MemPolicy, NodeMask},
    pcp::{
        CachedTotals, Drained, Refill,
        tests::{LOW, ZONES, caches, owner},
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
