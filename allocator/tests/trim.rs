//! Free memory that goes back to the system, and zeroes that are known and not written.

#[path = "common/mod.rs"]
mod common;

use std::{
    fs::{self, File},
    mem::MaybeUninit,
    os::unix::fs::MetadataExt,
    ptr::NonNull,
    time::Duration,
};

use common::{LiveMap, Random, assert_all_free};
use gfp::{
    Allocator, Builder, Gfp, Maintain, Order, Pages, Pfn, Returned, Trimmed,
    platform::{ArenaSource, Backing, PlatformError, arena::Residency},
    slowpath::Step,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        thread,
    },
};

const MIB: usize = 1 << 20;
const SOURCES: [ArenaSource; 2] = [ArenaSource::Anonymous, ArenaSource::Memfd];

/// The system may make one mapping of two arenas that lie side by side, and says only of both together what is resident: one test
/// at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

/// All of one zone, of which a request may have the last frame.
fn builder(bytes: usize) -> Builder {
    Allocator::builder(bytes).dma(0).cpus(1).min_free_kbytes(0).maintain(Maintain::ByHand)
}

/// Returns how much of the arena is resident in this process, counted page by page.
fn resident(allocator: &Allocator) -> usize {
    let base = allocator.arena().base().addr().get();
    let arena = base..base + allocator.arena().len();
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc is mounted");
    let (mut inside, mut kib) = (false, 0);
    for line in smaps.lines() {
        let address = line.split('-').next().and_then(|text| usize::from_str_radix(text, 16).ok());
        if let Some(address) = address.filter(|_| line.contains("-")) {
            inside = arena.contains(&address);
        } else if let Some(rss) = line.strip_prefix("Rss:").filter(|_| inside) {
            kib += rss.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
        }
    }
    kib << 10
}

fn fill(pages: &mut Pages, byte: u8) {
    pages.bytes_mut().fill(MaybeUninit::new(byte));
}

/// Takes blocks as long as there are some, and writes to all of each.
fn dirty_all(allocator: &Allocator, order: u8) -> Vec<Pages> {
    let block = || allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).ok();
    let mut blocks: Vec<Pages> = core::iter::from_fn(block).collect();
    blocks.iter_mut().for_each(|pages| fill(pages, 0x5e));
    blocks
}

/// Tells whether all of a block is zero, of which the memory came from the system.
fn is_zero(pages: &Pages) -> bool {
    // SAFETY: the memory came from mmap, so that all its bytes have a value.
    let bytes = unsafe { pages.bytes().assume_init_ref() };
    let (words, _) = bytes.as_chunks::<4096>();
    words.iter().all(|frame| *frame == [0; 4096])
}

fn given_back(blocks: u64) -> Trimmed {
    Trimmed { blocks, ..Trimmed::default() }
}

#[test]
fn zeroes_that_are_known_are_not_written() {
    let _alone = alone();
    for source in SOURCES {
        let allocator = builder(64 * MIB).source(source).build().expect("64 MiB");
        let handle = allocator.handle().expect("memory for a cache");
        let mut blocks = Vec::new();
        for order in [9, 10] {
            let order = Order::new(order);
            blocks.push(allocator.alloc_zeroed_pages(Gfp::KERNEL, order).expect("free").into_pages());
            blocks.push(allocator.alloc_pages(Gfp::KERNEL | Gfp::ZERO, order).expect("free"));
            blocks.push(handle.alloc_pages(Gfp::KERNEL | Gfp::ZERO, order).expect("free"));
            blocks.push(allocator.alloc_pages_node(None, Gfp::KERNEL | Gfp::ZERO, order).expect("free"));
        }
        assert!(resident(&allocator) < MIB, "{source:?}: it was written to");
        assert!(blocks.iter().all(is_zero));
        // What somebody had is cleared, whichever way it comes back.
        blocks.iter_mut().for_each(|pages| fill(pages, 1));
        drop(blocks);
        for order in [10, 9, 9, 9] {
            let pages = allocator.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::new(order)).expect("free");
            assert!(is_zero(&pages), "{source:?}: order {order}");
        }
    }
}

