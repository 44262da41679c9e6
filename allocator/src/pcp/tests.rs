//! A thread's way through its caches, refills and drains: no frame is lost, and no cache grows beyond its limits.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use core::num::NonZeroUsize;

use proptest::prelude::*;

use super::{sizing::HighFraction, *};
use crate::{
    frame::{
        AllocatorNumber, Block, FrameTable, LIST_FRAMES_MAX, Nid, Order, PcpList, Pfn, ZoneNumber,
        prep_new_page,
    },
    gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType},
    sync::{
        Arc, Owner,
        atomic::{AtomicBool, Ordering},
    },
    zone::{
        FirstFor, Freed, Grouping, PAGEBLOCK_FRAMES, Zone, ZoneSpan,
        watermark::{WatermarkRule, Watermarks},
    },
};

pub(super) const ZONES: usize = 4;
const FRAMES: u32 = 1 << 14;
pub(super) const LOW: AllocFlags = AllocFlags::from_wmark(WmarkIndex::Low);

/// Makes the caches of an allocator of four zones, each of a node of its own.
pub(super) fn caches(handover: Handover) -> Arc<Caches> {
    caches_of(FRAMES, HighFraction::AUTO, handover)
}

/// The same with zones of so many frames each, and limits of this kind.
fn caches_of(zone_frames: u32, fraction: HighFraction, handover: Handover) -> Arc<Caches> {
    let allocator = AllocatorNumber::new(1).expect("not 0");
    let frames = FrameTable::new(allocator, ZONES * zone_frames as usize).expect("4 bytes a frame");
    let zones = (0_u32..).zip(0..ZONES).map(|(begin, index)| {
        let end = Pfn::new((begin + 1) * zone_frames);
        let span = ZoneSpan {
            kind: ZoneType::Normal,
            node: Nid::new(index),
            number: ZoneNumber::new(index),
            start: Pfn::new(begin * zone_frames),
            end,
            online_end: end,
        };
        let first_for = FirstFor::collect(|highest| highest >= ZoneType::Normal);
        let rule = WatermarkRule::AnySuitable;
        let zone = Zone::new(span, Order::new(10), rule, frames.clone(), first_for, Grouping::ByMobility);
        let zone = zone.expect("small");
        zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
        zone
    });
    let hot_zones = (0..ZONES).map(ZoneNumber::new).collect();
    Arc::new(Caches::new(zones.collect(), frames.clone(), hot_zones, 1, fraction, 0, handover))
}

pub(super) fn owner(caches: &Arc<Caches>) -> Owner<ThreadCache> {
    Caches::register(caches, NonZeroUsize::MIN, Nid::new(0)).expect("there is memory")
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        zone: usize,
        list: usize,
        times: usize,
    },
    Free {
        which: usize,
        times: usize,
    },
    Age,
    Refit,
    Drain,
    /// Another thread comes and goes: shares are halved for a moment.
    Share,
    /// A pageblock is out of circulation for a moment: nothing of its zone may be cached.
    Isolate {
        zone: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize, 0..PcpList::COUNT, 1..120_usize)
            .prop_map(|(zone, list, times)| Step::Ask { zone, list, times }),
        8 => (any::<usize>(), 1..200_usize).prop_map(|(which, times)| Step::Free { which, times }),
        1 => Just(Step::Age),
        1 => Just(Step::Refit),
        1 => Just(Step::Drain),
        1 => Just(Step::Share),
        1 => (0..2_usize).prop_map(|zone| Step::Isolate { zone }),
    ]
}

