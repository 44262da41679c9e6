//! What the system refuses, and what only a broken allocator does.

use super::{DebugModes, FindingHook};
use crate::{
    Allocator, Gfp, Maintain, Order, Pages,
    error::{BuildError, FailReason, Finding, Flaw},
    frame,
    platform::{
        Errno,
        fault::{Occurrence, SystemCall, fail},
    },
    sync::{Arc, Mutex},
};

type Findings = Arc<Mutex<Vec<Finding>>>;

fn allocator(modes: DebugModes) -> (Allocator, Findings) {
    let findings = Findings::default();
    let heard = Arc::clone(&findings);
    let hook: FindingHook = Box::new(move |finding| heard.lock().push(finding.clone()));
    let builder = Allocator::builder(64 << 20).dma(0).cpus(1).maintain(Maintain::ByHand);
    (builder.debug(modes).on_finding(hook).build().expect("64 MiB"), findings)
}

fn take(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory")
}

fn touch(pages: &mut Pages) {
    for byte in pages.bytes_mut().iter_mut().step_by(frame::FRAME_BYTES) {
        byte.write(1);
    }
}

fn assert_all_free(allocator: &Allocator) {
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

#[test]
fn an_arena_that_cannot_be_closed_is_not_built() {
    // The first call opens the reservation.
    let _fault = fail(SystemCall::Mprotect, Occurrence::Nth(1), Errno::NOMEM);
    let builder = Allocator::builder(64 << 20).dma(0).maintain(Maintain::ByHand).debug(DebugModes::GUARD);
    let refused = builder.build().expect_err("it was refused");
    assert!(
        matches!(refused, BuildError::Platform { doing: "closing the arena's free memory", .. }),
        "{refused}"
    );
}

#[test]
fn a_block_that_cannot_be_opened_alone_is_opened_with_all_that_is_free() {
    for order in [0, 3, 10] {
        let (allocator, findings) = allocator(DebugModes::GUARD);
        let fault = fail(SystemCall::Mprotect, Occurrence::Nth(0), Errno::NOMEM);
        let mut pages = take(&allocator, order);
        assert_eq!(fault.failures(), 1);
        touch(&mut pages);
        let finding = findings.lock().pop().expect("it was reported");
        assert_eq!((finding.pfn, finding.order), (pages.pfn().get(), order));
        assert!(matches!(finding.flaw, Flaw::GuardLifted(_)), "{finding}");
        assert_eq!((allocator.debug_counts().guard_lifted, findings.lock().len()), (1, 0));
        drop((pages, fault));
        assert_all_free(&allocator);
    }
}

#[test]
fn a_block_that_cannot_be_closed_is_free_all_the_same() {
    let (allocator, findings) = allocator(DebugModes::GUARD | DebugModes::CHECK_PAGES);
    let pages = take(&allocator, 0);
    let fault = fail(SystemCall::Mprotect, Occurrence::Nth(0), Errno::NOMEM);
    drop(pages);
    assert_eq!((fault.failures(), allocator.debug_counts().guard_lifted), (1, 1));
    let finding = findings.lock().pop().expect("it was reported");
    assert!(finding.to_string().contains("vm.max_map_count"), "{finding}");
    assert_all_free(&allocator);
}

#[test]
fn a_request_whose_block_cannot_be_opened_at_all_fails_and_loses_nothing() {
    for modes in [DebugModes::GUARD, DebugModes::all()] {
        let (allocator, findings) = allocator(modes);
        for order in [0, 3, 5] {
            let fault = fail(SystemCall::Mprotect, Occurrence::Always, Errno::NOMEM);
            let error = allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect_err("it was refused");
            assert_eq!((error.reason(), error.order()), (FailReason::Guarded, order));
            assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            assert_eq!(fault.failures(), 2);
            drop(fault);
            let finding = findings.lock().pop().expect("it was reported");
            assert!(matches!(finding.flaw, Flaw::NotOpened(_)), "{finding}");
            touch(&mut take(&allocator, order));
        }
        assert!(findings.lock().is_empty());
        assert_eq!(allocator.debug_counts().guard_lifted, 0);
        assert_all_free(&allocator);
    }
}

#[test]
fn a_block_that_somebody_has_is_handed_out_to_nobody_else() {
    let (allocator, findings) = allocator(DebugModes::CHECK_PAGES | DebugModes::INIT_ON_ALLOC);
    let block = {
        let pages = take(&allocator, 0);
        pages.block()
    };
    // As if the cache, which has the block, had given it to somebody before.
    frame::hand_out(allocator.core().domain.frames(), block).expect("it is free");
    let other = take(&allocator, 0);
    assert_ne!(other.pfn(), block.pfn());
    let finding = findings.lock().pop().expect("it was reported");
    assert_eq!((finding.pfn, finding.flaw), (block.pfn().get(), Flaw::InUse { order: 0 }));
    assert_eq!(allocator.debug_counts().in_use, 1);
    drop(Pages::new(block));
    drop(other);
    assert_all_free(&allocator);
}
