//! One thread's cache: which lists a request or a free uses.

use super::{
    Caches, ZonePcp,
    sizing::{FreeMode, PcpLimits},
};
use crate::{
    frame::{AllocatorNumber, Block, HotList, HotZone, Order, PcpList, ZoneNumber},
    gfp::{AllocFlags, NR_ZONE_TYPES, ZoneType},
    sync::{Arc, ZeroedSliceError},
    zone::SharedZoneState,
};

/// What a free into a cache asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Nothing more.
    Cached,
    /// The block is cached, and the cache holds more than it should now.
    Overflow(FreeMode),
    /// The block is not cached: its list has no memory, there is none for its order, or it is another allocator's.
    NoRoom,
    /// The block is not cached: this is a signal handler that interrupted the thread inside its cache.
    Reentered,
    /// The block is not cached: somebody drains the cache, or it is closed.
    Claimed,
}

/// Which end of a list a freed block goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request gets it: its content is probably in the CPU's caches.
    Hot,
    /// The next drain takes it.
    Cold,
}

/// One thread's cache of one allocator: lists for every zone.
///
/// One zone is *hot*: the one that ordinary requests of the thread try first. Its lists are at hand without a look-up.
#[derive(Debug)]
#[repr(C)]
pub struct ThreadCache {
    /// What blocks of the hot zone have in common.
    hot_zone: HotZone,
    hot: ZonePcp,
    hot_index: usize,
    allocator: AllocatorNumber,
    /// The other zones by number; the hot one's place is taken out.
    others: Box<[ZonePcp]>,
    /// Where the cache is registered; gone once the allocator is closed.
    home: Option<Arc<Caches>>,
}

impl ThreadCache {
    /// Makes an empty cache with lists for all `zones`, given in the order of their numbers.
    ///
    /// # Panics
    /// When there is no zone.
    pub(super) fn new(
        preferred: [Option<ZoneNumber>; NR_ZONE_TYPES],
        allocator: AllocatorNumber,
        zones: impl Iterator<Item = (SharedZoneState, PcpLimits)>,
        home: Arc<Caches>,
    ) -> Result<Self, ZeroedSliceError> {
        let mut zones = zones
            .map(|(state, limits)| ZonePcp::new(state, limits))
            .collect::<Result<Vec<_>, ZeroedSliceError>>()?;
        let hot = preferred[ZoneType::Normal.index()].unwrap_or(ZoneNumber::new(0));
        Ok(Self {
            hot_zone: HotZone::new(allocator, hot),
            allocator,
            hot: zones.remove(hot.index()),
            hot_index: hot.index(),
            others: zones.into_boxed_slice(),
            home: Some(home),
        })
    }

    /// Takes a cached block of the hot zone, if the request tries that zone first and it is above its low mark.
    #[inline(always)]
    pub fn take(
        &mut self,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        order: Order,
    ) -> Option<Block> {
        self.hot.take_above_low(highest, flags, list, order)
    }

    /// Takes a cached block of any zone for a request whose turn it is there, if it is above its low mark; `None` if it is not.
    pub fn take_in_turn(
        &mut self,
        zone: ZoneNumber,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        order: Order,
    ) -> Option<Option<Block>> {
        let pcp = self.zone_mut(zone.index())?;
        pcp.is_willing(highest, flags).then(|| pcp.take(list, order))
    }

    /// Takes a cached block of a zone, whatever its marks; the caller has checked them.
    pub(super) fn take_from(&mut self, zone: usize, list: PcpList, order: Order) -> Option<Block> {
        self.zone_mut(zone)?.take(list, order)
    }

    /// Puts a block into the cache that its owner gives up (`free_unref_page_commit`).
    #[inline(always)]
    pub fn put(&mut self, block: Block) -> Put {
        match block.hot_list(self.hot_zone) {
            HotList::Unmovable => self.hot.put_single(PcpList::UNMOVABLE, block),
            HotList::Movable => self.hot.put_single(PcpList::MOVABLE, block),
            HotList::Small(kind) if kind.order() == Order::ZERO => self.hot.put_single(kind.list(), block),
            HotList::Small(kind) => self.hot.put_small(kind.list(), kind.order(), block),
            HotList::Other => self.put_any(block, End::Hot),
        }
    }

    /// Puts a block of any zone and order into the cache, at one of its ends.
    #[inline(never)]
    pub fn put_any(&mut self, block: Block, end: End) -> Put {
        if block.allocator() != self.allocator {
            return Put::NoRoom;
        }
        self.zone_mut(block.zone_index()).map_or(Put::NoRoom, |pcp| pcp.put(block, end))
    }

    /// Returns the lists of a zone for change.
    pub(super) fn zone_mut(&mut self, zone: usize) -> Option<&mut ZonePcp> {
        match zone.cmp(&self.hot_index) {
            core::cmp::Ordering::Equal => Some(&mut self.hot),
            core::cmp::Ordering::Less => self.others.get_mut(zone),
            core::cmp::Ordering::Greater => self.others.get_mut(zone - 1),
        }
    }

    /// Returns the lists of all zones by number.
    pub fn zones(&self) -> impl Iterator<Item = &ZonePcp> {
        let (before, behind) = self.others.split_at(self.hot_index.min(self.others.len()));
        before.iter().chain(core::iter::once(&self.hot)).chain(behind)
    }

    /// Returns where the cache is registered.
    pub(super) fn home(&self) -> Option<Arc<Caches>> {
        self.home.clone()
    }

    /// Lets go of the allocator: it is closed, and this cache, which is empty, will not be entered again.
    pub(super) fn bury(&mut self) {
        self.home = None;
    }
}
