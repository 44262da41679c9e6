//! The lists of one zone in one thread's cache.

use super::{
    End, Put,
    sizing::{FreeMode, PcpFlags, PcpLimits, PcpTuning, ZonePressure},
};
use crate::{
    frame::{Block, FrameBatch, FrameLists, Order, PcpList, StackMemory},
    gfp::{AllocFlags, ZoneType},
    sync::ZeroedSliceError,
    zone::SharedZoneState,
};

/// The lists of one zone in one thread's cache (`struct per_cpu_pages`).
///
/// What a hit or a cached free changes: a list, `spare`, a count of frames, and of the tuning the free count and a flag. Its
/// allocation factor hears of single frames at the next refill or overflow, which is when it matters. Only the limit of
/// the free count comes late by that: after more frees than the largest batch without an overflow between them,
/// allocations halve a larger count than the kernel's would be.
///
/// ```
/// # use core::num::NonZeroUsize;
/// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber}};
/// # use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
/// # use gfp::pcp::{Caches, Handover, Put, Refill, sizing::HighFraction};
/// # use gfp::sync::Arc;
/// # use gfp::zone::{FirstFor, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
/// # let end = Pfn::new(1 << 16);
/// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
/// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
/// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), end.index())?;
/// # let first_for = FirstFor::collect(|highest| highest >= kind);
/// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
/// # let zone = Zone::new(span, Order::new(10), rule, frames.clone(), first_for, grouping)?;
/// # zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
/// # let (hot_zones, fraction) = ([number].into(), HighFraction::AUTO);
/// # let caches = Caches::new(Arc::from([zone]), frames, hot_zones, 1, fraction, 0, Handover::Direct);
/// # let caches = Arc::new(caches);
/// // As in the example of [`pcp`](gfp::pcp): an owner whose list was refilled, and gave up one block.
/// # let owner = Caches::register(&caches, NonZeroUsize::MIN, node)?;
/// # let flags = AllocFlags::from_wmark(WmarkIndex::Low);
/// # let refill = Refill { list: PcpList::UNMOVABLE, migratetype: MigrateType::Unmovable, flags };
/// # let block = caches.rmqueue_pcplist(&owner, number, refill).expect("all is free");
/// let mut cache = owner.enter().expect("nobody drains it");
/// # let (highest, list) = (ZoneType::Normal, PcpList::UNMOVABLE);
/// assert_eq!(cache.put(block), Put::Cached);
/// # assert!(cache.take(highest, flags, list, Order::ZERO).map(|block| cache.put(block)) == Some(Put::Cached));
/// let lists = cache.zones().next().expect("there is one zone");
/// assert_eq!(lists.lists().frames(), lists.count());
/// assert_eq!(lists.allocated_frames(), lists.freed_frames(), "what it handed out came back");
/// assert!(lists.count() < lists.tuning().high_max);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ZonePcp {
    /// What a hit reads: the zone's state, or one that refuses all while a hit must not be served without a look.
    door: SharedZoneState,
    /// How many more frames may be put in without there being too many: the tuning's `high`, less one, less the frames in
    /// all lists. Below 0 there are too many; a sign is tested for free.
    spare: i32,
    tuning: PcpTuning,
    /// Frames handed out by this cache so far.
    allocated_frames: u64,
    lists: FrameLists,
    /// Frames that came from the zone, less those that went back.
    inflow_frames: i64,
    /// Frames that were freed in blocks of more than one.
    high_order_frames: u64,
    /// Single frames that had been freed when the tuning last heard of them.
    heard_singles: u64,
    state: SharedZoneState,
    idle_seconds: u32,
    visited_at: u64,
}

impl ZonePcp {
    pub(super) fn new(state: SharedZoneState, limits: PcpLimits) -> Result<Self, ZeroedSliceError> {
        let tuning = PcpTuning::new(limits);
        Ok(Self {
            door: state.clone(),
            state,
            spare: signed(tuning.high) - 1,
            tuning,
            allocated_frames: 0,
            lists: FrameLists::new(StackMemory::new()?),
            inflow_frames: 0,
            high_order_frames: 0,
            heard_singles: 0,
            idle_seconds: 0,
            visited_at: 0,
        })
    }

    /// Returns the frames in all lists.
    pub fn count(&self) -> u32 {
        (signed(self.tuning.high) - 1 - self.spare).cast_unsigned()
    }