#[test]
fn what_comes_through_the_slow_path_is_zero_whether_that_is_known_or_not() {
    let _alone = alone();
    // The low mark is far above the minimum: half of the arena is had on the slow path only.
    let allocator = builder(64 * MIB).watermark_scale_factor(3000).build().expect("64 MiB");
    let zeroes = || {
        let served = allocator.slowpath_report().steps.of(Step::AttemptAtMin);
        let block = || allocator.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::new(10)).ok();
        let mut blocks: Vec<Pages> = core::iter::from_fn(block).collect();
        assert_eq!((blocks.len(), blocks.iter().all(is_zero)), (16, true));
        assert!(allocator.slowpath_report().steps.of(Step::AttemptAtMin) > served + 1);
        blocks.iter_mut().for_each(|pages| fill(pages, 9));
        blocks
    };
    // Fresh memory; then that of an owner; then half of it given back.
    drop(zeroes());
    let mut blocks = zeroes();
    drop(blocks.split_off(8));
    assert_eq!(allocator.trim(), given_back(16));
    drop(blocks);
    drop(zeroes());
    assert_all_free(&allocator);
}

#[test]
fn what_is_used_in_part_is_not_known_to_be_zero() {
    let _alone = alone();
    let allocator = builder(64 * MIB).build().expect("64 MiB");
    for order in [0, 3, 8] {
        let mut small = allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("free");
        fill(&mut small, 7);
        drop(small);
        allocator.drain_all();
        let all: Vec<Pages> =
            core::iter::from_fn(|| allocator.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::new(10)).ok())
                .collect();
        assert_eq!(all.len(), 16);
        assert!(all.iter().all(is_zero), "order {order}");
    }
    // By address, some in the middle of a block.
    let mut frames = allocator.alloc_contig_range(Pfn::new(1000)..Pfn::new(1100)).expect("free");
    frames.fill(MaybeUninit::new(7));
    drop(frames);
    let mut block = allocator.alloc_pages(Gfp::KERNEL, Order::new(10)).expect("free");
    fill(&mut block, 7);
    // Comes back frame by frame.
    block.split_page(drop);
    allocator.drain_all();
    let mut blocks =
        core::iter::from_fn(|| allocator.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::new(9)).ok());
    assert!(blocks.by_ref().take(32).all(|pages| is_zero(&pages)));
}

#[test]
fn trimmed_memory_is_not_resident_and_comes_back_as_zeroes() {
    let _alone = alone();
    for source in SOURCES {
        for backing in [Backing::FourK, Backing::Thp] {
            for order in [0, 10] {
                let allocator = builder(64 * MIB).source(source).backing(backing).build().expect("64 MiB");
                let blocks = || {
                    let file = allocator.arena().file().expect("it has one");
                    let file = File::from(file.try_clone_to_owned().expect("one descriptor more"));
                    usize::try_from(file.metadata().expect("a file").blocks() * 512).expect("64 MiB at most")
                };
                drop(dirty_all(&allocator, order));
                assert_eq!(resident(&allocator), 64 * MIB, "{source:?} {backing:?}");
                assert_eq!(allocator.trim(), given_back(32));
                assert_eq!(resident(&allocator), 0, "{source:?} {backing:?}");
                if source == ArenaSource::Memfd {
                    assert_eq!(blocks(), 0, "the file's memory is still there");
                }
                assert_eq!(allocator.trim(), given_back(0), "nobody has used it since");
                assert_eq!(allocator.free_page_reporting().given_back, 32);
                assert_eq!(
                    (allocator.vmstat().pgreported, allocator.vmstat().pgreport_refused),
                    (32 * 512, 0)
                );
                assert_all_free(&allocator);
                let zeroes = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(10)).expect("free");
                assert_eq!(resident(&allocator), 0, "they were written");
                drop(zeroes);
                let all: Vec<Pages> =
                    core::iter::from_fn(|| allocator.alloc_page(Gfp::KERNEL).ok()).collect();
                assert_eq!(all.len(), 64 * MIB / 4096);
                assert!(all.iter().all(is_zero));
            }
        }
    }
}

