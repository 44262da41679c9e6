//! An allocator, the threads that use it in turns, and what must be true after each operation.

use core::{fmt, ptr::NonNull};

use super::{
    coverage::Coverage,
    rules::{Asked, ZoneView, granted_by_the_rules, refused_by_the_rules},
};
use crate::{
    Allocator, Builder, Gfp, Maintain, Order, Pages,
    error::{AllocError, FailReason},
    frame::{FRAME_BYTES, LIST_FRAMES_MAX, PcpList},
    gfp::{MigrateType, ZoneType, gfp_migratetype},
    pcp::{
        ThreadCache, local,
        sizing::{FreeMode, PcpTuning},
    },
    sync::Owner,
    zone::ZoneReport,
};

/// A block that is out, and what was written into it.
pub(super) struct Held {
    pages: Pages,
    stamp: u64,
    thread: usize,
}

/// What the calling thread's cache holds of one zone.
#[derive(Clone, Copy, Debug)]
struct CacheView {
    count: u32,
    in_list: usize,
    tuning: PcpTuning,
}

/// A kind of arena.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    name: &'static str,
    pub(super) bytes: usize,
    pub(super) options: fn(Builder) -> Builder,
    /// Frames that are taken before the test begins, from DMA32, in blocks of order 10.
    pub(super) filled: u64,
    pub(super) threads: usize,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const MIB: usize = 1 << 20;

/// Arenas with one zone and with several, too small for grouping by type, with caches as large as their lists can be,
/// and with a NORMAL zone above a DMA32 zone, which asks for no mixing of types first.
pub(super) const SHAPES: [Shape; 5] = [
    Shape {
        name: "DMA and DMA32",
        bytes: 40 * MIB,
        options: |builder| builder.cpus(2),
        filled: 0,
        threads: 3,
    },
    Shape {
        name: "no grouping",
        bytes: 9 * MIB,
        options: |builder| builder.dma(0).cpus(1).max_order(9),
        filled: 0,
        threads: 2,
    },
    Shape {
        name: "all zones",
        bytes: 97 * MIB,
        options: |builder| {
            builder
                .dma(5 * MIB)
                .highmem(16 * MIB)
                .movable(16 * MIB)
                .max_order(12)
                .cpus(1)
                .min_free_kbytes(600)
        },
        filled: 0,
        threads: 4,
    },
    Shape {
        name: "large caches",
        bytes: 512 * MIB,
        options: |builder| builder.dma(0).cpus(1).percpu_pagelist_high_fraction(8).max_order(14),
        filled: 0,
        threads: 2,
    },
    Shape {
        name: "NORMAL above DMA32",
        bytes: 4096 * MIB + 48 * MIB,
        options: |builder| builder.dma(0).cpus(4),
        filled: (1 << 20) - (6 << 10),
        threads: 2,
    },
];

pub(super) struct Rig {
    allocator: Allocator,
    shape: Shape,
    held: Vec<Held>,
    filler: Vec<Pages>,
    /// Which frames are out.
    live: Vec<bool>,
    live_in_zone: Vec<u64>,
    steps: u64,
    pub(super) coverage: Coverage,
}

impl Rig {
    pub(super) fn new(shape: Shape) -> Self {
        let builder = Allocator::builder(shape.bytes).maintain(Maintain::ByHand);
        let allocator = (shape.options)(builder).build().expect("address space");
        let zones = allocator.core().domain.zones().len();
        let mut rig = Self {
            live: vec![false; shape.bytes >> 12],
            live_in_zone: vec![0; zones],
            held: Vec::new(),
            filler: Vec::new(),
            steps: 0,
            coverage: Coverage::default(),
            allocator,
            shape,
        };
        while rig.live_in_zone[0] < shape.filled {
            let gfp = Gfp::KERNEL | Gfp::DMA32 | Gfp::MEMALLOC;
            let pages = rig.allocator.alloc_pages(gfp, Order::new(10)).expect("it is all free");
            rig.mark(&pages, true);
            rig.filler.push(pages);
        }
        rig
    }

    fn zone_of(&self, pages: &Pages) -> usize {
        let zones = self.allocator.core().domain.zones();
        let pfn = pages.pfn();
        zones.iter().position(|zone| zone.span().contains(pfn)).expect("in a zone")
    }

