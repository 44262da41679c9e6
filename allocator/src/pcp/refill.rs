//! The slow side of a cache: refill when a list is empty, drain when there is too much.

use super::{
    Caches,
    cache::{End, Put, ThreadCache},
    sizing::FreeMode,
};
use crate::{
    frame::{Block, FrameBatch, LIST_FRAMES_MAX, Order, PcpList, ZoneNumber, prep_new_page},
    gfp::{AllocFlags, MigrateType},
    sync::Owner,
};

/// What a refill is for.
#[derive(Clone, Copy, Debug)]
pub struct Refill {
    /// The list that is empty.
    pub list: PcpList,
    /// The migrate type that its blocks are taken from first.
    pub migratetype: MigrateType,
    /// How the request may take them.
    pub flags: AllocFlags,
}

impl Caches {
    /// Takes a block of a zone from the caller's cache, refilling the list if it is empty
    /// (`__rmqueue_pcplist`).
    ///
    /// `None` when the zone has nothing that the request may take, or the cache is claimed: the caller asks the zone.
    #[doc(alias = "__rmqueue_pcplist")]
    #[cold]
    pub fn rmqueue_pcplist(
        &self,
        owner: &Owner<ThreadCache>,
        zone: ZoneNumber,
        refill: Refill,
    ) -> Option<Block> {
        let Refill { list, migratetype, flags } = refill;
        let (_, order) = PcpList::with_index(list.index());
        let blocks = {
            let mut cache = owner.enter().ok()?;
            if let Some(block) = cache.take_from(zone.index(), list, order) {
                return Some(block);
            }
            let limits = self.limits(&self.zones[zone.index()]);
            cache.zone_mut(zone.index())?.tune(|tuning, count, pressure| {
                tuning.set_limits(limits);
                tuning.set_cache_slice(self.cache_slice_frames);
                let most = tuning.refill_bound(count, order.get());
                tuning.nr_pcp_alloc(count, order.get(), pressure).min(most)..=most
            })
        };
        let mut batch = FrameBatch::new();
        self.zones[zone.index()].rmqueue_bulk(order, blocks, migratetype, flags, &mut batch);
        self.accept(owner, zone, list, &batch)
    }

    /// Puts what came from a zone into the cache, and hands out the first block.
    fn accept(
        &self,
        owner: &Owner<ThreadCache>,
        zone: ZoneNumber,
        list: PcpList,
        batch: &FrameBatch,
    ) -> Option<Block> {
        if batch.len() > 1 {
            self.commit(owner, zone.index(), list, batch.len());
        }
        let (_, order) = PcpList::with_index(list.index());
        let mut back = FrameBatch::new();
        let first = match owner.enter() {
            Ok(mut cache) => {
                let pcp = cache.zone_mut(zone.index())?;
                let mut blocks = batch.iter().map(|pfn| prep_new_page(&self.frames, pfn, list, zone, order));
                let first = blocks.next();
                // Highest first, so that the lowest comes out first.
                pcp.refill(list, order, blocks.rev(), |block| back.push(block.pfn()));
                if first.is_some() {
                    pcp.count_passed_through(order);
                }
                first
            }
            Err(_) => {
                // Drained meanwhile, or closed: what the cache cannot count must not pass through it.
                batch.iter().for_each(|pfn| back.push(pfn));
                None
            }
        };
        if !back.is_empty() {
            self.free_to_zone(zone.index(), list, &back);
        }
        first
    }

    /// Commits memory for `more` entries of a list, outside of the cache: touching it may fault.
    ///
    /// Returns whether the list can take at least one more block.
    fn commit(&self, owner: &Owner<ThreadCache>, zone: usize, list: PcpList, more: usize) -> bool {
        loop {
            let (memory, capacity) = {
                let Ok(mut cache) = owner.enter() else { return false };
                let Some(pcp) = cache.zone_mut(zone) else { return false };
                let room = pcp.make_room(list, more);
                if room >= more || !list.is_listed() {
                    return room > 0;
                }
                (pcp.lists().memory().clone(), pcp.lists().committed(list))
            };
            let grown = memory.commit(list, capacity);
            let Ok(mut cache) = owner.enter() else { return false };
            let Some(pcp) = cache.zone_mut(zone) else { return false };
            pcp.raise_capacity(list, grown);
            if grown == capacity {
                return pcp.lists().list(list).room() > 0;
            }
        }
    }

