//! Whether an answer to a request is one that the model allows.
//!
//! Which block is served is the allocator's choice; the model says from which zones it may come, that none was passed over which
//! could have served it, and that none could have when the request was refused.

use core::{fmt, ops::Range};

use gfp::{
    AllocError, Gfp, Pages,
    error::{FailReason, Refusal},
    gfp::{BadRequest, Scopes},
};

use super::{Machine, frames_of, snapshot::Snapshot};
use crate::{
    call::Mask,
    model::{Candidates, PAGEBLOCK, Refused, Target},
};

/// A request that is about to be made.
pub(super) struct Request {
    pub(super) gfp: Gfp,
    pub(super) order: u8,
    pub(super) scopes: Scopes,
    /// What ends it early, as soon as it has found nothing.
    pub(super) stop: Option<FailReason>,
    pub(super) candidates: Result<Candidates, Refused>,
    pub(super) before: Option<Snapshot>,
    /// Whether the other thread makes it.
    pub(super) worker: bool,
    /// Whether others are made in the same go, some of them perhaps before.
    pub(super) one_of_many: bool,
}

impl Request {
    /// One of several that are made in one go: what the allocator knows before it is not told.
    pub(super) fn in_between(self) -> Self {
        Self { before: None, one_of_many: true, ..self }
    }

    /// The first of several that are made in one go.
    pub(super) fn first_of_many(self) -> Self {
        Self { one_of_many: true, ..self }
    }

    /// Returns the mask as it is within the thread's scopes.
    pub(super) fn gfp_inside(&self) -> Gfp {
        Mask(self.gfp).within(self.scopes)
    }

    /// Tells whether it comes so far that it may go below every watermark.
    pub(super) fn ignores_watermarks(&self) -> bool {
        self.stop.is_none() && Mask(self.gfp).ignores_watermarks(self.scopes)
    }

    /// Tells whether it may be served from nodes that are not allowed.
    pub(super) fn leaves_nodes(&self) -> bool {
        Mask(self.gfp).leaves_nodes(self.scopes)
    }

    /// Returns a zone that must serve it after all, if there is one.
    pub(super) fn zone_that_serves(&self, snapshot: &Snapshot) -> Option<usize> {
        let asked = self.candidates.as_ref().map_or(&[][..], |candidates| &candidates.asked);
        asked.iter().copied().find(|&zone| snapshot.serves(zone, self))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gfp, order, stop, scopes, .. } = self;
        write!(f, "{gfp:?} of order {order}, inside {scopes:?}, stopped {stop:?}")
    }
}

impl Machine {
    /// Notes what the allocator knows before a request of this thread; no target is a node that there is not.
    pub(super) fn request(&self, target: Option<Target>, gfp: Gfp, order: u8) -> Request {
        self.request_within(self.model.scopes(), target, gfp, order)
    }

    pub(super) fn request_within(
        &self,
        scopes: Scopes,
        target: Option<Target>,
        gfp: Gfp,
        order: u8,
    ) -> Request {
        self.stopped_request(self.model.stop(), scopes, target, gfp, order)
    }

    /// Notes what the allocator knows before a request that something may end early.
    pub(super) fn stopped_request(
        &self,
        stop: Option<FailReason>,
        scopes: Scopes,
        target: Option<Target>,
        gfp: Gfp,
        order: u8,
    ) -> Request {
        let candidates = self.model.candidates(target, gfp, order, scopes, stop.is_some());
        let before = Some(Snapshot::of(&self.allocator));
        Request { gfp, order, scopes, stop, candidates, before, worker: false, one_of_many: false }
    }

    /// Notes what the allocator knows before a request where the thread's policy says.
    pub(super) fn request_by_policy(&mut self, gfp: Gfp, order: u8) -> Request {
        let target = self.target_by_policy();
        self.request(Some(target), gfp, order)
    }

    /// Says where the thread's policy lets the next request go.
    pub(super) fn target_by_policy(&mut self) -> Target {
        self.coverage.count("policy", self.model.policy.policy.name());
        self.model.policy.next(self.model.local)
    }

    /// Looks at what came of a request, and returns the block.
    pub(super) fn judge(&mut self, request: &Request, result: Result<Pages, AllocError>) -> Option<Pages> {
        match result {
            Ok(mut pages) => {
                self.inspect(&mut pages, request);
                self.check_served(request, frames_of(&pages));
                Some(pages)
            }
            Err(error) => {
                self.check_refused(request, Some(error));
                None
            }
        }
    }

