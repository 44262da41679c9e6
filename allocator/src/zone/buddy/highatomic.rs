//! Pageblocks that are set aside for high-order requests that cannot wait, and given up again.

use super::{Buddy, PAGEBLOCK_FRAMES};
use crate::{
    frame::{Order, PAGEBLOCK_ORDER, Pfn},
    gfp::MigrateType,
};

impl Buddy {
    /// Returns the frames of the pageblocks that are set aside, in use or not (`nr_reserved_highatomic`).
    pub(in crate::zone) fn reserved_highatomic(&self) -> u64 {
        u64::from(self.pageblocks(MigrateType::HighAtomic)) * u64::from(PAGEBLOCK_FRAMES)
    }

    /// Sets aside the pageblock that a block in use lies in, with what is free in it; of a larger block all its pageblocks.
    ///
    /// Answers false and changes nothing if one of them is not wholly in the zone, or of a type that is kept apart already.
    pub(in crate::zone) fn reserve_highatomic(&mut self, pfn: Pfn, order: Order) -> bool {
        let order = order.max(Order::PAGEBLOCK);
        let start = Pfn::new(pfn.get() >> PAGEBLOCK_ORDER << PAGEBLOCK_ORDER);
        if start < self.start || start.add(order.frames()) > self.end {
            return false;
        }
        let pageblocks =
            (0..order.frames()).step_by(PAGEBLOCK_FRAMES as usize).map(|frames| start.add(frames));
        if !pageblocks.clone().all(|at| self.pageblock_type(at).is_mergeable()) {
            return false;
        }
        for at in pageblocks {
            // In a larger block nothing is free that could be moved.
            self.move_freepages_block(at, self.pageblock_type(at), MigrateType::HighAtomic);
        }
        true
    }

    /// Gives up the pageblock of the smallest free block that is set aside, or those of a larger one, to another type. Answers
    /// false if nothing that is set aside is free.
    pub(in crate::zone) fn unreserve_highatomic(&mut self, to: MigrateType) -> bool {
        let from = MigrateType::HighAtomic;
        let orders = self.available(from);
        if orders == 0 {
            return false;
        }
        let order = orders.trailing_zeros().to_le_bytes()[0];
        let Some(pfn) = self.lowest(order, from) else { return false };
        if order < PAGEBLOCK_ORDER {
            self.move_freepages_block(pfn, from, to);
            return true;
        }
        self.remove(pfn, order, from);
        self.retag(pfn, order, to);
        self.free_frames[from as usize] -= 1 << order;
        self.free_frames[to as usize] += 1 << order;
        self.merge_leaves(pfn, order, to);
        true
    }
}
