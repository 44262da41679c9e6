//! What is kept for those who may not wait: the marks, and pageblocks for their large blocks.

use core::ops::Range;

use gfp::{Gfp, stats::ZoneStat, zone::watermark::Watermarks};

use super::{Machine, judge::Request, reclaimed::Reclaimed, snapshot::Snapshot};

/// Frames of a zone that may be set aside: a hundredth, in whole pageblocks, unless that is less than one.
fn highatomic_cap(managed: u64) -> u64 {
    if managed / 100 < 512 { 0 } else { (managed / 100).next_multiple_of(512) }
}

impl Request {
    /// Tells whether it may use a part of what is kept, because it cannot wait.
    fn is_non_block(&self) -> bool {
        !self.gfp.contains(Gfp::DIRECT_RECLAIM) && !self.gfp.contains(Gfp::NOMEMALLOC)
    }

    /// Tells whether it may use a part of what is kept.
    pub(super) fn has_reserves(&self) -> bool {
        self.gfp.contains(Gfp::HIGH) || self.is_non_block()
    }

    /// Tells whether pageblocks are set aside for requests like it, and whether it finds blocks there before it looks elsewhere.
    pub(super) fn is_highatomic(&self) -> bool {
        self.order > 0 && self.gfp.contains(Gfp::HIGH) && self.is_non_block()
    }

    /// Tells whether blocks that are set aside serve it when there are no others.
    pub(super) fn may_use_highatomic(&self) -> bool {
        self.is_highatomic() || self.order == 0 && self.is_non_block()
    }

    /// Tells whether caches keep blocks of its order.
    fn may_be_cached(&self) -> bool {
        self.order <= 3 || self.order == 9
    }

    /// Returns what it must leave of a mark: half of it with HIGH, and a quarter less if it cannot wait either.
    fn lowered(&self, mark: u64) -> u64 {
        match self.gfp.contains(Gfp::HIGH) {
            false => mark,
            true if self.is_non_block() => mark - mark / 2 - (mark - mark / 2) / 4,
            true => mark - mark / 2,
        }
    }

    /// Returns the mark above which it is served in any case.
    pub(super) fn mark(&self, marks: &Watermarks) -> u64 {
        self.lowered(marks.min + marks.boost)
    }

    /// Returns the mark below which it is not served. A boost does not keep single frames from requests with HIGH.
    fn least_mark(&self, marks: &Watermarks) -> u64 {
        if self.order == 0 && self.gfp.contains(Gfp::HIGH) {
            self.lowered(marks.min)
        } else {
            self.mark(marks)
        }
    }
}

impl Machine {
    /// Checks that a request which was served from a zone did not go below what it must leave.
    pub(super) fn check_left(&mut self, request: &Request, reclaimed: Reclaimed, zone: usize) {
        let Some(before) = request.before.as_ref().filter(|_| reclaimed.rounds == 0) else { return };
        let marks = before.zones()[zone].marks;
        // A block of a cache is had where a single frame may be: it is not free memory of the zone.
        let size = if request.may_be_cached() { 1 } else { 1 << request.order };
        let passes = |mark| before.leaves(zone, request, mark, size);
        if passes(marks.low + marks.boost) {
            return;
        }
        let branch = if passes(marks.min + marks.boost) {
            "above the minimum"
        } else if passes(request.least_mark(&marks)) {
            "from a part of the reserve"
        } else {
            assert!(
                request.ignores_watermarks(),
                "{request:?} went below its mark: {:?}",
                before.zones()[zone]
            );
            "from all of the reserve"
        };
        self.coverage.count("mark", branch);
    }

    /// Tells whether some zone is so large that pageblocks of it may be set aside.
    fn may_set_aside(&self) -> bool {
        self.model.zones.iter().any(|zone| highatomic_cap(zone.span.len() as u64) > 0)
    }

