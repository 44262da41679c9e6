//! Parts of the arena that are isolated, taken offline and brought back, and frames that are taken by address.

use std::fs;

use gfp::{
    Allocator, Gfp, Maintain, Order, Pages, Pfn, Returned,
    error::RangeProblem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        thread,
    },
};

/// 64 MiB, all of one zone.
fn small() -> Allocator {
    builder(64 << 20).build().expect("64 MiB")
}

fn builder(bytes: usize) -> gfp::Builder {
    Allocator::builder(bytes).dma(0).cpus(1).min_free_kbytes(0).maintain(Maintain::ByHand)
}

fn pfns(start: u32, end: u32) -> core::ops::Range<Pfn> {
    Pfn::new(start)..Pfn::new(end)
}

fn take_all(allocator: &Allocator, gfp: Gfp) -> Vec<Pages> {
    core::iter::from_fn(|| allocator.alloc_page(gfp).ok()).collect()
}

#[test]
fn nothing_comes_from_an_isolated_range_and_what_comes_back_stays_there() {
    let allocator = small();
    let range = pfns(0, 2048);
    let inside: Vec<Pages> = (0..100).map(|_| allocator.alloc_page(Gfp::KERNEL).expect("free")).collect();
    assert!(inside.iter().all(|page| range.contains(&page.pfn())), "the lowest frames come first");
    assert_eq!(allocator.start_isolate(range.clone()), Ok(100));
    assert_eq!(allocator.conservation().isolated(), 1948);
    let outside = take_all(&allocator, Gfp::KERNEL);
    assert_eq!(outside.len(), 16384 - 2048);
    assert!(!outside.iter().any(|page| range.contains(&page.pfn())));
    drop(inside);
    let conservation = allocator.conservation();
    assert!(conservation.holds(), "{conservation}");
    assert_eq!((conservation.isolated(), conservation.cached()), (2048, 0));
    assert!(allocator.alloc_page(Gfp::KERNEL).is_err(), "all that is free is isolated");
    allocator.undo_isolate(range).expect("whole pageblocks");
    assert_eq!(take_all(&allocator, Gfp::KERNEL).len(), 2048);
    drop(outside);
    allocator.drain_all();
    assert_eq!(allocator.buddyinfo().to_string(), small().buddyinfo().to_string());
}

#[test]
fn frames_in_the_caches_of_other_threads_are_not_in_the_way() {
    let allocator = small();
    let (filled, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let other = thread::spawn({
        let (allocator, filled, done) = (allocator.clone(), Arc::clone(&filled), Arc::clone(&done));
        move || {
            drop(allocator.alloc_page(Gfp::KERNEL).expect("free"));
            filled.store(true, Ordering::Release);
            while !done.load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
    });
    while !filled.load(Ordering::Acquire) {
        thread::yield_now();
    }
    assert!(allocator.conservation().cached() > 0);
    assert_eq!(allocator.offline_pages(pfns(0, 512)), Ok(Returned::ToSystem));
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.managed() == 16384 - 512, "{conservation}");
    done.store(true, Ordering::Release);
    other.join().expect("no panic");
}

#[test]
fn ranges_that_make_no_sense_are_refused_with_the_reason() {
    let allocator = Allocator::builder(64 << 20).cma("area", 4 << 20).build().expect("64 MiB");
    let problem =
        |start, end| allocator.offline_pages(pfns(start, end)).expect_err("must be refused").problem;
    assert_eq!(problem(512, 512), RangeProblem::Empty);
    assert_eq!(problem(1024, 512), RangeProblem::Empty);
    assert_eq!(problem(512, 1023), RangeProblem::Misaligned);
    assert_eq!(problem(511, 1024), RangeProblem::Misaligned);
    assert_eq!(problem(16384 - 512, 16384 + 512), RangeProblem::OutOfRange);
    assert_eq!(problem(16384 - 512, 16384), RangeProblem::Cma(Pfn::new(16384 - 1024)));
    allocator.start_isolate(pfns(8192, 9216)).expect("free");
    assert_eq!(problem(7680, 9216), RangeProblem::Isolated(Pfn::new(8192)));
    let again = allocator.start_isolate(pfns(8704, 9728)).expect_err("isolated").problem;
    assert_eq!(again, RangeProblem::Isolated(Pfn::new(8704)));
    assert_eq!(allocator.conservation().isolated(), 1024, "what was refused is not half done");
    allocator.undo_isolate(pfns(8192, 9216)).expect("isolated");
    allocator.offline_pages(pfns(8192, 9216)).expect("free");
    assert_eq!(problem(8192, 8704), RangeProblem::Offline(Pfn::new(8192)));
    let online = |start, end| allocator.online_pages(pfns(start, end)).expect_err("must be refused").problem;
    assert_eq!(online(8192, 9728), RangeProblem::Online(Pfn::new(9216)));
    // DMA ends at 4096.
    let contig = |start, end| allocator.alloc_contig_range(pfns(start, end)).expect_err("refused").problem;
    assert_eq!(contig(4000, 5000), RangeProblem::SeveralZones);
    assert_eq!(contig(9000, 9300), RangeProblem::Offline(Pfn::new(8704)));
    let page = allocator.alloc_page(Gfp::KERNEL).expect("free");
    let at = page.pfn().get();
    assert_eq!(contig(at, at + 3), RangeProblem::FrameInUse(page.pfn()));
    assert_eq!(contig(20_000, 20_001), RangeProblem::OutOfRange);
    allocator.undo_isolate(pfns(8192, 9216)).expect("nothing of it is isolated, which is no error");
    allocator.online_pages(pfns(8192, 9216)).expect("offline");
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.managed() == 16384, "{conservation}");
}

