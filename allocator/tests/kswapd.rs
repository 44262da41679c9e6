//! The threads that keep memory free: when they come and go, are woken, give up, and hope again.

mod common;

use std::{fs, iter, time::Duration};

use common::threads_named;
use gfp::{
    Allocator, Builder, Gfp, KswapdReport, Maintain, Order, Pages, Pinned, Spread,
    platform::{NodeId, Topology},
    sync::{Mutex, MutexGuard, thread},
};

/// Threads of the whole process are counted: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

fn builder() -> Builder {
    Allocator::builder(64 << 20).dma(0).cpus(2)
}

fn two_nodes() -> Builder {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a machine");
    let parts = vec![(NodeId(0), 32 << 20), (NodeId(1), 32 << 20)];
    Allocator::builder(64 << 20).dma(0).topology(topology).nodes(Spread::Nodes(parts))
}

/// Names and numbers of the allocators' threads in this process.
fn threads() -> Vec<(String, u32)> {
    let mut found = threads_named("gfp-");
    found.sort();
    found
}

fn names() -> Vec<String> {
    threads().into_iter().map(|(name, _)| name).collect()
}

fn of_node_0(allocator: &Allocator) -> KswapdReport {
    allocator.kswapds().remove(0)
}

/// Takes all that requests get.
fn exhaust(allocator: &Allocator, gfp: Gfp) -> Vec<Pages> {
    let orders = [9, 3, 0].map(Order::new);
    orders
        .into_iter()
        .flat_map(|order| iter::from_fn(move || allocator.alloc_pages(gfp, order).ok()))
        .collect()
}

/// Has a request mix types in a pageblock, which boosts the zone's marks.
fn boost(allocator: &Allocator) -> Vec<Pages> {
    let mut halves: Vec<_> =
        iter::from_fn(|| allocator.alloc_pages(Gfp::HIGHUSER_MOVABLE, Order::new(8)).ok()).collect();
    // Enough for requests at the low mark, all of it movable.
    for at in (0..halves.len()).rev().step_by(2).take(12).collect::<Vec<_>>() {
        drop(halves.remove(at));
    }
    // A pageblock that was whole may serve the first of them.
    halves.extend((0..8).filter_map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::new(7)).ok()));
    halves
}

fn boosts(allocator: &Allocator) -> u64 {
    allocator.zone_stats().iter().map(|zone| zone.marks.boost).sum()
}

#[test]
fn each_node_with_memory_has_a_thread_that_goes_with_the_allocator() {
    let _alone = alone();
    let allocator = two_nodes().build().expect("64 MiB");
    while names().len() < 3 {
        thread::yield_now();
    }
    assert_eq!(names(), ["gfp-kswapd0", "gfp-kswapd1", "gfp-maintenance"]);
    let reports = allocator.kswapds();
    assert!(reports.iter().all(|kswapd| kswapd.has_thread && kswapd.runs == 0));
    while allocator.kswapds().iter().any(|kswapd| kswapd.pinned != Pinned::Simulated) {
        thread::yield_now();
    }
    drop(allocator);
    assert!(names().is_empty(), "{:?}", names());
    let allocator = two_nodes().maintain(Maintain::ByHand).build().expect("64 MiB");
    assert!(names().is_empty() && allocator.kswapds().iter().all(|kswapd| !kswapd.has_thread));
}

#[test]
fn a_kswapd_of_this_machines_node_runs_on_its_cpus() {
    let _alone = alone();
    let Ok(allocator) = builder().nodes(Spread::AllNodes).build() else {
        return println!("left out: too many nodes for 64 MiB");
    };
    let pinned = || allocator.kswapds().into_iter().map(|kswapd| kswapd.pinned);
    while pinned().any(|pinned| pinned == Pinned::NotAsked) {
        thread::yield_now();
    }
    assert!(pinned().all(|pinned| pinned == Pinned::Done), "{:?}", allocator.kswapds());
}

#[test]
fn a_kswapd_that_sleeps_does_not_wake_up() {
    let _alone = alone();
    let allocator = builder().build().expect("64 MiB");
    let switches = || {
        let (_, number) = threads().into_iter().find(|(name, _)| name == "gfp-kswapd0")?;
        let status = fs::read_to_string(format!("/proc/self/task/{number}/status")).ok()?;
        let row = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        row.trim().parse::<u64>().ok()
    };
    // After its nap, and whatever the start of a thread takes.
    let is_still = || {
        let before = switches();
        thread::park_timeout(Duration::from_millis(500));
        before.is_some() && before == switches()
    };
    assert!((0..40).any(|_| is_still()), "it wakes up again and again");
    drop(allocator);
}

