//! Frees that must not happen: each is refused with its own error, and changes nothing.

use gfp::{
    Allocator, Conservation, FreeError, Gfp, Maintain, Order, Pages, Pfn, RawParts,
    error::{FrameStory, Misuse},
    sync::{Arc, Mutex},
};

fn small() -> Allocator {
    Allocator::builder(64 << 20).dma(0).cpus(1).maintain(Maintain::ByHand).build().expect("64 MiB")
}

/// What a refused free must leave alone.
fn state(allocator: &Allocator) -> (Conservation, String) {
    (allocator.conservation(), allocator.buddyinfo().to_string())
}

fn take(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory")
}

/// Frees `parts`, which must be refused, and checks that nothing changed.
fn refused(allocator: &Allocator, parts: RawParts) -> FreeError {
    let before = state(allocator);
    // SAFETY: parts that name no block are refused; that is what is tested.
    let error = unsafe { allocator.free_raw(parts) }.expect_err("must be refused");
    // SAFETY: as above.
    let again = unsafe { allocator.from_raw_parts(parts) }.expect_err("must be refused");
    assert_eq!(error, again);
    assert_eq!(state(allocator), before, "{error}");
    assert_eq!((error.pfn, error.order), (parts.pfn.get(), parts.order.get()));
    error
}

fn free(allocator: &Allocator, parts: RawParts) {
    // SAFETY: the parts are of a block that was taken apart and not freed.
    unsafe { allocator.free_raw(parts) }.expect("its own parts");
}

#[test]
fn a_block_that_waits_in_a_cache_cannot_be_freed_again() {
    // Large enough for a cache to keep a block of order 9.
    let allocator =
        Allocator::builder(1 << 30).dma(0).cpus(1).maintain(Maintain::ByHand).build().expect("1 GiB");
    for order in [0, 1, 2, 3, 9] {
        let parts = take(&allocator, order).into_raw_parts();
        free(&allocator, parts);
        let error = refused(&allocator, parts);
        assert_eq!(error.misuse, Misuse::DoubleFree);
        assert!(matches!(error.story, FrameStory::Allocated { order: seen, .. } if seen == order), "{error}");
    }
}

#[test]
fn a_block_that_is_back_in_its_zone_cannot_be_freed_again() {
    let allocator = small();
    for order in 0..=10 {
        let parts = take(&allocator, order).into_raw_parts();
        free(&allocator, parts);
        allocator.drain_all();
        let error = refused(&allocator, parts);
        assert_eq!((error.misuse, error.story), (Misuse::DoubleFree, FrameStory::Free), "order {order}");
    }
}

#[test]
fn a_block_is_freed_with_its_own_order() {
    let allocator = small();
    let block = take(&allocator, 3);
    let pfn = block.pfn();
    let parts = block.into_raw_parts();
    for order in [0, 1, 2] {
        let error = refused(&allocator, RawParts { order: Order::new(order), ..parts });
        assert_eq!(error.misuse, Misuse::WrongOrder);
        assert!(matches!(error.story, FrameStory::Allocated { order: 3, references: 1, .. }), "{error}");
    }
    let aligned = (4..=18).map(Order::new).filter(|&order| pfn.is_aligned(order)).max();
    for order in (4..=18).map(Order::new) {
        let error = refused(&allocator, RawParts { order, ..parts });
        let expected = if Some(order) <= aligned { Misuse::WrongOrder } else { Misuse::Misaligned };
        assert_eq!(error.misuse, expected, "{error}");
    }
    free(&allocator, parts);
}

#[test]
fn a_frame_inside_a_block_is_not_the_block() {
    let allocator = small();
    for order in [1, 3, 5, 10] {
        let parts = take(&allocator, order).into_raw_parts();
        let frames = parts.order.frames();
        for inside in [1, frames / 2, frames - 1] {
            let tail = RawParts { pfn: parts.pfn.add(inside), order: Order::ZERO, ..parts };
            let error = refused(&allocator, tail);
            assert_eq!((error.misuse, error.story), (Misuse::Tail, FrameStory::Interior), "order {order}");
        }
        let upper_half = RawParts { pfn: parts.pfn.add(frames / 2), order: Order::new(order - 1), ..parts };
        assert_eq!(refused(&allocator, upper_half).misuse, Misuse::Tail);
        free(&allocator, parts);
    }
    // Inside a block that a cache holds.
    let parts = take(&allocator, 3).into_raw_parts();
    free(&allocator, parts);
    let tail = RawParts { pfn: parts.pfn.add(5), order: Order::ZERO, ..parts };
    assert_eq!(refused(&allocator, tail).misuse, Misuse::Tail);
}

#[test]
fn parts_of_an_earlier_owner_are_stale() {
    let allocator = small();
    for order in [0, 3, 5] {
        let old = take(&allocator, order).into_raw_parts();
        let mut parts = old;
        // A generation comes back after 1024 turns, which is documented; until then it is told apart.
        for turn in 1..1024 {
            free(&allocator, parts);
            parts = take(&allocator, order).into_raw_parts();
            assert_eq!(parts.pfn, old.pfn, "the hottest block comes first");
            if turn % 64 == 1 || turn == 1023 {
                assert_eq!(refused(&allocator, old).misuse, Misuse::Stale, "turn {turn}");
            }
        }
        free(&allocator, parts);
    }
}