    fn mark(&mut self, pages: &Pages, out: bool) {
        let first = pages.pfn().index();
        for frame in &mut self.live[first..first + pages.order().frames() as usize] {
            assert_ne!(*frame, out, "{pages:?} overlaps another block");
            *frame = out;
        }
        let zone = self.zone_of(pages);
        let frames = u64::from(pages.order().frames());
        let live = &mut self.live_in_zone[zone];
        *live = if out { *live + frames } else { *live - frames };
    }

    fn views(&self) -> Vec<ZoneView> {
        self.reports()
            .iter()
            .zip(&self.live_in_zone)
            .map(|(report, &live)| ZoneView::new(report, live))
            .collect()
    }

    fn reports(&self) -> Vec<ZoneReport> {
        self.allocator.core().domain.zones().iter().map(crate::zone::Zone::report).collect()
    }

    /// Finds the calling thread's cache, if it has one; one of an allocator that was at this address before is none.
    fn owner(&self) -> Option<Owner<ThreadCache>> {
        local::find(self.allocator.core().key()).filter(|owner| !owner.cell().is_kept())
    }

    /// Looks into the calling thread's cache.
    fn cache(&self, zone: usize, list: PcpList) -> Option<CacheView> {
        let owner = self.owner()?;
        let cache = owner.enter().expect("nobody else is at work");
        let pcp = cache.zones().nth(zone)?;
        Some(CacheView { count: pcp.count(), in_list: pcp.lists().list(list).len(), tuning: *pcp.tuning() })
    }

    /// Takes a step that random words name, on the calling thread.
    pub(super) fn step(&mut self, thread: usize, words: (u64, u64)) {
        // Times of plenty, of need, and in between.
        const FULL_PERCENT: [u64; 6] = [60, 120, 90, 120, 97, 120];
        // A thread's first contact makes its cache, and takes from the others what is above their new share: before anything
        // is looked at.
        drop(self.allocator.handle().expect("a thread may have a handle"));
        let full = FULL_PERCENT[usize::try_from(self.steps / 400).expect("small") % FULL_PERCENT.len()];
        self.steps += 1;
        self.coverage.steps += 1;
        let filler: u64 = self.filler.iter().map(|pages| u64::from(pages.order().frames())).sum();
        let live = self.live_in_zone.iter().sum::<u64>() - filler;
        let above = live * 100 > ((self.shape.bytes >> 12) as u64 - filler) * full;
        match words.0 & 0xff {
            0 => {
                let cached: u64 = self.views().iter().map(|view| view.cached).sum();
                let drained = self.allocator.drain_all();
                assert_eq!((drained.frames, drained.skipped), (cached, 0));
                self.coverage.count("step", "drain_all");
            }
            1 => self.allocator.age(),
            2 if above => {
                let keep = self.held.len() / 3;
                for held in self.held.split_off(keep) {
                    self.give_back(held, thread, words.1);
                }
            }
            3..=6 => self.check(),
            kind => {
                let frees = if above {
                    150
                } else if full > 100 {
                    40
                } else {
                    90
                };
                if kind < frees && !self.held.is_empty() {
                    let newest = words.1 & 1 == 0;
                    let last = self.held.len() - 1;
                    let position = if newest {
                        last
                    } else {
                        usize::try_from(words.1 >> 1).expect("64 bits") % (last + 1)
                    };
                    let held = self.held.swap_remove(position);
                    // A run of frees without allocations is what makes a cache overflow.
                    let run = if words.0 & 0x700 == 0 { 80 } else { 0 };
                    self.give_back(held, thread, words.1);
                    for _ in 0..run.min(self.held.len()) {
                        let held = self.held.pop().expect("counted");
                        self.give_back(held, thread, words.1);
                    }
                } else {
                    self.take(thread, words);
                }
            }
        }
    }

    fn take(&mut self, thread: usize, words: (u64, u64)) {
        let asked = Asked::decode(words, self.allocator.max_order().get());
        // Runs of equal requests are what fills lists and empties them.
        let run = if words.0 >> 8 & 0x1f == 0 { if asked.order == 0 { 250 } else { 60 } } else { 1 };
        for _ in 0..run {
            self.take_one(thread, asked, words.1 >> 63 == 1);
        }
    }

