//! One zone: its free areas behind its lock, and what is known of them without it.

use core::ops::RangeInclusive;

use super::{
    buddy::{Buddy, Fallback, Grouping, PAGEBLOCK_FRAMES, RmqueueMode},
    mirror::{Extent, Mirror, Special},
    report::{ZoneEvents, ZoneReport, ZoneSpan},
    sizing::{self, Boost},
    state::{FirstFor, SharedZoneState, ZoneState},
    steady::Steady,
    watermark::{
        FreeSnapshot, WatermarkRule, Watermarks, unusable, wmark_pages, zone_watermark_fast,
        zone_watermark_ok,
    },
};
use crate::{
    frame::{FrameBatch, FrameState, FrameTable, Mobility, Order, PcpList, Pfn},
    gfp::{AllocFlags, MigrateType, NR_ZONE_TYPES, ZoneType},
    sync::{LockRank, PendingMap, SeededBug, SpinGuard, SpinLock, ZeroedSliceError, seeded},
    trace,
};

/// Whether a caller may wait for a zone's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It may.
    Allowed,
    /// It tries once (`ALLOC_TRYLOCK`): a signal handler, or a caller that asked for it.
    Never,
}

/// What became of a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Freed {
    /// The frames are in the free areas of an open zone.
    Open,
    /// So many frames, those of other frees that were pending included, are in the free areas of a zone that is closed: its
    /// allocator counts what is still out.
    Closed(u64),
    /// The lock was taken and the caller may not wait: the next holder will free the block.
    Pending,
    /// Nothing was freed: the frames were free already.
    Bad,
}

/// A range of frames with its own lock, free areas and watermarks (`struct zone`).
///
/// The example of [`zone`](super) takes one through its life.
#[derive(Debug)]
pub struct Zone {
    span: ZoneSpan,
    pub(super) max_order: Order,
    pub(super) rule: WatermarkRule,
    pub(super) areas: SpinLock<Areas>,
    pub(super) mirror: Mirror,
    pub(super) extent: Extent,
    pending: PendingMap,
    frames: FrameTable,
    state: SharedZoneState,
    first_for: FirstFor,
    grouping: Grouping,
}

/// What the zone's lock protects.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Areas {
    // What every request and free changes lies together, as in the buddy.
    /// Frames that were freed since the last free told what became of it.
    unsettled: u64,
    pub(super) events: ZoneEvents,
    pub(super) buddy: Buddy,
    pub(super) marks: Watermarks,
    pub(super) lowmem_reserve: [u64; NR_ZONE_TYPES],
    pub(super) closed: bool,
    /// Whether the allowed nodes include the zone's (`cpuset_zone_allowed`); if not, hits are not served without a look.
    admitted: bool,
    /// Whether the background thread reclaims memory of the zone now (`ZONE_RECLAIM_ACTIVE`).
    pub(super) reclaim_active: bool,
    /// Whether the zone had more than its high mark when that was last asked of it while it was admitted.
    above_high: bool,
    /// How far the free frames may change without a change of the state word.
    pub(super) steady: Steady,
}

impl Areas {
    /// Runs a free, and notes the frames that it freed.
    pub(super) fn free<R>(&mut self, free: impl FnOnce(&mut Buddy) -> R) -> R {
        let before = self.buddy.idle_frames();
        let result = free(&mut self.buddy);
        self.unsettled += self.buddy.idle_frames() - before;
        result
    }

    /// Runs a free past the caches.
    fn free_past_caches(&mut self, free: impl FnOnce(&mut Buddy) -> bool) -> bool {
        let before = self.unsettled;
        let was_used = self.free(free);
        self.events.freed_frames += self.unsettled - before;
        was_used
    }

    /// Tells what became of a free, and of those that were pending.
    pub(super) fn freed(&mut self) -> Freed {
        let frames = core::mem::take(&mut self.unsettled);
        if self.closed { Freed::Closed(frames) } else { Freed::Open }
    }
}

