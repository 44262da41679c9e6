//! A thousand threads that allocated once and sleep must not keep an arena's memory from those who work.

mod common;

use std::sync::Barrier;

use gfp::{
    Allocator, Gfp, Maintain, Order,
    error::{FailReason, Refusal},
    sync::{Arc, thread},
};

/// With the test's own thread, 1024 have caches.
const THREADS: usize = 1023;

/// Starts threads that allocate once, tell so, sleep until `wake`, free, and sleep until `end`.
fn start(allocator: &Allocator, barriers: &Arc<[Barrier; 4]>) -> Vec<thread::JoinHandle<()>> {
    (0..THREADS)
        .map(|number| {
            let allocator = allocator.clone();
            let barriers = Arc::clone(barriers);
            let sleeper = move || {
                let [allocated, wake, freed, end] = &*barriers;
                let order = Order::new(if number % 10 == 0 { 3 } else { 0 });
                let pages = allocator.alloc_pages(Gfp::KERNEL, order).expect("there is room for all");
                // Whoever holds an allocator keeps it open; these hold a block and a cache only.
                drop(allocator);
                allocated.wait();
                wake.wait();
                drop(pages);
                freed.wait();
                end.wait();
            };
            thread::Builder::new().stack_size(128 << 10).spawn(sleeper).expect("a thread")
        })
        .collect()
}

#[test]
fn sleeping_threads_hold_an_eighth_at_most_and_the_last_frame_is_had() {
    let allocator = Allocator::builder(64 << 20)
        .dma(0)
        .min_free_kbytes(0)
        .maintain(Maintain::ByHand)
        .build()
        .expect("64 MiB");
    let managed = allocator.arena().frames();
    let barriers = Arc::new([const { THREADS + 1 }; 4].map(Barrier::new));
    let threads = start(&allocator, &barriers);
    let [allocated, wake, freed, end] = &*barriers;
    let at_most_an_eighth = |when| {
        let conservation = allocator.conservation();
        assert!(conservation.holds(), "{conservation}");
        assert!(conservation.cached() <= managed / 8, "{when}: {conservation}");
        conservation
    };

    allocated.wait();
    let asleep = at_most_an_eighth("all have allocated");
    // Every tenth has a block of order 3.
    let out = (THREADS.div_ceil(10) * 7 + THREADS) as u64;
    assert_eq!(asleep.allocated(), out);

    // Everything else goes to this thread, to the last frame.
    let mut held = Vec::new();
    let error = loop {
        match allocator.alloc_page(Gfp::KERNEL) {
            Ok(page) => held.push(page),
            Err(error) => break error,
        }
    };
    let full = allocator.conservation();
    assert_eq!((full.free(), full.cached(), full.allocated()), (0, 0, managed), "{full}");
    assert_eq!(held.len() as u64, managed - out);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert!(error.tried().all(|zone| zone.refusal == Refusal::Watermark), "{error}");

    // One frame comes back, into this thread's cache: a request that may block drains it and has it, and one that may
    // not obeys the mark, which does not count what is cached.
    drop(held.pop());
    assert!(allocator.alloc_page(Gfp::NOWAIT).is_err());
    held.push(allocator.alloc_page(Gfp::KERNEL).expect("the last frame"));

    wake.wait();
    freed.wait();
    at_most_an_eighth("all have freed");
    // What the others freed is in their caches; a request that may block gets it.
    for _ in 0..out {
        held.push(allocator.alloc_page(Gfp::KERNEL).expect("some sleeper's frame"));
    }
    assert!(allocator.alloc_page(Gfp::KERNEL).is_err());
    drop(held);
    at_most_an_eighth("this thread has freed");

    end.wait();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let ended = at_most_an_eighth("all have ended");
    assert_eq!((ended.allocated(), ended.free() + ended.cached()), (0, managed), "{ended}");
    common::assert_all_free(&allocator);
}
