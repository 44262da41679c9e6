//! Debug modes: each finds what it is for, and changes nothing else.

mod common;

use std::{
    mem::{ManuallyDrop, MaybeUninit},
    sync::Barrier,
    thread,
};

use common::{LiveMap, Random, assert_all_free, is_mapped};
use gfp::{
    Allocator, Builder, DebugModes, FreeError, Gfp, Maintain, Nid, NodeMask, Order, Pages,
    error::{Finding, Flaw, FrameStory, Misuse},
    sync::{Arc, Mutex, MutexGuard},
};

/// Whether memory is mapped is asked of the whole process: nobody builds an allocator meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

/// What the hooks were told.
#[derive(Clone, Default)]
struct Heard {
    findings: Arc<Mutex<Vec<Finding>>>,
    misuses: Arc<Mutex<Vec<FreeError>>>,
}

impl Heard {
    fn nothing(&self) -> bool {
        self.findings.lock().is_empty() && self.misuses.lock().is_empty()
    }
}

fn builder(bytes: usize, modes: DebugModes) -> (Builder, Heard) {
    let heard = Heard::default();
    let (findings, misuses) = (Arc::clone(&heard.findings), Arc::clone(&heard.misuses));
    let builder = Allocator::builder(bytes)
        .dma(0)
        .cpus(2)
        .maintain(Maintain::ByHand)
        .debug(modes)
        .on_finding(Box::new(move |finding| findings.lock().push(finding.clone())))
        .on_misuse(Box::new(move |error| misuses.lock().push(*error)));
    (builder, heard)
}

fn allocator(modes: DebugModes) -> (Allocator, Heard) {
    let (builder, heard) = builder(64 << 20, modes);
    (builder.build().expect("64 MiB"), heard)
}

#[track_caller]
fn take(allocator: &Allocator, order: u8) -> Pages {
    allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory")
}

/// Returns the words of a block, which an arena's memory always has.
fn words(pages: &mut Pages) -> &mut [u64] {
    let bytes = pages.bytes_mut();
    let (start, len) = (bytes.as_mut_ptr().cast::<u64>(), bytes.len() / 8);
    // SAFETY: a block is aligned to a page, is borrowed as long as the words are, and its memory is initialised.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

#[test]
fn a_write_after_free_is_reported_and_the_block_left_out() {
    let _alone = alone();
    for order in [0, 3, 5, 10] {
        let (allocator, heard) = allocator(DebugModes::PAGE_POISON | DebugModes::PAGE_OWNER);
        let mut pages = take(&allocator, order);
        let pfn = pages.pfn();
        let at = pages.len() - 100;
        // A pointer that outlives its block, as the bug has it.
        let stale = pages.bytes_mut()[at..].as_mut_ptr();
        allocator.free_pages(pages);
        let freed_at = line!() - 1;
        // SAFETY: the memory is mapped, and no one else uses it at this moment; the rule that is broken is the allocator's.
        unsafe { stale.write(MaybeUninit::new(0x42)) };

        let mut held = Vec::new();
        while heard.findings.lock().is_empty() {
            held.push(take(&allocator, order));
            assert_ne!(held.last().map(Pages::pfn), Some(pfn), "it is handed out to nobody");
        }
        let finding = heard.findings.lock().pop().expect("one");
        assert_eq!((finding.pfn, finding.order), (pfn.get(), order));
        let offset = 4096 - 100_u16;
        let mut found = [0xaa; 16];
        found[usize::from(offset % 16)] = 0x42;
        let frame = pfn.get() + (1 << order) - 1;
        assert_eq!(finding.flaw, Flaw::WrittenAfterFree { frame, offset, len: 1, found });
        let last = finding.last_free.and_then(|trace| trace.caller).expect("owners are recorded");
        assert_eq!((last.file(), last.line()), (file!(), freed_at));

        let counts = allocator.debug_counts();
        assert_eq!((counts.withheld_blocks, counts.withheld_frames), (1, 1 << order));
        drop(held);
        allocator.drain_all();
        let conservation = allocator.conservation();
        assert!(conservation.holds() && conservation.allocated() == 1 << order, "{conservation}");
        // The last block that comes back is the one that was left out: it keeps nothing alive.
        let base = allocator.arena().base().addr().get();
        assert!(is_mapped(base));
        drop(allocator);
        assert!(!is_mapped(base));
    }
}

#[test]
fn a_write_to_memory_that_was_never_freed_is_none_of_poisons_business() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::PAGE_POISON);
    let mut held = Vec::new();
    while let Ok(mut pages) = allocator.alloc_page(Gfp::KERNEL) {
        words(&mut pages).fill(7);
        held.push(pages);
    }
    assert!(heard.nothing());
    let last = held.last_mut().map(words).expect("there is memory");
    assert!(last.iter().all(|&word| word == 7));
}