    /// Does what a free into the cache asked for; gives the block back if it must go to its zone.
    #[cold]
    pub fn put_slow(&self, owner: &Owner<ThreadCache>, block: Block, put: Put) -> Result<(), Block> {
        let (zone, list) = (block.zone_index(), block.list());
        let put = if put == Put::NoRoom && self.make_room(owner, zone, list) {
            let Ok(mut cache) = owner.enter() else { return Err(block) };
            cache.put_any(block, End::Hot)
        } else {
            put
        };
        match put {
            Put::Cached => Ok(()),
            Put::Overflow(mode) => {
                self.drain_overflow(owner, zone, list, mode);
                Ok(())
            }
            Put::NoRoom | Put::Reentered | Put::Claimed => Err(block),
        }
    }

    /// Takes a block that was just put into the cache out again, if nothing of its zone may be cached now.
    pub fn take_back(&self, owner: &Owner<ThreadCache>, block: Block) -> bool {
        let (zone, list) = (block.zone_index(), block.list());
        if self.zones[zone].may_be_cached() {
            return false;
        }
        let Ok(mut cache) = owner.enter() else { return false };
        let Some(hottest) = cache.take_from(zone, list, block.order()) else { return false };
        let same = hottest == block;
        if !same {
            // A drainer was there in between.
            let _: Put = cache.put(hottest);
        }
        same
    }

    /// Makes room for one block in a list: commits memory, or drains a part of the list if it is as long as it may be.
    fn make_room(&self, owner: &Owner<ThreadCache>, zone: usize, list: PcpList) -> bool {
        if !list.is_listed() {
            return false;
        }
        if self.commit(owner, zone, list, 1) {
            return true;
        }
        let (_, order) = PcpList::with_index(list.index());
        let mut left = {
            let Ok(mut cache) = owner.enter() else { return false };
            let Some(pcp) = cache.zone_mut(zone) else { return false };
            // As much as an overflow would drain, but at most half of the list, which then moves down once.
            pcp.tune(|tuning, _, _| tuning.free_count.min(LIST_FRAMES_MAX / 2).max(tuning.batch))
        };
        while left > 0 {
            let mut batch = FrameBatch::new();
            let moved = {
                let Ok(mut cache) = owner.enter() else { return false };
                let Some(pcp) = cache.zone_mut(zone) else { return false };
                let blocks = left.div_ceil(order.frames()) as usize;
                pcp.give_up(list, blocks, &mut batch) * order.frames()
            };
            if moved == 0 {
                break;
            }
            left = left.saturating_sub(moved);
            self.free_to_zone(zone, list, &batch);
        }
        // Closes the gap that was left at the cold end.
        self.commit(owner, zone, list, 1)
    }

    /// Drains what is too much, coldest first, list after list from the one that was freed into
    /// (`free_pcppages_bulk`).
    fn drain_overflow(&self, owner: &Owner<ThreadCache>, zone: usize, from: PcpList, mode: FreeMode) {
        let mut left = {
            let Ok(mut cache) = owner.enter() else { return };
            let limits = self.limits(&self.zones[zone]);
            let Some(pcp) = cache.zone_mut(zone) else { return };
            pcp.tune(|tuning, count, pressure| {
                tuning.set_limits(limits);
                tuning.nr_to_drain(count, mode, pressure).min(count)
            })
        };
        let lists = (from.index()..PcpList::COUNT).chain(0..from.index());
        for list in lists.map(PcpList::with_index) {
            if left == 0 || self.drain_list(owner, zone, list, &mut left).is_none() {
                break;
            }
        }
    }

    /// Drains up to `left` frames of a list, coldest first, and subtracts them; `None` when the cache cannot be entered.
    fn drain_list(
        &self,
        owner: &Owner<ThreadCache>,
        zone: usize,
        (list, order): (PcpList, Order),
        left: &mut u32,
    ) -> Option<()> {
        while *left > 0 {
            let mut batch = FrameBatch::new();
            let moved = {
                let mut cache = owner.enter().ok()?;
                let blocks = left.div_ceil(order.frames()) as usize;
                cache.zone_mut(zone)?.give_up(list, blocks, &mut batch) * order.frames()
            };
            if moved == 0 {
                break;
            }
            *left = left.saturating_sub(moved);
            self.free_to_zone(zone, list, &batch);
        }
        Some(())
    }

    /// Drains the caller's own cache: all that it holds.
    #[cfg(not(loom))]
    pub(crate) fn drain_own(&self, owner: &Owner<ThreadCache>) {
        for zone in 0..self.zones.len() {
            for list in (0..PcpList::COUNT).map(PcpList::with_index) {
                let mut all = u32::MAX;
                if self.drain_list(owner, zone, list, &mut all).is_none() {
                    return;
                }
            }
        }
    }
}
