//! Whole pageblocks that change what they are for, and ranges of frames that are taken by address.
//!
//! An isolated pageblock is out of circulation: what is free in it, and what comes back to it, counts as no free memory and is
//! handed out to nobody. One that is offline is not there at all.

use super::{Buddy, LEAF_FRAMES, LEAF_ORDER, PAGEBLOCK_FRAMES};
use crate::{
    frame::{Mobility, Order, PAGEBLOCK_ORDER, Pfn},
    gfp::MigrateType,
};

/// What the map says of a pageblock: type, offline, and the type that it had before it was isolated.
///
/// | bits | meaning |
/// |---|---|
/// | 0–2 | migrate type, exclusive-or `Movable`: zeroed memory is all movable, as at the kernel's boot |
/// | 3 | its frames are not there |
/// | 4–6 | while isolated, the type that comes back (6.18), likewise |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageblockFlags(pub(super) u8);

impl PageblockFlags {
    const TYPE: u8 = 7;
    const OFFLINE: u8 = 8;
    const REMEMBERED_SHIFT: u32 = 4;

    pub(super) const fn of(migratetype: MigrateType) -> Self {
        Self(migratetype as u8 ^ MigrateType::Movable as u8)
    }

    fn decode(bits: u8) -> MigrateType {
        let kind = (bits & Self::TYPE) ^ MigrateType::Movable as u8;
        MigrateType::from_index(usize::from(kind)).expect("only types are written")
    }

    #[inline]
    pub(super) fn migratetype(self) -> MigrateType {
        Self::decode(self.0)
    }

    fn remembered(self) -> MigrateType {
        Self::decode(self.0 >> Self::REMEMBERED_SHIFT)
    }

    const fn remembering(self, migratetype: MigrateType) -> Self {
        Self(self.0 | Self::of(migratetype).0 << Self::REMEMBERED_SHIFT)
    }

    const fn is_offline(self) -> bool {
        self.0 & Self::OFFLINE != 0
    }
}

/// Returns the first frame of the aligned block of `order` around a frame.
pub(super) const fn block_start(pfn: Pfn, order: u8) -> Pfn {
    Pfn::new(pfn.get() >> order << order)
}

/// Returns the largest aligned blocks that make up a range of frames, none above `max_order`.
fn aligned_blocks(start: Pfn, end: Pfn, max_order: u8) -> impl Iterator<Item = (Pfn, u8)> {
    let mut at = start;
    core::iter::from_fn(move || {
        let left = end.get().saturating_sub(at.get()).checked_ilog2()?;
        let order = at.get().trailing_zeros().min(left).to_le_bytes()[0].min(max_order);
        let block = (at, order);
        at = at.add(1 << order);
        Some(block)
    })
}

/// This is how pageblocks leave and come back:
///
/// ```
/// use gfp::{Order, Pfn, gfp::MigrateType, zone::buddy::Buddy};
///
/// let (end, at) = (Pfn::new(4096), Pfn::new(512));
/// let mut buddy = Buddy::new(Pfn::new(0), end, end, Order::new(10))?;
///
/// // Out of circulation and, as all of it is free, out of the zone; and back.
/// assert!(buddy.start_isolate(at) && buddy.is_isolated(at));
/// assert_eq!((buddy.used_in_pageblock(at), buddy.free_frames()), (0, 4096 - 512));
/// assert!(buddy.take_offline(at) && buddy.is_offline(at));
/// assert!(buddy.bring_online(at) && !buddy.is_offline(at));
/// assert!(buddy.start_isolate(at) && buddy.undo_isolate(at));
///
/// // A pageblock changes its type with what is free in it.
/// buddy.set_migratetype(at, MigrateType::Cma);
/// assert_eq!(buddy.free_frames_of(MigrateType::Cma), 512);
///
/// // By address: all of a range or none of it.
/// assert_eq!(buddy.take_range(Pfn::new(600), Pfn::new(607)), Ok(()));
/// assert_eq!(buddy.take_range(Pfn::new(590), Pfn::new(610)), Err(Pfn::new(600)));
/// assert!(!buddy.is_free(Pfn::new(606)));
/// assert!(buddy.free_range(Pfn::new(600), Pfn::new(607)));
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
impl Buddy {
    /// Returns the maximal free block that a frame lies in, if it is free, and its order.
    pub(super) fn free_block_around(&self, pfn: Pfn) -> Option<(Pfn, u8)> {
        let leaf = &self.leaves[self.leaf_of(pfn)];
        if leaf.is_whole() {
            return self.large_block_around(pfn);
        }
        let offset = Self::offset_of(pfn);
        if !leaf.is_free(offset, 0) {
            return None;
        }
        let order = leaf.merged_order(offset);
        Some((block_start(pfn, order), order))
    }

