//! Domains without an allocator around them: what they know of their zones and nodes.

mod direct;
mod ranges;
mod requests;

use core::cell::Cell;

use super::{
    Asked, Domain, DomainOptions, NodeReclaim, Pressure, Reclaimer, free_pages_ok, ranges::offline_pages,
};
use crate::{
    Gfp,
    frame::{AllocatorNumber, Nid, Order, Pfn, ZoneNumber},
    gfp::{AllocFlags, MigrateType, ZoneType},
    node::{DirtyLimit, Distances, NodeFrames, NodeMask, ZonePlan, zone_spans},
    pcp::{Caches, Handover, ThreadCache, local, sizing::HighFraction},
    sync::Owner,
    zone::{Content, Freed, ReportGoal, Reported, Waiting, Zone, watermark::WatermarkRule},
};

/// Frames of 64 MiB.
const FRAMES: u64 = 1 << 14;

fn number() -> AllocatorNumber {
    AllocatorNumber::new(1).expect("not 0")
}

/// Makes a domain of nodes with so many frames each, whose CPUs are all of node `home`.
pub(crate) fn domain(nodes: &[u64], home: usize) -> Domain {
    let node_frames =
        nodes.iter().zip(0..).map(|(&frames, node)| NodeFrames { node: Nid::new(node), frames });
    let plan = ZonePlan {
        nodes: node_frames.collect(),
        dma_frames: 0,
        highmem_frames: 0,
        movable_frames: 0,
        online_frames: nodes.iter().sum(),
    };
    let options = DomainOptions {
        allocator: number(),
        spans: zone_spans(&plan).expect("nothing is set aside"),
        distances: Distances::collect(nodes.len(), |from, to| if from == to { 10 } else { 20 }),
        nodes_with_cpus: NodeMask::of(Nid::new(home)),
        // More than any machine has.
        cpu_nodes: vec![Nid::new(home); 1 << 13].into(),
        max_order: Order::new(10),
        rule: WatermarkRule::AnySuitable,
        grouping: None,
        dirty_limit: DirtyLimit::default(),
        min_free_kbytes: None,
        watermark_scale_factor: 10,
        cpus: 1,
        high_fraction: HighFraction::AUTO,
        cache_slice_frames: 0,
        cma: Vec::new(),
        handover: Handover::Direct,
    };
    Domain::new(&options).expect("a few bytes a frame")
}

/// Makes the calling thread's cache, for a thread of node 0.
fn cache(domain: &Domain) -> Owner<ThreadCache> {
    let key = local::key_of(domain.frames().allocator());
    Caches::register(domain.caches(), key, Nid::new(0)).expect("the first of this thread")
}

fn asked<'a>(
    domain: &'a Domain,
    pressure: &'a dyn Pressure,
    gfp: Gfp,
    order: u8,
    content: &'a Cell<Content>,
) -> Asked<'a> {
    let (order, waiting) = (Order::new(order), Waiting::Allowed);
    Asked { domain, pressure, owner: None, gfp, order, waiting, content }
}

/// Returns what no zone has out of its free areas.
fn free(domain: &Domain) -> u64 {
    domain.zones().iter().map(Zone::nr_free_pages).sum()
}

#[test]
fn a_thread_is_of_its_cpu_s_node_and_the_only_node_has_all_cpus() {
    let two = domain(&[FRAMES, FRAMES], 1);
    assert_eq!(two.numa_mem_id(), Nid::new(1));
    assert_eq!([0, 1].map(|node| two.has_cpus(Nid::new(node))), [false, true]);
    // One that does not tell nodes apart says nothing of CPUs of others.
    let one = domain(&[FRAMES], 1);
    assert_eq!((one.numa_mem_id(), one.has_cpus(Nid::new(0))), (Nid::new(0), true));
}

#[test]
fn sizes_that_change_are_noticed_each_time() {
    let domain = domain(&[FRAMES], 0);
    let before = domain.resized();
    for times in 1..4 {
        let range = Pfn::new(512 * times)..Pfn::new(512 * (times + 1));
        offline_pages(&domain, &range, || Ok::<(), ()>(())).expect("free").expect("nothing to give back");
        assert_eq!(domain.resized(), before + times);
    }
}

