//! What each kind of request leaves of a zone, to the frame.
//!
//! Expected numbers are worked out here from the rules of Linux 6.3 and later, not asked of the library: a request passes when more
//! than its mark and the zone's reserve stay free, all of its block but one frame counted off. Of the minimum mark, who has a right
//! to a reserve leaves a half, who cannot wait besides ⅜, and half of what is left if it was chosen to give up its memory.
//!
//! Caches are off, as they are for a zone of which some is isolated: every frame is in a zone or out.

use core::cell::Cell;

use gfp::{
    AllocError, Allocator, Gfp, Maintain, Nid, NodeMask, Order, Pages, Pfn,
    alloc::{
        Asked, Domain, DomainOptions, NoPressure, free_pages_ok, get_page_from_freelist, prepare_alloc_pages,
    },
    error::{FailReason, Refusal},
    frame::{AllocatorNumber, Block},
    gfp::{AllocFlags, WmarkIndex, ZoneType},
    node::{DirtyLimit, Distances, NodeFrames, Target, ZonePlan, zone_spans},
    pcp::{Handover, sizing::HighFraction},
    stats::ZoneStat,
    zone::{Grouping, Waiting, watermark::WatermarkRule},
};
use proptest::prelude::*;

const PAGEBLOCK: u32 = 512;

/// What a request may use of the minimum mark.
#[derive(Clone, Copy, Debug, Default)]
struct Rights {
    min_reserve: bool,
    non_block: bool,
    oom: bool,
}

impl Rights {
    const NONE: Self = Self { min_reserve: false, non_block: false, oom: false };
    const MIN_RESERVE: Self = Self { min_reserve: true, ..Self::NONE };
    const ATOMIC: Self = Self { non_block: true, ..Self::MIN_RESERVE };

    /// Returns what must stay free, of a mark.
    const fn kept(self, mark: u64) -> u64 {
        let mut kept = mark;
        if self.min_reserve {
            kept -= kept / 2;
            if self.non_block {
                kept -= kept / 4;
            }
        }
        if self.oom {
            kept -= kept / 2;
        }
        kept
    }
}

/// Returns what is free when no more requests of an order pass that leave `kept` frames.
const fn free_at_the_end(free: u64, order: u8, kept: u64) -> u64 {
    let mut free = free;
    while free > kept + (1 << order) - 1 {
        free -= 1 << order;
    }
    free
}

#[test]
fn the_shares_are_a_half_three_eighths_and_three_sixteenths() {
    let oom = Rights { oom: true, ..Rights::ATOMIC };
    let shares = [Rights::NONE, Rights::MIN_RESERVE, Rights::ATOMIC, oom].map(|rights| rights.kept(1600));
    assert_eq!(shares, [1600, 800, 600, 300]);
    let alone = [Rights { non_block: true, ..Rights::NONE }, Rights { oom: true, ..Rights::NONE }];
    assert_eq!(alone.map(|rights| rights.kept(1600)), [1600, 800]);
    assert_eq!(Rights::ATOMIC.kept(7), 3, "each share is rounded down before it is taken off");
}

const MIB: usize = 1 << 20;

/// Builds an allocator without caches: the last pageblock of every zone is isolated.
fn allocator(mib: usize, dma_mib: usize, min_free_kbytes: u64) -> Allocator {
    let allocator = Allocator::builder(mib * MIB)
        .dma(dma_mib * MIB)
        .min_free_kbytes(min_free_kbytes)
        .maintain(Maintain::ByHand)
        .build()
        .expect("address space");
    for zone in populated(&allocator) {
        let end = u32::try_from(zone.start_pfn + zone.spanned).expect("an arena's frames");
        let last = Pfn::new(end - PAGEBLOCK)..Pfn::new(end);
        assert_eq!(allocator.start_isolate(last), Ok(0));
    }
    allocator
}

fn populated(allocator: &Allocator) -> Vec<ZoneStat> {
    allocator.zone_stats().into_iter().filter(ZoneStat::is_populated).collect()
}

