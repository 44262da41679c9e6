//! Under `init_on_alloc` or `init_on_free` no block shows what another owner wrote, whichever way it went: every way to ask
//! gets memory that was freed every way, through caches, drains and merges, areas for contiguous requests, and ranges that
//! were offline in between.

mod common;

use core::mem::MaybeUninit;
use std::thread;

use common::{Random, assert_all_free};
use gfp::{
    Allocator, ContigPages, DebugModes, ExactPages, Gfp, Handle, Maintain, Order, PageFrag, PageFragCache,
    Pages, Pfn,
};

/// What every owner writes, and no other may see.
const SECRET: u8 = 0x5e;

/// Steps of a thread.
const STEPS: usize = 400;

const AREA: &str = "area";
const AREA_BYTES: usize = 8 << 20;
const ARENA_BYTES: usize = 48 << 20;

fn build(modes: DebugModes) -> Allocator {
    let builder = Allocator::builder(ARENA_BYTES).dma(0).cpus(2).maintain(Maintain::ByHand).debug(modes);
    let builder = builder.on_finding(Box::new(|finding| panic!("{finding}")));
    let builder = builder.on_misuse(Box::new(|error| panic!("{error}")));
    builder.min_free_kbytes(256).cma(AREA, AREA_BYTES).build().expect("48 MiB")
}

/// Something that is owned.
enum Held {
    Pages(Pages),
    Exact(ExactPages),
    Contig(ContigPages),
    /// With the cache that it came from, which keeps the rest of its page from others.
    Frag {
        frag: PageFrag,
        _cache: PageFragCache,
    },
}

impl Held {
    fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        match self {
            Self::Pages(pages) => pages.bytes_mut(),
            Self::Exact(pages) => pages,
            Self::Contig(pages) => pages,
            Self::Frag { frag, .. } => frag,
        }
    }
}

/// Ways to ask.
const WAYS_TO_ASK: usize = 11;

/// Asks for memory, one way or another; nothing where there is none.
fn ask(allocator: &Allocator, handle: &Handle, random: &mut Random) -> Vec<Held> {
    let order = Order::new(random.pick(&[0, 0, 0, 1, 2, 3, 4, 5, 9]));
    let gfp = random.pick(&[Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL.union(Gfp::RECLAIMABLE)]);
    let whole = |pages: Result<Pages, _>| pages.ok().map(Held::Pages).into_iter().collect();
    match random.below(WAYS_TO_ASK) {
        0 => whole(allocator.alloc_pages(gfp, order)),
        1 => whole(handle.alloc_pages(gfp, order)),
        2 => whole(handle.alloc_page(gfp)),
        3 => whole(allocator.alloc_pages_nolock(order)),
        4 => whole(allocator.alloc_pages_node(None, gfp, order)),
        5 => whole(allocator.alloc_zeroed_pages(gfp, order).map(gfp::ZeroedPages::into_pages)),
        6 => {
            let mut slots: Vec<Option<Pages>> = (0..random.below(40)).map(|_| None).collect();
            handle.alloc_pages_bulk(gfp, &mut slots);
            slots.into_iter().flatten().map(Held::Pages).collect()
        }
        7 => {
            let bytes = 1 + random.below(200 << 10);
            allocator.alloc_pages_exact(bytes, gfp).ok().map(Held::Exact).into_iter().collect()
        }
        8 => {
            let frames = u32::try_from(1 + random.below(64)).expect("few");
            allocator.cma_alloc(AREA, frames, Order::new(2)).ok().map(Held::Contig).into_iter().collect()
        }
        9 => {
            let range = pageblock(random);
            let some = range.start..Pfn::new(range.start.get() + 100);
            let ranges = [range, some];
            let contig = ranges.into_iter().find_map(|range| allocator.alloc_contig_range(range).ok());
            contig.map(Held::Contig).into_iter().collect()
        }
        _ => {
            let cache = allocator.page_frag_cache(None, gfp);
            let frag = cache.alloc(1 + random.below(4096)).ok();
            frag.map(|frag| Held::Frag { frag, _cache: cache }).into_iter().collect()
        }
    }
}

/// Ways to free a block.
const WAYS_TO_FREE: usize = 11;