    /// Returns the free block of whole leaves that a frame lies in, if it lies in one, and its order.
    fn large_block_around(&self, pfn: Pfn) -> Option<(Pfn, u8)> {
        let kind = self.pageblock_type(pfn);
        let mut around = self.large_orders(kind).map(|order| (block_start(pfn, order), order));
        around.find(|&(start, order)| self.is_listed(start, order, kind))
    }

    /// Returns the orders from that of a leaf on of which there are free blocks.
    pub(super) fn large_orders(&self, kind: MigrateType) -> impl Iterator<Item = u8> + use<> {
        let mut orders = self.available(kind) >> LEAF_ORDER << LEAF_ORDER;
        core::iter::from_fn(move || {
            let order = (orders != 0).then(|| orders.trailing_zeros().to_le_bytes()[0]);
            orders &= orders.wrapping_sub(1);
            order
        })
    }

    /// Tells whether a block of whole leaves is free as one.
    #[inline]
    pub(super) fn is_listed(&self, pfn: Pfn, order: u8, kind: MigrateType) -> bool {
        pfn >= self.start && self.sets.contains(Self::set_of(order, kind), self.leaf_of(pfn))
    }

    /// Tells whether a frame is free.
    pub fn is_free(&self, pfn: Pfn) -> bool {
        self.free_block_around(pfn).is_some()
    }

    /// Takes a pageblock out of the free block around it, if there is one; the rest of that stays free.
    pub(in crate::zone) fn carve(&mut self, pageblock: Pfn) -> bool {
        let kind = self.pageblock_type(pageblock);
        let around = self.free_block_around(pageblock.max(self.start));
        let Some((head, order)) = around.filter(|&(_, order)| order >= PAGEBLOCK_ORDER) else {
            return false;
        };
        self.remove(head, order, kind);
        let mut at = head;
        for order in (PAGEBLOCK_ORDER..order).rev() {
            let upper = at.add(1 << order);
            if pageblock < upper {
                self.insert(upper, order, kind);
            } else {
                self.insert(at, order, kind);
                at = upper;
            }
        }
        self.free_frames[kind as usize] -= u64::from(PAGEBLOCK_FRAMES);
        true
    }

    /// Puts a pageblock that is in use as a whole back as a free one of the type that it has.
    pub(in crate::zone) fn put_back(&mut self, pageblock: Pfn) {
        let kind = self.pageblock_type(pageblock);
        self.free_frames[kind as usize] += u64::from(PAGEBLOCK_FRAMES);
        self.merge_leaves(pageblock, PAGEBLOCK_ORDER, kind);
    }

    /// Turns the pageblock around a frame, with what is free in it, over to another type (`move_freepages_block`).
    pub fn set_migratetype(&mut self, pfn: Pfn, to: MigrateType) {
        let pageblock = block_start(pfn, PAGEBLOCK_ORDER);
        if self.carve(pageblock) {
            self.set_pageblock_type(pageblock, to);
            self.put_back(pageblock);
        } else {
            self.move_freepages_block(pageblock, self.pageblock_type(pageblock), to);
        }
    }

    /// Takes the pageblock around a frame out of circulation (`set_migratetype_isolate`), unless it is already.
    pub fn start_isolate(&mut self, pfn: Pfn) -> bool {
        let before = self.pageblock_type(pfn);
        if before == MigrateType::Isolate {
            return false;
        }
        self.set_migratetype(pfn, MigrateType::Isolate);
        let block = self.block_of(pfn);
        self.types[block] = PageblockFlags(self.types[block]).remembering(before).0;
        true
    }

    /// Gives an isolated pageblock the type back that it had (`unset_migratetype_isolate`); not one that is offline.
    pub fn undo_isolate(&mut self, pfn: Pfn) -> bool {
        let flags = PageblockFlags(self.types[self.block_of(pfn)]);
        let isolated = self.is_isolated(pfn);
        if isolated {
            self.set_migratetype(pfn, flags.remembered());
        }
        isolated
    }