#[test]
fn frames_that_nobody_was_given_cannot_be_freed() {
    let allocator = small();
    let frames = u32::try_from(allocator.arena().frames()).expect("small");
    let mine = take(&allocator, 0).into_raw_parts();
    let parts = |pfn, order| RawParts { pfn: Pfn::new(pfn), order: Order::new(order), generation: 0, ..mine };
    for pfn in [frames, frames + 1, u32::MAX] {
        let error = refused(&allocator, parts(pfn, 0));
        assert_eq!((error.misuse, error.story), (Misuse::OutOfRange, FrameStory::Unknown));
    }
    let error = refused(&allocator, parts(frames - 1, 0));
    assert_eq!((error.misuse, error.story), (Misuse::NotAllocated, FrameStory::Free));
    let error = refused(&allocator, parts(frames - 1, 1));
    assert_eq!((error.misuse, error.story), (Misuse::Misaligned, FrameStory::Unknown));
    free(&allocator, mine);
}

#[test]
fn parts_of_another_allocator_name_nothing_here() {
    let (home, abroad) = (small(), small());
    for order in [0, 3, 5] {
        let parts = take(&home, order).into_raw_parts();
        let before = state(&home);
        let error = refused(&abroad, parts);
        assert_eq!(error.misuse, Misuse::Foreign, "{error}");
        assert_eq!(state(&home), before);
        free(&home, parts);
    }
}

#[test]
fn a_handle_sends_a_foreign_block_home() {
    let (home, abroad) = (small(), small());
    let handle = abroad.handle().expect("memory for a cache");
    let before = state(&abroad);
    handle.free_pages(take(&home, 2));
    abroad.free_pages(take(&home, 2));
    assert_eq!(state(&abroad), before);
    let conservation = home.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
    assert_eq!(home.bad_pages() + abroad.bad_pages(), 0);
}

#[test]
fn a_block_is_made_of_its_parts_once() {
    let allocator = small();
    for order in [0, 3, 5] {
        let parts = take(&allocator, order).into_raw_parts();
        // SAFETY: the parts are of a block that was taken apart.
        let block = unsafe { allocator.from_raw_parts(parts) }.expect("its own parts");
        assert_eq!(refused(&allocator, parts).misuse, Misuse::DoubleFree);
        drop(block);
        assert_eq!(refused(&allocator, parts).misuse, Misuse::DoubleFree);
        // The next owner keeps it as a value: the old parts name nothing.
        let next = take(&allocator, order);
        assert_eq!(next.pfn(), parts.pfn, "the hottest block comes first");
        assert_eq!(refused(&allocator, parts).misuse, Misuse::DoubleFree);
        drop(next);
    }
}

#[test]
fn of_many_threads_that_free_the_same_parts_one_succeeds() {
    let allocator = small();
    for turn in 0..200 {
        let parts = take(&allocator, turn % 6).into_raw_parts();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let allocator = allocator.clone();
                // SAFETY: parts that name no block are refused; that is what is tested.
                gfp::sync::thread::spawn(move || unsafe { allocator.free_raw(parts) }.is_ok())
            })
            .collect();
        let freed = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        assert_eq!(freed.filter(|&freed| freed).count(), 1);
    }
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

/// Makes the same block twice, as only unsafe code can, and lets `use_up` drop both.
fn twice(allocator: &Allocator, order: u8, use_up: impl Fn(Pages, Pages)) -> Pfn {
    let block = std::mem::ManuallyDrop::new(take(allocator, order));
    // SAFETY: the rule that a block has one owner is broken on purpose; the memory of the copies is not looked at.
    let copy = || unsafe { std::ptr::read(&raw const *block) };
    use_up(copy(), copy());
    block.pfn()
}

#[test]
fn a_block_that_was_copied_and_freed_twice_is_found_on_its_way_back_to_the_zone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let reports = Arc::clone(&seen);
    let allocator = Allocator::builder(64 << 20)
        .dma(0)
        .maintain(Maintain::ByHand)
        .on_misuse(Box::new(move |error| reports.lock().push(*error)))
        .build()
        .expect("64 MiB");
    let handle = allocator.handle().expect("memory for a cache");
    // An order without a cache: at the second free.
    let pfn = twice(&allocator, 5, |first, second| {
        drop(first);
        handle.free_pages(second);
    });
    let reported = seen.lock().pop().expect("the hook was called");
    assert_eq!((reported.misuse, reported.pfn), (Misuse::DoubleFree, pfn.get()));
    assert_eq!(allocator.bad_pages(), 1);
    // In a cache: when the cache gives it back.
    for (number, order) in [0, 3].into_iter().enumerate() {
        twice(&allocator, order, |first, second| {
            drop(first);
            handle.free_pages(second);
        });
        allocator.drain_all();
        assert_eq!(allocator.bad_pages(), 2 + number as u64);
    }
    // Every frame came back once.
    let text = allocator.buddyinfo().to_string();
    let fresh = small();
    assert_eq!(text, fresh.buddyinfo().to_string());
}