#[test]
fn only_memory_that_is_on_its_way_to_the_system_is_waited_for() {
    let domain = domain(&[FRAMES, FRAMES], 0);
    let zone = &domain.zones()[1];
    zone.forget_contents();
    assert!(!domain.await_reported());
    let taken = zone.take_unreported(&(zone.span().start..zone.span().end), ReportGoal::Everything);
    for range in taken.ranges() {
        assert!(domain.await_reported());
        assert_eq!(zone.put_reported(&range, Reported::Refused), Freed::Open);
    }
    assert!(taken.ranges().next().is_some() && !domain.await_reported());
}

#[test]
fn of_a_small_arena_an_eighth_is_kept() {
    for frames in [1, 8, 15, 64, 200, 255] {
        let domain = domain(&[frames], 0);
        assert_eq!(domain.zones()[0].watermarks().min, frames / 8);
    }
}

#[test]
fn types_are_kept_apart_from_six_pageblocks_on_of_what_can_be_used() {
    let mut exact = 0;
    for frames in 3200..3300 {
        let domain = domain(&[frames], 0);
        let usable = frames - domain.zones()[0].watermarks().high;
        let expected = if usable < 6 * 512 { MigrateType::Unmovable } else { MigrateType::Movable };
        assert_eq!(domain.migratetype_of(MigrateType::Movable), expected, "{usable}");
        exact += u32::from(usable == 6 * 512);
    }
    assert!(exact > 0);
}

#[test]
fn of_several_nodes_those_that_anybody_reclaims_serve_nothing_at_once() {
    let serve_at_once = |domain: &Domain| -> Vec<bool> {
        let zones = domain.zones().iter();
        zones.map(|zone| zone.state().above_low(ZoneType::Normal, AllocFlags::empty())).collect()
    };
    let (one, two) = (domain(&[FRAMES], 0), domain(&[FRAMES, FRAMES], 0));
    let node = Nid::new(0);
    let both = [Reclaimer::Application, Reclaimer::Kswapd];
    for (who, now, is_reclaimed) in
        [(both[0], true, true), (both[1], true, true), (both[0], false, true), (both[1], false, false)]
    {
        for domain in [&one, &two] {
            domain.set_reclaiming(who, node, now);
            assert_eq!(domain.reclaiming().contains(node), is_reclaimed);
        }
        assert_eq!(serve_at_once(&one), [true], "there is no other");
        assert_eq!(serve_at_once(&two), [!is_reclaimed, true]);
    }
}

#[test]
fn what_nobody_used_for_some_seconds_leaves_the_caches() {
    let domain = domain(&[FRAMES], 0);
    let owner = cache(&domain);
    let content = Cell::default();
    let request =
        Asked { owner: Some(&owner), ..asked(&domain, &super::NoPressure, Gfp::KERNEL, 0, &content) };
    super::alloc_pages(&request).expect("room");
    assert!(free(&domain) < FRAMES - 1, "a refill takes more");
    (0..5).for_each(|_| domain.age());
    assert_eq!(free(&domain), FRAMES - 1);
}

#[test]
fn what_node_reclaim_says_has_the_kernel_s_numbers() {
    let all = [NodeReclaim::NoScan, NodeReclaim::Full, NodeReclaim::Some, NodeReclaim::Success];
    assert_eq!(all.map(|done| done as i8), [-2, -1, 0, 1]);
}

#[test]
fn a_child_s_frees_change_nothing() {
    let domain = domain(&[FRAMES], 0);
    let content = Cell::default();
    let request = asked(&domain, &super::NoPressure, Gfp::KERNEL, 4, &content);
    let block = super::alloc_pages(&request).expect("room");
    domain.orphan();
    for waiting in [Waiting::Allowed, Waiting::Never, Waiting::Allowed] {
        free_pages_ok(&domain, block, waiting).expect("the parent has it still");
    }
    assert_eq!(domain.zone(ZoneNumber::new(0)).nr_free_pages(), FRAMES - 16);
}