fn anonymous_kib() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux 4.14 or later");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).expect("a line of that name");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn memory_that_goes_offline_is_given_back_and_comes_online_as_zeroes() {
    let allocator = small();
    let mut pages = take_all(&allocator, Gfp::KERNEL);
    pages.iter_mut().for_each(|page| _ = page.bytes_mut()[77].write(1));
    let range = pfns(4096, 16384);
    let used = allocator.offline_pages(range.clone()).expect_err("all is in use").problem;
    assert_eq!(used, RangeProblem::InUse(12288));
    assert_eq!(allocator.conservation().isolated(), 0);
    drop(pages);
    let low = allocator.zone_stats()[0].marks.low;
    let before = anonymous_kib();
    assert_eq!(allocator.offline_pages(range.clone()), Ok(Returned::ToSystem));
    // Other tests of this process may have taken a little meanwhile.
    let after = anonymous_kib();
    assert!(after + (24 << 10) < before, "{before} KiB before, {after} after");
    assert_eq!(allocator.offline_ranges(), std::slice::from_ref(&range));
    let stat = allocator.zone_stats().remove(0);
    assert_eq!((stat.managed, stat.present, stat.spanned), (4096, 4096, 16384));
    assert!(stat.marks.low <= low);
    assert_eq!(take_all(&allocator, Gfp::KERNEL).len(), 4096);
    allocator.online_pages(range.clone()).expect("offline");
    let pages = take_all(&allocator, Gfp::KERNEL);
    assert_eq!(pages.len(), 16384);
    for page in pages.iter().filter(|page| range.contains(&page.pfn())) {
        // SAFETY: the memory came from the system since, which gives zeroes.
        assert_eq!(unsafe { page.bytes()[77].assume_init() }, 0);
    }
}