#[test]
fn another_mapping_of_the_file_sees_the_zeroes() {
    let _alone = alone();
    let allocator = builder(16 * MIB).source(ArenaSource::Memfd).build().expect("16 MiB");
    let file = allocator.arena().file().expect("it has one").try_clone_to_owned().expect("one more");
    let read = || {
        use std::os::unix::fs::FileExt;
        let mut byte = [0xff];
        File::from(file.try_clone().expect("one more")).read_exact_at(&mut byte, 5 << 20).expect("inside");
        byte[0]
    };
    let blocks = dirty_all(&allocator, 9);
    assert_eq!(read(), 0x5e);
    assert_eq!(allocator.trim(), given_back(0), "all of it is in use");
    assert_eq!(read(), 0x5e);
    drop(blocks);
    assert_eq!(allocator.trim(), given_back(8));
    assert_eq!(read(), 0);
}

#[test]
fn only_whole_free_blocks_go_and_what_somebody_has_stays() {
    let _alone = alone();
    let allocator = builder(64 * MIB).build().expect("64 MiB");
    let mut pages = dirty_all(&allocator, 0);
    let kept: Vec<Pages> = (0..3).map(|block| pages.swap_remove(block * 700)).collect();
    let at: Vec<usize> = kept.iter().map(|page| page.offset() / (2 * MIB)).collect();
    assert!(at[0] != at[1] && at[1] != at[2] && at[0] != at[2]);
    // Free, but out of circulation: whoever isolated it decides.
    drop(pages);
    let last = Pfn::new(16384 - 512)..Pfn::new(16384);
    assert_eq!(allocator.start_isolate(last.clone()), Ok(0));
    assert_eq!(allocator.trim(), given_back(32 - 3 - 1));
    assert_eq!(resident(&allocator), 4 * 2 * MIB);
    // SAFETY: they came from mmap.
    assert!(kept.iter().all(|page| unsafe { page.bytes().assume_init_ref() } == [0x5e; 4096]));
    allocator.undo_isolate(last).expect("it is isolated");
    drop(kept);
    assert_eq!(allocator.trim(), given_back(4));
    assert_eq!(resident(&allocator), 0);
    assert_all_free(&allocator);
}

#[test]
fn a_range_that_was_offline_is_known_to_be_zero() {
    let _alone = alone();
    let allocator = builder(16 * MIB).build().expect("16 MiB");
    drop(dirty_all(&allocator, 9));
    let all = Pfn::new(0)..Pfn::new(4096);
    assert_eq!(allocator.offline_pages(all.clone()), Ok(Returned::ToSystem));
    allocator.online_pages(all).expect("it is offline");
    assert_eq!(allocator.trim(), given_back(0));
    let zeroes = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(10)).expect("free");
    assert_eq!(resident(&allocator), 0);
    assert!(zeroes.iter().all(|&byte| byte == 0));
}

#[test]
fn a_locked_dma_zone_is_left_alone() {
    let _alone = alone();
    let allocator =
        Allocator::builder(64 * MIB).dma(4 * MIB).maintain(Maintain::ByHand).build().expect("64 MiB");
    let mut pages = allocator.alloc_pages(Gfp::KERNEL | Gfp::DMA, Order::new(9)).expect("free");
    fill(&mut pages, 1);
    drop(pages);
    match allocator.arena().obtained().residency {
        Residency::Locked { .. } => {
            assert_eq!(allocator.trim(), Trimmed { locked: 1, ..Trimmed::default() });
            assert!(resident(&allocator) >= 4 * MIB);
        }
        _ => assert_eq!(allocator.trim(), given_back(1)),
    }
}

#[test]
fn a_mapping_of_the_caller_s_keeps_its_memory_and_is_not_known_to_be_zero() {
    let _alone = alone();
    let owner = builder(16 * MIB).build().expect("16 MiB");
    let mut memory = owner.alloc_pages(Gfp::KERNEL, Order::new(10)).expect("free");
    fill(&mut memory, 0xff);
    let base: NonNull<u8> = memory.as_ptr();
    // SAFETY: the block outlives the allocator over it, and is used through that only.
    let lent = unsafe { builder(4 * MIB).from_raw(base) }.report_free(Duration::from_millis(1));
    let lent = lent.build().expect("it is aligned");
    let zeroes = lent.alloc_zeroed_pages(Gfp::KERNEL, Order::new(9)).expect("free");
    assert!(zeroes.iter().all(|&byte| byte == 0));
    drop(zeroes);
    let refusal = Some(PlatformError::ForeignMapping);
    assert_eq!(lent.trim(), Trimmed { refused: 2, refusal: refusal.clone(), ..Trimmed::default() });
    let reporting = lent.free_page_reporting();
    assert_eq!((reporting.delay, reporting.refusal, reporting.known_zero), (None, refusal, 0));
    lent.age();
    drop(lent);
    drop(memory);
}