fn free_of(allocator: &Allocator) -> Vec<u64> {
    populated(allocator).iter().map(|zone| zone.free).collect()
}

/// Requests until one is refused, and says how.
fn exhaust(allocator: &Allocator, gfp: Gfp, order: u8, kept: &mut Vec<Pages>) -> AllocError {
    loop {
        match allocator.alloc_pages(gfp, Order::new(order)) {
            Ok(pages) => kept.push(pages),
            Err(error) => return error,
        }
    }
}

/// Kinds of requests, each with what it may use; those behind may use as much as those before, or more.
const KINDS: [(Gfp, Rights); 6] = [
    (Gfp::KERNEL, Rights::NONE),
    (Gfp::NOWAIT, Rights::NONE),
    (Gfp::NOWAIT.union(Gfp::NOMEMALLOC), Rights::NONE),
    (Gfp::ATOMIC.union(Gfp::NOMEMALLOC), Rights::MIN_RESERVE),
    (Gfp::KERNEL.union(Gfp::HIGH), Rights::MIN_RESERVE),
    (Gfp::ATOMIC, Rights::ATOMIC),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// In one zone: each kind of request goes down to its share of the minimum, and no further; MEMALLOC to the last block.
    #[test]
    fn each_kind_of_request_leaves_its_share(
        blocks in 5usize..24, order in 0u8..=4, min_free_kbytes in 16u64..4096,
    ) {
        let allocator = allocator(blocks * 4, 0, min_free_kbytes);
        let frames = blocks as u64 * 1024;
        let min = min_free_kbytes / 4;
        prop_assert_eq!(populated(&allocator)[0].marks.min, min);
        let mut free = frames - u64::from(PAGEBLOCK);
        let mut held = Vec::new();
        for (gfp, rights) in KINDS {
            let error = exhaust(&allocator, gfp, order, &mut held);
            free = free_at_the_end(free, order, rights.kept(min));
            prop_assert_eq!(free_of(&allocator), [free], "after {:?}", gfp);
            prop_assert!(error.tried().all(|zone| zone.refusal == Refusal::Watermark), "{}", error);
        }
        exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC | Gfp::NOMEMALLOC, order, &mut held);
        prop_assert_eq!(free_of(&allocator), [free], "NOMEMALLOC forbids what MEMALLOC permits");
        exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC, order, &mut held);
        prop_assert_eq!(free_of(&allocator), [free % (1 << order)]);
    }

    /// In two zones: the lower one keeps a reserve besides from requests that could use the higher one.
    #[test]
    fn a_lower_zone_keeps_its_reserve_besides(
        blocks in 8usize..64, dma_blocks in 2usize..5, min_free_kbytes in 16u64..2048,
    ) {
        let allocator = allocator((blocks + dma_blocks) * 4, dma_blocks * 4, min_free_kbytes);
        let sizes = [dma_blocks, blocks].map(|blocks| blocks as u64 * 1024);
        let mins = sizes.map(|size| min_free_kbytes / 4 * size / (sizes[0] + sizes[1]));
        // One part in 256 of what lies above.
        let reserves = [sizes[1] / 256, 0];
        let mut free = sizes.map(|size| size - u64::from(PAGEBLOCK));
        let mut held = Vec::new();
        for (gfp, rights) in KINDS {
            exhaust(&allocator, gfp, 0, &mut held);
            for zone in 0..2 {
                free[zone] = free_at_the_end(free[zone], 0, rights.kept(mins[zone]) + reserves[zone]);
            }
            prop_assert_eq!(free_of(&allocator), free, "after {:?}", gfp);
        }
        // Requests that can use nothing else are kept from nothing but the minimum.
        exhaust(&allocator, Gfp::KERNEL | Gfp::DMA, 0, &mut held);
        free[0] = free_at_the_end(free[0], 0, mins[0]);
        prop_assert_eq!(free_of(&allocator), free);
        exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC, 0, &mut held);
        prop_assert_eq!(free_of(&allocator), [0, 0]);
    }
}

