//! Pageblocks that are set aside, and contiguous frames.

use gfp::{Order, Pfn, error::RangeProblem};

use super::{Machine, frames};
use crate::model::Aside;

impl Machine {
    pub(super) fn isolate(&mut self, pageblock: u32, count: u32) {
        let range = self.model.pageblocks(pageblock, count);
        let possible = self.model.asides_of(&range).iter().all(|&aside| aside == Aside::No);
        let held = self.model.held_in(&range);
        match self.allocator.start_isolate(range.clone()) {
            Ok(used) => {
                assert!(possible && used == held, "{used} frames of {range:?} are used, {held} held");
                self.model.asides_of(&range).fill(Aside::Isolated);
                self.coverage.count("isolate", if used > 0 { "in use" } else { "free" });
            }
            Err(error) => {
                assert!(!possible, "{error}");
                let first = self.first_aside(&range, |aside| aside != Aside::No);
                let problem = match first {
                    (at, Aside::Offline) => RangeProblem::Offline(at),
                    (at, _) => RangeProblem::Isolated(at),
                };
                assert_eq!(error.problem, problem);
                self.coverage.count("isolate", "refused");
            }
        }
    }

    /// Returns the first pageblock of a range that is as told.
    fn first_aside(&mut self, range: &core::ops::Range<Pfn>, is: impl Fn(Aside) -> bool) -> (Pfn, Aside) {
        let asides = self.model.asides_of(range);
        let (index, aside) =
            (0..).zip(asides.iter()).find(|&(_, &aside)| is(aside)).expect("one of them is in the way");
        (range.start.add(index * 512), *aside)
    }

    pub(super) fn undo_isolate(&mut self, pageblock: u32, count: u32) {
        let range = self.model.pageblocks(pageblock, count);
        self.allocator.undo_isolate(range.clone()).expect("whole pageblocks");
        let asides = self.model.asides_of(&range);
        let undone = asides.iter_mut().filter(|aside| **aside == Aside::Isolated);
        let undone = undone.map(|aside| *aside = Aside::No).count();
        self.coverage.count("undo isolate", if undone > 0 { "some" } else { "none" });
    }

    pub(super) fn offline(&mut self, pageblock: u32, count: u32) {
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

    pub(super) fn online(&mut self, pageblock: u32, count: u32) {
        let range = self.model.pageblocks(pageblock, count);
        let possible = self.model.asides_of(&range).iter().all(|&aside| aside == Aside::Offline);
        match self.allocator.online_pages(range.clone()) {
            Ok(()) => {
                assert!(possible);
                self.model.asides_of(&range).fill(Aside::No);
                self.coverage.count("online", "done");
            }
            Err(error) => {
                assert!(!possible, "{error}");
                let (at, _) = self.first_aside(&range, |aside| aside != Aside::Offline);
                assert_eq!(error.problem, RangeProblem::Online(at));
                self.coverage.count("online", "refused");
            }
        }
    }

    pub(super) fn contig_range(&mut self, start: u32, count: u32) {
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
                assert_eq!(frames(run.pfn(), run.frames()), range.start.index()..range.end.index());
                self.model.take(frames(run.pfn(), run.frames()));
                self.contig.push(run);
                self.coverage.count("contig", "served");
            }
            Err(error) => {
                assert!(!possible, "{error}");
                assert_eq!(error.problem == RangeProblem::SeveralZones, !one_zone, "{error}");
                self.coverage.count("contig", "refused");
            }
        }
    }

    pub(super) fn cma(&mut self, count: u32, align: u8) {
        let area = self.model.cma();
        if area.is_empty() {
            let refused = self.allocator.cma_alloc("area", count, Order::new(align));
            assert!(refused.is_err(), "there is no area");
            return;
        }
        let expected = self.first_run(count, align);
        let result = self.allocator.cma_alloc("area", count, Order::new(align));
        match result.map_err(|error| error.problem) {
            Ok(run) => {
                assert!(expected == Some(run.pfn().index()) && run.frames() == count);
                self.model.take(frames(run.pfn(), run.frames()));
                self.contig.push(run);
                self.coverage.count("cma", "served");
            }
            Err(problem) => {
                assert_eq!(expected, None, "{problem:?}");
                self.coverage.count("cma", "refused");
            }
        }
    }

    /// Returns the first aligned run of frames in the area of which nobody holds one, in pageblocks that are not set aside.
    fn first_run(&mut self, count: u32, align: u8) -> Option<usize> {
        let (area, count) = (self.model.cma(), count as usize);
        let pageblocks = Pfn::new(u32::try_from(area.start).expect("small"))
            ..Pfn::new(u32::try_from(area.end).expect("small"));
        let asides = self.model.asides_of(&pageblocks).to_vec();
        let is_free =
            |frame: usize| asides[(frame - area.start) / 512] == Aside::No && !self.model.is_held(frame);
        let mut starts = (area.start..area.end).step_by(1 << align);
        if count == 0 {
            return None;
        }
        starts.find(|&start| start + count <= area.end && (start..start + count).all(is_free))
    }

    pub(super) fn free_contig(&mut self, position: usize) {
        if !self.contig.is_empty() {
            let run = self.contig.swap_remove(position % self.contig.len());
            self.model.give(frames(run.pfn(), run.frames()));
        }
    }
}