#[test]
fn hugetlb_pages_are_never_given_back() {
    let _alone = alone();
    let allocator = builder(4 * MIB).backing(Backing::Huge2M).build().expect("some pages");
    if allocator.arena().obtained().backing != Backing::Huge2M {
        return println!("left out: this machine has no hugetlb pages to spare");
    }
    drop(dirty_all(&allocator, 9));
    let refusal = Some(PlatformError::HugetlbPages);
    assert_eq!(allocator.trim(), Trimmed { refused: 2, refusal, ..Trimmed::default() });
}

/// Waits until `done`; somebody else sees to it.
fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

#[test]
fn the_thread_gives_back_what_is_free_for_a_while_and_ends_with_the_allocator() {
    let _alone = alone();
    let builder = Allocator::builder(256 * MIB).dma(0).cpus(1).report_free(Duration::from_millis(1));
    let allocator = builder.build().expect("256 MiB");
    for round in 1..=2 {
        let blocks = dirty_all(&allocator, 10);
        assert!(blocks.len() > 60);
        let touched = blocks.len() as u64 * 2;
        drop(blocks);
        wait_until(|| allocator.free_page_reporting().known_zero == 128);
        assert_eq!(resident(&allocator), 0);
        assert_eq!(allocator.free_page_reporting().given_back, round * touched);
    }
    assert!(!common::threads_named("gfp-reporting").is_empty());
    // It is joined here.
    drop(allocator);
}

#[test]
fn by_hand_it_is_done_when_it_is_due() {
    let _alone = alone();
    let allocator = builder(256 * MIB).report_free(Duration::from_millis(1)).build().expect("256 MiB");
    allocator.age();
    assert_eq!(allocator.free_page_reporting().given_back, 0);
    drop(dirty_all(&allocator, 10));
    while allocator.free_page_reporting().given_back < 128 {
        allocator.age();
        thread::yield_now();
    }
    assert_eq!(resident(&allocator), 0);
}

#[test]
fn without_being_asked_to_nothing_is_given_back() {
    let _alone = alone();
    let allocator = builder(256 * MIB).build().expect("256 MiB");
    drop(dirty_all(&allocator, 10));
    (0..10).for_each(|_| allocator.age());
    assert_eq!(allocator.free_page_reporting().given_back, 0);
    assert_eq!(resident(&allocator), 256 * MIB);
}

#[test]
fn a_zone_that_has_little_above_its_low_mark_keeps_it() {
    let _alone = alone();
    let delay = Duration::from_millis(1);
    let allocator = builder(256 * MIB).report_free(delay).build().expect("256 MiB");
    let low = usize::try_from(allocator.zone_stats()[0].marks.low).expect("64 bits") * 4096;
    let mut blocks = dirty_all(&allocator, 10);
    // 64 MiB above the low mark, and not more.
    let mut free = 0;
    while free + 4 * MIB <= low + 64 * MIB {
        blocks.pop();
        free += 4 * MIB;
    }
    let is_left_alone = || {
        for _ in 0..3 {
            thread::sleep(delay * 2);
            allocator.age();
        }
        allocator.free_page_reporting().given_back == 0
    };
    assert!(is_left_alone(), "{:?}", allocator.free_page_reporting());
    blocks.pop();
    while is_left_alone() {}
    let given = allocator.free_page_reporting().given_back;
    assert!(given >= 2, "{given}");
}

