//! One thread's cache: what a hit and a cached free touch.

use super::{
    Caches,
    sizing::{FreeMode, PcpLimits, PcpTuning, ZonePressure},
};
use crate::{
    frame::{BadFrame, Descriptor, FrameLists, FrameTable, Order, PcpList, Pfn, StackMemory, ZoneNumber},
    gfp::{AllocFlags, NR_ZONE_TYPES, ZoneType},
    sync::{Arc, ZeroedSliceError},
    zone::ZoneStates,
};

/// No zone: an index that no cache has.
const NO_ZONE: u16 = u16::MAX;

/// A block on its way to its owner: its first frame, and the descriptor that it was handed out with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first frame.
    pub pfn: Pfn,
    /// Its descriptor.
    pub descriptor: Descriptor,
}

/// What a free into a cache asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Nothing more.
    Cached,
    /// The block is cached, and the cache holds more than it should now.
    Overflow(FreeMode),
    /// The block is not cached: its list has no memory, or there is none for its order.
    NoRoom,
    /// The block is not cached: its descriptor is not what its owner's says.
    Bad(BadFrame),
}

/// The lists of one zone in one thread's cache (`struct per_cpu_pages`).
///
/// 512 bytes, so that the zone's field of a descriptor is its offset.
#[derive(Debug)]
#[repr(C, align(512))]
pub struct ZonePcp {
    lists: FrameLists,
    /// Frames in all lists.
    count: u32,
    /// How much the cache may hold, and how it has been used.
    pub(super) tuning: PcpTuning,
    /// Frames handed out by this cache so far.
    allocated_frames: u64,
    /// Frames that came from the zone, less those that went back.
    inflow_frames: i64,
    /// Blocks that were found in a wrong state and left out of circulation.
    pub(super) bad_blocks: u64,
    /// Whether anything happened since the last visit of the maintenance.
    pub(super) idle_seconds: u32,
    visited_at: u64,
}

impl ZonePcp {
    fn new(limits: PcpLimits) -> Result<Self, ZeroedSliceError> {
        Ok(Self {
            lists: FrameLists::new(StackMemory::new()?),
            count: 0,
            tuning: PcpTuning::new(limits),
            allocated_frames: 0,
            inflow_frames: 0,
            bad_blocks: 0,
            idle_seconds: 0,
            visited_at: 0,
        })
    }

    /// Returns the frames in all lists.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the frames that this cache handed out so far.
    pub const fn allocated_frames(&self) -> u64 {
        self.allocated_frames
    }

    /// Returns the frames that were freed into this cache so far.
    pub const fn freed_frames(&self) -> u64 {
        // What was put in is what was handed out, less what came from the zone, plus what is still here.
        (self.allocated_frames.cast_signed() - self.inflow_frames + self.count as i64).cast_unsigned()
    }

    /// Returns how much the cache may hold, and how it has been used.
    pub const fn tuning(&self) -> &PcpTuning {
        &self.tuning
    }

    /// Returns the lists.
    pub const fn lists(&self) -> &FrameLists {
        &self.lists
    }

    /// Tells for how many visits in a row nothing was handed out or freed, this one included.
    pub(super) const fn age(&mut self) -> u32 {
        let now = self.allocated_frames.wrapping_add(self.freed_frames());
        self.idle_seconds = if now == self.visited_at { self.idle_seconds + 1 } else { 0 };
        self.visited_at = now;
        self.idle_seconds
    }

    /// Lets a list use the memory that was committed for it.
    pub(super) fn raise_capacity(&mut self, list: PcpList, capacity: u16) {
        self.lists.raise_capacity(list, capacity);
    }

    /// Adds a block that came from the zone and whose descriptor says cached.
    pub(super) fn refill(&mut self, list: PcpList, pfn: Pfn) -> Result<(), Pfn> {
        let stack = self.lists.list_mut(list);
        stack.push(pfn)?;
        self.count += stack.weight();
        self.inflow_frames += i64::from(stack.weight());
        Ok(())
    }

    /// Counts a block that came from the zone and goes straight to its owner.
    pub(super) fn count_passed_through(&mut self, order: Order) {
        self.tuning.note_alloc();
        self.inflow_frames += i64::from(order.frames());
        self.allocated_frames += u64::from(order.frames());
    }

    /// Moves up to `blocks` of the coldest blocks of a list into `batch`; they are free frames then.
    pub(super) fn give_up(
        &mut self,
        list: PcpList,
        blocks: usize,
        frames: &FrameTable,
        batch: &mut crate::frame::FrameBatch,
    ) {
        let stack = self.lists.list_mut(list);
        let before = batch.len();
        let taken = stack.take_cold(blocks, batch);
        let moved = u32::try_from(taken).expect("at most 4096") * stack.weight();
        self.count -= moved;
        self.inflow_frames -= i64::from(moved);
        for pfn in batch.iter().skip(before) {
            let freed = frames.update(pfn, |found| Some(found.freed()));
            debug_assert!(freed.is_ok(), "a cached frame lies in the arena");
        }
    }
}

