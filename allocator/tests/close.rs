//! The end of allocators: memory stays as long as somebody has a block of it, and not longer.

mod common;

use std::{cell::RefCell, sync::mpsc};

use common::{Random, is_mapped, order};
use gfp::{
    Allocator, Gfp, Maintain, Order, Pages,
    sync::{Mutex, MutexGuard, thread},
};

/// Addresses are looked up in the map of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

fn small() -> Allocator {
    Allocator::builder(64 << 20).maintain(Maintain::ByHand).cpus(2).build().expect("64 MiB")
}

fn base(allocator: &Allocator) -> usize {
    allocator.arena().base().addr().get()
}

/// Fills the calling thread's cache with blocks of several lists.
fn fill_cache(allocator: &Allocator) {
    for order in [9, 3, 1, 0] {
        // Few enough that none of them drains what others have.
        let held: Vec<_> =
            (0..10).filter_map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).ok()).collect();
        drop(held);
    }
}

fn write(pages: &mut Pages, value: u8) {
    let last = pages.len() - 1;
    pages.bytes_mut()[0].write(value);
    pages.bytes_mut()[last].write(value);
}

fn read(pages: &Pages) -> [u8; 2] {
    // SAFETY: `write` wrote both bytes.
    [0, pages.len() - 1].map(|at| unsafe { pages.bytes()[at].assume_init() })
}

#[test]
fn memory_is_readable_until_the_last_block_is_dropped() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    fill_cache(&allocator);
    let mut blocks: Vec<_> = [0, 0, 1, 3, 5, 9, 10]
        .map(|order| allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("room"))
        .into();
    blocks.iter_mut().for_each(|pages| write(pages, 0xa5));
    drop(allocator);
    while let Some(pages) = blocks.pop() {
        assert!(is_mapped(base));
        assert_eq!(read(&pages), [0xa5; 2]);
    }
    assert!(!is_mapped(base), "the mapping is still there");
}

#[test]
fn an_allocator_without_blocks_goes_at_once_with_full_caches() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    fill_cache(&allocator);
    let other = allocator.clone();
    thread::spawn(move || fill_cache(&other)).join().expect("no panic");
    assert!(allocator.conservation().cached() > 0);
    drop(allocator);
    assert!(!is_mapped(base));
}

#[test]
fn the_last_block_may_be_dropped_by_a_thread_that_never_allocated() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    let pages = allocator.alloc_page(Gfp::KERNEL).expect("room");
    drop(allocator);
    thread::spawn(move || drop(pages)).join().expect("no panic");
    assert!(!is_mapped(base));
}

#[test]
fn threads_with_full_caches_may_outlive_the_allocator() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    let (go, wait) = mpsc::channel::<()>();
    let (filled, ready) = mpsc::channel();
    let theirs = allocator.clone();
    let thread = thread::spawn(move || {
        fill_cache(&theirs);
        let mut pages = theirs.alloc_page(Gfp::KERNEL).expect("room");
        write(&mut pages, 7);
        drop(theirs);
        filled.send(()).expect("somebody waits");
        wait.recv().expect("told to go on");
        assert_eq!(read(&pages), [7; 2]);
        drop(pages);
    });
    ready.recv().expect("filled");
    drop(allocator);
    assert!(is_mapped(base));
    go.send(()).expect("it waits");
    thread.join().expect("no panic");
    assert!(!is_mapped(base));
}

#[test]
fn a_handle_keeps_its_allocator_open() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    let handle = allocator.handle().expect("memory for a cache");
    drop(allocator);
    let pages = handle.alloc_pages(Gfp::KERNEL, Order::new(3)).expect("it is open");
    assert!(is_mapped(base));
    drop(handle);
    assert!(is_mapped(base), "a block is out");
    drop(pages);
    assert!(!is_mapped(base));
}

#[test]
fn blocks_of_many_threads_come_back_while_the_allocator_closes() {
    let _alone = alone();
    for turn in 0..40 {
        let allocator = small();
        let base = base(&allocator);
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let allocator = allocator.clone();
                thread::spawn(move || {
                    let mut random = Random::new(turn * 10 + number);
                    let mut held: Vec<_> = (0..300)
                        .filter_map(|_| allocator.alloc_pages(Gfp::KERNEL, order(&mut random)).ok())
                        .collect();
                    held.iter_mut().for_each(|pages| write(pages, 1));
                    let early = held.split_off(held.len() / 2);
                    drop(early);
                    // One of the four is the last to let go, and closes.
                    drop(allocator);
                    assert!(held.iter().all(|pages| read(pages) == [1; 2]));
                })
            })
            .collect();
        drop(allocator);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(!is_mapped(base), "turn {turn}");
    }
}