    /// Checks what a request that was served did to the pageblocks that are set aside: it adds some only if it is one that they are for, and must if
    /// it was served below the low mark.
    pub(super) fn check_highatomic(&mut self, request: &Request, reclaimed: Reclaimed, taken: &Range<usize>) {
        let Some(before) = request.before.as_ref().filter(|_| self.may_set_aside() && !request.one_of_many)
        else {
            return;
        };
        let after = Snapshot::of(&self.allocator);
        let served = self.model.zone_of(taken.start);
        for (zone, (was, is)) in before.zones().iter().zip(after.zones()).enumerate() {
            let cap = highatomic_cap(is.managed);
            if is.reserved_highatomic > was.reserved_highatomic {
                assert!(
                    request.is_highatomic() && zone == served,
                    "{request:?} added to zone {zone}: {is:?}"
                );
                assert!(is.reserved_highatomic <= cap, "{cap} frames may be set aside: {is:?}");
            } else if is.reserved_highatomic < was.reserved_highatomic {
                assert!(reclaimed.rounds > 0, "{request:?} gave up a part of zone {zone}");
            }
        }
        let [was, is] = [before, &after].map(|snapshot| &snapshot.zones()[served]);
        let grown = is.reserved_highatomic - was.reserved_highatomic.min(is.reserved_highatomic);
        if request.is_highatomic() {
            self.check_added(request, before, (was, is), served, grown);
        }
    }

    fn check_added(
        &mut self,
        request: &Request,
        before: &Snapshot,
        (was, is): (&ZoneStat, &ZoneStat),
        zone: usize,
        grown: u64,
    ) {
        let size = (1_u64 << request.order).max(512);
        assert!(grown == 0 || grown == size, "{grown} frames for {request:?}");
        let from_there = is.free_highatomic < was.free_highatomic;
        let below_low = !before.is_above(zone, request, was.marks.low + was.marks.boost);
        let room = was.reserved_highatomic + size <= highatomic_cap(is.managed);
        // What a cache had may lie in a pageblock that is set aside already.
        // Who may take all of the reserve needs none of it set aside.
        let must =
            below_low && room && !from_there && !request.may_be_cached() && !request.ignores_watermarks();
        assert!(!must || grown > 0, "{request:?} set nothing aside: {was:?}, {is:?}");
        let branch = match grown {
            0 if from_there => "used",
            0 if !below_low => return,
            0 => "not added",
            _ => "added",
        };
        self.coverage.count("highatomic", branch);
    }

    /// Checks that no request which may reclaim, and try again, is refused while something is set aside.
    pub(super) fn check_given_up(&mut self, request: &Request, after: &Snapshot) {
        if !self.may_set_aside() || request.one_of_many || !request.may_reclaim() || !request.tries_again() {
            return;
        }
        let Ok(candidates) = &request.candidates else { return };
        for &zone in &candidates.listed {
            assert_eq!(after.zones()[zone].free_highatomic, 0, "{request:?} was refused");
        }
        let before = request.before.as_ref();
        let had = before.is_some_and(|before| {
            candidates.listed.iter().any(|&zone| before.zones()[zone].reserved_highatomic > 0)
        });
        if had {
            self.coverage.count("highatomic", "given up");
        }
    }

    /// Has all pageblocks that are set aside given up: by requests for large blocks that try hard, until one is refused.
    pub(super) fn give_up_highatomic(&mut self) {
        let is_some = |stat: &ZoneStat| stat.reserved_highatomic > 0;
        if self.allocator.zone_stats().iter().any(is_some) {
            let gfp = Gfp::KERNEL | Gfp::RETRY_MAYFAIL;
            let block = || self.allocator.alloc_pages(gfp, gfp::Order::new(10)).ok();
            drop(core::iter::from_fn(block).collect::<Vec<_>>());
            assert!(!self.allocator.zone_stats().iter().any(is_some), "the last request failed");
            self.coverage.begin();
            self.coverage.count("highatomic", "given up");
        }
    }
}