#[test]
fn a_boost_has_kswapd_run_and_ends() {
    let _alone = alone();
    let allocator = builder().build().expect("64 MiB");
    let held = boost(&allocator);
    while of_node_0(&allocator).runs == 0 || boosts(&allocator) > 0 {
        // A boost by a refill is told of by the request that comes next.
        drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(5)));
        thread::yield_now();
    }
    assert!(of_node_0(&allocator).wakeups > 0 && allocator.vmstat().pageoutrun > 0);
    drop(held);
    common::assert_all_free(&allocator);
}

#[test]
fn by_hand_a_boost_stays_until_the_allocator_ages() {
    let allocator = builder().maintain(Maintain::ByHand).build().expect("64 MiB");
    let held = boost(&allocator);
    assert!(boosts(&allocator) > 0 && of_node_0(&allocator).running);
    assert_eq!(of_node_0(&allocator).runs, 0);
    allocator.age();
    assert_eq!(boosts(&allocator), 0);
    let after = of_node_0(&allocator);
    assert_eq!((after.running, after.hopeless, after.failures), (false, false, 0), "{after:?}");
    assert!(after.runs > 0);
    allocator.age();
    assert_eq!(of_node_0(&allocator).runs, after.runs, "nobody has rung");
    drop(held);
}

#[test]
fn who_may_not_wake_it_does_not() {
    let allocator = builder().maintain(Maintain::ByHand).build().expect("64 MiB");
    let quiet = Gfp::KERNEL.without(Gfp::KSWAPD_RECLAIM);
    let mut held = exhaust(&allocator, quiet);
    held.extend(iter::from_fn(|| allocator.alloc_pages_nolock(Order::ZERO).ok()));
    assert_eq!(of_node_0(&allocator).wakeups, 0);
    assert!(allocator.alloc_page(Gfp::NOWAIT).is_err());
    assert_eq!(of_node_0(&allocator).wakeups, 1);
    assert!(allocator.alloc_page(Gfp::ATOMIC).is_ok() && allocator.alloc_page(Gfp::NOWAIT).is_err());
    assert_eq!(of_node_0(&allocator).wakeups, 1, "it is awake");
}

#[test]
fn where_nothing_can_be_reclaimed_it_gives_up_until_memory_comes_back() {
    let allocator = builder().maintain(Maintain::ByHand).build().expect("64 MiB");
    let held = exhaust(&allocator, Gfp::KERNEL);
    allocator.age();
    assert!(allocator.alloc_page(Gfp::NOWAIT).is_err());
    let given_up = of_node_0(&allocator);
    assert!(given_up.hopeless && !given_up.running, "{given_up:?}");
    assert_eq!((given_up.failures, given_up.runs), (16, 16));
    // Once a second somebody may have it look again, once.
    for runs in [16, 17, 18] {
        allocator.age();
        assert_eq!(of_node_0(&allocator).runs, runs);
        assert!(allocator.alloc_page(Gfp::NOWAIT).is_err() && of_node_0(&allocator).running);
    }
    allocator.age();
    let given_up = of_node_0(&allocator);
    // Less than the high mark is no reason for hope.
    let mut held = held;
    drop(held.pop());
    assert!(of_node_0(&allocator).hopeless);
    drop(held);
    _ = allocator.drain_all();
    assert!(!of_node_0(&allocator).hopeless);
    let held = exhaust(&allocator, Gfp::KERNEL);
    allocator.age();
    assert!(of_node_0(&allocator).runs > given_up.runs);
    drop(held);
}

#[test]
fn a_kswapd_that_finds_nothing_ends_with_the_allocator() {
    let _alone = alone();
    for _ in 0..10 {
        let allocator = builder().build().expect("64 MiB");
        let held = exhaust(&allocator, Gfp::KERNEL);
        while of_node_0(&allocator).runs == 0 {
            thread::yield_now();
        }
        drop(allocator);
        assert!(names().is_empty(), "{:?}", names());
        drop(held);
    }
}