    /// Tells whether the pageblock around a frame is isolated, and there.
    pub fn is_isolated(&self, pfn: Pfn) -> bool {
        self.pageblock_type(pfn) == MigrateType::Isolate && !self.is_offline(pfn)
    }

    /// Tells whether the pageblock around a frame is offline.
    pub fn is_offline(&self, pfn: Pfn) -> bool {
        PageblockFlags(self.types[self.block_of(pfn)]).is_offline()
    }

    /// Returns the frames of the pageblock around a frame that are in use, as far as the zone has it.
    pub fn used_in_pageblock(&self, pfn: Pfn) -> u32 {
        let pageblock = block_start(pfn, PAGEBLOCK_ORDER);
        let (start, end) = (pageblock.max(self.start), pageblock.add(PAGEBLOCK_FRAMES).min(self.end));
        match self.free_block_around(start) {
            Some((_, PAGEBLOCK_ORDER..)) => 0,
            _ => (end.get() - start.get()) - self.pageblock_use(start, self.pageblock_type(start)).0,
        }
    }

    /// Takes an isolated pageblock that is all free out of the zone (`__offline_isolated_pages`).
    pub fn take_offline(&mut self, pageblock: Pfn) -> bool {
        let done = self.is_isolated(pageblock) && self.carve(pageblock);
        if done {
            let block = self.block_of(pageblock);
            self.types[block] |= PageblockFlags::OFFLINE;
        }
        done
    }

    /// Marks the pageblocks from `start` on, which were never free, as offline.
    pub(super) fn begin_offline(&mut self, start: Pfn) {
        for at in (start.get()..self.end.get()).step_by(PAGEBLOCK_FRAMES as usize).map(Pfn::new) {
            let block = self.block_of(at);
            let isolated = PageblockFlags::of(MigrateType::Isolate).remembering(MigrateType::Movable);
            self.set_pageblock_type(at, MigrateType::Isolate);
            self.types[block] = isolated.0 | PageblockFlags::OFFLINE;
        }
    }

    /// Brings an offline pageblock into the zone, all free and movable (`online_pages_range`).
    pub fn bring_online(&mut self, pageblock: Pfn) -> bool {
        let done = self.is_offline(pageblock);
        if done {
            self.set_pageblock_type(pageblock, MigrateType::Movable);
            self.put_back(pageblock);
        }
        done
    }

    /// Takes the frames of a range, if all of them are free, whatever their types; returns the first that is not.
    pub fn take_range(&mut self, start: Pfn, end: Pfn) -> Result<(), Pfn> {
        let mut at = start;
        while at < end {
            let (head, order) = self.free_block_around(at).ok_or(at)?;
            at = head.add(1 << order);
        }
        self.touch_range(start, end);
        at = start;
        while let Some((head, order)) = (at < end).then(|| self.free_block_around(at)).flatten() {
            let kind = self.pageblock_type(at);
            let behind = head.add(1 << order);
            let stop = end.min(behind);
            self.remove(head, order, kind);
            self.mark_range_used(at, stop);
            for (rest, order) in aligned_blocks(head, at, order).chain(aligned_blocks(stop, behind, order)) {
                self.insert(rest, order, kind);
            }
            self.free_frames[kind as usize] -= u64::from(stop.get() - at.get());
            at = stop;
        }
        Ok(())
    }

    fn mark_range_used(&mut self, start: Pfn, end: Pfn) {
        let mut at = start;
        while at < end {
            let stop = block_start(at, LEAF_ORDER).add(LEAF_FRAMES).min(end);
            let leaf = self.leaf_of(at);
            self.leaves[leaf].mark_run_used(Self::offset_of(at), stop.get() - at.get());
            at = stop;
        }
    }

    /// Frees the frames of a range that was [taken](Self::take_range). Answers as [`free`](Self::free) does.
    pub fn free_range(&mut self, start: Pfn, end: Pfn) -> bool {
        aligned_blocks(start, end, LEAF_ORDER - 1)
            .all(|(at, order)| self.free(at, Order::new(order), Mobility::Fixed))
    }
}