#[test]
fn an_arena_grows_to_its_maximum_and_shrinks_again() {
    let allocator = builder(16 << 20).maximum(6 << 30).build().expect("6 GiB of address space");
    let managed = || allocator.conservation().managed();
    assert_eq!(managed(), 4096);
    let all = take_all(&allocator, Gfp::KERNEL);
    assert_eq!(all.len(), 4096);
    let rest = pfns(4096, 6 << 18);
    assert_eq!(allocator.offline_ranges(), std::slice::from_ref(&rest));
    // Within DMA32, then across its end at 4 GiB.
    allocator.online_pages(pfns(4096, 8192)).expect("offline");
    assert_eq!(allocator.offline_ranges(), [pfns(8192, 6 << 18)]);
    let large = allocator.alloc_pages(Gfp::KERNEL, Order::new(10)).expect("there is a block");
    assert!(large.pfn() >= Pfn::new(4096));
    drop((large, all));
    allocator.online_pages(pfns(8192, 6 << 18)).expect("offline");
    assert_eq!((managed(), allocator.offline_ranges().len()), (6 << 18, 0));
    let text = allocator.buddyinfo().to_string();
    allocator.drain_all();
    let whole = builder(6 << 30).build().expect("6 GiB of address space");
    assert_eq!(allocator.buddyinfo().to_string(), whole.buddyinfo().to_string(), "{text}");
    let marks = |allocator: &Allocator| -> Vec<_> {
        allocator.zone_stats().iter().map(|stat| (stat.marks, stat.protection)).collect()
    };
    assert_eq!(marks(&allocator), marks(&whole));
    allocator.offline_pages(pfns(8192, 6 << 18)).expect("free");
    assert_eq!(managed(), 8192);
}