/// What a lender wrote.
const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;

#[test]
fn memory_that_a_lender_filled_is_clear_under_init_on_free() {
    let _alone = alone();
    let lender = Allocator::builder(32 << 20).dma(0).maintain(Maintain::ByHand).build().expect("32 MiB");
    let mut lent = take(&lender, 10);
    words(&mut lent).fill(SECRET);
    let (builder, _) = builder(lent.len(), DebugModes::INIT_ON_FREE);
    // SAFETY: the block is readable and writable, and nobody uses it until the allocator in it is gone.
    let inner = unsafe { builder.max_order(9).from_raw(lent.as_ptr()) }.build().expect("its own memory");
    let mut pages = inner.alloc_page(Gfp::ATOMIC).expect("room");
    assert!(words(&mut pages).iter().all(|&word| word == 0));
    drop((pages, inner));
    assert!(words(&mut lent).iter().all(|&word| word == 0));
}

/// Makes the same block twice, as only unsafe code can.
fn copies(pages: Pages) -> [Pages; 2] {
    let pages = ManuallyDrop::new(pages);
    // SAFETY: the rule that a block has one owner is broken on purpose; the memory of the copies is not looked at.
    [(); 2].map(|()| unsafe { std::ptr::read(&raw const *pages) })
}

#[test]
fn of_two_frees_of_a_copied_block_at_the_same_moment_one_is_refused() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::CHECK_PAGES);
    for turn in 0..400 {
        let pages = take(&allocator, [0, 0, 3, 5, 9][turn % 5]);
        let (pfn, order) = (pages.pfn(), pages.order());
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            for copy in copies(pages) {
                let (allocator, barrier) = (&allocator, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    allocator.free_pages(copy);
                });
            }
        });
        let error = heard.misuses.lock().pop().expect("one was refused");
        assert_eq!((error.misuse, error.pfn, error.order), (Misuse::DoubleFree, pfn.get(), order.get()));
        assert!(heard.nothing(), "the other was not");
    }
    assert_eq!(allocator.bad_pages(), 400);
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

#[test]
fn every_way_of_freeing_a_block_twice_is_refused_at_once() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::CHECK_PAGES | DebugModes::PAGE_OWNER);
    let handle = allocator.handle().expect("a cache");
    let ways: [&dyn Fn(Pages); 6] = [
        &|pages| drop(pages),
        &|pages| handle.free_pages(pages),
        &|pages| allocator.free_pages_cold(pages),
        &|pages| allocator.free_pages_nolock(pages),
        &|pages| handle.free_pages_bulk(&mut [Some(pages)]),
        &|pages| _ = pages.into_raw_parts(),
    ];
    for order in [0, 3, 5] {
        for way in ways {
            let [first, second] = copies(take(&allocator, order));
            let pfn = first.pfn();
            handle.free_pages(first);
            let line = line!() - 1;
            way(second);
            let error = heard.misuses.lock().pop().expect("refused");
            assert_eq!((error.misuse, error.pfn), (Misuse::DoubleFree, pfn.get()));
            let last = error.last_free.and_then(|trace| trace.caller).expect("owners are recorded");
            assert_eq!((last.file(), last.line()), (file!(), line), "the free that was not refused");
            assert!(error.to_string().contains("freed last by"), "{error}");
            assert!(heard.nothing());
        }
    }
    drop(handle);
    allocator.drain_all();
    assert_eq!(allocator.conservation().allocated(), 0);
}

#[test]
fn a_copy_of_a_block_that_was_split_is_of_the_wrong_order() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::CHECK_PAGES);
    let [first, second] = copies(take(&allocator, 2));
    let mut frames = Vec::new();
    first.split_page(|frame| frames.push(frame));
    drop(second);
    let error = heard.misuses.lock().pop().expect("refused");
    assert_eq!(error.misuse, Misuse::WrongOrder);
    assert!(matches!(error.story, FrameStory::Allocated { order: 0, .. }), "{error}");
    drop(frames);
    assert!(heard.nothing());
    allocator.drain_all();
    assert_eq!(allocator.conservation().allocated(), 0);
}