pub(super) fn free(caches: &Arc<Caches>, owner: &Owner<ThreadCache>, block: Block) {
    let put = owner.enter().map_or_else(Put::from, |mut cache| cache.put(block));
    if put == Put::Cached {
        return;
    }
    if let Err(block) = caches.put_slow(owner, block, put) {
        let freed = caches.zones()[block.zone_index()].free_one(block.pfn(), block.order(), block.list());
        assert!(!matches!(freed, Freed::Closed(_)), "the zone is open");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_free_cached_or_owned_and_no_cache_exceeds_its_limits(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let caches = caches(Handover::Direct);
        let owner = owner(&caches);
        let mut owned: Vec<Block> = Vec::new();
        for step in steps {
            match step {
                Step::Ask { zone, list, times } => {
                    let (list, order) = PcpList::with_index(list);
                    let refill = Refill { list, migratetype: list.migratetype(), flags: LOW };
                    let number = ZoneNumber::new(zone);
                    let times = if order.get() > 3 { times % 3 } else { times };
                    let some = (0..times).map_while(|_| caches.rmqueue_pcplist(&owner, number, refill));
                    let some: Vec<_> = some.collect();
                    for &block in &some {
                        prop_assert_eq!((block.zone_index(), block.order(), block.list()), (zone, order, list));
                        prop_assert_eq!(block.pfn().get() % order.frames(), 0);
                    }
                    owned.extend(some);
                }
                Step::Free { which, times } => {
                    for turn in 0..times.min(owned.len()) {
                        let block = owned.swap_remove(which.wrapping_add(turn * 7) % owned.len());
                        free(&caches, &owner, block);
                    }
                }
                Step::Age => drop(caches.age()),
                Step::Refit => prop_assert_eq!(caches.refit().frames, 0, "nothing has changed"),
                Step::Drain => {
                    let cached: u64 = caches.totals().iter().map(|zone| zone.cached_frames).sum();
                    prop_assert_eq!(caches.drain_all(), Drained { frames: cached, skipped: 0 });
                }
                Step::Share => {
                    let key = NonZeroUsize::MIN.saturating_add(1);
                    let other = Caches::register(&caches, key, Nid::new(1)).expect("there is memory");
                    prop_assert_eq!(caches.len(), 2);
                    caches::retire(&other);
                }
                Step::Isolate { zone } => {
                    let cached = caches.totals()[zone].cached_frames;
                    let start = caches.zones()[zone].span().start;
                    let pageblock = start..start.add(PAGEBLOCK_FRAMES);
                    caches.zones()[zone].start_isolate(&pageblock).expect("nobody else isolates");
                    prop_assert_eq!(caches.refit(), Drained { frames: cached, skipped: 0 });
                    prop_assert_eq!(caches.totals()[zone].cached_frames, 0);
                    caches.zones()[zone].undo_isolate(&pageblock);
                    prop_assert_eq!(caches.refit().frames, 0, "it may be cached again");
                }
            }
            prop_assert_eq!(caches.len(), 1);
            for (index, (zone, total)) in caches.zones().iter().zip(caches.totals()).enumerate() {
                let out = owned.iter().filter(|block| block.zone_index() == index);
                let out: u64 = out.map(|block| u64::from(block.order().frames())).sum();
                prop_assert_eq!(zone.nr_free_pages() + total.cached_frames + out, u64::from(FRAMES));
                prop_assert!(total.cached_frames <= u64::from(caches.limits(zone).high_max));
            }
        }
        owned.into_iter().for_each(|block| free(&caches, &owner, block));
        caches.drain_all();
        prop_assert!(caches.zones().iter().all(|zone| zone.nr_free_pages() == u64::from(FRAMES)));
    }

    #[test]
    fn a_closed_allocator_is_done_with_when_its_last_block_has_come_back(
        lists in prop::collection::vec((0..ZONES, 0..PcpList::COUNT), 0..12)
    ) {
        let caches = caches(Handover::Direct);
        let owner = owner(&caches);
        let one = |(zone, list)| {
            let (list, _) = PcpList::with_index(list);
            let refill = Refill { list, migratetype: list.migratetype(), flags: LOW };
            caches.rmqueue_pcplist(&owner, ZoneNumber::new(zone), refill).expect("nearly all is free")
        };
        let owned: Vec<Block> = lists.into_iter().map(one).collect();
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        caches.close(Box::new(move || is_done.store(true, Ordering::Relaxed)));
        for block in owned {
            prop_assert!(!done.load(Ordering::Relaxed), "a block is out");
            let freed = caches.zones()[block.zone_index()].free_one(block.pfn(), block.order(), block.list());
            prop_assert_eq!(freed, Freed::Closed(u64::from(block.order().frames())));
            caches.settle(u64::from(block.order().frames()));
        }
        prop_assert!(done.load(Ordering::Relaxed));
    }
}

#[test]
fn a_miss_fetches_a_batch_and_doubles_it_as_long_as_nothing_comes_back() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list: PcpList::MOVABLE, migratetype: MigrateType::Movable, flags: LOW };
    let mut fetched = Vec::new();
    let mut cached = 0;
    for _ in 0..600 {
        let before = cached;
        caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill).expect("nearly all is free");
        cached = caches.totals()[0].cached_frames;
        if cached + 1 != before {
            fetched.push(cached + 1);
        }
    }
    assert_eq!(fetched, [63, 126, 252, 504]);
}

#[test]
fn a_zone_with_nothing_to_give_leaves_the_cache_empty() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list: PcpList::MOVABLE, migratetype: MigrateType::Movable, flags: LOW };
    while caches.zones()[1].rmqueue_buddy(Order::new(10), MigrateType::Movable, LOW).is_some() {}
    assert_eq!(caches.rmqueue_pcplist(&owner, ZoneNumber::new(1), refill), None);
    assert_eq!(caches.totals()[1], CachedTotals::default());
}

#[test]
fn what_a_claimed_cache_cannot_take_goes_back_to_its_zone() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list: PcpList::MOVABLE, migratetype: MigrateType::Movable, flags: LOW };
    let inside = owner.enter().expect("nobody drains");
    assert_eq!(caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill), None);
    drop(inside);
    assert_eq!(caches.zones()[0].nr_free_pages(), u64::from(FRAMES));
    let block = caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill).expect("nearly all is free");
    let inside = owner.enter().expect("nobody drains");
    for put in [Put::Reentered, Put::Claimed, Put::NoRoom] {
        assert_eq!(caches.put_slow(&owner, block, put), Err(block));
    }
    drop(inside);
    assert_eq!(caches.put_slow(&owner, block, Put::NoRoom), Ok(()));
}