    /// Checks what a block says of itself and what it holds, and marks it.
    pub(super) fn inspect(&self, pages: &mut Pages, request: &Request) {
        assert_eq!(pages.order().get(), request.order);
        if request.gfp.contains(Gfp::ZERO) {
            // SAFETY: the arena's memory comes from the system, so that every byte has a value.
            let zero = pages.bytes().iter().all(|byte| unsafe { byte.assume_init() } == 0);
            assert!(zero, "{pages:?} is not zero");
        }
        // In each pageblock, so that all of them hold something else than zeroes.
        pages.bytes_mut().chunks_mut(PAGEBLOCK << 12).for_each(|block| _ = block[0].write(0xa5));
        self.check_numbers(pages);
    }

    /// Checks that these frames may serve a request, and notes that they are taken.
    pub(super) fn check_served(&mut self, request: &Request, taken: Range<usize>) {
        let reclaimed = self.settle(request);
        reclaimed.branch(true).into_iter().for_each(|branch| self.coverage.count("reclaim", branch));
        let Request { gfp, order, before, .. } = request;
        let candidates = match &request.candidates {
            Ok(candidates) => candidates,
            Err(refused) => panic!("{request:?} was served, and is {refused:?}"),
        };
        let zone = self.model.zone_of(taken.start);
        let place = candidates.asked.iter().position(|&other| other == zone);
        let place = place.unwrap_or_else(|| panic!("{taken:?} are of zone {zone}, not of {candidates:?}"));
        if let Some(before) = before {
            self.check_place(request, candidates, before, place);
        }
        self.check_left(request, reclaimed, zone);
        self.check_highatomic(request, reclaimed, &taken);
        self.model.take(taken.clone());
        let in_cma = self.model.touches_cma(&taken);
        assert!(!in_cma || gfp.contains(Gfp::MOVABLE), "{taken:?} of an area serve what cannot move");
        if in_cma {
            self.coverage.count("lent", "by an area");
        }
        if before.is_none() {
            return;
        }
        self.coverage.count("zone", if place == 0 { "first zone" } else { "later zone" });
        self.coverage.count("order", order.to_string());
        self.coverage.count("kind of zone", self.model.zones[zone].kind.name());
        self.coverage.count("answer", "served");
    }

    /// Checks that a request which was served from the zone at a place of those that it asks did not pass over one that could have served it.
    fn check_place(&mut self, request: &Request, candidates: &Candidates, before: &Snapshot, place: usize) {
        let node_of = |zone: usize| self.model.zones[zone].node;
        // In the first attempt, which is at the low mark.
        let is_avoided = |zone: usize| {
            request.gfp.contains(Gfp::WRITE) && self.model.is_over(node_of(zone), before.zones())
        };
        let served = candidates.asked[place];
        let (earlier, later) =
            (&candidates.asked[..place], &candidates.asked[place..candidates.at_low.max(place)]);
        let later = if is_avoided(served) { later } else { &[] };
        for &other in earlier.iter().chain(later) {
            let same_node = node_of(other) == node_of(served);
            assert!(
                !before.serves_at_low(other, request)
                    || candidates.nofragment && same_node
                    || is_avoided(other),
                "{request:?} was served from zone {served} and passed over zone {other}: {:?}",
                before.zones()[other]
            );
        }
        let branch = match () {
            () if !request.gfp.contains(Gfp::WRITE) => return,
            () if is_avoided(served) => "over the limit",
            () if earlier.iter().any(|&other| is_avoided(other)) => "elsewhere",
            () => "below the limit",
        };
        self.coverage.count("write", branch);
    }