    /// Returns the frames that this cache handed out so far.
    pub const fn allocated_frames(&self) -> u64 {
        self.allocated_frames
    }

    /// Returns the frames that were freed into this cache so far.
    pub fn freed_frames(&self) -> u64 {
        // What was put in is what was handed out, less what came from the zone, plus what is still here.
        (self.allocated_frames.cast_signed() - self.inflow_frames + i64::from(self.count())).cast_unsigned()
    }

    /// Returns how much the cache may hold, and how it has been used.
    pub const fn tuning(&self) -> &PcpTuning {
        &self.tuning
    }

    /// Returns the lists.
    pub const fn lists(&self) -> &FrameLists {
        &self.lists
    }

    /// Changes the tuning with the frames in all lists at hand.
    pub(super) fn tune<R>(&mut self, change: impl FnOnce(&mut PcpTuning, u32, ZonePressure) -> R) -> R {
        let count = self.count();
        let state = self.state.get();
        let mut pressure = ZonePressure::empty();
        pressure.set(ZonePressure::BELOW_HIGH, !state.above_high());
        pressure.set(ZonePressure::RECLAIM_ACTIVE, state.is_reclaim_active());
        self.hear_of_singles();
        let result = change(&mut self.tuning, count, pressure);
        self.spare = signed(self.tuning.high) - 1 - signed(count);
        result
    }

    /// Lets the tuning know of the single frames that were freed since it last heard of any.
    fn hear_of_singles(&mut self) {
        let singles = self.freed_frames().wrapping_sub(self.high_order_frames);
        // Each free halves it, and it is less than 2^7.
        let halvings = u32::try_from(singles.wrapping_sub(self.heard_singles)).unwrap_or(7).min(7);
        self.heard_singles = singles;
        self.tuning.alloc_factor >>= halvings;
        self.tuning.free_count = self.tuning.free_count.min(self.tuning.batch_max());
    }

    /// Tells for how many visits in a row nothing was handed out or freed, this one included.
    pub(super) fn age(&mut self) -> u32 {
        let now = self.allocated_frames.wrapping_add(self.freed_frames());
        self.idle_seconds = if now == self.visited_at { self.idle_seconds + 1 } else { 0 };
        self.visited_at = now;
        self.idle_seconds
    }

    /// Lets a list use the memory that was committed for it.
    pub(super) fn raise_capacity(&mut self, list: PcpList, capacity: u32) {
        self.lists.raise_capacity(list, capacity);
    }

    /// Returns how many blocks a list can take, if need be after its blocks have moved together.
    pub(super) fn make_room(&mut self, list: PcpList, wanted: usize) -> usize {
        if self.lists.list(list).room() < wanted {
            self.lists.close_gap(list);
        }
        self.lists.list(list).room()
    }

    /// Takes a cached block if the zone's state lets a request of this kind have one.
    #[inline(always)]
    pub(super) fn take_above_low(
        &mut self,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        order: Order,
    ) -> Option<Block> {
        if !self.door.get().above_low(highest, flags) {
            return None;
        }
        self.take(list, order)
    }

    /// Takes up to `count` single frames if the zone's state lets a request of this kind have one, hottest first.
    pub(super) fn take_many_above_low(
        &mut self,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        count: usize,
        mut got: impl FnMut(Block),
    ) -> usize {
        if !self.door.get().above_low(highest, flags) {
            return 0;
        }
        let taken = self.lists.list_mut(list).pop_many(count, &mut got);
        self.spare += signed(taken);
        self.allocated_frames += u64::from(taken);
        self.tuning.note_allocs(taken);
        taken as usize
    }

    /// Shuts the door: `refusal` is a state that refuses all.
    pub(super) fn shut(&mut self, refusal: &SharedZoneState) {
        self.door = refusal.clone();
    }

    /// Opens the door.
    pub(super) fn open(&mut self) {
        self.door = self.state.clone();
    }

    /// Tells whether the zone's state lets a request of this kind have a block when its turn comes to the zone.
    pub(super) fn is_willing(&self, highest: ZoneType, flags: AllocFlags) -> bool {
        self.state.get().is_willing(highest, flags)
    }

