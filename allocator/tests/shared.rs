//! Blocks that several hold: nobody frees them too early, and the last one does.

mod common;

use common::{Random, assert_all_free, order};
use gfp::{
    Allocator, FreeError, Gfp, Maintain, Order, Pages, RawParts, SharedPages, SharedZeroedPages,
    error::{FrameStory, Misuse},
    sync::{Arc, Mutex, thread},
};

fn small() -> Allocator {
    Allocator::builder(64 << 20).dma(0).cpus(2).maintain(Maintain::ByHand).build().expect("64 MiB")
}

fn take(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory")
}

fn refused(allocator: &Allocator, parts: RawParts) -> FreeError {
    // SAFETY: parts that name no block are refused; that is what is tested.
    let error = unsafe { allocator.free_raw(parts) }.expect_err("must be refused");
    // SAFETY: as above.
    assert_eq!(Some(error), unsafe { allocator.from_raw_parts(parts) }.err());
    error
}

#[test]
fn the_last_reference_frees_a_block_of_any_order() {
    let allocator = small();
    for order in 0..=10 {
        let first = take(&allocator, order).into_shared();
        let others: Vec<_> = (0..5).map(|_| first.clone()).collect();
        assert_eq!((first.references(), first.order()), (6, Order::new(order)));
        drop(first);
        for (left, reference) in (1..=others.len()).rev().zip(others) {
            assert_eq!(reference.references() as usize, left);
            assert_eq!(allocator.conservation().allocated(), 1 << order);
            drop(reference);
        }
        assert_eq!(allocator.conservation().allocated(), 0);
    }
    assert_all_free(&allocator);
}

#[test]
fn only_a_single_reference_writes_or_owns() {
    let allocator = small();
    let mut first = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(2)).expect("room").into_shared();
    first.get_mut().expect("the only one")[7] = 7;
    let second = first.clone();
    assert!(first.get_mut().is_none());
    assert_eq!((second[7], second.len(), second.pages().references()), (7, 4 << 12, 2));
    drop(second);
    assert_eq!(first.get_mut().map(|bytes| bytes[7]), Some(7));
    drop(first);

    let first = take(&allocator, 3).into_shared();
    let second = first.clone();
    let first = first.try_into_pages().expect_err("there are two");
    drop(second);
    let pages = first.try_into_pages().expect("the only one");
    // It is an ordinary block again.
    let parts = pages.into_raw_parts();
    // SAFETY: the parts are of a block that was taken apart just now.
    unsafe { allocator.free_raw(parts) }.expect("its own parts");
    assert_all_free(&allocator);
}

#[test]
fn raw_parts_of_a_shared_block_free_nothing() {
    let allocator = small();
    for order in [0, 3, 5] {
        let parts = take(&allocator, order).into_raw_parts();
        // SAFETY: the parts are of a block that was taken apart just now.
        let shared = unsafe { allocator.from_raw_parts(parts) }.expect("its own parts").into_shared();
        let second = shared.clone();
        // Freed with the parts that it was made of, and with those that its next owner would have got.
        for generation in [parts.generation, parts.generation + 1] {
            let error = refused(&allocator, RawParts { generation, ..parts });
            assert_eq!(error.misuse, Misuse::Shared, "{error}");
            let generation = parts.generation.to_le_bytes()[0] + 1;
            assert_eq!(error.story, FrameStory::Allocated { order, generation, references: 2 });
        }
        let other_order = refused(&allocator, RawParts { order: Order::new(order + 1), ..parts });
        assert!(matches!(other_order.misuse, Misuse::Shared | Misuse::Misaligned), "{other_order}");
        drop((shared, second));
        assert_eq!(refused(&allocator, parts).misuse, Misuse::DoubleFree);
    }
    assert_all_free(&allocator);
}