#[test]
fn a_block_in_a_thread_local_is_freed_when_its_thread_ends() {
    thread_local! {
        static KEPT: RefCell<Vec<Pages>> = const { RefCell::new(Vec::new()) };
    }
    let _alone = alone();
    let allocator = small();
    for kept_first in [false, true] {
        let theirs = allocator.clone();
        thread::spawn(move || {
            // Which of the two thread-locals is destroyed first follows from which is used first.
            if kept_first {
                KEPT.with_borrow_mut(Vec::clear);
            }
            let mut pages =
                [0, 3, 5, 9].map(|order| theirs.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("room"));
            pages.iter_mut().for_each(|pages| write(pages, 3));
            KEPT.with_borrow_mut(|kept| kept.extend(pages));
        })
        .join()
        .expect("no panic");
        common::assert_all_free(&allocator);
    }
}

#[test]
fn a_thousand_allocators_leave_nothing_behind() {
    let _alone = alone();
    let lines = || std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count();
    let threads = || common::live_threads().count();
    let mut before = None;
    for turn in 0..1000 {
        let maintain = if turn % 50 == 0 { Maintain::EverySecond } else { Maintain::ByHand };
        let allocator =
            Allocator::builder(16 << 20).dma(0).cpus(1).maintain(maintain).build().expect("16 MiB");
        let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2)).expect("room");
        write(&mut pages, 9);
        if turn % 2 == 0 {
            drop(pages);
            drop(allocator);
        } else {
            drop(allocator);
            drop(pages);
        }
        // The first turns fill the heap and the thread's list of caches.
        if turn == 20 {
            before = Some((lines(), threads()));
        }
    }
    let (lines_before, threads_before) = before.expect("turn 20 came");
    assert!(lines() <= lines_before + 8, "{} mappings, {lines_before} before", lines());
    assert!(threads() <= threads_before, "{} threads, {threads_before} before", threads());
}

#[test]
fn one_thread_uses_two_allocators_in_turn() {
    let _alone = alone();
    let allocators = [small(), small()];
    let mut held: [Vec<Pages>; 2] = [Vec::new(), Vec::new()];
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let number = random.below(2);
        let taken = allocators[number].alloc_pages(Gfp::KERNEL, order(&mut random));
        if let (Ok(mut pages), true) = (taken, random.below(2) == 0) {
            write(&mut pages, number.to_le_bytes()[0]);
            held[number].push(pages);
        }
        let number = random.below(2);
        if held[number].len() > 100 {
            let at = random.below(held[number].len());
            let pages = held[number].swap_remove(at);
            assert_eq!(read(&pages), [number.to_le_bytes()[0]; 2]);
            allocators[random.below(2)].free_pages(pages);
        }
    }
    held.iter_mut().for_each(Vec::clear);
    for allocator in &allocators {
        assert!(allocator.conservation().cached() > 0, "each has a cache");
        common::assert_all_free(allocator);
    }
}

#[test]
fn an_allocator_where_another_one_was_is_a_new_one() {
    let _alone = alone();
    // A second thread lives through all of them, and keeps what it knows of each.
    let (jobs, receiver) = mpsc::channel::<(Allocator, mpsc::Sender<()>)>();
    let thread = thread::spawn(move || {
        for (allocator, done) in receiver {
            fill_cache(&allocator);
            assert!(allocator.conservation().cached() > 0);
            drop(allocator);
            done.send(()).expect("somebody waits");
        }
    });
    for _ in 0..100 {
        let allocator = small();
        let base = base(&allocator);
        fill_cache(&allocator);
        assert!(allocator.conservation().cached() > 0, "this thread has a cache");
        let (done, wait) = mpsc::channel();
        jobs.send((allocator.clone(), done)).expect("it runs");
        wait.recv().expect("it answers");
        common::assert_all_free(&allocator);
        drop(allocator);
        assert!(!is_mapped(base));
    }
    drop(jobs);
    thread.join().expect("no panic");
}

#[test]
fn a_shared_block_outlives_its_allocator_and_goes_with_its_last_reference() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    let shared = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(4)).expect("room").into_shared();
    drop(allocator);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.iter().all(|&byte| byte == 0))
        })
        .collect();
    assert!(is_mapped(base));
    drop(shared);
    for thread in threads {
        assert!(thread.join().expect("no panic"));
    }
    assert!(!is_mapped(base), "the mapping is still there");
}

#[test]
fn fragments_outlive_their_cache_and_its_allocator() {
    let _alone = alone();
    let allocator = small();
    let base = base(&allocator);
    let cache = allocator.page_frag_cache(None, Gfp::KERNEL);
    let [first, second] = [100, 200].map(|bytes| cache.alloc(bytes).expect("room"));
    drop(allocator);
    let mut third = cache.alloc(5000).expect("the cache keeps the allocator open");
    drop(cache);
    for fragment in [first, second] {
        thread::spawn(move || drop(fragment)).join().expect("no panic");
        assert!(is_mapped(base));
        assert_eq!(third.write_copy_of_slice(&[3; 5000])[4999], 3);
    }
    thread::spawn(move || drop(third)).join().expect("no panic");
    assert!(!is_mapped(base), "the mapping is still there");
}