/// What one high-order request that cannot wait was served from is kept for such requests, and goes when others need it.
#[test]
fn what_is_set_aside_is_left_to_those_who_cannot_wait() {
    const MIN: u64 = 1000;
    let allocator = allocator(256, 0, MIN * 4);
    let zone = || populated(&allocator).remove(0);
    let mut held = Vec::new();
    exhaust(&allocator, Gfp::KERNEL, 0, &mut held);
    assert_eq!((zone().free, zone().reserved_highatomic), (MIN, 0));

    held.push(allocator.alloc_pages(Gfp::ATOMIC, Order::new(2)).expect("more than three eighths are free"));
    let set_aside = zone();
    assert_eq!((set_aside.free, set_aside.reserved_highatomic), (MIN - 4, 512));
    assert!((1..512).contains(&set_aside.free_highatomic), "{set_aside:?}");

    // Who has no right to it must leave the minimum without it; give back what makes up for it, from elsewhere.
    let pageblock = |pages: &Pages| pages.pfn().get() / PAGEBLOCK;
    let aside = pageblock(&held[held.len() - 1]);
    let no_right = Gfp::NOWAIT | Gfp::NOMEMALLOC;
    let mut given_back = 0;
    let served = loop {
        if let Ok(pages) = allocator.alloc_page(no_right) {
            break pages;
        }
        let place = held.iter().position(|pages| pageblock(pages) != aside).expect("most are");
        drop(held.swap_remove(place));
        given_back += 1;
    };
    assert_eq!(given_back, 4 + set_aside.free_highatomic + 1);
    assert_ne!(pageblock(&served), aside);
    drop(served);

    // Who may wait gets it in the end, and the reserve goes.
    exhaust(&allocator, Gfp::KERNEL, 0, &mut held);
    assert_eq!((zone().free, zone().reserved_highatomic, zone().free_highatomic), (MIN, 0, 0));
}

/// A reserve grows to a hundredth of its zone, in whole pageblocks, and no further.
#[test]
fn a_reserve_ends_at_a_hundredth_of_its_zone() {
    // 512 MiB: 1310 frames are three pageblocks. 196 MiB: 501 are not one.
    for (mib, cap) in [(512, 3 * 512), (196, 0)] {
        let allocator = allocator(mib, 0, 64 << 10);
        let mut held = Vec::new();
        exhaust(&allocator, Gfp::KERNEL, 0, &mut held);
        let min = populated(&allocator)[0].marks.min;
        assert_eq!(populated(&allocator)[0].free, min);
        let mut largest = 0;
        while let Ok(pages) = allocator.alloc_pages(Gfp::ATOMIC, Order::new(6)) {
            held.push(pages);
            largest = largest.max(populated(&allocator)[0].reserved_highatomic);
            assert!(largest <= cap);
        }
        assert_eq!(largest, cap, "of {mib} MiB");
        assert_eq!(populated(&allocator)[0].free, free_at_the_end(min, 6, Rights::ATOMIC.kept(min)));
    }
}

/// A zone without a face, and without caches.
fn domain(frames: u64, min_free_kbytes: u64) -> Domain {
    let node = Nid::new(0);
    let plan = ZonePlan {
        nodes: vec![NodeFrames { node, frames }],
        dma_frames: 0,
        highmem_frames: 0,
        movable_frames: 0,
        online_frames: frames,
    };
    let options = DomainOptions {
        allocator: AllocatorNumber::new(1).expect("not 0"),
        spans: zone_spans(&plan).expect("nothing is set aside"),
        distances: Distances::collect(1, |_, _| 10),
        nodes_with_cpus: NodeMask::of(node),
        cpu_nodes: Box::new([]),
        max_order: Order::new(10),
        rule: WatermarkRule::AnySuitable,
        grouping: Some(Grouping::ByMobility),
        dirty_limit: DirtyLimit::default(),
        min_free_kbytes: Some(min_free_kbytes),
        watermark_scale_factor: 10,
        cpus: 1,
        high_fraction: HighFraction::AUTO,
        cache_slice_frames: 0,
        cma: Vec::new(),
        handover: Handover::Direct,
    };
    Domain::new(&options).expect("address space")
}