#[test]
fn a_copy_that_unsafe_code_made_is_reported_when_it_is_shared_or_taken_apart() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reports);
    let hook = Box::new(move |error: &FreeError| seen.lock().push((error.misuse, error.pfn)));
    let allocator =
        Allocator::builder(64 << 20).maintain(Maintain::ByHand).on_misuse(hook).build().expect("64 MiB");
    let pages = take(&allocator, 3);
    let pfn = pages.pfn().get();
    // SAFETY: the rule that a block has one owner is broken on purpose; the memory of the copies is not looked at.
    let [copy, other] = [(); 2].map(|()| unsafe { std::ptr::read(&raw const pages) });
    let shared = pages.into_shared();
    let _ = copy.into_raw_parts();
    // Kept: giving it back would take the place of the other reference.
    core::mem::forget(other.into_shared());
    assert_eq!(*reports.lock(), [(Misuse::Shared, pfn); 2]);
    assert_eq!(shared.references(), 1);
    drop(shared);
    assert_all_free_but(&allocator, 2);
}

/// Checks as `assert_all_free` does, where `bad` misuses were reported.
fn assert_all_free_but(allocator: &Allocator, bad: u64) {
    assert_eq!(allocator.bad_pages(), bad);
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

#[test]
fn one_reference_given_back_too_often_is_reported() {
    let allocator = small();
    let shared = take(&allocator, 0).into_shared();
    // SAFETY: the rule that each reference is given back once is broken on purpose.
    let copy = unsafe { std::ptr::read(&raw const shared) };
    drop(shared);
    drop(copy);
    assert_all_free_but(&allocator, 1);
}

/// Fills a block with one byte that tells who it is, and shares it.
fn stamped(allocator: &Allocator, random: &mut Random) -> Option<(SharedZeroedPages, u8)> {
    let mut pages = allocator.alloc_zeroed_pages(Gfp::KERNEL, order(random)).ok()?;
    let stamp = u8::try_from(random.below(256)).expect("a byte");
    let step = (pages.len() / 8).max(1);
    pages.iter_mut().step_by(step).for_each(|byte| *byte = stamp);
    Some((pages.into_shared(), stamp))
}

fn check((pages, stamp): &(SharedZeroedPages, u8)) {
    let step = (pages.len() / 8).max(1);
    assert!(pages.iter().step_by(step).all(|byte| byte == stamp), "somebody wrote into {pages:?}");
}

#[test]
fn no_shared_block_changes_while_anybody_holds_it_and_none_is_lost() {
    let allocator = small();
    let passed_on = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let (allocator, passed_on) = (allocator.clone(), Arc::clone(&passed_on));
            thread::spawn(move || {
                let mut random = Random::new(seed);
                let mut held = Vec::new();
                for _ in 0..20_000 {
                    match random.below(100) {
                        0..15 if held.len() < 100 => held.extend(stamped(&allocator, &mut random)),
                        15..45 if !held.is_empty() && held.len() < 100 => {
                            let (pages, stamp) = &held[random.below(held.len())];
                            passed_on.lock().push((pages.clone(), *stamp));
                        }
                        45..70 => held.extend(passed_on.lock().pop()),
                        70..75 if !held.is_empty() => {
                            // Whoever is alone may write.
                            let at = random.below(held.len());
                            let (pages, stamp) = &mut held[at];
                            if let Some(bytes) = pages.get_mut() {
                                *stamp = stamp.wrapping_add(1);
                                bytes.fill(*stamp);
                            }
                        }
                        _ if !held.is_empty() => {
                            let reference = held.swap_remove(random.below(held.len()));
                            check(&reference);
                        }
                        _ => {}
                    }
                }
                held.iter().for_each(check);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    passed_on.lock().drain(..).for_each(|reference| check(&reference));
    assert_all_free(&allocator);
}

#[test]
fn references_are_as_small_as_blocks_and_go_to_any_thread() {
    const fn goes_anywhere<T: Send + Sync>() {}
    goes_anywhere::<SharedPages>();
    goes_anywhere::<SharedZeroedPages>();
    assert_eq!(size_of::<SharedPages>(), size_of::<Pages>());
}
