//! When a request turns to whom, and what it says of itself there.

use core::{cell::Cell, time::Duration};
use std::sync::mpsc::channel;

use super::{FRAMES, asked, cache, domain, free, number};
use crate::{
    Gfp,
    alloc::{
        AllocContext, Asked, Domain, NoPressure, NodeReclaim, PastCache, Pressure, alloc_pages,
        direct::rmqueue_direct, free_pages_ok, freelist::rmqueue, get_page_from_freelist,
        prepare_alloc_pages,
    },
    error::{AllocError, FailReason},
    frame::{Block, Nid, Order, PcpList, ZoneNumber},
    gfp::{AllocFlags, MigrateType, NoIoScope, WmarkIndex, ZoneType},
    node::{InForce, MemPolicy, NodeMask, PolicyState, Target, ZoneRef},
    sync::{Arc, Mutex, thread},
    zone::{Content, Freed, Waiting},
};

/// How somebody was turned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Wakeup,
    NodeReclaim,
    Slowpath { gfp: Gfp, waiting: Waiting, has_cache: bool },
}

/// Notes who turns to it, and does what it was told to.
#[derive(Debug)]
struct Noted {
    turns: Mutex<Vec<Turn>>,
    /// A block that reclaim frees, and what it says then.
    reclaim: Mutex<(Option<Block>, NodeReclaim)>,
    /// Whether the allocator is closed meanwhile.
    closes: bool,
}

impl Noted {
    fn new() -> Self {
        let reclaim = Mutex::new((None, NodeReclaim::NoScan));
        Self { turns: Mutex::new(Vec::new()), reclaim, closes: false }
    }

    fn take(&self) -> Vec<Turn> {
        core::mem::take(&mut *self.turns.lock())
    }
}

impl Pressure for Noted {
    fn wakeup_kswapd(&self, _: &Domain, _: ZoneNumber, _: Gfp, _: Order, _: ZoneType) {
        self.turns.lock().push(Turn::Wakeup);
    }

    fn node_reclaim(&self, domain: &Domain, _: Nid, _: Nid, _: Gfp, _: Order) -> NodeReclaim {
        self.turns.lock().push(Turn::NodeReclaim);
        let (block, done) = &mut *self.reclaim.lock();
        if let Some(block) = block.take() {
            free_pages_ok(domain, block, Waiting::Allowed).expect("in use");
        }
        *done
    }

    fn alloc_pages_slowpath(
        &self,
        asked: &Asked<'_>,
        _: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        let &Asked { gfp, waiting, owner, .. } = asked;
        self.turns.lock().push(Turn::Slowpath { gfp, waiting, has_cache: owner.is_some() });
        if self.closes {
            asked.domain.refuse_requests();
        }
        Err(error)
    }
}

/// Takes what there is at the low mark in blocks of order 10, and returns the last one.
fn take_all(domain: &Domain) -> Block {
    let content = Cell::default();
    let request = asked(domain, &NoPressure, Gfp::KERNEL, 10, &content);
    core::iter::from_fn(|| alloc_pages(&request).ok()).last().expect("room")
}

#[test]
fn a_request_says_who_it_is_to_those_it_turns_to() {
    let domain = domain(&[FRAMES], 0);
    take_all(&domain);
    let owner = cache(&domain);
    let (pressure, content) = (Noted::new(), Cell::default());
    let request = Asked { owner: Some(&owner), ..asked(&domain, &pressure, Gfp::KERNEL, 10, &content) };
    let turned = |gfp, waiting, has_cache| [Turn::NodeReclaim, Turn::Slowpath { gfp, waiting, has_cache }];
    assert_eq!(alloc_pages(&request).expect_err("all is taken").reason(), FailReason::NoMemory);
    assert_eq!(pressure.take(), turned(Gfp::KERNEL, Waiting::Allowed, true));

    let scope = NoIoScope::enter();
    assert_eq!(alloc_pages(&request).expect_err("all is taken").gfp(), Gfp::NOIO);
    assert_eq!(pressure.take(), turned(Gfp::NOIO, Waiting::Allowed, true));
    drop(scope);

    // As in a signal handler that finds its thread in the cache.
    let inside = owner.enter().expect("nobody is");
    assert_eq!(alloc_pages(&request).expect_err("all is taken").reason(), FailReason::WouldBlock);
    assert_eq!(pressure.take(), turned(Gfp::KERNEL, Waiting::Never, false)[1..]);
    drop(inside);
}

