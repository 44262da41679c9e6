//! Bulk requests, exact sizes, split blocks, and requests that never wait: nothing is lost, and no frame has two owners.

use std::collections::BTreeSet;

use gfp::{Allocator, Gfp, Maintain, Order, Pages, Pfn, error::FailReason};
use proptest::prelude::*;

fn small() -> Allocator {
    let builder = Allocator::builder(64 << 20).dma(0).cpus(1).min_free_kbytes(0).watermark_scale_factor(1);
    builder.maintain(Maintain::ByHand).build().expect("64 MiB")
}

/// Checks that every frame is accounted for, that none is out, and that all is one again.
fn all_is_back(allocator: &Allocator) {
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
    assert_eq!(allocator.buddyinfo().to_string(), small().buddyinfo().to_string());
    assert_eq!(allocator.bad_pages(), 0);
}

fn places(count: usize) -> Vec<Option<Pages>> {
    std::iter::repeat_with(|| None).take(count).collect()
}

#[test]
fn bulk_fills_the_empty_places_and_leaves_the_others_alone() {
    let allocator = small();
    let handle = allocator.handle().expect("memory for a cache");
    for count in [1, 2, 63, 64, 65, 512, 5000] {
        let mut slots = places(count);
        for slot in slots.iter_mut().step_by(3) {
            *slot = handle.alloc_page(Gfp::KERNEL).ok();
        }
        let kept: Vec<Pfn> = slots.iter().step_by(3).flatten().map(Pages::pfn).collect();
        assert_eq!(handle.alloc_pages_bulk(Gfp::KERNEL, &mut slots), count);
        assert!(slots.iter().step_by(3).flatten().map(Pages::pfn).eq(kept));
        let frames: BTreeSet<u32> = slots.iter().flatten().map(|pages| pages.pfn().get()).collect();
        assert_eq!(frames.len(), count, "no frame twice");
        handle.free_pages_bulk(&mut slots);
        assert!(slots.iter().all(Option::is_none));
    }
    drop(handle);
    all_is_back(&allocator);
}

#[test]
fn bulk_says_how_many_there_were() {
    let allocator = small();
    let frames = usize::try_from(allocator.arena().frames()).expect("small");
    let mut slots = places(frames + 100);
    assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL, &mut slots), frames);
    assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL, &mut slots), frames, "there are no more");
    allocator.free_pages_bulk(&mut slots);
    all_is_back(&allocator);
}

#[test]
fn bulk_clears_what_it_is_asked_to_clear() {
    let allocator = small();
    let mut slots = places(200);
    allocator.alloc_pages_bulk(Gfp::KERNEL, &mut slots);
    for pages in slots.iter_mut().flatten() {
        pages.bytes_mut().fill(core::mem::MaybeUninit::new(0xee));
    }
    let mut kept = slots.split_off(100);
    allocator.free_pages_bulk(&mut slots);
    kept.extend(slots);
    assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL | Gfp::ZERO, &mut kept), 200);
    for (index, pages) in kept.iter().flatten().enumerate() {
        // SAFETY: every byte was written above, or cleared.
        let bytes = unsafe { pages.bytes().assume_init_ref() };
        let expected = if index < 100 { 0xee } else { 0 };
        assert!(bytes.iter().all(|&byte| byte == expected), "place {index}");
    }
}

#[test]
fn bulk_frees_send_foreign_blocks_home_and_take_every_order() {
    let (home, abroad) = (small(), small());
    let handle = abroad.handle().expect("memory for a cache");
    let mut slots: Vec<Option<Pages>> = (0..40)
        .map(|index| {
            let from = if index % 2 == 0 { &home } else { &abroad };
            from.alloc_pages(Gfp::KERNEL, Order::new(index % 10)).ok()
        })
        .collect();
    handle.free_pages_bulk(&mut slots);
    drop(handle);
    all_is_back(&home);
    all_is_back(&abroad);
}

