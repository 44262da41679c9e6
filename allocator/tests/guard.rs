//! Memory that is free and guarded: whoever touches it dies, and whoever owns a block notices nothing.

mod common;

use common::in_child;
use gfp::{
    Allocator, DebugModes, Gfp, Maintain, Order, Pages,
    error::{BuildError, Flaw},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How long a child may take.
const SECONDS: u32 = 60;

fn guarded(bytes: usize) -> Allocator {
    let builder = Allocator::builder(bytes).dma(0).cpus(2).maintain(Maintain::ByHand);
    builder.debug(DebugModes::GUARD).build().expect("address space")
}

fn get(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("room")
}

/// Writes to a byte that is mapped, whether or not it may be written to.
fn touch(at: *mut u8) {
    // SAFETY: the mapping is there; that the access may be forbidden is what is tested.
    unsafe { at.write_volatile(1) };
}

/// Returns the addresses of a block's first and last byte.
fn ends(pages: &Pages) -> [*mut u8; 2] {
    let start = pages.as_ptr().as_ptr();
    [start, start.wrapping_add(pages.len() - 1)]
}

#[test]
fn whoever_uses_a_block_after_its_free_dies_at_that_instruction() {
    let allocator = guarded(64 << 20);
    for order in [0, 3, 5, 9, 10] {
        let (freed, kept) = (get(&allocator, order), get(&allocator, order));
        let (stale, own) = (ends(&freed), ends(&kept));
        assert_eq!(
            in_child(SECONDS, || stale.into_iter().chain(own).for_each(touch)),
            Ok(0),
            "both are owned"
        );
        drop(freed);
        for at in stale {
            assert_eq!(in_child(SECONDS, || touch(at)), Err(libc::SIGSEGV), "order {order}");
            // SAFETY: as in `touch`.
            assert_eq!(in_child(SECONDS, || _ = unsafe { at.read_volatile() }), Err(libc::SIGSEGV));
        }
        assert_eq!(in_child(SECONDS, || own.into_iter().for_each(touch)), Ok(0));
        // Back in its zone it is closed too.
        allocator.drain_all();
        assert_eq!(in_child(SECONDS, || touch(stale[0])), Err(libc::SIGSEGV));
    }
}

#[test]
fn memory_that_was_never_allocated_is_closed() {
    let allocator = guarded(64 << 20);
    let pages = get(&allocator, 0);
    let behind = allocator.arena().base().as_ptr().wrapping_add(allocator.arena().len() - 1);
    assert_eq!(in_child(SECONDS, || touch(behind)), Err(libc::SIGSEGV));
    ends(&pages).into_iter().for_each(touch);
}

#[test]
fn contents_outlive_the_guard_of_neighbours_and_pieces_are_guarded_alone() {
    let allocator = guarded(64 << 20);
    let mut frames = Vec::new();
    get(&allocator, 4).split_page(|frame| frames.push(frame));
    for frame in &frames {
        // SAFETY: the frame is this test's own.
        unsafe { frame.as_ptr().as_ptr().write_bytes(0x5a, frame.len()) };
    }
    let freed: Vec<_> = (0..8).rev().map(|index| ends(&frames.remove(2 * index))[0]).collect();
    for frame in &frames {
        // SAFETY: all of it was written above.
        assert!(frame.bytes().iter().all(|byte| unsafe { byte.assume_init() } == 0x5a));
    }
    for at in freed {
        assert_eq!(in_child(SECONDS, || touch(at)), Err(libc::SIGSEGV));
    }
}

#[test]
fn where_the_system_has_no_mapping_left_the_guard_is_lifted_and_all_works_on() {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
    let limit: usize = limit.trim().parse().expect("a number");
    if limit > 1 << 18 {
        // Millions of mappings take minutes; the refusal itself is tested with planned faults.
        return;
    }
    // Every second frame free: as many mappings as frames.
    let frames = limit + 8192;
    let ended = in_child(SECONDS, || {
        let lifted = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&lifted);
        let allocator = Allocator::builder((frames << 12).next_multiple_of(4 << 20))
            .dma(0)
            .cpus(1)
            .min_free_kbytes(0)
            .maintain(Maintain::ByHand)
            .debug(DebugModes::GUARD)
            .on_finding(Box::new(move |finding| {
                assert!(matches!(finding.flaw, Flaw::GuardLifted(_)), "{finding}");
                assert!(finding.to_string().contains("vm.max_map_count"), "{finding}");
                heard.fetch_add(1, Ordering::Relaxed);
            }))
            .build()
            .expect("address space");
        let held: Vec<_> =
            core::iter::from_fn(|| allocator.alloc_page(Gfp::ATOMIC).ok()).take(frames).collect();
        assert!(held.len() >= limit);
        let mut stale = Vec::new();
        let mut kept = Vec::new();
        for pages in held {
            if pages.pfn().get() % 2 == 0 {
                stale.push(ends(&pages)[0]);
                drop(pages);
            } else {
                kept.push(pages);
            }
        }
        assert!(lifted.load(Ordering::Relaxed) > 0, "the limit was met");
        assert_eq!(allocator.debug_counts().guard_lifted, lifted.load(Ordering::Relaxed));
        // The process has mappings to spare, memory that is owned is open, and requests are served.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
        assert!(maps.lines().count() < limit / 2);
        kept.iter().for_each(|pages| ends(pages).into_iter().for_each(touch));
        let again: Vec<_> = (0..stale.len() / 2).map(|_| allocator.alloc_page(Gfp::ATOMIC)).collect();
        again.iter().flatten().for_each(|pages| ends(pages).into_iter().for_each(touch));
        assert!(again.iter().all(Result::is_ok));
    });
    assert_eq!(ended, Ok(0));
}

#[test]
fn a_lent_mapping_is_not_guarded() {
    let lender = Allocator::builder(32 << 20).dma(0).maintain(Maintain::ByHand).build().expect("32 MiB");
    let lent = get(&lender, 10);
    let builder =
        Allocator::builder(lent.len()).max_order(9).maintain(Maintain::ByHand).debug(DebugModes::GUARD);
    // SAFETY: the block is readable and writable, and nobody uses it as long as it is lent.
    let refused =
        unsafe { builder.from_raw(lent.as_ptr()) }.build().expect_err("its protection is the lender's");
    assert!(matches!(refused, BuildError::Option { name: "debug", .. }), "{refused}");
}