#[test]
fn blocks_pass_through_raw_parts_and_pieces_as_ever() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::all());
    for order in [0, 3, 5] {
        for _ in 0..3 {
            let parts = take(&allocator, order).into_raw_parts();
            // SAFETY: the parts are of a block that was taken apart.
            let pages = unsafe { allocator.from_raw_parts(parts) }.expect("its own parts");
            // SAFETY: parts that name no block are refused; that is what is tested.
            let again = unsafe { allocator.free_raw(parts) }.expect_err("it is a block again");
            assert_eq!(again.misuse, Misuse::DoubleFree);
            let parts = pages.into_raw_parts();
            // SAFETY: as above.
            unsafe { allocator.free_raw(parts) }.expect("its own parts");
        }
        take(&allocator, order).split_page(drop);
    }
    let mut ring = allocator.alloc_pages_exact(20_000, Gfp::KERNEL).expect("room");
    ring.fill(MaybeUninit::new(1));
    drop(ring);
    assert!(heard.nothing());
    assert_all_free(&allocator);
}

#[test]
fn hits_come_from_the_cache_as_ever() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::all());
    for order in [0, 1, 2, 3, 9] {
        let (first, second) = (take(&allocator, order), take(&allocator, order));
        let (cold, hot) = (first.pfn(), second.pfn());
        drop((first, second));
        let before = allocator.conservation();
        assert!(before.cached() >= 2 << order || order == 9, "{before}");
        let again = [take(&allocator, order), take(&allocator, order)];
        if order < 9 {
            assert_eq!(again.each_ref().map(Pages::pfn), [hot, cold], "the hottest comes first");
            assert_eq!(allocator.conservation().free(), before.free(), "the zone was not asked");
        }
    }
    assert!(heard.nothing());
}

/// The line that asked for the one live block.
#[track_caller]
fn asked_at(allocator: &Allocator) -> u32 {
    let report = allocator.page_owner().expect("the mode is on");
    let [owner] = report.blocks() else { panic!("one block is live, not {:?}", report.blocks()) };
    let caller = owner.allocated.caller.expect("a request has a caller");
    assert_eq!(caller.file(), file!());
    caller.line()
}

#[test]
fn the_owner_of_a_block_is_the_line_that_asked_whichever_call_it_used() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::PAGE_OWNER);
    let handle = allocator.handle().expect("a cache");
    let (gfp, order, mut slot) = (Gfp::KERNEL, Order::ZERO, [const { None }; 1]);
    macro_rules! asks {
        ($request:expr) => {{
            let _asked = $request;
            assert_eq!(asked_at(&allocator), line!());
        }};
    }
    asks!(allocator.alloc_page(gfp).unwrap());
    asks!(allocator.alloc_pages(gfp, order).unwrap());
    asks!(allocator.alloc_zeroed_pages(gfp, order).unwrap());
    asks!(allocator.alloc_pages_nolock(order).unwrap());
    asks!(allocator.alloc_pages_node(Some(Nid::new(0)), gfp, order).unwrap());
    asks!(allocator.alloc_pages_nodemask(None, NodeMask::ALL, gfp, order).unwrap());
    asks!(allocator.alloc_pages_exact(4096, gfp).unwrap());
    asks!(handle.alloc_page(gfp).unwrap());
    asks!(handle.alloc_pages(gfp, order).unwrap());
    asks!(allocator.alloc_pages_bulk(gfp, &mut slot));
    allocator.free_pages_bulk(&mut slot);
    asks!(handle.alloc_pages_bulk(gfp, &mut slot));
    handle.free_pages_bulk(&mut slot);
    assert!(heard.nothing());
    assert_eq!(allocator.page_owner().expect("the mode is on").blocks(), []);
}