#[test]
fn a_request_that_fails_as_its_allocator_closes_says_so() {
    let domain = domain(&[FRAMES], 0);
    take_all(&domain);
    let (pressure, content) = (Noted { closes: true, ..Noted::new() }, Cell::default());
    let request = asked(&domain, &pressure, Gfp::KERNEL, 10, &content);
    assert_eq!(alloc_pages(&request).expect_err("all is taken").reason(), FailReason::Closed);
    assert_eq!(pressure.take().len(), 2, "it was open when it began");
}

#[test]
fn a_request_moves_its_thread_s_cache_to_its_node() {
    let domain = domain(&[FRAMES, FRAMES], 1);
    let owner = cache(&domain);
    let node = || owner.enter().expect("nobody is inside").node();
    assert_eq!(node(), Nid::new(0));
    let content = Cell::default();
    let request = Asked { owner: Some(&owner), ..asked(&domain, &NoPressure, Gfp::KERNEL, 0, &content) };
    for _ in 0..2 {
        let block = alloc_pages(&request).expect("room");
        assert_eq!((node(), block.zone_index()), (Nid::new(1), 1));
    }
}

#[test]
fn a_thread_with_a_policy_waits_for_who_drains_its_cache_if_it_may() {
    let domain = Arc::new(domain(&[FRAMES, FRAMES], 0));
    let (cells, cell) = channel();
    let (claims, claimed) = channel::<()>();
    let (firsts, first) = channel();
    let bound = thread::spawn({
        let domain = Arc::clone(&domain);
        move || {
            let owner = cache(&domain);
            let policy = MemPolicy::Bind(NodeMask::of(Nid::new(1)));
            let policy = PolicyState::new(policy, domain.zonelists().with_memory()).expect("it has memory");
            owner.enter().expect("nobody is inside").set_policy(Some(policy));
            let _in_force = InForce::begin();
            cells.send(Arc::clone(owner.cell())).expect("somebody waits");
            claimed.recv().expect("a word");
            let node = |gfp| {
                let content = Cell::default();
                let request = Asked { owner: Some(&owner), ..asked(&domain, &NoPressure, gfp, 0, &content) };
                alloc_pages(&request).expect("room").zone_index()
            };
            firsts.send(node(Gfp::NOWAIT)).expect("somebody waits");
            node(Gfp::KERNEL)
        }
    });
    let cell = cell.recv().expect("its cache's");
    let claim = cell.try_claim().expect("nobody has");
    claims.send(()).expect("it waits");
    assert_eq!(first.recv().expect("who may not wait asks without a policy"), 0);
    // Long enough for the second one to begin; where it is not, nothing is seen of a wait, and nothing is wrong.
    thread::sleep(Duration::from_millis(20));
    drop(claim);
    assert_eq!(bound.join().expect("no panic"), 1);
}

#[test]
fn a_zone_is_looked_at_again_if_reclaim_of_its_node_says_that_it_is_worth_it() {
    for (done, flags, is_asked, is_served) in [
        (NodeReclaim::Success, AllocFlags::empty(), true, true),
        (NodeReclaim::Some, AllocFlags::empty(), true, true),
        (NodeReclaim::Full, AllocFlags::empty(), true, false),
        (NodeReclaim::NoScan, AllocFlags::empty(), true, false),
        (NodeReclaim::Success, AllocFlags::TRYLOCK, false, false),
        (NodeReclaim::Success, AllocFlags::NO_WATERMARKS, false, true),
    ] {
        let domain = domain(&[FRAMES], 0);
        let last = take_all(&domain);
        let (pressure, content) = (Noted::new(), Cell::default());
        *pressure.reclaim.lock() = (Some(last), done);
        let request = asked(&domain, &pressure, Gfp::KERNEL, 10, &content);
        let context = prepare_alloc_pages(&domain, Gfp::KERNEL, request.order, &Target::node(Nid::new(0)))
            .expect("a sound request");
        let mut error = AllocError::new(Gfp::KERNEL, 10, FailReason::NoMemory);
        let found = get_page_from_freelist(&request, &context, context.alloc_flags | flags, &mut error);
        assert_eq!(found.is_some(), is_served, "{done:?}, {flags:?}");
        assert_eq!(pressure.take(), vec![Turn::NodeReclaim; usize::from(is_asked)], "{done:?}, {flags:?}");
    }
}

