//! One thread's cache: which lists a request or a free uses.

use super::{
    Caches, ZonePcp,
    sizing::{FreeMode, PcpLimits},
};
use crate::{
    frame::{AllocatorNumber, Block, HotList, HotZone, Nid, Order, PcpList, ZoneNumber},
    gfp::{AllocFlags, ZoneType},
    node::PolicyState,
    sync::{Arc, NotEntered, ZeroedSliceError},
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

impl From<NotEntered> for Put {
    #[inline(always)]
    fn from(not: NotEntered) -> Self {
        match not {
            NotEntered::Reentered => Self::Reentered,
            NotEntered::Claimed => Self::Claimed,
        }
    }
}

/// Which end of a list a freed block goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request gets it: its content is probably in the CPU's caches.
    Hot,
    /// The next drain takes it.
    Cold,
}

/// How blocks pass between a cache and their owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// At once, on the fast path.
    #[default]
    Direct,
    /// On the slow path only, where the allocator's debug modes look at each: the fast path finds the cache's doors shut.
    Checked,
}

/// One thread's cache of one allocator: lists for every zone.
///
/// One zone is *hot*: the one that ordinary requests of the thread try first. Its lists are at hand without a look-up.
///
/// ```
/// use gfp::{MemPolicy, NodeMask, PolicyState, pcp::{End, ZonePcp}};
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
/// let list = PcpList::UNMOVABLE;
/// let held = |cache: &gfp::pcp::ThreadCache| cache.zones().map(ZonePcp::count).sum::<u32>();
/// let before = held(&cache);
///
/// // Several at once, in both directions; and one that nobody will want soon.
/// let mut taken = Vec::new();
/// assert_eq!(cache.take_many(ZoneType::Normal, flags, list, 3, |block| taken.push(block)), 3);
/// assert!(cache.put_many(&mut taken.into_iter()).is_none(), "all were cached");
/// assert_eq!(cache.put_any(block, End::Cold), Put::Cached);
/// assert_eq!(held(&cache), before + 1);
///
/// // A request whose first zone is another.
/// let turn = cache.take_in_turn(number, ZoneType::Normal, flags, list, Order::ZERO);
/// let block = turn.expect("it is above its low mark").expect("there are some");
/// assert_eq!(cache.put(block), Put::Cached);
///
/// // All that it handed out has come back.
/// assert_eq!((cache.serial(), cache.balance()), (0, 0));
///
/// // Under a policy requests go the slow way, where it is asked.
/// cache.set_policy(Some(PolicyState::new(MemPolicy::Local, NodeMask::ALL)?));
/// assert!(cache.policy_mut().is_some());
/// assert_eq!(cache.take(ZoneType::Normal, flags, list, Order::ZERO), None);
/// cache.set_policy(None);
///
/// // A thread that has moved prefers the first zone of its new node.
/// cache.move_to(Nid::new(1), number);
/// assert_eq!(cache.node(), Nid::new(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct ThreadCache {
    /// What blocks of the hot zone have in common.
    hot_zone: HotZone,
    hot: ZonePcp,
    hot_index: usize,
    node: Nid,
    /// The policy in force on this thread; while there is one, the hot zone's door is shut.
    policy: Option<PolicyState>,
    /// The allocator whose blocks the fast path may put in; none where their handover is checked.
    trusted: Option<AllocatorNumber>,
    /// The other zones by number; the hot one's place is taken out.
    others: Box<[ZonePcp]>,
    /// A state that refuses all.
    refusal: SharedZoneState,
    /// Where the cache is registered; gone once the allocator is closed.
    home: Option<Arc<Caches>>,
    /// Tells the cache from every other of its allocator, earlier ones included.
    serial: u64,
}

impl ThreadCache {
    /// Makes an empty cache for a thread on `node`, of which `hot` is the zone that ordinary requests try first, with lists for
    /// all `zones`, given in the order of their numbers. The fast path may put in blocks of the `trusted` allocator; if there is
    /// none, it may not take any out either.
    ///
    /// # Panics
    /// When there is no zone.
    pub(super) fn new(
        node: Nid,
        hot: ZoneNumber,
        trusted: Option<AllocatorNumber>,
        zones: impl Iterator<Item = (SharedZoneState, PcpLimits)>,
        home: Arc<Caches>,
        serial: u64,
    ) -> Result<Self, ZeroedSliceError> {
        let mut zones = zones
            .map(|(state, limits)| ZonePcp::new(state, limits))
            .collect::<Result<Vec<_>, ZeroedSliceError>>()?;
        let mut cache = Self {
            hot_zone: hot_zone(trusted, hot),
            trusted,
            hot: zones.remove(hot.index()),
            hot_index: hot.index(),
            node,
            policy: None,
            others: zones.into_boxed_slice(),
            refusal: SharedZoneState::new(),
            home: Some(home),
            serial,
        };
        cache.set_policy(None);
        Ok(cache)
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

    /// Takes up to `count` cached single frames of the hot zone as [`take`](Self::take) does, and calls `got` with each;
    /// returns how many there were.
    pub fn take_many(
        &mut self,
        highest: ZoneType,
        flags: AllocFlags,
        list: PcpList,
        count: usize,
        got: impl FnMut(Block),
    ) -> usize {
        self.hot.take_many_above_low(highest, flags, list, count, got)
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
            HotList::Other => self.put_other(block),
        }
    }

