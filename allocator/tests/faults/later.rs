//! Calls that fail when the allocator is in use.

use std::{ptr::NonNull, sync::Barrier, time::Duration};

use gfp::{
    Allocator, Builder, DebugModes, FindingHook, Gfp, Maintain, Order, Pfn, Pinned, Returned, Spread,
    Trimmed,
    error::{AllocError, Flaw},
    fault::{Errno, Occurrence, SystemCall, fail},
    platform::{ArenaSource, PlatformError},
    sync::{
        Arc, asymmetric,
        atomic::{AtomicU32, Ordering},
        thread,
    },
};

use crate::{
    alone,
    common::assert_all_free,
    plan::{Call, calls_of, errno_of},
};

fn builder() -> Builder {
    Allocator::builder(64 << 20).dma(0).maintain(Maintain::ByHand)
}

/// Takes blocks, of orders that caches keep and others, writes to them, and frees them.
fn use_it(allocator: &Allocator) -> Result<(), AllocError> {
    let mut blocks = Vec::new();
    for order in [0, 0, 3, 5, 9, 10] {
        let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(order))?;
        let last = pages.len() - 1;
        for offset in [0, last] {
            pages.bytes_mut()[offset].write(1);
        }
        blocks.push(pages);
    }
    Ok(())
}

#[test]
fn a_thread_without_memory_for_a_cache_asks_the_zones() {
    alone(|| {
        let allocator = builder().build().expect("64 MiB");
        let fault = fail(SystemCall::Mmap, Occurrence::Always, Errno::NOMEM);
        let error = allocator.handle().expect_err("there is no memory for a cache").to_string();
        for part in ["mmap of", "bytes", &Errno::NOMEM.to_string(), "; "] {
            assert!(error.contains(part), "{part:?} is missing in {error:?}");
        }
        use_it(&allocator).expect("the zones have memory");
        assert!(fault.failures() > 1, "each request tried");
        assert_eq!(allocator.conservation().cached(), 0);
        drop(fault);
        use_it(&allocator).expect("now there is a cache");
        assert!(allocator.conservation().cached() > 0);
        assert_all_free(&allocator);
    });
}

#[test]
fn memory_that_the_system_does_not_take_back_stays_and_is_online_again() {
    alone(|| {
        let allocator = builder().build().expect("64 MiB");
        let range = Pfn::new(4096)..Pfn::new(8192);
        let refused = fail(SystemCall::Madvise, Occurrence::Nth(0), Errno::INVAL);
        let returned = allocator.offline_pages(range.clone()).expect("nobody uses it");
        let Returned::Kept(error) = returned else { panic!("the system was not asked") };
        assert!(
            matches!(error, PlatformError::SystemCall { call: SystemCall::Madvise, errno: Errno::INVAL, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("16777216 bytes at offset 0x1000000"), "{error}");
        assert_eq!(refused.failures(), 1);
        assert_eq!(allocator.offline_ranges(), core::slice::from_ref(&range));
        allocator.online_pages(range).expect("it is offline");
        use_it(&allocator).expect("room");
        assert_all_free(&allocator);
    });
}

#[test]
fn free_memory_that_the_system_does_not_take_back_stays_free_and_is_asked_for_again() {
    alone(|| {
        for (source, call) in
            [(ArenaSource::Anonymous, SystemCall::Madvise), (ArenaSource::Memfd, SystemCall::Fallocate)]
        {
            let allocator = builder().source(source).build().expect("64 MiB");
            let blocks: Vec<_> = (0..8)
                .map(|_| {
                    let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(10)).expect("room");
                    pages.bytes_mut()[5000].write(7);
                    pages
                })
                .collect();
            let at: Vec<_> = blocks.iter().map(|pages| pages.as_ptr()).collect();
            drop(blocks);
            let known = allocator.free_page_reporting().known_zero;
            let refused = fail(call, Occurrence::Always, Errno::NOMEM);
            let trimmed = allocator.trim();
            assert!(refused.failures() > 1);
            assert_eq!((trimmed.blocks, trimmed.refused), (0, 16), "{trimmed:?}");
            let error = trimmed.refusal.expect("it says why");
            assert!(
                matches!(error, PlatformError::SystemCall { call: made, errno: Errno::NOMEM, .. } if made == call),
                "{error}"
            );
            assert!(error.to_string().contains("bytes at offset"), "{error}");
            let reporting = allocator.free_page_reporting();
            assert_eq!((reporting.given_back, reporting.refused), (0, 16));
            assert_eq!((reporting.refusal, reporting.known_zero), (Some(error), known));
            assert_eq!(allocator.vmstat().pgreport_refused, 16 * 512);
            let is_as_written = |block: &NonNull<u8>| {
                // SAFETY: a block is larger than that.
                let byte = unsafe { block.add(5000) };
                // SAFETY: the block is free, and only this thread uses the arena: what was written is there.
                unsafe { byte.read() == 7 }
            };
            assert!(at.iter().all(is_as_written));
            assert_all_free(&allocator);
            drop(refused);
            // One of several: the others are given back, and that one the next time.
            let refused = fail(call, Occurrence::Nth(1), Errno::AGAIN);
            let trimmed = allocator.trim();
            assert_eq!((refused.failures(), trimmed.blocks + trimmed.refused), (1, 16));
            assert!(trimmed.refused > 0 && trimmed.refusal.is_some(), "{trimmed:?}");
            assert_eq!(allocator.trim(), Trimmed { blocks: trimmed.refused, ..Trimmed::default() });
            let zeroes = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(10)).expect("room");
            assert!(zeroes.iter().all(|&byte| byte == 0));
            drop(zeroes);
            assert_all_free(&allocator);
        }
    });
}