    /// Checks that a refused request could not have been served.
    pub(super) fn check_refused(&mut self, request: &Request, error: Option<AllocError>) {
        let reclaimed = self.settle(request);
        reclaimed.branch(false).into_iter().for_each(|branch| self.coverage.count("reclaim", branch));
        let candidates = match &request.candidates {
            Ok(candidates) => candidates,
            Err(refused) => {
                self.coverage.count(
                    "answer",
                    match refused {
                        Refused::Senseless => "senseless",
                        Refused::NoZone => "no zone",
                        Refused::NoNode => "no node",
                    },
                );
                error.into_iter().for_each(|error| check_reason(*refused, error));
                return;
            }
        };
        self.coverage.count("answer", "refused");
        let after = Snapshot::of(&self.allocator);
        if let Some(error) = error {
            let reason = request.stop.unwrap_or(FailReason::NoMemory);
            assert_eq!(error.reason(), reason, "{request:?}: {error}");
            // Who asks for zeroes by the function's name has them not in the mask.
            let [said, asked] = [error.gfp(), request.gfp_inside()].map(|gfp| gfp.without(Gfp::ZERO));
            assert_eq!((said, error.order()), (asked, request.order), "{error}");
            self.check_tried(candidates, &error);
            let effort = (u64::from(error.reclaim().rounds), u64::from(error.reclaim().frames));
            assert_eq!(effort, (reclaimed.rounds, reclaimed.frames), "{error}");
        }
        if !request.one_of_many {
            self.check_effort(request, reclaimed, &after);
        }
        self.check_given_up(request, &after);
        if let Some(zone) = request.zone_that_serves(&after) {
            panic!("{request:?} was refused: {:?}", after.zones()[zone]);
        }
    }

    /// Checks that an error tells of the zones that were asked, and of those that are not allowed.
    fn check_tried(&self, candidates: &Candidates, error: &AllocError) {
        let mut tried = Vec::new();
        for zone in error.tried() {
            let found = self
                .model
                .zones
                .iter()
                .position(|other| (other.node, other.kind) == (usize::from(zone.node), zone.zone));
            let found = found.expect("there is such a zone");
            let asked = candidates.asked.contains(&found);
            assert_eq!(zone.refusal != Refusal::Cpuset, asked, "{error}");
            assert_ne!(zone.refusal, Refusal::DirtyLimit, "of no matter when memory is short: {error}");
            tried.push(found);
        }
        let mut listed = candidates.listed.clone();
        tried.sort_unstable();
        listed.sort_unstable();
        assert_eq!(tried, listed, "{error}");
    }

    /// Checks that what a block's address, offset and number say is the same.
    fn check_numbers(&self, pages: &Pages) {
        let (pfn, ptr) = (pages.pfn(), pages.as_ptr());
        let base = self.allocator.arena().base();
        assert_eq!((pages.offset(), pages.len()), (pfn.offset_bytes(), pages.order().bytes()));
        assert_eq!(ptr.addr().get() - base.addr().get(), pages.offset());
        assert!(pfn.is_aligned(pages.order()));
        let last = ptr.map_addr(|addr| addr.saturating_add(pages.len() - 1));
        let pfn_of_last = pfn.add(pages.order().frames() - 1);
        let found = [ptr, last].map(|ptr| self.allocator.virt_to_pfn(ptr));
        assert_eq!((found, self.allocator.pfn_to_virt(pfn)), ([Some(pfn), Some(pfn_of_last)], Some(ptr)));
        let node = self.model.zones[self.model.zone_of(pfn.index())].node;
        assert_eq!(self.allocator.node_of(pages).index(), node);
    }
}

fn check_reason(refused: Refused, error: AllocError) {
    let same = match refused {
        Refused::Senseless => matches!(error.reason(), FailReason::BadRequest(bad) if is_so(bad, error)),
        Refused::NoZone => error.reason() == FailReason::NoZone,
        Refused::NoNode => error.reason() == FailReason::NoNode,
    };
    assert!(same, "{refused:?}: {error}");
}

/// Tells whether a request is senseless in the way that its error says.
fn is_so(bad: BadRequest, error: AllocError) -> bool {
    let gfp = error.gfp();
    match bad {
        BadRequest::ZoneModifiers(zones) => {
            let modifiers = gfp & (Gfp::DMA | Gfp::DMA32 | Gfp::HIGHMEM);
            modifiers.bits().count_ones() > 1 && zones.modifiers().contains(modifiers)
        }
        BadRequest::MovableAndReclaimable => gfp.contains(Gfp::MOVABLE | Gfp::RECLAIMABLE),
        BadRequest::NoFailWithoutDirectReclaim => {
            gfp.contains(Gfp::NOFAIL) && !gfp.contains(Gfp::DIRECT_RECLAIM)
        }
        BadRequest::Order { order, max_order } => (order, max_order) == (error.order(), 10) && order > 10,
        _ => false,
    }
}