#[test]
fn bulk_of_one_place_does_what_bulk_of_many_does() {
    let (home, abroad) = (small(), small());
    let handle = abroad.handle().expect("memory for a cache");
    type Bulk<'a> = (&'a dyn Fn(Gfp, &mut [Option<Pages>]) -> usize, &'a dyn Fn(&mut [Option<Pages>]));
    let ways: [Bulk<'_>; 2] = [
        (&|gfp, place| handle.alloc_pages_bulk(gfp, place), &|place| handle.free_pages_bulk(place)),
        (&|gfp, place| abroad.alloc_pages_bulk(gfp, place), &|place| abroad.free_pages_bulk(place)),
    ];
    for (alloc, free) in ways {
        let mut place = [None];
        assert_eq!(alloc(Gfp::KERNEL, &mut place), 1);
        let first = place[0].as_ref().map(Pages::pfn);
        assert_eq!(alloc(Gfp::KERNEL, &mut place), 1);
        assert_eq!(place[0].as_ref().map(Pages::pfn), first, "the place was filled");
        place[0].as_mut().expect("it is filled").bytes_mut().fill(core::mem::MaybeUninit::new(0xee));
        free(&mut place);
        assert!(place[0].is_none());
        assert_eq!(alloc(Gfp::KERNEL | Gfp::ZERO, &mut place), 1);
        let pages = place[0].as_ref().expect("it is filled");
        assert_eq!(Some(pages.pfn()), first, "the frame that was freed last");
        // SAFETY: every byte was cleared.
        assert!(unsafe { pages.bytes().assume_init_ref() }.iter().all(|&byte| byte == 0));
        free(&mut place);
        free(&mut place);
        place[0] = home.alloc_pages(Gfp::KERNEL, Order::new(4)).ok();
        free(&mut place);
        assert_eq!(home.conservation().allocated(), 0, "it went home");
        let all: Vec<Pages> = std::iter::from_fn(|| abroad.alloc_page(Gfp::KERNEL).ok()).collect();
        assert_eq!(alloc(Gfp::KERNEL, &mut place), 0);
        drop(all);
    }
    drop(handle);
    all_is_back(&home);
    all_is_back(&abroad);
}

proptest! {
    #[test]
    fn an_exact_run_has_its_frames_and_no_more(sizes in prop::collection::vec(0usize..3 << 20, 1..8)) {
        let allocator = small();
        let mut taken = BTreeSet::new();
        let runs: Vec<_> = sizes
            .iter()
            .map(|&bytes| allocator.alloc_pages_exact(bytes, Gfp::HIGHUSER_MOVABLE).expect("there is memory"))
            .collect();
        for (run, &bytes) in runs.iter().zip(&sizes) {
            prop_assert_eq!(run.frames() as usize, bytes.div_ceil(4096).max(1));
            prop_assert_eq!(run.len(), run.frames() as usize * 4096);
            for frame in 0..run.frames() {
                prop_assert!(taken.insert(run.pfn().get() + frame), "no frame twice");
            }
        }
        let conservation = allocator.conservation();
        prop_assert_eq!(conservation.allocated(), taken.len() as u64);
        drop(runs);
        all_is_back(&allocator);
    }

    #[test]
    fn the_frames_of_a_split_block_are_freed_one_by_one(order in 0u8..=10, keep in any::<u64>()) {
        let allocator = small();
        let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory");
        let first = pages.pfn().get();
        let mut kept = Vec::new();
        let mut expected = first;
        pages.split_page(|frame| {
            assert_eq!((frame.pfn().get(), frame.order()), (expected, Order::ZERO));
            expected += 1;
            if keep >> (frame.pfn().get() % 64) & 1 == 1 {
                kept.push(frame);
            }
        });
        prop_assert_eq!(expected - first, 1 << order);
        prop_assert_eq!(allocator.conservation().allocated(), kept.len() as u64);
        // Each is a block of its own: to plain numbers and back, and freed.
        for frame in kept {
            let parts = frame.into_raw_parts();
            // SAFETY: the parts are of a block that was taken apart just now.
            unsafe { allocator.free_raw(parts) }.expect("its own parts");
        }
        all_is_back(&allocator);
    }
}

#[test]
fn sizes_beyond_the_largest_block_are_refused() {
    let allocator = small();
    for bytes in [(4 << 20) + 1, 1 << 40, usize::MAX] {
        let error = allocator.alloc_pages_exact(bytes, Gfp::KERNEL).expect_err("too large");
        assert!(error.to_string().starts_with("cannot allocate"), "{error}");
    }
}

#[test]
fn what_never_waits_is_served_without_a_cache_and_says_when_it_would_have_had_to_wait() {
    let allocator = small();
    let there = allocator.clone();
    // A thread that makes no cache by it.
    let caches = gfp::sync::thread::spawn(move || {
        for order in [0, 1, 3, 4, 9, 10] {
            let pages = there.alloc_pages_nolock(Order::new(order)).expect("nobody has the lock");
            there.free_pages_nolock(pages);
        }
        there.zone_stats().iter().map(|zone| zone.pagesets.len()).sum::<usize>()
    });
    assert_eq!(caches.join().expect("no panic"), 0);
    // A thread with a cache uses it.
    drop(allocator.alloc_page(Gfp::KERNEL).expect("there is memory"));
    let hottest = allocator.alloc_pages_nolock(Order::ZERO).expect("it is cached");
    let pfn = hottest.pfn();
    allocator.free_pages_nolock(hottest);
    assert_eq!(allocator.alloc_pages_nolock(Order::ZERO).expect("it is cached").pfn(), pfn);
    // When nothing is left, it is told apart from a full arena.
    let mut kept = Vec::new();
    let error = loop {
        match allocator.alloc_pages_nolock(Order::new(10)) {
            Ok(pages) => kept.push(pages),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), FailReason::WouldBlock);
    kept.into_iter().for_each(|pages| allocator.free_pages_nolock(pages));
    all_is_back(&allocator);
}