#[test]
fn a_reporting_thread_that_is_refused_tries_again() {
    alone(|| {
        let refused = fail(SystemCall::Madvise, Occurrence::Always, Errno::NOMEM);
        let builder = Allocator::builder(256 << 20).dma(0).report_free(Duration::from_millis(1));
        let allocator = builder.build().expect("256 MiB, in pages of 4 KiB or whatever there is");
        drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(10)).expect("room"));
        while allocator.free_page_reporting().refused < 6 {
            thread::yield_now();
        }
        assert_eq!(allocator.free_page_reporting().given_back, 0);
        drop(refused);
        while allocator.free_page_reporting().given_back < 2 {
            thread::yield_now();
        }
        assert!(allocator.free_page_reporting().refusal.is_some(), "the last one is remembered");
        assert_all_free(&allocator);
    });
}

#[test]
fn growing_asks_nothing_that_could_be_refused() {
    alone(|| {
        let allocator = builder().maximum(256 << 20).build().expect("address space");
        let rest = allocator.offline_ranges().remove(0);
        let (grown, calls) = calls_of(|| allocator.online_pages(rest));
        grown.expect("it is offline");
        assert_eq!(calls, []);
        assert_eq!(allocator.conservation().managed(), 256 << 8);
    });
}

#[test]
fn a_guard_that_is_refused_is_lifted_or_the_request_fails_and_nothing_is_lost() {
    alone(|| {
        let (lifted, not_opened) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counts = [Arc::clone(&lifted), Arc::clone(&not_opened)];
        let hook: FindingHook = Box::new(move |finding| {
            let (count, error) = match &finding.flaw {
                Flaw::GuardLifted(error) => (&counts[0], error),
                Flaw::NotOpened(error) => (&counts[1], error),
                _ => panic!("{finding}"),
            };
            count.fetch_add(1, Ordering::Relaxed);
            assert!(
                matches!(error, PlatformError::SystemCall { call: SystemCall::Mprotect, .. }),
                "{finding}"
            );
            assert!(finding.to_string().contains("vm.max_map_count"), "{finding}");
        });
        let allocator = builder().debug(DebugModes::GUARD).on_finding(hook).build().expect("64 MiB");
        let mut calls = Vec::new();
        for first in once_more(&mut calls, &allocator, &[]) {
            for second in once_more(&mut calls, &allocator, &[first]) {
                once_more(&mut calls, &allocator, &[first, second]);
            }
        }
        let refused: u32 = calls.iter().sum();
        let (lifted, not_opened) = (lifted.load(Ordering::Relaxed), not_opened.load(Ordering::Relaxed));
        assert_eq!(refused, lifted + 2 * not_opened, "a second refusal in a row is that of lifting");
        assert!(lifted > 0 && not_opened > 0);
        assert_eq!(allocator.debug_counts().guard_lifted, u64::from(lifted));
        assert_all_free(&allocator);
    });
}