    fn take_one(&mut self, thread: usize, asked: Asked, by_handle: bool) {
        let Asked { gfp, order } = asked;
        let before = self.views();
        let list = self.list(asked);
        let caches: Vec<_> =
            (0..before.len()).map(|zone| list.and_then(|list| self.cache(zone, list))).collect();
        let result = if by_handle {
            let handle = self.allocator.handle().expect("a thread may have a handle");
            handle.alloc_pages(gfp, Order::new(order))
        } else {
            self.allocator.alloc_pages(gfp, Order::new(order))
        };
        self.coverage.asked(asked);
        match result {
            Ok(pages) => self.took(thread, asked, pages, &before, &caches),
            Err(error) => self.was_refused(asked, &error, &before),
        }
        let sum = |of: fn(&ZoneView) -> u64, views: &[ZoneView]| views.iter().map(of).sum::<u64>();
        let after = self.views();
        let [claimed, stolen, boosts]: [fn(&ZoneView) -> u64; 3] =
            [|view| view.events.claimed, |view| view.events.stolen, |view| view.events.boosts];
        let [claimed, stolen, boosts] =
            [claimed, stolen, boosts].map(|of| sum(of, &after) - sum(of, &before));
        self.coverage.fallbacks(claimed, stolen, boosts);
        let [before, after] = [&before, &after].map(|views| sum(|view| view.reserved_highatomic, views));
        self.coverage.reserve(before, after);
    }

    /// Returns the zone that a sound request tries first.
    fn preferred(&self, asked: Asked) -> Option<usize> {
        let highest = asked.highest().ok()?;
        let zones = self.allocator.core().domain.zones();
        zones.iter().rposition(|zone| zone.span().kind <= highest && zone.span().kind != ZoneType::Movable)
    }

    fn list(&self, asked: Asked) -> Option<PcpList> {
        let kind = self.allocator.core().domain.migratetype_of(gfp_migratetype(asked.gfp).ok()?);
        Some(PcpList::of(Order::new(asked.order), kind)).filter(|list| list.is_listed())
    }

    fn took(
        &mut self,
        thread: usize,
        asked: Asked,
        mut pages: Pages,
        before: &[ZoneView],
        caches: &[Option<CacheView>],
    ) {
        let highest = asked.highest().expect("a request that contradicts itself is refused");
        self.check_type(asked, &pages);
        let zone = self.zone_of(&pages);
        let view = &before[zone];
        assert!(view.kind <= highest && view.kind != ZoneType::Movable, "{asked:?} got {:?}", view.kind);
        assert_eq!(pages.order().get(), asked.order);
        assert!(pages.pfn().is_aligned(pages.order()));
        let in_list = caches[zone].as_ref().map_or(0, |cache| cache.in_list);
        let served = granted_by_the_rules(asked, view, in_list);
        assert!(served.is_some(), "{asked:?} was served from {view:?}");
        self.coverage.served(served.expect("just checked"));
        if asked.order == 0 {
            self.check_preference(asked, zone, before);
        }
        let branch = match in_list {
            _ if self.list(asked).is_none() => "direct",
            0 => "refill",
            _ if self.preferred(asked) == Some(zone) => "hit",
            _ => "hit in a later zone",
        };
        self.coverage.count("alloc", branch);
        let preferred = self.preferred(asked).expect("it was served");
        if before[preferred].kind == ZoneType::Normal && view.kind == ZoneType::Dma32 {
            self.coverage.count("DMA32 for NORMAL", "all");
            if before[preferred].is_willing(asked) {
                self.coverage.count("DMA32 for NORMAL", "no mixing of types");
            }
        }
        self.mark(&pages, true);
        let stamp = self.coverage.steps << 20 | u64::from(pages.pfn().get());
        if asked.gfp.contains(Gfp::ZERO) {
            assert!(stamps(&mut pages).all(|word| *word == 0), "{asked:?} got memory that is not zero");
        }
        stamps(&mut pages).for_each(|word| *word = stamp);
        self.held.push(Held { pages, stamp, thread });
    }

    /// Checks that nobody has what is set aside who may not have it.
    fn check_type(&mut self, asked: Asked, pages: &Pages) {
        let zone = &self.allocator.core().domain.zones()[self.zone_of(pages)];
        if zone.pageblock_type(pages.pfn()) == MigrateType::HighAtomic {
            // A block may have waited in a cache since before its pageblock was set aside.
            let cached = self.list(asked).is_some();
            assert!(asked.may_have_highatomic() || cached, "{asked:?} got {pages:?}, which is set aside");
            self.coverage.count("highatomic", "served");
        }
    }

