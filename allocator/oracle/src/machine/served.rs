//! What a zone must do for a request, by what the allocator says of it.

use gfp::{Gfp, gfp::MigrateType};

use super::{judge::Request, snapshot::Snapshot};
use crate::call::Mask;

impl Snapshot {
    /// Tells whether a zone has a free block that a request may use, perhaps of those that are set aside for it.
    fn has_block(&self, zone: usize, request: &Request, set_aside: bool) -> bool {
        let usable = |kind| match kind {
            MigrateType::Unmovable | MigrateType::Movable | MigrateType::Reclaimable => true,
            MigrateType::Cma => request.gfp.contains(Gfp::MOVABLE),
            MigrateType::HighAtomic => set_aside,
            MigrateType::Isolate => false,
        };
        let types = self.types.zones[zone].types.iter().filter(|stat| usable(stat.migratetype));
        types.flat_map(|stat| &stat.nr_free[usize::from(request.order)..]).any(|&blocks| blocks > 0)
    }

    /// Returns how many frames of a zone a request may count on, with those that are set aside or without.
    fn usable(&self, zone: usize, request: &Request, set_aside: bool) -> u64 {
        let stat = &self.zones[zone];
        let cma = if request.gfp.contains(Gfp::MOVABLE) { 0 } else { stat.free_cma };
        let highatomic = if set_aside { 0 } else { stat.free_highatomic };
        stat.free - cma - highatomic
    }

    /// Returns how many frames of a zone a request must leave that asks at a mark.
    fn kept(&self, zone: usize, request: &Request, mark: u64) -> u64 {
        mark + self.zones[zone].protection[Mask(request.gfp).highest_zone().index()]
    }

    /// Tells whether a zone has so many frames that a request may take a block and leave a mark.
    pub(super) fn is_above(&self, zone: usize, request: &Request, mark: u64) -> bool {
        self.leaves(zone, request, mark, 1 << request.order)
    }

    /// Tells whether a zone has so many frames that a request may take a number of them and leave a mark.
    pub(super) fn leaves(&self, zone: usize, request: &Request, mark: u64, frames: u64) -> bool {
        self.usable(zone, request, request.has_reserves()) >= self.kept(zone, request, mark) + frames
    }

    /// Tells whether a request at the low mark must find a block in a zone.
    pub(super) fn serves_at_low(&self, zone: usize, request: &Request) -> bool {
        let marks = self.zones[zone].marks;
        let kept = self.kept(zone, request, marks.low + marks.boost);
        self.has_block(zone, request, false)
            && self.usable(zone, request, false) >= kept + (1 << request.order)
    }

    /// Tells whether a request must find a block in a zone.
    pub(super) fn serves(&self, zone: usize, request: &Request) -> bool {
        if request.ignores_watermarks() {
            return self.has_block(zone, request, false);
        }
        let mark = request.mark(&self.zones[zone].marks);
        self.has_block(zone, request, request.may_use_highatomic()) && self.is_above(zone, request, mark)
    }

    /// Tells whether a zone would be above a request's mark for a single frame with so many frames more.
    pub(super) fn would_have_enough(&self, zone: usize, request: &Request, more: u64) -> bool {
        let mark = request.mark(&self.zones[zone].marks);
        let usable = self.usable(zone, request, request.has_reserves());
        usable + more > self.kept(zone, request, mark)
    }
}
