//! Makes the calls, and compares what comes of them with the model.

use core::ops::Range;

use gfp::{
    AllocError, Allocator, ContigPages, ExactPages, Gfp, Handle, Nid, Order, Pages, Pfn, PolicyScope,
    error::RangeProblem,
    gfp::ZoneType,
    node::Reach,
    stats::{Buddyinfo, ZoneStat},
};

use crate::{
    call::{Call, Free, Policy, mask},
    coverage::Coverage,
    model::{Aside, Candidates, Model},
};

/// An allocator with what the caller holds of it.
pub(crate) struct Machine {
    handle: Handle,
    allocator: Allocator,
    model: Model,
    pages: Vec<Pages>,
    exact: Vec<ExactPages>,
    contig: Vec<ContigPages>,
    scopes: Vec<PolicyScope>,
    has_cma: bool,
    pub(crate) coverage: Coverage,
}

/// What the allocator said of its zones at one time.
struct Stats {
    zones: Vec<ZoneStat>,
    free: Buddyinfo,
}

impl Stats {
    fn of(allocator: &Allocator) -> Self {
        Self { zones: allocator.zone_stats(), free: allocator.buddyinfo() }
    }

    /// Returns how many free blocks of at least an order a zone has.
    fn blocks(&self, zone: usize, order: u8) -> u64 {
        self.free.zones[zone].nr_free[usize::from(order)..].iter().sum()
    }
}

fn frames(pfn: Pfn, count: u32) -> Range<usize> {
    pfn.index()..pfn.index() + count as usize
}