    /// Puts blocks into the cache as long as that is all; returns the first that leaves something to be done, with what that is.
    pub fn put_many(&mut self, blocks: &mut impl Iterator<Item = Block>) -> Option<(Block, Put)> {
        let hot_zone = self.hot_zone;
        let mut next = blocks.next();
        while let Some(block) = next {
            let left = self.put(block);
            if left != Put::Cached {
                return Some((block, left));
            }
            // Mostly the others are alike.
            let kind = block.hot_list(hot_zone);
            let alike = |other: Block| other.hot_list(hot_zone) == kind;
            let other = match kind {
                HotList::Unmovable => self.hot.put_alike(PcpList::UNMOVABLE, blocks, alike),
                HotList::Movable => self.hot.put_alike(PcpList::MOVABLE, blocks, alike),
                HotList::Small(_) | HotList::Other => None,
            };
            next = other.or_else(|| blocks.next());
        }
        None
    }

    /// Puts in a block of any zone and order, unless it is another allocator's, or its handover is checked and it came by the
    /// fast path.
    #[inline(never)]
    fn put_other(&mut self, block: Block) -> Put {
        if Some(block.allocator()) != self.trusted {
            return Put::NoRoom;
        }
        self.put_any(block, End::Hot)
    }

    /// Puts a block of this allocator, of any zone and order, into the cache, at one of its ends; its handover, where it is
    /// checked, has been.
    pub fn put_any(&mut self, block: Block, end: End) -> Put {
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

    /// Returns the node that the thread was on when it was last looked at.
    pub const fn node(&self) -> Nid {
        self.node
    }

    /// Makes another node's first zone the hot one: the thread has moved.
    pub fn move_to(&mut self, node: Nid, hot: ZoneNumber) {
        self.node = node;
        let (from, to) = (self.hot_index, hot.index());
        // Of the places of the others, which keep the order of their numbers, the one that becomes hot is taken out and the
        // one that was is put in.
        let place = if to > from { to - 1 } else { to };
        if to == from || place >= self.others.len() {
            return;
        }
        self.hot.open();
        core::mem::swap(&mut self.hot, &mut self.others[place]);
        if to < from {
            self.others[to..from].rotate_left(1);
        } else {
            self.others[from..to].rotate_right(1);
        }
        self.hot_index = to;
        self.hot_zone = hot_zone(self.trusted, hot);
        self.set_policy(self.policy);
    }

    /// Puts a policy into force, or none.
    pub fn set_policy(&mut self, policy: Option<PolicyState>) {
        self.policy = policy;
        match (policy, self.trusted) {
            (None, Some(_)) => self.hot.open(),
            _ => self.hot.shut(&self.refusal),
        }
    }

    /// Returns the policy in force.
    pub const fn policy_mut(&mut self) -> Option<&mut PolicyState> {
        self.policy.as_mut()
    }

    /// Returns the lists of all zones by number.
    pub fn zones(&self) -> impl Iterator<Item = &ZonePcp> {
        let (before, behind) = self.others.split_at(self.hot_index.min(self.others.len()));
        before.iter().chain(core::iter::once(&self.hot)).chain(behind)
    }

    /// Returns what tells the cache from every other of its allocator, earlier ones included.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns the frames that were freed into the cache so far, less those that it handed out.
    pub fn balance(&self) -> i64 {
        self.zones().map(|pcp| pcp.freed_frames().wrapping_sub(pcp.allocated_frames()).cast_signed()).sum()
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

/// Returns what the blocks have in common that the fast path may put into the lists of a zone.
fn hot_zone(trusted: Option<AllocatorNumber>, zone: ZoneNumber) -> HotZone {
    trusted.map_or(HotZone::NONE, |allocator| HotZone::new(allocator, zone))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