#[test]
fn growth_that_makes_no_sense_is_refused() {
    for (size, maximum) in
        [(64 << 20, 32 << 20), ((64 << 20) + 4096, 128 << 20), (64 << 20, (128 << 20) + 4096)]
    {
        let error = builder(size).maximum(maximum).build().expect_err("must be refused").to_string();
        assert!(error.contains("maximum") && error.contains("2 MiB"), "{error}");
    }
    for (name, bytes) in [("a", 0), ("a", 4096), ("a", 1 << 30), ("b", 2 << 20)] {
        let error =
            builder(64 << 20).cma("b", 2 << 20).cma(name, bytes).build().expect_err("refused").to_string();
        assert!(error.contains("cma") && error.contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn an_area_lends_to_movable_requests_only_and_gives_contiguous_ones_what_is_not_lent() {
    let allocator = builder(64 << 20).cma("camera", 8 << 20).cma("ring", 8 << 20).build().expect("64 MiB");
    let [camera, ring] = [0, 1].map(|area| allocator.cma_areas()[area].range.clone());
    assert_eq!((camera.clone(), ring.clone()), (pfns(14336, 16384), pfns(12288, 14336)));
    assert_eq!(allocator.zone_stats()[0].cma, 4096);
    let fixed = take_all(&allocator, Gfp::KERNEL);
    assert_eq!(fixed.len(), 12288, "what cannot move stays out of the areas");
    let all = allocator.cma_alloc("camera", 2048, Order::ZERO).expect("nothing is lent");
    assert_eq!((all.pfn(), all.frames(), all.len()), (camera.start, 2048, 8 << 20));
    let lent = take_all(&allocator, Gfp::KERNEL | Gfp::MOVABLE);
    assert_eq!(lent.len(), 2048);
    assert!(lent.iter().all(|page| ring.contains(&page.pfn())));
    let error = allocator.cma_alloc("ring", 64, Order::ZERO).expect_err("all is lent");
    assert!(error.to_string().contains("movable blocks are in use"), "{error}");
    let error = allocator.cma_alloc("camera", 1, Order::ZERO).expect_err("all is taken");
    assert!(error.to_string().contains("other contiguous requests"), "{error}");
    assert!(allocator.cma_alloc("radio", 1, Order::ZERO).expect_err("unknown").to_string().contains("radio"));
    for frames in [0, 2049, 20_000, u32::MAX] {
        let error = allocator.cma_alloc("ring", frames, Order::ZERO).expect_err("not of any area");
        assert!(error.to_string().contains("at least one frame, and at most all that it has"), "{error}");
    }
    // A hole of 300 frames, of which some wait in a cache.
    let hole = pfns(13000, 13300);
    let (hole_pages, lent): (Vec<_>, Vec<_>) = lent.into_iter().partition(|page| hole.contains(&page.pfn()));
    drop(hole_pages);
    let found = allocator.cma_alloc("ring", 256, Order::new(4)).expect("the hole is long enough");
    assert_eq!((found.pfn(), found.pfn().get() % 16), (Pfn::new(13008), 0));
    assert!(allocator.cma_alloc("ring", 100, Order::ZERO).is_err(), "the rest of the hole is too short");
    assert_eq!(allocator.cma_areas()[1].taken_frames, 256);
    drop((found, lent, all, fixed));
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
    assert_eq!(allocator.cma_areas().iter().map(|area| area.taken_frames).sum::<u64>(), 0);
    let fresh = builder(64 << 20).cma("camera", 8 << 20).cma("ring", 8 << 20).build().expect("64 MiB");
    assert_eq!(allocator.buddyinfo().to_string(), fresh.buddyinfo().to_string());
}

#[test]
fn contiguous_frames_outlive_their_allocator() {
    let allocator = builder(64 << 20).name(c"gfp:contig").build().expect("64 MiB");
    let is_mapped =
        || fs::read_to_string("/proc/self/maps").expect("/proc is mounted").contains("gfp:contig");
    let named = is_mapped();
    let mut frames = allocator.alloc_contig_range(pfns(1000, 3000)).expect("free");
    drop(allocator);
    frames[2000 * 4096 - 1].write(1);
    assert_eq!(is_mapped(), named);
    drop(frames);
    assert!(!is_mapped(), "the mapping goes with the last frame");
}

#[test]
fn ranges_change_while_threads_allocate() {
    /// Blocks that a thread keeps: with their orders, three threads have about half of the arena, and the lower half mostly, so
    /// that some ranges are in use and some are not.
    const HELD: usize = 150;
    let allocator = builder(256 << 20).cpus(4).cma("area", 16 << 20).build().expect("256 MiB");
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3_u64)
        .map(|seed| {
            let (allocator, stop) = (allocator.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut word = seed * 2 + 1;
                let mut held: Vec<Pages> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    word =
                        word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let gfp = if word >> 40 & 1 == 0 { Gfp::KERNEL } else { Gfp::KERNEL | Gfp::MOVABLE };
                    if word >> 60 < 9 && held.len() < HELD {
                        let order = Order::new([0, 0, 0, 1, 3, 5, 9, 0][(word >> 33) as usize & 7]);
                        if let Ok(mut pages) = allocator.alloc_pages(gfp, order) {
                            let mark = pages.pfn().get().to_le_bytes();
                            mark.iter().zip(pages.bytes_mut()).for_each(|(&from, to)| _ = to.write(from));
                            held.push(pages);
                        }
                    } else if !held.is_empty() {
                        let at = (word >> 20) as usize % held.len();
                        let pages = held.swap_remove(at);
                        // SAFETY: the first four bytes were written when it was allocated.
                        let mark = [0, 1, 2, 3].map(|at: usize| unsafe { pages.bytes()[at].assume_init() });
                        assert_eq!(u32::from_le_bytes(mark), pages.pfn().get(), "somebody else wrote there");
                    }
                }
            })
        })
        .collect();
    let mut done = [0; 4];
    for turn in 0_u32..300 {
        let start = 512 * (turn * 7 % 120);
        let range = pfns(start, start + 512 * (1 + turn % 4));
        if allocator.start_isolate(range.clone()).is_ok() {
            done[0] += 1;
            allocator.undo_isolate(range.clone()).expect("isolated");
        }
        if allocator.offline_pages(range.clone()).is_ok() {
            done[1] += 1;
            allocator.online_pages(range.clone()).expect("offline");
        }
        if let Ok(mut frames) = allocator.alloc_contig_range(pfns(start + 3, start + 40)) {
            done[2] += 1;
            frames.iter_mut().for_each(|byte| _ = byte.write(0xee));
        }
        if let Ok(mut frames) = allocator.cma_alloc("area", 1 + turn % 70, Order::new(3)) {
            done[3] += 1;
            frames.iter_mut().for_each(|byte| _ = byte.write(0xee));
        }
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("no frame was two threads'"));
    assert!(done.iter().all(|&done| done > 0), "{done:?}");
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
    assert_eq!((conservation.managed(), conservation.isolated()), (65536, 0));
    assert_eq!(allocator.bad_pages(), 0);
}