/// Has a domain's marks boosted, and nobody told.
fn boost(domain: &Domain) {
    let (zone, flags) = (domain.zone(ZoneNumber::new(0)), AllocFlags::KSWAPD);
    // Halves of pageblocks are all that is left, and of the wrong type: a claim of one boosts the marks.
    let half = Order::new(8);
    let halves: Vec<_> =
        core::iter::from_fn(|| zone.rmqueue_buddy(half, MigrateType::Movable, flags)).collect();
    let list = PcpList::of(half, MigrateType::Movable);
    assert_eq!(zone.free_one(halves[0], half, list), Freed::Open);
    zone.rmqueue_buddy(Order::ZERO, MigrateType::Unmovable, flags).expect("half a pageblock is free");
    halves[1..].iter().for_each(|&pfn| assert_eq!(zone.free_one(pfn, half, list), Freed::Open));
}

#[test]
fn a_boost_wakes_kswapd_once_for_a_request_that_may() {
    let domain = domain(&[FRAMES], 0);
    boost(&domain);
    let (pressure, content) = (Noted::new(), Cell::default());
    let request = asked(&domain, &pressure, Gfp::KERNEL, 0, &content);
    let context = prepare_alloc_pages(&domain, Gfp::KERNEL, Order::ZERO, &Target::node(Nid::new(0)))
        .expect("a sound request");
    for (flags, wakes) in [
        (AllocFlags::empty(), 0),
        (AllocFlags::KSWAPD | AllocFlags::TRYLOCK, 0),
        (AllocFlags::KSWAPD, 1),
        (AllocFlags::KSWAPD, 0),
    ] {
        rmqueue(&request, &context, ZoneNumber::new(0), flags).expect("room");
        assert_eq!(pressure.take(), vec![Turn::Wakeup; wakes], "{flags:?}");
    }
}

#[test]
fn a_request_that_goes_the_short_way_wakes_kswapd_too() {
    let domain = domain(&[FRAMES], 0);
    boost(&domain);
    let (pressure, content) = (Noted::new(), Cell::default());
    for (gfp, wakes) in [(Gfp::KERNEL.without(Gfp::KSWAPD_RECLAIM), 0), (Gfp::KERNEL, 1), (Gfp::KERNEL, 0)] {
        rmqueue_direct(&asked(&domain, &pressure, gfp, 4, &content)).expect("room");
        assert_eq!(pressure.take(), vec![Turn::Wakeup; wakes], "{gfp}");
    }
}

#[test]
fn pageblocks_are_set_aside_for_high_orders_only() {
    let domain = domain(&[4 * FRAMES], 0);
    let (pressure, content) = (Noted::new(), Cell::default());
    for (order, reserved) in [(0, 0), (1, 512)] {
        let request = asked(&domain, &pressure, Gfp::ATOMIC, order, &content);
        let context = prepare_alloc_pages(&domain, request.gfp, request.order, &Target::node(Nid::new(0)))
            .expect("a sound request");
        let flags = AllocFlags::from_wmark(WmarkIndex::Min) | AllocFlags::HIGHATOMIC;
        let mut error = AllocError::new(request.gfp, order, FailReason::NoMemory);
        get_page_from_freelist(&request, &context, flags, &mut error).expect("room");
        assert_eq!(domain.zones()[0].reserved_highatomic(), reserved);
    }
}

#[test]
fn what_passes_the_caches_is_counted_of_its_thread() {
    let domain = domain(&[FRAMES], 0);
    let (pressure, content) = (Noted::new(), Cell::new(Content::Unknown));
    let past = PastCache::count(number());
    // Order 4 has no list in a cache, and zeroes of order 9 come from the zone; who writes does not go the short way.
    for (gfp, order) in [(Gfp::KERNEL, 4), (Gfp::KERNEL | Gfp::WRITE, 4), (Gfp::KERNEL | Gfp::ZERO, 9)] {
        let block = alloc_pages(&asked(&domain, &pressure, gfp, order, &content)).expect("room");
        assert_eq!((past.balance(), free(&domain)), (-(1 << order), FRAMES - (1 << order)));
        free_pages_ok(&domain, block, Waiting::Allowed).expect("in use");
        assert_eq!(past.balance(), 0);
    }
}