/// Takes and frees blocks, with some changes of access refused, and notes how many were. Returns the calls that were made.
fn once_more(refused: &mut Vec<u32>, allocator: &Allocator, planned: &[Call]) -> Vec<Call> {
    let faults: Vec<_> = planned.iter().map(|call| call.fail()).collect();
    let (used, calls) = calls_of(|| use_it(allocator));
    let struck = faults.iter().filter(|fault| fault.struck()).count();
    // Only what cannot be opened even with everything else is refused.
    assert!(used.is_ok() || struck == 2, "{planned:?}");
    drop(faults);
    use_it(allocator).expect("nothing is refused any more");
    refused.push(u32::try_from(struck).expect("at most 2"));
    calls
        .into_iter()
        .filter(|made| made.call == SystemCall::Mprotect && planned.last() != Some(made))
        .collect()
}

/// Has another thread fill its cache and wait until `f` is done.
fn beside_a_full_cache(allocator: &Allocator, f: impl FnOnce()) {
    let (filled, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let other = {
        let (allocator, filled, done) = (allocator.clone(), Arc::clone(&filled), Arc::clone(&done));
        thread::spawn(move || {
            use_it(&allocator).expect("room");
            filled.wait();
            done.wait();
            use_it(&allocator).expect("room");
        })
    };
    filled.wait();
    f();
    done.wait();
    other.join().expect("no panic");
}

#[test]
fn where_membarrier_is_refused_from_the_start_caches_run_fences_and_are_drained() {
    alone(|| {
        let _refused = fail(SystemCall::MembarrierRegister, Occurrence::Always, Errno::PERM);
        assert!(!asymmetric::available());
        let allocator = builder().build().expect("64 MiB");
        use_it(&allocator).expect("room");
        assert!(allocator.conservation().cached() > 0);
        assert!(allocator.drain_all().frames > 0);
        assert_all_free(&allocator);
    });
}

#[test]
fn where_membarrier_is_refused_later_other_caches_are_left_alone_and_new_ones_are_drained() {
    alone(|| {
        if !asymmetric::available() {
            return println!("left out: this system refuses membarrier from the start");
        }
        let allocator = builder().build().expect("64 MiB");
        beside_a_full_cache(&allocator, || {
            let held = allocator.conservation();
            assert!(held.cached() > 0);
            let refused = fail(SystemCall::Membarrier, Occurrence::Always, errno_of(SystemCall::Membarrier));
            let drained = allocator.drain_all();
            assert!(refused.failures() > 0);
            assert_eq!(drained.frames, 0, "an owner without a fence may be inside");
            drop(refused);
            assert!(!asymmetric::available(), "it is not asked for ever");
            use_it(&allocator).expect("requests do not need it");
        });
        // Caches that were made since then run a fence of their own.
        beside_a_full_cache(&allocator, || assert!(allocator.drain_all().frames > 0));
        assert_all_free(&allocator);
    });
}

#[test]
fn a_maintenance_thread_whose_membarrier_is_refused_lives_on() {
    alone(|| {
        if !asymmetric::available() {
            return println!("left out: this system refuses membarrier from the start");
        }
        let refused = fail(SystemCall::Membarrier, Occurrence::Always, errno_of(SystemCall::Membarrier));
        let allocator = builder().maintain(Maintain::EverySecond).build().expect("64 MiB");
        beside_a_full_cache(&allocator, || {
            // The thread started with this one's plans. It visits the caches once a second.
            while refused.failures() == 0 {
                thread::yield_now();
            }
            use_it(&allocator).expect("requests do not need it");
        });
        drop(refused);
        // It ends when it is told to: it is joined here.
        drop(allocator);
    });
}

#[test]
fn a_kswapd_that_cannot_be_pinned_runs_anywhere_and_says_so() {
    alone(|| {
        let refused = fail(SystemCall::SchedSetaffinity, Occurrence::Always, Errno::PERM);
        let builder = builder().nodes(Spread::AllNodes).maintain(Maintain::EverySecond);
        let Ok(allocator) = builder.build() else { return println!("left out: too many nodes for 64 MiB") };
        // The threads started with this one's plans.
        let pinned = || allocator.kswapds().into_iter().map(|kswapd| kswapd.pinned);
        while pinned().any(|pinned| pinned == Pinned::NotAsked) {
            thread::yield_now();
        }
        let is_told = |pinned| matches!(pinned, Pinned::Refused(error) if error.to_string().contains("sched_setaffinity"));
        assert!(pinned().all(is_told), "{:?}", allocator.kswapds());
        drop(refused);
        use_it(&allocator).expect("room");
    });
}