impl Zone {
    /// Makes a zone of free frames, with marks of 0 and no reserves.
    ///
    /// # Errors
    /// When the address space for its maps cannot be had.
    pub fn new(
        span: ZoneSpan,
        max_order: Order,
        rule: WatermarkRule,
        frames: FrameTable,
        first_for: FirstFor,
        grouping: Grouping,
    ) -> Result<Self, ZeroedSliceError> {
        let zone = Self {
            areas: SpinLock::new(
                LockRank::Zone,
                Areas {
                    buddy: Buddy::new(span.start, span.end, span.online_end, max_order)?,
                    marks: Watermarks::default(),
                    lowmem_reserve: [0; NR_ZONE_TYPES],
                    events: ZoneEvents::default(),
                    closed: false,
                    admitted: true,
                    reclaim_active: false,
                    above_high: false,
                    unsettled: 0,
                    steady: Steady::default(),
                },
            ),
            mirror: Mirror::default(),
            extent: Extent::default(),
            pending: PendingMap::new(usize::try_from(span.frames()).expect("a zone lies in the arena"))?,
            span,
            max_order,
            rule,
            frames,
            state: SharedZoneState::new(),
            first_for,
            grouping,
        };
        zone.with_areas(|_| zone.extent.managed.add(span.online_frames()));
        Ok(zone)
    }

    /// Returns where the zone lies.
    #[inline]
    pub const fn span(&self) -> &ZoneSpan {
        &self.span
    }

    /// Returns the frames that the zone has, without those that are offline.
    pub fn managed(&self) -> u64 {
        self.extent.managed.get()
    }

    /// Returns the frames that are kept for contiguous requests.
    pub fn cma_pages(&self) -> u64 {
        self.extent.cma_pages.get()
    }

    /// Tells whether frames of the zone may wait in caches: not while some of it is isolated (`zone_pcp_disable`).
    pub fn may_be_cached(&self) -> bool {
        self.extent.isolated_pageblocks.get() == 0
    }

    /// Returns what a block on this list was taken for, as far as the zone keeps count of it: where types are not kept apart,
    /// all are taken as unmovable.
    const fn taken_for(&self, list: PcpList) -> Mobility {
        match self.grouping {
            Grouping::ByMobility => list.mobility(),
            Grouping::Disabled => Mobility::Fixed,
        }
    }

    /// Returns the zone's state word.
    #[inline]
    pub fn state(&self) -> ZoneState {
        self.state.get()
    }

    /// Returns the zone's state word, for a cache to read.
    pub fn shared_state(&self) -> SharedZoneState {
        self.state.clone()
    }

    /// Returns the free frames (NR_FREE_PAGES), exact as of the last change.
    pub fn nr_free_pages(&self) -> u64 {
        self.mirror.free()
    }

    /// Runs `change` under the lock, after freeing what waits in the pending map, and publishes what it changed.
    pub(super) fn locked<R>(
        &self,
        mut areas: SpinGuard<'_, Areas>,
        change: impl FnOnce(&mut Areas, bool) -> R,
    ) -> R {
        if self.pending.is_flagged() {
            self.free_pending(&mut areas);
        }
        let contended = areas.contended();
        let result = change(&mut areas, contended);
        self.publish(&mut areas);
        result
    }

    pub(super) fn with_areas<R>(&self, change: impl FnOnce(&mut Areas) -> R) -> R {
        // Lock order: registry, then claims of caches, then this.
        self.locked(self.areas.lock(), |areas, _| change(areas))
    }