#[test]
fn a_block_of_a_zone_that_may_not_be_cached_is_taken_back_unless_another_is_there() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list: PcpList::MOVABLE, migratetype: MigrateType::Movable, flags: LOW };
    let ask = || caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill).expect("nearly all is free");
    let [first, second] = [ask(), ask()];
    caches.drain_all();
    let cached = || caches.totals()[0].cached_frames;
    for block in [first, second] {
        assert_eq!(owner.enter().expect("nobody drains").put(block), Put::Cached);
    }
    assert!(!caches.take_back(&owner, second), "the zone may be cached");
    let pageblock = Pfn::new(FRAMES / 2)..Pfn::new(FRAMES / 2 + 512);
    caches.zones()[0].start_isolate(&pageblock).expect("nobody else isolates");
    assert!(!caches.take_back(&owner, first), "it is not the hottest");
    assert_eq!(cached(), 2);
    assert!(caches.take_back(&owner, second));
    assert_eq!(cached(), 1);
    assert!(caches.take_back(&owner, first));
    assert!(!caches.take_back(&owner, first), "the list is empty");
}

#[test]
fn the_owner_of_a_cache_drains_all_that_it_holds() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    for (zone, list) in [(0, PcpList::MOVABLE), (1, PcpList::UNMOVABLE)] {
        let refill = Refill { list, migratetype: list.migratetype(), flags: LOW };
        caches.rmqueue_pcplist(&owner, ZoneNumber::new(zone), refill).expect("nearly all is free");
    }
    assert!(caches.totals().iter().filter(|zone| zone.cached_frames > 0).count() == 2);
    caches.drain_own(&owner);
    assert!(caches.totals().iter().all(|zone| zone.cached_frames == 0));
}

#[test]
fn a_list_has_no_more_memory_than_its_blocks_need() {
    let caches = caches(Handover::Direct);
    let owner = owner(&caches);
    let refill = Refill { list: PcpList::MOVABLE, migratetype: MigrateType::Movable, flags: LOW };
    let committed = |zone: usize| {
        let mut cache = owner.enter().expect("nobody drains");
        cache.zone_mut(zone).expect("there are four").lists().committed(PcpList::MOVABLE)
    };
    // A block that is handed out at once is never in the list: a zone with a single frame left.
    let zone = &caches.zones()[1];
    let take = |order| zone.rmqueue_buddy(Order::new(order), MigrateType::Movable, LOW);
    while zone.nr_free_pages() > 1 << 10 {
        take(10).expect("there is more than one");
    }
    (0..10).rev().for_each(|order| assert!(take(order).is_some(), "half of what is left"));
    assert!(caches.rmqueue_pcplist(&owner, ZoneNumber::new(1), refill).is_some());
    assert_eq!((zone.nr_free_pages(), committed(1)), (0, 0));
    // A batch needs a part of what a list may have.
    assert!(caches.rmqueue_pcplist(&owner, ZoneNumber::new(0), refill).is_some());
    let cached = caches.totals()[0].cached_frames;
    assert!((cached..u64::from(LIST_FRAMES_MAX)).contains(&u64::from(committed(0))));
}

#[test]
fn a_list_that_is_as_long_as_it_may_be_loses_what_was_freed_in_a_row() {
    // High is an eighth of the zone, which one list cannot hold.
    let fraction = HighFraction::new(8).expect("the least that there is");
    let caches = caches_of(1 << 18, fraction, Handover::Direct);
    let owner = owner(&caches);
    let (list, zone) = (PcpList::MOVABLE, ZoneNumber::new(0));
    let batch = caches.limits(&caches.zones()[0]).batch;
    let length = || caches.totals()[0].cached_frames;
    let put = || {
        let pfn = caches.zones()[0]
            .rmqueue_buddy(Order::ZERO, MigrateType::Movable, LOW)
            .expect("nearly all is free");
        free(&caches, &owner, prep_new_page(&caches.frames, pfn, list, zone, Order::ZERO));
        length()
    };
    while put() < u64::from(LIST_FRAMES_MAX) {}
    // As many as the largest batch were freed in a row; in their place is the one that found no room.
    let row = u64::from(batch << 5);
    assert_eq!(put(), u64::from(LIST_FRAMES_MAX) - row + 1);
    for _ in 1..row {
        put();
    }
    assert_eq!(length(), u64::from(LIST_FRAMES_MAX));
    // After requests, at least a batch goes.
    let taken: Vec<_> =
        (0..40).map(|_| owner.enter().expect("nobody drains").take_from(0, list, Order::ZERO)).collect();
    assert!(taken.iter().all(Option::is_some));
    for block in taken.into_iter().flatten() {
        free(&caches, &owner, block);
    }
    assert_eq!(put(), u64::from(LIST_FRAMES_MAX - batch + 1));
}