#[test]
fn requests_wait_for_what_is_on_its_way_instead_of_failing() {
    let _alone = alone();
    let allocator = builder(16 * MIB).build().expect("16 MiB");
    let stop = Arc::new(AtomicBool::new(false));
    let have_met = Arc::new(AtomicBool::new(false));
    let trimmer = thread::spawn({
        let (allocator, stop, have_met) = (allocator.clone(), Arc::clone(&stop), Arc::clone(&have_met));
        move || {
            let mut blocks = 0;
            while !stop.load(Ordering::Relaxed) {
                blocks += allocator.trim().blocks;
                have_met.store(blocks > 0, Ordering::Relaxed);
            }
            blocks
        }
    });
    // More rounds where the trimmer was not scheduled meanwhile.
    for round in 0..30_000 {
        if round >= 300 && have_met.load(Ordering::Relaxed) {
            break;
        }
        let blocks: Vec<Pages> = (0..8)
            .map(|_| {
                let mut pages =
                    allocator.alloc_pages(Gfp::KERNEL, Order::new(9)).expect("8 blocks are there");
                pages.bytes_mut()[0].write(1);
                pages
            })
            .collect();
        drop(blocks);
        // By address, too.
        let range = Pfn::new(512)..Pfn::new(1024);
        drop(allocator.alloc_contig_range(range.clone()).expect("nobody has it"));
        assert_eq!(allocator.start_isolate(range.clone()), Ok(0));
        allocator.undo_isolate(range.clone()).expect("it is isolated");
        allocator.offline_pages(range.clone()).expect("nobody has it");
        allocator.online_pages(range).expect("it is offline");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(trimmer.join().expect("no panic") > 0, "the two have not met");
    assert_all_free(&allocator);
}

#[test]
fn no_frame_has_two_owners_and_zeroes_are_zeroes_while_memory_is_given_back() {
    let _alone = alone();
    let builder = Allocator::builder(128 * MIB).dma(0).cpus(3).min_free_kbytes(256);
    let allocator = builder.report_free(Duration::from_millis(1)).build().expect("128 MiB");
    let (live, stop) = (Arc::new(LiveMap::new(&allocator)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (1..=3)
        .map(|whom| {
            let (allocator, live) = (allocator.clone(), Arc::clone(&live));
            thread::spawn(move || {
                let mut random = Random::new(u64::from(whom));
                let mut held: Vec<Pages> = Vec::new();
                for _ in 0..3000 {
                    let gfp = random.pick(&[Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE]);
                    let order = Order::new(random.pick(&[0, 0, 1, 3, 5, 8, 9, 9, 10]));
                    if let Ok(mut pages) = allocator.alloc_pages(gfp | Gfp::ZERO, order) {
                        // SAFETY: the memory came from mmap.
                        let bytes = unsafe { pages.bytes().assume_init_ref() };
                        let (frames, _) = bytes.as_chunks::<4096>();
                        let is_clear =
                            |frame: &[u8; 4096]| frame[..16] == [0; 16] && frame[4080..] == [0; 16];
                        assert!(frames.iter().all(is_clear), "{pages:?}");
                        live.take(&mut pages, whom);
                        held.push(pages);
                    }
                    while held.len() > random.below(12) {
                        let mut pages = held.swap_remove(random.below(held.len()));
                        live.give(&mut pages, whom);
                    }
                }
                held.iter_mut().for_each(|pages| live.give(pages, whom));
            })
        })
        .collect();
    let trimmer = thread::spawn({
        let (allocator, stop) = (allocator.clone(), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(allocator.trim().refusal, None);
            }
        }
    });
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    stop.store(true, Ordering::Relaxed);
    trimmer.join().expect("no panic");
    assert!(allocator.free_page_reporting().given_back > 0);
    let _ = allocator.trim();
    wait_until(|| allocator.conservation().isolated() == 0);
    assert_all_free(&allocator);
}

#[test]
fn the_child_of_a_fork_gives_nothing_back() {
    let _alone = alone();
    let allocator = builder(16 * MIB).source(ArenaSource::Memfd).build().expect("16 MiB");
    let kept = dirty_all(&allocator, 9).pop().expect("8 blocks");
    let ended = common::in_child(60, || assert_eq!(allocator.trim(), Trimmed::default()));
    assert_eq!(ended, Ok(0));
    assert_eq!(resident(&allocator), 16 * MIB, "it is the parent's");
    drop(kept);
}