impl Machine {
    pub(crate) fn new(allocator: Allocator) -> Self {
        Self {
            model: Model::new(&allocator),
            has_cma: !allocator.cma_areas().is_empty(),
            handle: allocator.handle().expect("memory for a cache"),
            allocator,
            pages: Vec::new(),
            exact: Vec::new(),
            contig: Vec::new(),
            scopes: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    pub(crate) fn run(&mut self, call: &Call) {
        match *call {
            Call::Alloc { kind, order, times } => {
                let mut served = true;
                for _ in 0..times {
                    let candidates = self.model.of_policy(&self.allocator, self.model.policy);
                    let by_handle = times % 2 == 0;
                    let ask = |gfp, order| {
                        if by_handle {
                            self.handle.alloc_pages(gfp, order)
                        } else {
                            self.allocator.alloc_pages(gfp, order)
                        }
                    };
                    let before = Stats::of(&self.allocator);
                    let result = ask(kind.gfp(), Order::new(order));
                    let name = match self.model.policy {
                        Policy::None => "no policy",
                        Policy::Local => "local",
                        Policy::Preferred(_) => "preferred",
                        Policy::PreferredMany(_) => "preferred many",
                        Policy::Bind(_) => "bind",
                        Policy::Interleave(_) => "interleave",
                        Policy::Weighted(_) => "weighted interleave",
                    };
                    self.coverage.count("policy", name);
                    served = self.asked(result, kind.gfp(), order, &candidates, &before);
                    if !served {
                        break;
                    }
                }
                self.coverage.count("request", if served { "served" } else { "refused" });
            }
            Call::OnNode { node, this_node, kind, order } => {
                let (gfp, reach) = match this_node {
                    true => (kind.gfp() | Gfp::THISNODE, Reach::ThisNode),
                    false => (kind.gfp(), Reach::AllNodes),
                };
                let candidates = self.model.of_node(&self.allocator, Some(node), reach, gfp::NodeMask::ALL);
                let before = Stats::of(&self.allocator);
                let result = self.allocator.alloc_pages_node(Some(Nid::new(node)), gfp, Order::new(order));
                self.coverage.count("node", if this_node { "this node" } else { "from this node on" });
                self.asked(result, gfp, order, &candidates, &before);
            }
            Call::FromNodes { node, allowed, kind, order } => {
                let candidates = self.model.of_node(&self.allocator, node, Reach::AllNodes, mask(allowed));
                let before = Stats::of(&self.allocator);
                let start = node.map(Nid::new);
                let result =
                    self.allocator.alloc_pages_nodemask(start, mask(allowed), kind.gfp(), Order::new(order));
                self.coverage.count("node", if allowed == 0 { "of none" } else { "of a mask" });
                self.asked(result, kind.gfp(), order, &candidates, &before);
            }
            Call::Bulk { kind, count } => {
                let candidates = self.model.of_policy(&self.allocator, self.model.policy);
                let mut slots: Vec<Option<Pages>> = (0..count).map(|_| None).collect();
                let filled = self.allocator.alloc_pages_bulk(kind.gfp(), &mut slots);
                let got: Vec<Pages> = slots.into_iter().flatten().collect();
                assert_eq!(got.len(), filled);
                self.coverage.count("bulk", if filled == count { "all" } else { "some" });
                if filled < count {
                    self.check_exhausted(kind.gfp(), 0, &candidates);
                }
                got.into_iter().for_each(|pages| self.took(pages, kind.gfp(), &candidates));
            }
            Call::Exact { kind, frames: count } => {
                match self.allocator.alloc_pages_exact(count * 4096, kind.gfp()) {
                    Ok(run) => {
                        assert_eq!(run.frames() as usize, count);
                        self.model.take(frames(run.pfn(), run.frames()));
                        self.exact.push(run);
                        self.coverage.count("exact", "served");
                    }
                    Err(_) => self.coverage.count("exact", "refused"),
                }
            }
            Call::NoLock { order } => {
                let candidates = self.model.of_policy(&self.allocator, self.model.policy);
                match self.allocator.alloc_pages_nolock(Order::new(order)) {
                    Ok(pages) => {
                        self.coverage.count("nolock", "served");
                        self.took(pages, Gfp::empty(), &candidates);
                    }
                    Err(_) => self.coverage.count("nolock", "refused"),
                }
            }
            Call::Free { position, how, times } => {
                for _ in 0..times.min(u8::try_from(self.pages.len()).unwrap_or(u8::MAX)) {
                    let pages = self.pages.swap_remove(position % self.pages.len());
                    self.free(pages, how);
                }
            }
            Call::FreeBulk { count } => {
                let rest = self.pages.len().saturating_sub(count);
                let mut slots: Vec<Option<Pages>> = self.pages.drain(rest..).map(Some).collect();
                for pages in slots.iter().flatten() {
                    self.model.give(frames(pages.pfn(), pages.order().frames()));
                }
                self.allocator.free_pages_bulk(&mut slots);
                assert!(slots.iter().all(Option::is_none));
            }
            Call::FreeExact { position } if !self.exact.is_empty() => {
                let run = self.exact.swap_remove(position % self.exact.len());
                self.model.give(frames(run.pfn(), run.frames()));
            }
            Call::Policy(policy) => {
                // Newest first: each brings back the one before.
                while let Some(scope) = self.scopes.pop() {
                    drop(scope);
                }
                if let Some(wanted) = policy.policy() {
                    self.scopes.push(self.allocator.mempolicy(wanted).expect("all nodes have memory"));
                }
                self.model.policy = policy;
            }
            Call::OfPolicy { policy, kind, order } => {
                let candidates = self.model.of_policy(&self.allocator, policy);
                let before = Stats::of(&self.allocator);
                let Some(wanted) = policy.policy() else { return };
                let mut state = self.allocator.request_policy(wanted).expect("all nodes have memory");
                let result = self.allocator.alloc_pages_mpol(&mut state, kind.gfp(), Order::new(order));
                self.coverage.count("policy of a request", if result.is_ok() { "served" } else { "refused" });
                self.asked(result, kind.gfp(), order, &candidates, &before);
            }
            Call::MemsAllowed(bits) => {
                self.allocator.set_mems_allowed(mask(bits));
                self.model.mems_allowed = mask(bits);
                self.coverage.count("mems_allowed", if bits == 7 { "all" } else { "some" });
            }
            Call::Isolate { pageblock, count } => self.isolate(pageblock, count),
            Call::UndoIsolate { pageblock, count } => {
                let range = self.model.pageblocks(pageblock, count);
                self.allocator.undo_isolate(range.clone()).expect("whole pageblocks");
                let asides = self.model.asides_of(&range);
                let undone = asides.iter_mut().filter(|aside| **aside == Aside::Isolated);
                let undone = undone.map(|aside| *aside = Aside::No).count();
                self.coverage.count("undo isolate", if undone > 0 { "some" } else { "none" });
            }
            Call::Offline { pageblock, count } => self.offline(pageblock, count),
            Call::Online { pageblock, count } => {
                let range = self.model.pageblocks(pageblock, count);
                let asides = self.model.asides_of(&range);
                let possible = asides.iter().all(|&aside| aside == Aside::Offline);
                if possible {
                    asides.fill(Aside::No);
                }
                let result = self.allocator.online_pages(range);
                assert_eq!(result.is_ok(), possible, "{result:?}");
                self.coverage.count("online", if possible { "done" } else { "refused" });
            }
            Call::Contig { start, frames: count } => self.contig_range(start, count),
            Call::Cma { frames: count, align } if self.has_cma => {
                match self.allocator.cma_alloc("area", count, Order::new(align)) {
                    Ok(run) => {
                        let taken = frames(run.pfn(), run.frames());
                        assert!(run.pfn().is_aligned(Order::new(align)) && run.frames() == count);
                        assert!(self.model.touches_cma(&taken));
                        self.model.take(taken);
                        self.contig.push(run);
                        self.coverage.count("cma", "served");
                    }
                    Err(_) => self.coverage.count("cma", "refused"),
                }
            }
            Call::FreeContig { position } if !self.contig.is_empty() => {
                let run = self.contig.swap_remove(position % self.contig.len());
                self.model.give(frames(run.pfn(), run.frames()));
            }
            Call::DrainAll => _ = self.allocator.drain_all(),
            Call::Check => self.check(),
            Call::FreeExact { .. } | Call::Cma { .. } | Call::FreeContig { .. } => {}
        }
    }

    /// Looks at what came of a request, and tells whether it was served.
    fn asked(
        &mut self,
        result: Result<Pages, AllocError>,
        gfp: Gfp,
        order: u8,
        candidates: &Candidates,
        before: &Stats,
    ) -> bool {
        match result {
            Ok(mut pages) => {
                assert_eq!(pages.order().get(), order);
                if gfp.contains(Gfp::ZERO) {
                    // SAFETY: the arena's memory comes from the system, so that every byte has a value.
                    let zero = pages.bytes().iter().all(|byte| unsafe { byte.assume_init() } == 0);
                    assert!(zero, "{pages:?} is not zero");
                }
                pages.bytes_mut()[0].write(0xa5);
                let zone = self.model.zone_of(pages.pfn().index());
                if candidates.ordered {
                    self.check_first(zone, gfp, order, candidates, before);
                }
                self.took(pages, gfp, candidates);
                true
            }
            Err(_) => {
                self.check_exhausted(gfp, order, candidates);
                false
            }
        }
    }

    /// Checks that no zone was passed over that could have served the request at the low mark.
    fn check_first(&mut self, zone: usize, gfp: Gfp, order: u8, candidates: &Candidates, before: &Stats) {
        let earlier = candidates.zones.iter().take_while(|&&other| other != zone);
        for &other in earlier {
            // Which types the free blocks have is not told: where some are set aside, nothing is certain.
            if self.model.has_aside(other) || self.model.is_cma_zone(other) {
                continue;
            }
            let stat = &before.zones[other];
            let blocks = before.blocks(other, order);
            let least = stat.marks.low + stat.marks.boost + stat.protection[ZoneType::Normal.index()];
            let willing = blocks > 0 && stat.free > least + (1 << order);
            assert!(!willing, "{gfp:?} of order {order} passed over zone {other}: {stat:?}");
        }
        let branch = if candidates.zones.first() == Some(&zone) { "first zone" } else { "later zone" };
        self.coverage.count("zone", branch);
    }

    /// Checks that a refused request could not have been served: every zone that it may use is empty down to its minimum.
    fn check_exhausted(&self, gfp: Gfp, order: u8, candidates: &Candidates) {
        let after = Stats::of(&self.allocator);
        for &zone in &candidates.zones {
            let stat = &after.zones[zone];
            let usable = stat.free - if gfp.contains(Gfp::MOVABLE) { 0 } else { stat.free_cma };
            let least = stat.marks.min + stat.protection[ZoneType::Normal.index()];
            if usable < least + (1 << order) {
                continue;
            }
            let certain = !self.model.has_aside(zone) && !self.model.is_cma_zone(zone);
            let blocks = after.blocks(zone, order);
            assert!(order > 0 && (!certain || blocks == 0), "{gfp:?} of order {order} was refused: {stat:?}");
        }
    }

    fn took(&mut self, pages: Pages, gfp: Gfp, candidates: &Candidates) {
        let taken = frames(pages.pfn(), pages.order().frames());
        let zone = self.model.zone_of(taken.start);
        assert!(candidates.zones.contains(&zone), "{pages:?} is of zone {zone}, not of {candidates:?}");
        let in_cma = self.model.touches_cma(&taken);
        assert!(
            !in_cma || gfp.contains(Gfp::MOVABLE),
            "{pages:?} cannot move and lies in an area for contiguous requests"
        );
        if in_cma {
            self.coverage.count("lent", "by an area");
        }
        self.model.take(taken);
        self.pages.push(pages);
    }

    fn free(&mut self, pages: Pages, how: Free) {
        self.model.give(frames(pages.pfn(), pages.order().frames()));
        self.coverage.count("free", format!("{how:?}"));
        match how {
            Free::Drop => drop(pages),
            Free::Handle => self.handle.free_pages(pages),
            Free::Cold => self.allocator.free_pages_cold(pages),
            Free::NoLock => self.allocator.free_pages_nolock(pages),
            Free::ThroughRawParts => {
                let parts = pages.into_raw_parts();
                // SAFETY: these parts are of a block that was taken apart.
                let again = unsafe { self.allocator.from_raw_parts(parts) }.expect("its own parts");
                let parts = again.into_raw_parts();
                // SAFETY: as above.
                unsafe { self.allocator.free_raw(parts) }.expect("its own parts");
                // SAFETY: parts that name no block are refused, which is what is tested.
                unsafe { self.allocator.free_raw(parts) }.expect_err("they are used up");
            }
            Free::Shared => {
                let first = pages.into_shared();
                let second = first.clone();
                let first = first.try_into_pages().expect_err("there is another");
                drop(second);
                let mut others: Vec<_> = (0..3).map(|_| first.clone()).collect();
                others.push(first);
                others.into_iter().for_each(drop);
            }
            Free::Split => {
                let mut got = Vec::new();
                pages.split_page(|frame| got.push(frame));
                got.into_iter().rev().for_each(drop);
            }
        }
    }

    fn isolate(&mut self, pageblock: u32, count: u32) {
        let range = self.model.pageblocks(pageblock, count);
        let possible = self.model.asides_of(&range).iter().all(|&aside| aside == Aside::No);
        let result = self.allocator.start_isolate(range.clone());
        let held = self.model.held_in(&range);
        match result {
            Ok(used) => {
                assert!(possible && used == held, "{used} frames of {range:?} are used, {held} held");
                self.model.asides_of(&range).fill(Aside::Isolated);
                self.coverage.count("isolate", if used > 0 { "in use" } else { "free" });
            }
            Err(error) => {
                assert!(!possible, "{error}");
                self.coverage.count("isolate", "refused");
            }
        }
    }

    fn offline(&mut self, pageblock: u32, count: u32) {
        let range = self.model.pageblocks(pageblock, count);
        let possible = self.model.asides_of(&range).iter().all(|&aside| aside == Aside::No);
        let held = self.model.held_in(&range);
        let in_cma = self.model.touches_cma(&(range.start.index()..range.end.index()));
        match self.allocator.offline_pages(range.clone()).map_err(|error| error.problem) {
            Ok(_) => {
                assert!(possible && held == 0 && !in_cma);
                self.model.asides_of(&range).fill(Aside::Offline);
                self.coverage.count("offline", "done");
            }
            Err(RangeProblem::InUse(used)) => {
                assert!(possible && used == held && used > 0);
                self.coverage.count("offline", "in use");
            }
            Err(problem) => {
                assert!(!possible || in_cma, "{problem:?}");
                self.coverage.count("offline", "refused");
            }
        }
    }

    fn contig_range(&mut self, start: u32, count: u32) {
        let all = u32::try_from(self.model.frames()).expect("small");
        let start = start % all;
        let range = Pfn::new(start)..Pfn::new((start + count).min(all));
        let blocks = self.model.pageblocks(start / 512, (range.end.get() - 1) / 512 - start / 512 + 1);
        let aside = self.model.asides_of(&blocks).iter().any(|&aside| aside != Aside::No);
        let one_zone = self.model.zone_of(range.start.index()) == self.model.zone_of(range.end.index() - 1);
        let possible = self.model.held_in(&range) == 0 && one_zone && !aside;
        match self.allocator.alloc_contig_range(range.clone()) {
            Ok(run) => {
                assert!(possible);
                self.model.take(frames(run.pfn(), run.frames()));
                self.contig.push(run);
                self.coverage.count("contig", "served");
            }
            Err(error) => {
                assert!(!possible, "{error}");
                self.coverage.count("contig", "refused");
            }
        }
    }

    /// Compares what the allocator says of all frames with what the caller knows.
    pub(crate) fn check(&self) {
        let conservation = self.allocator.conservation();
        assert!(conservation.holds(), "{conservation}");
        assert_eq!(conservation.allocated(), self.model.held(), "{conservation}");
        assert_eq!(conservation.isolated(), self.model.idle_isolated(), "{conservation}");
        let frames = self.model.frames() as u64;
        assert_eq!(conservation.managed(), frames - self.model.count(Aside::Offline), "{conservation}");
        assert_eq!(self.allocator.bad_pages(), 0);
        assert_eq!(self.allocator.debug_counts(), gfp::DebugCounts::default());
        assert_eq!(self.allocator.mems_allowed(), self.model.mems_allowed);
    }

    /// Gives everything back, and checks that the arena is as it was in the beginning.
    pub(crate) fn finish(mut self, fresh: &Allocator) -> Coverage {
        self.scopes.clear();
        self.pages.clear();
        self.exact.clear();
        self.contig.clear();
        self.allocator.set_mems_allowed(gfp::NodeMask::ALL);
        let all = Pfn::new(0)..Pfn::new(u32::try_from(self.model.frames()).expect("small"));
        self.allocator.undo_isolate(all).expect("whole pageblocks");
        for allocator in [&self.allocator, fresh] {
            for range in allocator.offline_ranges() {
                allocator.online_pages(range).expect("offline");
            }
        }
        self.allocator.drain_all();
        let conservation = self.allocator.conservation();
        assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
        assert_eq!(self.allocator.buddyinfo().to_string(), fresh.buddyinfo().to_string());
        self.coverage
    }
}
