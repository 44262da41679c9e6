//! Whether an answer to a request is one that the model allows.
//!
//! Which block is served is the allocator's choice; the model says from which zones it may come, that none was passed over which
//! could have served it, and that none could have when the request was refused.

use core::ops::Range;

use gfp::{
    AllocError, Allocator, Gfp, Pages,
    error::{FailReason, Refusal},
    gfp::{BadRequest, MigrateType, Scopes},
    stats::{Pagetypeinfo, ZoneStat},
};

use super::{Machine, frames_of};
use crate::{
    call::Mask,
    model::{Candidates, Refused, Target},
};

/// What the allocator said of its zones at one time.
pub(super) struct Snapshot {
    zones: Vec<ZoneStat>,
    types: Pagetypeinfo,
}

impl Snapshot {
    pub(super) fn of(allocator: &Allocator) -> Self {
        Self { zones: allocator.zone_stats(), types: allocator.pagetypeinfo() }
    }

    /// Tells whether a zone has a free block of at least an order that a request may use.
    fn has_block(&self, zone: usize, order: u8, gfp: Gfp) -> bool {
        let usable = |kind| match kind {
            MigrateType::Unmovable | MigrateType::Movable | MigrateType::Reclaimable => true,
            MigrateType::Cma => gfp.contains(Gfp::MOVABLE),
            MigrateType::HighAtomic | MigrateType::Isolate => false,
        };
        let types = self.types.zones[zone].types.iter().filter(|stat| usable(stat.migratetype));
        types.flat_map(|stat| &stat.nr_free[usize::from(order)..]).any(|&blocks| blocks > 0)
    }

    /// Tells whether a request at a mark must find a block in a zone.
    fn must_serve(&self, zone: usize, order: u8, gfp: Gfp, mark: u64) -> bool {
        let stat = &self.zones[zone];
        let cma = if gfp.contains(Gfp::MOVABLE) { 0 } else { stat.free_cma };
        let usable = stat.free - cma - stat.free_highatomic;
        let kept = mark + stat.protection[Mask(gfp).highest_zone().index()];
        self.has_block(zone, order, gfp) && usable >= kept + (1 << order)
    }
}

/// A request that is about to be made.
pub(super) struct Request {
    pub(super) gfp: Gfp,
    pub(super) order: u8,
    scopes: Scopes,
    candidates: Result<Candidates, Refused>,
    before: Option<Snapshot>,
}

impl Request {
    /// One of several that are made in one go: what the allocator knows before it is not told.
    pub(super) fn in_between(self) -> Self {
        Self { before: None, ..self }
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
        let candidates = self.model.candidates(target, gfp, order, scopes);
        Request { gfp, order, scopes, candidates, before: Some(Snapshot::of(&self.allocator)) }
    }

    /// Notes what the allocator knows before a request where the thread's policy says.
    pub(super) fn request_by_policy(&mut self, gfp: Gfp, order: u8) -> Request {
        self.coverage.count("policy", self.model.policy.policy.name());
        let target = self.model.policy.next(self.model.local);
        self.request(Some(target), gfp, order)
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
        pages.bytes_mut()[0].write(0xa5);
        self.check_numbers(pages);
    }

    /// Checks that these frames may serve a request, and notes that they are taken.
    pub(super) fn check_served(&mut self, request: &Request, taken: Range<usize>) {
        let Request { gfp, order, before, .. } = request;
        let candidates = match &request.candidates {
            Ok(candidates) => candidates,
            Err(refused) => panic!("{gfp:?} of order {order} was served, and is {refused:?}"),
        };
        let zone = self.model.zone_of(taken.start);
        let place = candidates.asked.iter().position(|&other| other == zone);
        let place = place.unwrap_or_else(|| panic!("{taken:?} are of zone {zone}, not of {candidates:?}"));
        if let Some(before) = before {
            for &other in &candidates.asked[..place] {
                let same_node = self.model.zones[other].node == self.model.zones[zone].node;
                let marks = before.zones[other].marks;
                let passed_over = before.must_serve(other, *order, *gfp, marks.low + marks.boost);
                assert!(
                    !passed_over || candidates.nofragment && same_node,
                    "{gfp:?} of order {order} got {taken:?} and passed over zone {other}: {:?}",
                    before.zones[other]
                );
            }
        }
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

    /// Checks that a refused request could not have been served.
    pub(super) fn check_refused(&mut self, request: &Request, error: Option<AllocError>) {
        let &Request { gfp, order, scopes, .. } = request;
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
        if let Some(error) = error {
            let nolock = error.reason() == FailReason::WouldBlock;
            assert!(nolock || error.reason() == FailReason::NoMemory, "{error}");
            // Who asks for zeroes by the function's name has them not in the mask.
            let [said, asked] = [error.gfp(), Mask(gfp).within(scopes)].map(|gfp| gfp.without(Gfp::ZERO));
            assert_eq!((said, error.order()), (asked, order), "{error}");
            self.check_tried(candidates, &error);
        }
        let after = Snapshot::of(&self.allocator);
        for &zone in &candidates.asked {
            let mark = match after.zones[zone].marks {
                _ if Mask(gfp).ignores_watermarks(scopes) => {
                    let found = after.has_block(zone, order, gfp);
                    assert!(!found, "{gfp:?} of order {order} was refused: {:?}", after.zones[zone]);
                    continue;
                }
                marks if gfp.contains(Gfp::HIGH) => (marks.min + marks.boost).div_ceil(2),
                marks => marks.min + marks.boost,
            };
            assert!(
                !after.must_serve(zone, order, gfp, mark),
                "{gfp:?} of order {order} was refused: {:?}",
                after.zones[zone]
            );
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
