//! The short way, against the walk.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use core::cell::Cell;

use proptest::prelude::*;

use super::{FRAMES, asked, cache, domain};
use crate::{
    Gfp,
    alloc::{
        Asked, Domain, NoPressure, Reclaimer, alloc_pages_nodemask, direct::rmqueue_direct, free_pages_ok,
    },
    frame::{Block, Nid, Order},
    gfp::{AllocFlags, MigrateType, ZoneType},
    node::{InForce, NodeMask},
    zone::{Waiting, Zone},
};

const MASKS: [Gfp; 9] = [
    Gfp::KERNEL,
    Gfp::HIGHUSER_MOVABLE,
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::ATOMIC,
    Gfp::NOWAIT,
    Gfp::KERNEL.union(Gfp::DMA32),
    Gfp::KERNEL.union(Gfp::ZERO),
    Gfp::KERNEL.union(Gfp::WRITE),
    Gfp::KERNEL.union(Gfp::MOVABLE).union(Gfp::RECLAIMABLE),
];

/// Asks for a block by the walk.
fn walk(domain: &Domain, gfp: Gfp, order: u8) -> Option<Block> {
    alloc_pages_nodemask(&asked(domain, &NoPressure, gfp, order, &Cell::default()), None, NodeMask::ALL).ok()
}

/// Returns all that a domain's zones tell of themselves.
fn told(domain: &Domain) -> Vec<String> {
    domain.zones().iter().map(|zone: &Zone| format!("{:?} {:?}", zone.report(), zone.state())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_the_short_way_is_what_the_walk_would_give(
        // A zone too small for types; one; and a NORMAL zone above DMA32, which asks for no mixing of types first.
        frames in prop_oneof![Just(2048), Just(FRAMES), Just((1 << 20) + 4096)],
        is_reclaimed in any::<bool>(),
        steps in prop::collection::vec((0..=11u8, 0..MASKS.len(), any::<prop::sample::Index>(), 0..3u8), 1..300),
    ) {
        let [short, long] = [domain(&[frames], 0), domain(&[frames], 0)];
        short.set_reclaiming(Reclaimer::Application, Nid::new(0), is_reclaimed);
        let (mut held, mut went) = (Vec::new(), 0);
        for (order, mask, index, kind) in steps {
            if kind == 0 && !held.is_empty() {
                let block = held.swap_remove(index.index(held.len()));
                for domain in [&short, &long] {
                    free_pages_ok(domain, block, Waiting::Allowed).expect("in use");
                }
                continue;
            }
            let gfp = MASKS[mask];
            let content = Cell::default();
            let block = rmqueue_direct(&asked(&short, &NoPressure, gfp, order, &content));
            went += u32::from(block.is_some());
            let expected = walk(&long, gfp, order);
            prop_assert_eq!(block.or_else(|| walk(&short, gfp, order)), expected);
            prop_assert!(block.is_none() || ![0, 1, 2, 3, 9].contains(&order), "a cache may have one");
            held.extend(expected);
            prop_assert_eq!(told(&short), told(&long));
        }
        prop_assert!(went > 0 || held.len() < 20);
    }
}

#[test]
fn what_needs_a_longer_look_does_not_go_the_short_way() {
    let domain = domain(&[FRAMES, FRAMES], 1);
    let content = Cell::default();
    let plain = asked(&domain, &NoPressure, Gfp::KERNEL, 4, &content);
    let is_served = |asked: &Asked<'_>| match rmqueue_direct(asked) {
        Some(block) => {
            assert_eq!((block.zone_index(), block.order()), (1, asked.order), "on the thread's node");
            free_pages_ok(&domain, block, Waiting::Allowed).expect("in use");
            true
        }
        None => false,
    };
    assert!(is_served(&plain));
    for gfp in [Gfp::THISNODE, Gfp::WRITE, Gfp::DMA, Gfp::NOFAIL.union(Gfp::RECLAIMABLE).union(Gfp::MOVABLE)]
    {
        assert!(!is_served(&Asked { gfp: plain.gfp | gfp, ..plain }), "{gfp}");
    }
    assert!(is_served(&Asked { order: Order::new(10), ..plain }), "the largest");
    let zeroed = Gfp::KERNEL | Gfp::ZERO;
    assert!(is_served(&Asked { gfp: zeroed, ..plain }));
    assert!(
        !is_served(&Asked { gfp: zeroed, order: Order::new(10), ..plain }),
        "the zone knows what is zero"
    );
    assert!(
        !is_served(&Asked { order: Order::ZERO, ..plain })
            && !is_served(&Asked { order: Order::PAGEBLOCK, ..plain })
    );
    assert!(!is_served(&Asked { order: Order::new(11), ..plain }));
    assert!(!is_served(&Asked { waiting: Waiting::Never, ..plain }));

    // The cache of a thread that was on another node; of one that is inside.
    let owner = cache(&domain);
    let with_cache = Asked { owner: Some(&owner), ..plain };
    assert!(!is_served(&with_cache));
    owner.enter().expect("nobody is").move_to(Nid::new(1), domain.caches().hot_zone(Nid::new(1)));
    assert!(is_served(&with_cache));
    let inside = owner.enter().expect("nobody is");
    assert!(!is_served(&with_cache));
    drop(inside);

    let policy = InForce::begin();
    assert!(!is_served(&plain));
    drop(policy);
    domain.set_mems_allowed(NodeMask::of(Nid::new(0)));
    assert!(!is_served(&plain));
    domain.set_mems_allowed(NodeMask::ALL);
    assert!(is_served(&plain));
    domain.refuse_requests();
    assert!(!is_served(&plain));
}

#[test]
fn one_frame_more_than_the_low_mark_must_stay() {
    let domain = domain(&[FRAMES], 0);
    let zone = &domain.zones()[0];
    let mark = zone.watermarks().low + zone.lowmem_reserve()[ZoneType::Normal.index()];
    let (pressure, content) = (NoPressure, Cell::default());
    let take = |order| rmqueue_direct(&asked(&domain, &pressure, Gfp::KERNEL, order, &content));
    while zone.nr_free_pages() > mark + 16 {
        zone.rmqueue_buddy(Order::ZERO, MigrateType::Unmovable, AllocFlags::empty()).expect("room");
    }
    let last = take(4).expect("15 frames of the block and one more are above the mark");
    free_pages_ok(&domain, last, Waiting::Allowed).expect("in use");
    zone.rmqueue_buddy(Order::ZERO, MigrateType::Unmovable, AllocFlags::empty()).expect("room");
    assert_eq!(take(4), None);
}