#[test]
fn the_list_of_leaks_names_lines_threads_and_masks() {
    let _alone = alone();
    let (allocator, _) = allocator(DebugModes::PAGE_OWNER);
    let (leaked, line) = (take(&allocator, 4), line!());
    let pfn = leaked.pfn();
    let asked = thread::Builder::new().name("leaker".into());
    let elsewhere = allocator.clone();
    let leaks = asked.spawn(move || {
        (0..3).map(|_| elsewhere.alloc_page(Gfp::ATOMIC | Gfp::ZERO).unwrap()).collect::<Vec<_>>()
    });
    let mut leaks = leaks.expect("a thread").join().expect("no panic");
    drop(leaks.pop());

    let report = allocator.page_owner().expect("the mode is on");
    let [first, second] = &*report.by_caller() else { panic!("two lines have leaked: {report}") };
    assert_eq!((first.blocks, first.frames, first.oldest.pfn), (1, 16, pfn));
    assert_eq!(first.caller.map(|caller| (caller.file(), caller.line())), Some((file!(), line)));
    assert_eq!((second.blocks, second.frames), (2, 2));
    let owner = second.oldest;
    assert_eq!((owner.order, owner.gfp), (Order::ZERO, Gfp::ATOMIC | Gfp::ZERO));
    assert_eq!(owner.allocated.name.to_string(), "leaker");
    assert_ne!(owner.allocated.thread, first.oldest.allocated.thread);
    assert!(owner.allocated.at >= first.oldest.allocated.at);
    let text = report.to_string();
    let place = format!("1 times, 16 pages, allocated at {}:{line}:", file!());
    assert!(text.starts_with(&place), "{text}");
    assert!(text.contains("(GFP_ATOMIC|__GFP_ZERO)") && text.contains("(leaker)"), "{text}");

    // Each frame of a block in pieces is its asker's.
    let mut frames = Vec::new();
    leaked.split_page(|frame| frames.push(frame));
    frames.truncate(5);
    let report = allocator.page_owner().expect("the mode is on");
    assert_eq!(report.by_caller()[0].frames, 5);
    drop((frames, leaks));
    assert_eq!(allocator.page_owner().expect("the mode is on").blocks(), []);
    assert_all_free(&allocator);
}

#[test]
fn without_modes_there_is_nothing_to_tell() {
    let _alone = alone();
    let (allocator, _) = allocator(DebugModes::empty());
    assert!(allocator.page_owner().is_none());
    assert_eq!((allocator.debug_modes(), allocator.debug_counts()), Default::default());
    let modes = DebugModes::INIT_ON_FREE | DebugModes::CHECK_PAGES;
    let (allocator, _) = self::allocator(modes);
    assert_eq!(allocator.debug_modes(), modes);
    assert!(allocator.page_owner().is_none());
}

#[test]
fn with_all_modes_on_many_threads_share_an_allocator_as_ever() {
    let _alone = alone();
    let (allocator, heard) = allocator(DebugModes::all());
    let live = LiveMap::new(&allocator);
    thread::scope(|scope| {
        for seed in 1..=4_u32 {
            let (allocator, live) = (&allocator, &live);
            scope.spawn(move || {
                let mut random = Random::new(seed.into());
                let handle = allocator.handle().expect("a cache");
                let mut held: Vec<Pages> = Vec::new();
                let mut slots = [const { None }; 16];
                for turn in 0..2_000 {
                    let order = Order::new(random.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 6, 9]));
                    let asked = match turn % 3 {
                        0 => allocator.alloc_pages(Gfp::KERNEL, order),
                        1 => handle.alloc_pages(Gfp::ATOMIC, order),
                        _ => allocator.alloc_pages_nolock(Order::ZERO),
                    };
                    held.extend(asked);
                    if turn % 97 == 0 {
                        handle.alloc_pages_bulk(Gfp::KERNEL, &mut slots);
                        handle.free_pages_bulk(&mut slots);
                    }
                    let Some(mut pages) = held.pop() else { continue };
                    live.take(&mut pages, seed);
                    live.give(&mut pages, seed);
                    match turn % 4 {
                        0 => drop(pages),
                        1 => handle.free_pages(pages),
                        2 => allocator.free_pages_nolock(pages),
                        _ => allocator.free_pages_cold(pages),
                    }
                    if turn % 500 == 0 {
                        _ = allocator.drain_all();
                        allocator.age();
                    }
                }
            });
        }
    });
    assert!(heard.nothing(), "{:?} {:?}", heard.findings.lock(), heard.misuses.lock());
    assert_all_free(&allocator);
    assert_eq!(allocator.debug_counts(), Default::default());
    assert_eq!(allocator.page_owner().expect("the mode is on").blocks(), []);
}