    /// Checks that no zone was passed over that would have been willing at the low mark.
    fn check_preference(&self, asked: Asked, zone: usize, before: &[ZoneView]) {
        let highest = asked.highest().expect("checked");
        let normal = self.preferred(asked).is_some_and(|zone| before[zone].kind == ZoneType::Normal);
        if normal && before.iter().any(|view| view.kind == ZoneType::Dma32) {
            // NOFRAGMENT: another zone comes before a mix of types.
            return;
        }
        for view in &before[zone + 1..] {
            let usable = view.kind <= highest && view.kind != ZoneType::Movable;
            assert!(!(usable && view.is_above_low(highest)), "{asked:?} passed over {view:?}");
        }
    }

    fn was_refused(&mut self, asked: Asked, error: &AllocError, before: &[ZoneView]) {
        assert_eq!((error.gfp(), error.order()), (asked.gfp, asked.order));
        if let Some(reason) = asked.expected_refusal(self.allocator.max_order().get()) {
            assert_eq!((error.reason(), error.tried().count()), (reason, 0), "{error}");
            return self.coverage.count("alloc", "bad request");
        }
        let highest = asked.highest().expect("the others were just refused");
        let after = self.views();
        let mut usable: Vec<_> =
            after.iter().filter(|view| view.kind <= highest && view.kind != ZoneType::Movable).collect();
        usable.reverse();
        if usable.is_empty() {
            assert_eq!(error.reason(), FailReason::NoZone, "{error}");
            return self.coverage.count("alloc", "bad request");
        }
        assert_eq!(error.reason(), FailReason::NoMemory, "{error}");
        let tried: Vec<_> = error.tried().map(|zone| (zone.node, zone.zone)).collect();
        let expected: Vec<_> = usable.iter().map(|view| (0, view.kind)).collect();
        assert_eq!(tried, expected, "{error}");
        for (zone, view) in error.tried().zip(usable) {
            assert_eq!(refused_by_the_rules(asked, view), Some(zone.refusal), "{error}, but {view:?}");
            if asked.gfp.allows_blocking() {
                assert_eq!(view.cached, 0, "{error}, but {} frames are in caches", view.cached);
            }
        }
        let drained = before.iter().zip(&after).any(|(before, after)| after.free > before.free);
        self.coverage.served(if drained { "refused after a drain" } else { "refused" });
    }

    fn give_back(&mut self, held: Held, thread: usize, word: u64) {
        let Held { mut pages, stamp, thread: from } = held;
        assert!(stamps(&mut pages).all(|word| *word == stamp), "somebody wrote into {pages:?}");
        self.mark(&pages, false);
        let zone = self.zone_of(&pages);
        let (order, frames) = (pages.order(), pages.order().frames());
        let list = pages.block().list();
        let cache = self.cache(zone, list);
        let free_before = self.allocator.core().domain.zones()[zone].nr_free_pages();
        if word >> 62 & 1 == 0 {
            drop(pages);
        } else {
            self.allocator.handle().expect("a thread may have a handle").free_pages(pages);
        }
        self.coverage.count("free", "all");
        if from != thread {
            self.coverage.count("free", "by another thread");
        }
        let Some(before) = cache.filter(|_| list.is_listed()) else {
            return self
                .coverage
                .count("free", if list.is_listed() { "first of its thread" } else { "direct" });
        };
        let after = self.cache(zone, list).expect("it had one");
        let mut tuning = before.tuning;
        let mode = tuning.note_free(before.count + frames, order.get());
        let drained = before.count + frames - after.count;
        let free_after = self.allocator.core().domain.zones()[zone].nr_free_pages();
        assert_eq!(free_after, free_before + u64::from(drained));
        let branch = if before.in_list * frames as usize == LIST_FRAMES_MAX as usize {
            "cache full"
        } else if mode == FreeMode::DrainAll {
            "DrainAll"
        } else if drained > 0 {
            "overflow"
        } else {
            "cached"
        };
        self.coverage.put(branch);
    }