    /// Takes the hottest block of a list.
    #[inline(always)]
    pub(super) fn take(&mut self, list: PcpList, order: Order) -> Option<Block> {
        let block = self.lists.list_mut(list).pop()?;
        self.spare += signed(order.frames());
        self.tuning.note_alloc();
        self.allocated_frames += u64::from(order.frames());
        Some(block)
    }

    /// Puts in a block of one frame.
    #[inline(always)]
    pub(super) fn put_single(&mut self, list: PcpList, block: Block) -> Put {
        if self.lists.list_mut(list).push(block).is_err() {
            return Put::NoRoom;
        }
        self.note_single()
    }

    /// Puts in single frames of a list as long as there is room and `fits` says so, after one that was [put
    /// in](Self::put_single); returns the one that did not fit.
    #[inline]
    pub(super) fn put_alike(
        &mut self,
        list: PcpList,
        blocks: &mut impl Iterator<Item = Block>,
        fits: impl Fn(Block) -> bool,
    ) -> Option<Block> {
        let room = u32::try_from(self.spare).unwrap_or(0);
        let (frames, other) = self.lists.list_mut(list).push_while(room, blocks, fits);
        self.tuning.free_count += frames;
        self.spare -= signed(frames);
        other
    }

    #[inline(always)]
    fn note_single(&mut self) -> Put {
        self.tuning.free_count += 1;
        self.tuning.flags.remove(PcpFlags::PREV_FREE_HIGH_ORDER);
        self.spare -= 1;
        if self.spare < 0 { Put::Overflow(FreeMode::Ordinary) } else { Put::Cached }
    }

    /// Puts in a block of order 1 to 3.
    #[inline(always)]
    pub(super) fn put_small(&mut self, list: PcpList, order: Order, block: Block) -> Put {
        if self.lists.list_mut(list).push(block).is_err() {
            return Put::NoRoom;
        }
        self.note_high_order(order)
    }

    /// Puts in a block of any order that there is a list for, at an end of the list.
    pub(super) fn put(&mut self, block: Block, end: End) -> Put {
        let list = self.lists.list_mut(block.list());
        let pushed = match end {
            End::Hot => list.push(block),
            End::Cold => list.push_cold(block),
        };
        match (pushed, block.order()) {
            (Err(_), _) => Put::NoRoom,
            (Ok(()), Order::ZERO) => self.note_single(),
            (Ok(()), order) => self.note_high_order(order),
        }
    }

    #[inline(always)]
    fn note_high_order(&mut self, order: Order) -> Put {
        self.spare -= signed(order.frames());
        self.high_order_frames += u64::from(order.frames());
        let mode = self.tuning.note_free(self.count(), order.get());
        if self.spare >= 0 && mode == FreeMode::Ordinary { Put::Cached } else { Put::Overflow(mode) }
    }

    /// Adds blocks that came from the zone to a list, and calls `refused` with those that it has no room for.
    pub(super) fn refill(
        &mut self,
        list: PcpList,
        order: Order,
        blocks: impl Iterator<Item = Block>,
        refused: impl FnMut(Block),
    ) {
        let added = self.lists.list_mut(list).push_all(blocks, refused);
        self.spare -= signed(added * order.frames());
        self.inflow_frames += i64::from(added * order.frames());
    }

    /// Counts a block that came from the zone and goes straight to its owner.
    pub(super) fn count_passed_through(&mut self, order: Order) {
        self.tuning.note_alloc();
        self.inflow_frames += i64::from(order.frames());
        self.allocated_frames += u64::from(order.frames());
    }

    /// Moves up to `blocks` of the coldest blocks of a list into `batch`. Returns how many left the list.
    pub(super) fn give_up(&mut self, list: PcpList, blocks: usize, batch: &mut FrameBatch) -> u32 {
        let (_, order) = PcpList::with_index(list.index());
        let taken =
            self.lists.list_mut(list).take_cold(blocks.min(batch.room()), |block| batch.push(block.pfn()));
        let taken = u32::try_from(taken).expect("at most a batch");
        self.spare += signed(taken * order.frames());
        self.inflow_frames -= i64::from(taken * order.frames());
        taken
    }
}

/// Returns a number of cached frames as a signed number; a cache holds far less than 2^31.
const fn signed(frames: u32) -> i32 {
    frames.cast_signed()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