/// Frees something, one way or another.
fn give_back(allocator: &Allocator, handle: &Handle, held: Held, random: &mut Random) {
    let pages = match held {
        Held::Pages(pages) => pages,
        // These have one way each.
        other => return drop(other),
    };
    match random.below(WAYS_TO_FREE) {
        0 => drop(pages),
        1 => allocator.free_pages(pages),
        2 => handle.free_pages(pages),
        3 => allocator.free_pages_cold(pages),
        4 => allocator.free_pages_nolock(pages),
        5 => handle.free_pages_bulk(&mut [Some(pages)]),
        6 => {
            let parts = pages.into_raw_parts();
            // SAFETY: the parts are of a block that was taken apart just now.
            unsafe { allocator.free_raw(parts) }.expect("its own parts");
        }
        7 => {
            let parts = pages.into_raw_parts();
            // SAFETY: as above.
            drop(unsafe { allocator.from_raw_parts(parts) }.expect("its own parts"));
        }
        8 => {
            let shared = pages.into_shared();
            let other = shared.clone();
            drop(shared);
            drop(other);
        }
        9 => drop(pages.into_shared().try_into_pages().expect("it is the only one")),
        _ => pages.split_page(|frame| {
            if random.below(2) == 0 {
                handle.free_page(frame);
            }
        }),
    }
}

/// Returns a pageblock in front of the area.
fn pageblock(random: &mut Random) -> core::ops::Range<Pfn> {
    let blocks = (ARENA_BYTES - AREA_BYTES) >> 21;
    let start = u32::try_from(random.below(blocks) * 512).expect("a small arena");
    Pfn::new(start)..Pfn::new(start + 512)
}

/// Moves free memory about.
fn stir(allocator: &Allocator, random: &mut Random) {
    match random.below(5) {
        0 => _ = allocator.drain_all(),
        4 => assert_eq!(allocator.trim().refusal, None),
        1 => allocator.age(),
        2 => {
            let range = pageblock(random);
            if allocator.start_isolate(range.clone()).is_ok() {
                allocator.undo_isolate(range).expect("it was isolated just now");
            }
        }
        _ => {
            let range = pageblock(random);
            if allocator.offline_pages(range.clone()).is_ok() {
                allocator.online_pages(range).expect("it went offline just now");
            }
        }
    }
}

/// Tells whether a frame, or a part of one, has no other bytes than these.
fn holds_only(frame: &[u8], expected: &[u8]) -> bool {
    // Most are all of a kind, and those are compared in no time.
    let is_all = |byte| *frame == [byte; 4096][..frame.len()];
    expected.iter().any(|&byte| is_all(byte)) || frame.iter().all(|byte| expected.contains(byte))
}

/// Lives one owner's life, and tells how often memory showed something else than the bytes `expected`.
fn keep_secrets(allocator: &Allocator, seed: u64, expected: &[u8]) -> usize {
    let mut random = Random::new(seed);
    let handle = allocator.handle().expect("memory for a cache");
    let mut held = Vec::new();
    let mut shown = 0;
    for _ in 0..STEPS {
        for mut asked in ask(allocator, &handle, &mut random) {
            let bytes = asked.bytes();
            // SAFETY: the memory came from mmap, so that all its bytes have a value.
            let bytes = unsafe { bytes.assume_init_mut() };
            shown += usize::from(!bytes.chunks(4096).all(|frame| holds_only(frame, expected)));
            bytes.fill(SECRET);
            held.push(asked);
        }
        while held.len() > random.below(60) {
            give_back(allocator, &handle, held.swap_remove(random.below(held.len())), &mut random);
        }
        if random.below(20) == 0 {
            stir(allocator, &mut random);
        }
    }
    shown
}

/// Has three owners at once.
fn owners(modes: DebugModes, expected: &[u8]) -> usize {
    let allocator = build(modes);
    let shown = thread::scope(|scope| {
        let owner = |seed| {
            let allocator = &allocator;
            scope.spawn(move || keep_secrets(allocator, seed, expected))
        };
        let owners = [1, 2, 3].map(owner);
        owners.into_iter().map(|owner| owner.join().expect("no panic")).sum()
    });
    assert_all_free(&allocator);
    shown
}

#[test]
fn no_block_shows_what_another_owner_wrote() {
    let (on_alloc, on_free) = (DebugModes::INIT_ON_ALLOC, DebugModes::INIT_ON_FREE);
    for (modes, expected) in [
        (on_alloc, &[0][..]),
        (on_free, &[0]),
        (on_alloc | on_free | DebugModes::GUARD | DebugModes::PAGE_OWNER, &[0]),
        (on_alloc | DebugModes::PAGE_POISON, &[0]),
        // Never freed, or full of the pattern.
        (on_free | DebugModes::PAGE_POISON | DebugModes::CHECK_PAGES, &[0, 0xaa]),
    ] {
        assert_eq!(owners(modes, expected), 0, "{modes:?}");
    }
}

#[test]
fn without_these_modes_the_secret_shows() {
    for modes in [DebugModes::empty(), DebugModes::CHECK_PAGES] {
        assert!(owners(modes, &[0]) > 100, "the test above could not fail otherwise");
    }
}