    /// Checks that every frame is where it should be, and that what is told of it agrees.
    pub(super) fn check(&mut self) {
        let conservation = self.allocator.conservation();
        assert!(conservation.holds(), "{conservation}");
        for ((zone, view), live) in conservation.zones.iter().zip(self.views()).zip(&self.live_in_zone) {
            assert_eq!(
                (zone.allocated, zone.cached, zone.free),
                (*live, view.cached, view.free),
                "{conservation}"
            );
        }
        for (zone, report) in self.allocator.core().domain.zones().iter().zip(self.reports()) {
            let listed = |counts: &Vec<u32>| {
                (0u32..).zip(counts).map(|(order, &n)| u64::from(n) << order).sum::<u64>()
            };
            assert_eq!(report.nr_free.iter().map(listed).sum::<u64>(), report.free);
            assert_eq!(zone.nr_free_pages(), report.free);
            let reserved = u64::from(report.pageblocks[MigrateType::HighAtomic.index()]) * 512;
            let hundredth = report.managed / 100;
            let cap = if hundredth < 512 { 0 } else { hundredth.div_ceil(512) * 512 };
            assert!(
                reserved <= cap && report.free_highatomic <= reserved,
                "{reserved} of {cap} are set aside"
            );
            assert_eq!(zone.reserved_highatomic(), reserved);
            let pageblocks = report.span.end.get().div_ceil(512) - report.span.start.get() / 512;
            assert_eq!(report.pageblocks.iter().sum::<u32>(), pageblocks);
        }
        let text = self.allocator.buddyinfo().to_string();
        for (line, report) in text.lines().zip(self.reports()) {
            let counts: Vec<u64> =
                line.split_whitespace().skip(4).map(|n| n.parse().expect("a count")).collect();
            let orders = 0..report.nr_free[0].len();
            let expected: Vec<u64> = orders
                .map(|order| report.nr_free.iter().map(|counts| u64::from(counts[order])).sum())
                .collect();
            assert_eq!(counts, expected, "{text}");
        }
        assert_eq!(self.allocator.bad_pages(), 0);
        self.coverage.count("step", "check");
    }

    /// Checks that the cache of a thread that ended is empty and gone.
    pub(super) fn check_after_exit(&mut self, caches: usize) {
        assert_eq!(self.allocator.core().domain.caches().len(), caches);
        self.check();
        self.coverage.count("step", "thread exit");
    }

    /// Tells whether the calling thread has a cache.
    pub(super) fn has_cache(&self) -> bool {
        self.owner().is_some()
    }

    /// Returns the number of threads that have a cache.
    pub(super) fn caches(&self) -> usize {
        self.allocator.core().domain.caches().len()
    }

    /// Frees everything, and checks that the arena is as it was in the beginning.
    pub(super) fn finish(&mut self) {
        while let Some(held) = self.held.pop() {
            self.give_back(held, usize::MAX, 0);
        }
        while let Some(pages) = self.filler.pop() {
            self.mark(&pages, false);
        }
        self.allocator.drain_all();
        for zone in self.allocator.core().domain.zones() {
            while zone.unreserve_highatomic_pageblock(MigrateType::Movable, true) {}
            assert_eq!(zone.reserved_highatomic(), 0, "all of it is free");
        }
        self.check();
        let conservation = self.allocator.conservation();
        assert_eq!((conservation.allocated(), conservation.cached()), (0, 0), "{conservation}");
        for report in self.reports() {
            let largest = usize::from(self.allocator.max_order().get());
            let whole: u64 = report.nr_free.iter().map(|counts| u64::from(counts[largest])).sum();
            let first = u64::from(report.span.start.get()).div_ceil(1 << largest);
            let last = u64::from(report.span.end.get()) >> largest;
            assert_eq!(whole, last.saturating_sub(first), "{:?} is in pieces", report.span.kind);
        }
    }
}

/// Returns a word of each frame of a small block, and of the first and the last frame of a large one.
fn stamps(pages: &mut Pages) -> impl Iterator<Item = &mut u64> {
    let frames = pages.order().frames() as usize;
    let step = if frames <= 8 { 1 } else { frames - 1 };
    let (bytes, _) = pages.bytes_mut().as_chunks_mut::<{ FRAME_BYTES }>();
    bytes.iter_mut().step_by(step).map(|frame| {
        let word = NonNull::from(frame).cast::<u64>();
        // SAFETY: a frame is aligned to more than a u64 and larger, nobody else refers to this one, and its memory came
        // from mmap, so that all its bytes have a value.
        unsafe { &mut *word.as_ptr() }
    })
}