    pub(super) fn acquire(&self, waiting: Waiting) -> Option<SpinGuard<'_, Areas>> {
        match waiting {
            Waiting::Allowed => Some(self.areas.lock()),
            Waiting::Never => self.areas.try_lock(),
        }
    }

    /// Takes the lock for a request; `None` when it is taken and the flags forbid waiting.
    pub(super) fn acquire_for(&self, flags: AllocFlags) -> Option<SpinGuard<'_, Areas>> {
        self.acquire(if flags.contains(AllocFlags::TRYLOCK) { Waiting::Never } else { Waiting::Allowed })
    }

    #[cold]
    fn free_pending(&self, areas: &mut Areas) {
        self.pending.drain(|index| {
            let pfn =
                self.span.start.add(u32::try_from(index).expect("the map has one bit a frame of the zone"));
            let freed = self.frames.update(pfn, |found| {
                (found.state() == Some(FrameState::Pending)).then(|| {
                    let taken_for = self.taken_for(found.list());
                    trace::free_pending(pfn, found.order());
                    let was_used = areas.free_past_caches(|buddy| buddy.free(pfn, found.order(), taken_for));
                    areas.events.bad_pages += u64::from(!was_used);
                    areas.events.pending_frees += 1;
                    found.returned()
                })
            });
            debug_assert!(freed.is_ok(), "only pending blocks are in the pending map: {freed:?}");
        });
    }

    /// Writes what others read without the lock.
    fn publish(&self, areas: &mut Areas) {
        let Areas {
            buddy, marks, lowmem_reserve, closed, admitted, reclaim_active, above_high, steady, ..
        } = areas;
        let (free, special) = (buddy.free_frames(), Special::of(buddy));
        self.mirror.set_free(buddy);
        if steady.holds(free, special) {
            return;
        }
        self.mirror.set_special(&special);
        let snapshot = self.snapshot_of(buddy, lowmem_reserve);
        let state = if *closed || !*admitted {
            ZoneState::default()
        } else {
            let state = ZoneState::of(self.first_for, |highest, mark, flags| {
                zone_watermark_ok(self.rule, 0, wmark_pages(marks, mark), highest, flags, &snapshot)
            });
            let was_above_high = core::mem::replace(above_high, state.above_high());
            if state.above_high() && !was_above_high {
                self.mirror.count_rise();
            }
            state
        };
        self.state.publish(if *reclaim_active { state.with_reclaim_active() } else { state });
        let charges =
            [AllocFlags::empty(), AllocFlags::CMA].map(|flags| unusable(self.rule, flags, &snapshot));
        *steady = Steady::around(free, special, charges, marks, lowmem_reserve);
    }

    pub(super) fn snapshot_of<'a>(
        &self,
        buddy: &'a Buddy,
        lowmem_reserve: &[u64; NR_ZONE_TYPES],
    ) -> FreeSnapshot<'a, Buddy> {
        let Special { free_cma, free_highatomic, reserved_highatomic } = Special::of(buddy);
        FreeSnapshot {
            free: buddy.free_frames(),
            free_cma,
            free_highatomic,
            reserved_highatomic,
            lowmem_reserve: *lowmem_reserve,
            max_order: self.max_order.get(),
            counts: buddy,
        }
    }

    /// Tells whether the zone may serve a request, at the mark and with the reserves that `flags` name
    /// (`zone_watermark_fast`).
    #[doc(alias = "zone_watermark_ok")]
    pub fn watermark_ok(&self, order: Order, highest: ZoneType, flags: AllocFlags) -> bool {
        if self.rule == WatermarkRule::HalvePerOrder && order != Order::ZERO {
            // That rule counts the blocks of each order, which nothing mirrors.
            return self.with_areas(|areas| {
                let snapshot = self.snapshot_of(&areas.buddy, &areas.lowmem_reserve);
                zone_watermark_fast(self.rule, order.get(), &areas.marks, highest, flags, &snapshot)
            });
        }
        let available = self.mirror.available();
        let snapshot = self.mirror.snapshot(self.max_order, &available);
        zone_watermark_fast(self.rule, order.get(), &self.watermarks(), highest, flags, &snapshot)
    }

    /// Takes a block from the free areas (`rmqueue_buddy`); `None` when there is no fitting one, or the lock is taken and
    /// the flags forbid waiting.
    pub fn rmqueue_buddy(&self, order: Order, migratetype: MigrateType, flags: AllocFlags) -> Option<Pfn> {
        let areas = self.acquire_for(flags)?;
        self.locked(areas, |areas, _| self.take_block(areas, order, migratetype, flags))
    }

    /// Takes a block from the free areas of a zone that is open.
    #[inline]
    pub(super) fn take_block(
        &self,
        areas: &mut Areas,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
    ) -> Option<Pfn> {
        if areas.closed {
            return None;
        }
        let mut done = Fallback::default();
        let mut mode = RmqueueMode::default();
        let mut pfn = None;
        if flags.contains(AllocFlags::HIGHATOMIC) {
            pfn = areas.buddy.rmqueue_smallest(order, MigrateType::HighAtomic, Mobility::of(migratetype));
        }
        pfn = pfn
            .or_else(|| areas.buddy.rmqueue(order, migratetype, flags, self.grouping, &mut mode, &mut done));
        // The last resort of those who cannot wait.
        if pfn.is_none() && flags.intersects(AllocFlags::OOM | AllocFlags::NON_BLOCK) {
            pfn = areas.buddy.rmqueue_smallest(order, MigrateType::HighAtomic, Mobility::of(migratetype));
        }
        if pfn.is_some() {
            areas.events.allocated_frames += u64::from(order.frames());
        }
        self.note(areas, done, flags);
        pfn
    }

    /// Takes blocks for a cache: as many as `count` begins with, or twice as many when the lock was contended, but at most as
    /// it ends with and as `batch` has room for (`rmqueue_bulk`).
    pub fn rmqueue_bulk(
        &self,
        order: Order,
        count: RangeInclusive<u32>,
        migratetype: MigrateType,
        flags: AllocFlags,
        batch: &mut FrameBatch,
    ) {
        let Some(areas) = self.acquire_for(flags) else { return };
        self.locked(areas, |areas, contended| {
            if areas.closed {
                return;
            }
            let room = u32::try_from(batch.room()).expect("at most 512");
            let wanted = if contended { count.start().saturating_mul(2) } else { *count.start() };
            let count = wanted.min(*count.end()).min(room);
            let done = areas.buddy.rmqueue_bulk(order, count, migratetype, flags, self.grouping, batch);
            self.note(areas, done, flags);
        });
    }

    /// Notes what the fallbacks did, and boosts the watermarks if a claim below a pageblock was attempted.
    ///
    /// Who may wake the background thread leaves word that it is to be woken for that: a zone calls nobody.
    fn note(&self, areas: &mut Areas, done: Fallback, flags: AllocFlags) {
        areas.events.claimed += u64::from(done.claimed);
        areas.events.stolen += u64::from(done.stolen);
        for _ in 0..done.boosts {
            let frames = u64::from(PAGEBLOCK_FRAMES);
            let boost = sizing::boost_watermark(
                &mut areas.marks,
                self.managed(),
                frames,
                sizing::WATERMARK_BOOST_FACTOR,
            );
            if boost == Boost::Raised {
                areas.events.boosts += 1;
                trace::boost_watermark(self.span.start, areas.marks.boost);
                if flags.contains(AllocFlags::KSWAPD) {
                    self.mirror.set_boosted(true);
                }
            }
        }
        if done.boosts > 0 {
            areas.steady = Steady::default();
            self.mirror.set_marks(&areas.marks);
        }
    }

    /// Frees a block (`free_one_page`).
    pub fn free_one(&self, pfn: Pfn, order: Order, list: PcpList) -> Freed {
        self.free_past_caches(|buddy| buddy.free(pfn, order, self.taken_for(list)))
    }

    /// Runs a free past the caches; `free` tells whether what it freed was in use.
    pub(super) fn free_past_caches(&self, free: impl FnOnce(&mut Buddy) -> bool) -> Freed {
        self.with_areas(|areas| if areas.free_past_caches(free) { areas.freed() } else { Freed::Bad })
    }

    /// Tells whether a frame is in the free areas; `None` when the lock is taken, which a report of misuse does not wait for.
    pub fn is_free(&self, pfn: Pfn) -> Option<bool> {
        self.areas.try_lock().map(|areas| areas.buddy.is_free(pfn))
    }

    /// Frees a block whose descriptor says pending, without waiting for the lock.
    ///
    /// If the lock is taken, the block stays in the pending map until the next holder frees it.
    ///
    /// ```
    /// # use gfp::{Nid, Order, Pfn};
    /// # use gfp::frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber, free_pages_prepare, prep_new_page};
    /// # use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
    /// # use gfp::zone::{FirstFor, Freed, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
    /// # let end = Pfn::new(4096);
    /// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
    /// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
    /// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
    /// # let first_for = FirstFor::collect(|highest| highest >= kind);
    /// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
    /// # let zone = Zone::new(span, Order::new(10), rule, frames.clone(), first_for, grouping)?;
    /// let flags = AllocFlags::from_wmark(WmarkIndex::Low);
    /// let pfn = zone.rmqueue_buddy(Order::ZERO, MigrateType::Movable, flags).expect("all is free");
    /// let block = prep_new_page(&frames, pfn, PcpList::MOVABLE, number, Order::ZERO);
    /// free_pages_prepare(&frames, block).expect("nobody else has it");
    /// assert_eq!(zone.free_without_waiting(pfn), Freed::Open, "nobody held the lock");
    /// assert_eq!(zone.report().free, 4096);
    /// # Ok::<(), gfp::sync::ZeroedSliceError>(())
    /// ```
    pub fn free_without_waiting(&self, pfn: Pfn) -> Freed {
        let index = pfn.index() - self.span.start.index();
        let Some(areas) = self.areas.try_lock() else {
            // The last access: once the block is in the map, another thread may free it, and a closed allocator with it.
            self.pending.set(index);
            return Freed::Pending;
        };
        self.pending.set(index);
        self.locked(areas, |areas, _| areas.freed())
    }

    /// Lets the child of a fork read the zone without waiting for a thread that it does not have; nothing may be taken from it or
    /// freed to it there.
    ///
    /// ```
    /// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber}};
    /// # use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
    /// # use gfp::zone::{FirstFor, Freed, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
    /// # let end = Pfn::new(4096);
    /// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
    /// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
    /// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
    /// # let first_for = FirstFor::collect(|highest| highest >= kind);
    /// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
    /// # let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
    /// // In the child of a fork:
    /// zone.orphan();
    /// assert_eq!(zone.report().free, 4096);
    /// # Ok::<(), gfp::sync::ZeroedSliceError>(())
    /// ```
    pub fn orphan(&self) {
        self.pending.orphan();
        self.areas.orphan();
    }

    /// Notes that the frames of a block that somebody owns will come back one by one (`split_page`).
    pub fn split_page(&self, pfn: Pfn, order: Order, list: PcpList) {
        let taken_for = self.taken_for(list);
        self.with_areas(|areas| areas.buddy.split_taken(pfn, order, taken_for));
    }

    /// Frees the blocks that a cache gives up, all of one list (`free_pcppages_bulk`).
    pub fn free_bulk(&self, list: PcpList, batch: &FrameBatch) -> Freed {
        let (_, order) = PcpList::with_index(list.index());
        self.locked(self.areas.lock(), |areas, _| {
            trace::mm_page_pcpu_drain(batch.numbers(), order, |pfn| areas.buddy.pageblock_type(pfn));
            let bad = areas.free(|buddy| buddy.free_batch(batch.numbers(), order, self.taken_for(list)));
            areas.events.bad_pages += bad;
            areas.freed()
        })
    }

    /// Sets the marks and the reserves; a boost ends (`__setup_per_zone_wmarks`).
    pub fn set_watermarks(&self, marks: Watermarks, lowmem_reserve: [u64; NR_ZONE_TYPES]) {
        self.with_areas(|areas| {
            areas.marks = Watermarks { boost: 0, ..marks };
            areas.lowmem_reserve = lowmem_reserve;
            areas.steady = Steady::default();
            self.mirror.set_marks(&areas.marks);
            self.mirror.set_lowmem_reserve(&lowmem_reserve);
        });
    }

    /// Asks whether the allowed nodes include the zone's. With the lock held: of several who have changed what the answer follows
    /// from, the last asks after all of them.
    pub fn set_admitted(&self, is_admitted: impl Fn() -> bool) {
        let early = seeded(SeededBug::AdmittedAskedEarly).then(&is_admitted);
        self.with_areas(|areas| {
            areas.admitted = early.unwrap_or_else(is_admitted);
            areas.steady = Steady::default();
        });
    }

    /// Takes back a boost of the watermarks, once what it asked for has been done.
    ///
    /// ```
    /// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber}};
    /// # use gfp::gfp::{AllocFlags, MigrateType, WmarkIndex, ZoneType};
    /// # use gfp::zone::{FirstFor, Freed, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
    /// # let end = Pfn::new(4096);
    /// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
    /// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
    /// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
    /// # let first_for = FirstFor::collect(|highest| highest >= kind);
    /// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
    /// # let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
    /// # zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
    /// // Halves of pageblocks are all that is left, and of the wrong type: a claim of one boosts the marks.
    /// let movable = || zone.rmqueue_buddy(Order::new(8), MigrateType::Movable, AllocFlags::empty());
    /// let halves: Vec<Pfn> = core::iter::from_fn(movable).collect();
    /// let list = PcpList::of(Order::new(8), MigrateType::Movable);
    /// assert_eq!(zone.free_one(halves[0], Order::new(8), list), Freed::Open);
    /// assert!(zone.rmqueue_buddy(Order::ZERO, MigrateType::Unmovable, AllocFlags::empty()).is_some());
    /// let boost = zone.watermarks().boost;
    /// assert!(boost > 0);
    ///
    /// zone.end_boost(boost);
    /// assert_eq!(zone.watermarks().boost, 0);
    /// # Ok::<(), gfp::sync::ZeroedSliceError>(())
    /// ```
    pub fn end_boost(&self, boost: u64) {
        if boost > 0 {
            self.with_areas(|areas| {
                areas.marks.boost = areas.marks.boost.saturating_sub(boost);
                areas.steady = Steady::default();
                self.mirror.set_marks(&areas.marks);
            });
        }
    }

    /// Returns the marks.
    pub fn watermarks(&self) -> Watermarks {
        self.mirror.marks()
    }

    /// Returns what is kept from requests that could use a higher zone, by their highest zone.
    pub fn lowmem_reserve(&self) -> [u64; NR_ZONE_TYPES] {
        self.mirror.lowmem_reserve()
    }

    /// Closes the zone: every later request fails, and every later free says so. Returns the frames that are out.
    pub fn close(&self) -> u64 {
        self.with_areas(|areas| {
            areas.closed = true;
            areas.unsettled = 0;
            areas.steady = Steady::default();
            self.managed() - areas.buddy.idle_frames()
        })
    }

    /// Returns a consistent picture of the free areas.
    pub fn report(&self) -> ZoneReport {
        self.with_areas(|areas| ZoneReport {
            span: self.span,
            nr_free: MigrateType::ALL.map(|kind| {
                (0..=self.max_order.get()).map(|order| areas.buddy.nr_free(Order::new(order), kind)).collect()
            }),
            pageblocks: MigrateType::ALL.map(|kind| areas.buddy.pageblocks(kind)),
            free: areas.buddy.free_frames(),
            free_cma: areas.buddy.free_frames_of(MigrateType::Cma),
            free_highatomic: areas.buddy.free_frames_of(MigrateType::HighAtomic),
            isolated: areas.buddy.free_frames_of(MigrateType::Isolate) + self.extent.reporting.get(),
            managed: self.managed(),
            cma_pages: self.cma_pages(),
            known_zero: areas.buddy.known_zero(),
            marks: areas.marks,
            lowmem_reserve: areas.lowmem_reserve,
            events: areas.events,
        })
    }

    /// Returns the migrate type of the pageblock around a frame of this zone.
    pub fn pageblock_type(&self, pfn: Pfn) -> MigrateType {
        self.with_areas(|areas| areas.buddy.pageblock_type(pfn))
    }
}