/// Takes a block with flags that no mask need give.
fn take(domain: &Domain, gfp: Gfp, order: u8, flags: AllocFlags) -> Option<Block> {
    let (order, waiting) = (Order::new(order), Waiting::Allowed);
    let content = &Cell::default();
    let asked = Asked { domain, pressure: &NoPressure, owner: None, gfp, order, waiting, content };
    let target = Target::node(Nid::new(0));
    let context = prepare_alloc_pages(domain, gfp, order, &target).expect("it makes sense");
    let mut error = AllocError::new(gfp, order.get(), FailReason::NoMemory);
    get_page_from_freelist(&asked, &context, flags, &mut error).map(|(_, block)| block)
}

/// Makes the zone's marks boosted: of all pageblocks halves are movable, and a request of another kind claims one.
fn boost(domain: &Domain) {
    let movable = Gfp::KERNEL | Gfp::MOVABLE;
    let mut halves: Vec<Block> =
        std::iter::from_fn(|| take(domain, movable, 8, AllocFlags::NO_WATERMARKS)).collect();
    let free = |block| free_pages_ok(domain, block, Waiting::Allowed).expect("it was in use");
    free(halves.swap_remove(0));
    halves.push(take(domain, Gfp::KERNEL, 0, AllocFlags::NO_WATERMARKS).expect("a half is free"));
    halves.into_iter().for_each(free);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// With every set of rights, at every order, boosted or not. A boost raises the mark for all but single frames of those who
    /// have a right to the reserve.
    #[test]
    fn every_set_of_rights_leaves_its_share_of_the_minimum(
        blocks in 5u64..40,
        // From 200 MiB on there is a highatomic reserve.
        large: bool,
        order in 0u8..=5,
        min_free_kbytes in 16u64..4096,
        boosted: bool,
        (min_reserve, non_block, oom, highatomic) in any::<(bool, bool, bool, bool)>(),
    ) {
        let frames = (if large { 3 * blocks + 50 } else { blocks }) * 1024;
        let domain = domain(frames, min_free_kbytes);
        if boosted {
            boost(&domain);
        }
        let zone = &domain.zones()[0];
        prop_assert_eq!(zone.report().free, frames);
        let (min, boost) = (min_free_kbytes / 4, if boosted { u64::from(PAGEBLOCK) } else { 0 });
        let marks = zone.watermarks();
        prop_assert_eq!((marks.min, marks.boost), (min, boost));

        let rights = Rights { min_reserve, non_block, oom };
        let mut flags = AllocFlags::from_wmark(WmarkIndex::Min);
        flags.set(AllocFlags::MIN_RESERVE, min_reserve);
        flags.set(AllocFlags::NON_BLOCK, non_block);
        flags.set(AllocFlags::OOM, oom);
        flags.set(AllocFlags::HIGHATOMIC, highatomic && order > 0);
        let spared = order == 0 && min_reserve;
        let kept = rights.kept(if spared { min } else { min + boost });
        while take(&domain, Gfp::KERNEL, order, flags).is_some() {}
        prop_assert_eq!(zone.report().free, free_at_the_end(frames, order, kept));
        prop_assert_eq!(zone.watermark_ok(Order::new(order), ZoneType::Normal, flags), false);

        // Without marks all goes, but for what is set aside for others.
        while take(&domain, Gfp::KERNEL, order, AllocFlags::NO_WATERMARKS).is_some() {}
        let report = zone.report();
        prop_assert_eq!(report.free, report.free_highatomic);
    }
}
