//! What a child that a fork has made meets: errors, and never a wait for a thread that it does not have.

mod common;

use std::thread;

use common::{Random, in_child, order};
use gfp::{
    Allocator, Gfp, Handle, Maintain, Order, Pages,
    error::{FailReason, FragError},
    platform::Topology,
    sync::atomic::{AtomicBool, Ordering},
};

/// How long a child may take.
const SECONDS: u32 = 20;
const THREADS: u64 = 8;
/// A thousand once in a run of all tests, of which some are without default features.
const FORKS: usize = if cfg!(feature = "hwloc") { 1000 } else { 100 };

/// What the thread that forks holds, and each of its children too.
struct Held<'a> {
    allocator: &'a Allocator,
    handle: Handle,
    pages: Vec<Pages>,
}

#[test]
fn a_child_of_a_busy_parent_gets_errors_and_never_waits() {
    let allocator = Allocator::builder(256 << 20).cpus(4).build().expect("256 MiB");
    let stop = AtomicBool::new(false);
    let failed = thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (allocator, stop) = (&allocator, &stop);
            scope.spawn(move || keep_busy(allocator, seed, stop));
        }
        let mut ends = (0..FORKS).map(|_| fork_once(&allocator));
        let failed = ends.find(|ended| *ended != Ok(0));
        stop.store(true, Ordering::Relaxed);
        failed
    });
    assert_eq!(failed, None, "an exit status or a signal");
    _ = allocator.drain_all();
    assert_eq!(allocator.bad_pages(), 0, "the parent notices nothing");
}

#[test]
fn a_child_builds_an_allocator_of_its_own() {
    let parents = Allocator::builder(64 << 20).build().expect("64 MiB");
    let held = get(&parents, 0);
    let ended = in_child(SECONDS, || {
        let allocator = Allocator::builder(64 << 20).maintain(Maintain::ByHand).build().expect("64 MiB");
        let mut pages = get(&allocator, 4);
        pages.bytes_mut().fill(core::mem::MaybeUninit::new(7));
        drop((pages, allocator, held, parents));
    });
    assert_eq!(ended, Ok(0));
}

#[test]
fn a_child_reads_its_machine_while_its_parent_does() {
    let stop = AtomicBool::new(false);
    let reads = || {
        Topology::load().expect("this machine");
        Topology::synthetic("pack:2 node:1 core:2 pu:2").expect("a machine");
    };
    reads();
    let failed = thread::scope(|scope| {
        // One thread: what hwloc does first and last, it does each time.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                reads();
            }
        });
        let failed = (0..FORKS).map(|_| in_child(SECONDS, reads)).find(|ended| *ended != Ok(0));
        stop.store(true, Ordering::Relaxed);
        failed
    });
    assert_eq!(failed, None, "an exit status or a signal");
}

#[test]
fn a_child_has_no_kswapd_and_drops_the_allocator_of_one_that_runs() {
    let allocator = Allocator::builder(64 << 20).dma(0).build().expect("64 MiB");
    for _ in 0..20 {
        // One that is out of memory is awake, or about to be.
        let held: Vec<_> =
            std::iter::from_fn(|| allocator.alloc_pages(Gfp::KERNEL, Order::new(9)).ok()).collect();
        let ended = in_child(SECONDS, || {
            let threads = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count();
            assert_eq!(threads, 1);
            assert!(allocator.alloc_page(Gfp::KERNEL).is_err());
            allocator.age();
            drop_here(&allocator);
        });
        assert_eq!(ended, Ok(0));
        drop(held);
    }
}

#[test]
fn a_child_gets_no_fragment_and_its_frees_of_what_is_shared_are_its_own() {
    let allocator = Allocator::builder(64 << 20).maintain(Maintain::ByHand).build().expect("64 MiB");
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let fragment = cache.alloc(100).expect("room");
    let shared = get(&allocator, 2).into_shared();
    let before = allocator.conservation().allocated();
    let ended = in_child(SECONDS, || {
        match cache.alloc(100) {
            Err(FragError::NoMemory(error)) => assert_eq!(error.reason(), FailReason::Closed),
            other => panic!("{other:?}"),
        }
        drop(shared.clone());
        drop_here(&shared);
        drop_here(&fragment);
        drop_here(&cache);
    });
    assert_eq!(ended, Ok(0));
    assert_eq!((shared.references(), allocator.conservation().allocated()), (1, before));
    drop((cache, fragment, shared));
    common::assert_all_free(&allocator);
}

/// Drops a value that the parent drops too: each process has its own.
fn drop_here<T>(value: &T) {
    // SAFETY: the caller does not use it any more, and its process ends without dropping it.
    drop(unsafe { std::ptr::read(value) });
}

/// Fills the caches of this thread, and has a child use all that there is.
fn fork_once(allocator: &Allocator) -> Result<i32, i32> {
    let handle = allocator.handle().expect("a cache");
    for order in [0, 3, 9] {
        drop(handle.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("room"));
        drop(get(allocator, order));
    }
    let pages = [0, 3, 9, 10, 2].map(|order| get(allocator, order)).into();
    in_child(SECONDS, || use_all(Held { allocator, handle, pages }))
}

fn get(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("room")
}

/// Takes and frees blocks of many orders, and now and then drains, or builds and drops an allocator.
fn keep_busy(allocator: &Allocator, seed: u64, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100 {
            held.extend(allocator.alloc_pages(Gfp::KERNEL, order(&mut random)));
            if held.len() > 40 {
                drop(held.swap_remove(random.below(40)));
            }
        }
        match random.below(40) {
            0 => _ = allocator.drain_all(),
            1 => drop(Allocator::builder(16 << 20).maintain(Maintain::ByHand).build()),
            _ => {}
        }
    }
}

/// Asks in every way, frees what is held in every way, and ends everything.
fn use_all(held: Held<'_>) {
    let Held { allocator, handle, mut pages } = held;
    pages.pop().expect("four").split_page(drop);
    for order in 0..=10 {
        let asked = allocator.alloc_pages(Gfp::KERNEL, Order::new(order));
        assert_eq!(asked.map_err(|error| error.reason()).err(), Some(FailReason::Closed));
        assert!(handle.alloc_pages(Gfp::ATOMIC, Order::new(order)).is_err());
        assert!(allocator.alloc_pages_nolock(Order::new(order)).is_err());
    }
    assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL, &mut [const { None }; 8]), 0);
    handle.free_pages(pages.pop().expect("four"));
    allocator.free_pages(pages.pop().expect("three"));
    allocator.free_pages_nolock(pages.pop().expect("two"));
    drop((pages, handle));
    _ = allocator.drain_all();
    allocator.age();
    _ = allocator.zone_stats();
    _ = (allocator.kswapds(), allocator.vmstat());
    drop(allocator.clone());
}