/// One thread's cache of one allocator: the lists of every zone.
#[derive(Debug)]
pub struct ThreadCache {
    pub(super) frames: FrameTable,
    states: Arc<ZoneStates>,
    /// For each highest zone that a request may name, the first zone to try.
    preferred: [u16; NR_ZONE_TYPES],
    zones: Box<[ZonePcp]>,
    /// Where the cache is registered; gone once the allocator is closed.
    pub(super) home: Option<Arc<Caches>>,
}

impl ThreadCache {
    /// Makes an empty cache with a list set for every zone.
    pub(super) fn new(
        frames: FrameTable,
        states: Arc<ZoneStates>,
        preferred: [Option<ZoneNumber>; NR_ZONE_TYPES],
        limits: impl Iterator<Item = PcpLimits>,
        home: Arc<Caches>,
    ) -> Result<Self, ZeroedSliceError> {
        Ok(Self {
            frames,
            states,
            preferred: preferred.map(|zone| {
                zone.map_or(NO_ZONE, |zone| u16::try_from(zone.index()).expect("a zone number has 9 bits"))
            }),
            zones: limits.map(ZonePcp::new).collect::<Result<_, _>>()?,
            home: Some(home),
        })
    }

    /// Takes a cached block, if the zone that the request tries first has one on the list and is above its low mark.
    #[inline(always)]
    pub fn take(
        &mut self,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        order: Order,
    ) -> Option<Block> {
        let zone = usize::from(self.preferred[highest.index()]);
        let pcp = self.zones.get_mut(zone)?;
        if !self.states.get(zone).above_low(highest, flags) {
            return None;
        }
        pcp.take(&self.frames, list, order)
    }

    /// Takes a cached block of a zone, whatever its marks; the caller has checked them.
    pub(super) fn take_from(&mut self, zone: usize, list: PcpList, order: Order) -> Option<Block> {
        self.zones.get_mut(zone)?.take(&self.frames, list, order)
    }

    /// Puts a block into the cache that its owner gives up (`free_unref_page_commit`).
    #[inline(always)]
    pub fn put(&mut self, block: Block) -> Put {
        let word = block.descriptor;
        let Some(pcp) = self.zones.get_mut(word.zone_index()) else { return Put::NoRoom };
        pcp.put(&self.frames, block)
    }

    /// Returns the lists of a zone.
    pub fn zone(&self, zone: usize) -> Option<&ZonePcp> {
        self.zones.get(zone)
    }

    /// Returns the lists of a zone for change.
    pub(super) fn zone_mut(&mut self, zone: usize) -> Option<&mut ZonePcp> {
        self.zones.get_mut(zone)
    }

    /// Returns the lists of all zones.
    pub fn zones(&self) -> &[ZonePcp] {
        &self.zones
    }

    /// Returns what the lists of a zone must know of its pressure.
    pub(super) fn pressure(&self, zone: usize) -> ZonePressure {
        if self.states.get(zone).above_high() { ZonePressure::empty() } else { ZonePressure::BELOW_HIGH }
    }

    /// Gives back everything but the empty shell: the allocator is closed, and this cache will not be entered again.
    pub(super) fn bury(&mut self) {
        self.zones = Box::default();
        self.frames = FrameTable::empty();
        self.home = None;
    }
}

impl ZonePcp {
    #[inline(always)]
    fn take(&mut self, frames: &FrameTable, list: PcpList, order: Order) -> Option<Block> {
        let pfn = self.lists.list_mut(list).pop()?;
        self.count -= order.frames();
        match frames.update(pfn, |found| found.is_cached_on(list).then(|| found.handed_out())) {
            Ok(descriptor) => {
                self.tuning.note_alloc();
                self.allocated_frames += u64::from(order.frames());
                Some(Block { pfn, descriptor })
            }
            Err(_) => {
                self.leak(order);
                None
            }
        }
    }

    /// Leaves a block in a wrong state out of circulation, as the kernel does with a bad page.
    #[cold]
    fn leak(&mut self, order: Order) {
        self.bad_blocks += 1;
        self.inflow_frames -= i64::from(order.frames());
    }

    #[inline(always)]
    fn put(&mut self, frames: &FrameTable, block: Block) -> Put {
        let Block { pfn, descriptor } = block;
        let updated = frames.update(pfn, |found| (found == descriptor).then(|| found.taken_back()));
        if let Err(bad) = updated {
            return Put::Bad(bad);
        }
        let stack = self.lists.list_mut(descriptor.list());
        if stack.push(pfn).is_err() {
            return Self::undo(frames, block);
        }
        self.count += stack.weight();
        let mode = self.tuning.note_free(self.count, descriptor.order().get());
        if self.count >= self.tuning.high || mode == FreeMode::DrainAll {
            Put::Overflow(mode)
        } else {
            Put::Cached
        }
    }

    #[cold]
    fn undo(frames: &FrameTable, block: Block) -> Put {
        match frames.update(block.pfn, |_| Some(block.descriptor)) {
            Ok(_) => Put::NoRoom,
            Err(bad) => Put::Bad(bad),
        }
    }
}
