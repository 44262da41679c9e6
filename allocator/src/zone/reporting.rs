//! Free memory that goes back to the system: out of the free areas, to the system without the zone's lock, and back as zeroes
//! (`mm/page_reporting.c`).
//!
//! A block that is with the system is nobody's: it was taken from the free areas like one that is allocated, so nobody can get it,
//! and what is known of its content holds when it comes back. It counts as no free memory meanwhile, but as one that nobody holds.

use core::ops::Range;

use super::{
    Freed, PAGEBLOCK_FRAMES, Zone,
    buddy::{Buddy, Content},
    watermark::wmark_pages,
    zone::Areas,
};
use crate::{
    frame::{Order, Pfn},
    gfp::{AllocFlags, MigrateType, WmarkIndex},
    sync::{Arc, Doorbell, SeededBug, seeded},
};

/// How many pageblocks are on their way to the system at most (`PAGE_REPORTING_CAPACITY`).
pub const REPORTING_CAPACITY: usize = 32;

/// How many pageblocks are looked at with one acquisition of the zone's lock: 2 GiB.
const PAGEBLOCKS_AT_ONCE: u32 = 1024;

/// Of a zone's free frames, at most one part in so many is out at a time where all of it is to go.
const SHARE: u64 = 8;

/// How far reporting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportGoal {
    /// As long as the zone has [`REPORTING_CAPACITY`] pageblocks more than its low mark (`page_reporting_process_zone`).
    AboveLow,
    /// All that is free, in smaller parts where that is little: requests do without what is out.
    Everything,
}

/// What became of memory that was to go to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The system has had it back: it holds nothing but zeroes.
    GivenBack,
    /// The system refused: it holds what it did before.
    Refused,
}

/// Free pageblocks that were taken out of the free areas to be given back to the system.
#[derive(Debug)]
#[must_use = "they are lost unless they are put back"]
pub struct Unreported {
    pageblocks: [Pfn; REPORTING_CAPACITY],
    len: usize,
    rest: Option<Pfn>,
}

impl Unreported {
    const NONE: Self = Self { pageblocks: [Pfn::new(0); REPORTING_CAPACITY], len: 0, rest: None };

    fn push(&mut self, at: Pfn) {
        self.pageblocks[self.len] = at;
        self.len += 1;
    }

    /// Returns the ranges that the pageblocks make up, each to be put back as a whole.
    pub fn ranges(&self) -> impl Iterator<Item = Range<Pfn>> + '_ {
        let behind = |at: &Pfn| at.add(PAGEBLOCK_FRAMES);
        let runs = self.pageblocks[..self.len].chunk_by(move |at, next| behind(at) == *next);
        runs.map(move |run| run[0]..behind(&run[run.len() - 1]))
    }

    /// Returns where to look for more; `None` when there is no more.
    pub const fn rest(&self) -> Option<Pfn> {
        self.rest
    }
}

/// How free memory goes to the system and comes back:
///
/// ```
/// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, PcpList, ZoneNumber}};
/// # use gfp::gfp::{AllocFlags, MigrateType, ZoneType};
/// # use gfp::sync::{Arc, Doorbell};
/// # use gfp::zone::{FirstFor, Freed, Grouping, Zone, ZoneSpan, watermark::WatermarkRule};
/// use gfp::zone::{Content, FREED, ReportGoal, Reported};
///
/// # let end = Pfn::new(4096);
/// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
/// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
/// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
/// # let first_for = FirstFor::collect(|highest| highest >= kind);
/// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
/// # let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
/// // Somebody had 4 MiB, and whoever listens is told of it.
/// let (order, movable, flags) = (Order::new(10), MigrateType::Movable, AllocFlags::empty());
/// let bell = Arc::new(Doorbell::new());
/// zone.notify_free(&bell);
/// let (pfn, content) = zone.rmqueue_pageblocks(order, movable, flags).expect("all is free");
/// assert_eq!(content, Content::Zero, "nobody had it before");
/// assert_eq!(zone.free_one(pfn, order, PcpList::of(order, movable)), Freed::Open);
/// assert_eq!(bell.take(), FREED);
///
/// // All of the zone is looked through; what is out is neither free nor anybody's.
/// let taken = zone.take_unreported(&(Pfn::new(0)..end), ReportGoal::Everything);
/// let ranges: Vec<_> = taken.ranges().collect();
/// assert_eq!((ranges.len(), ranges[0].clone(), taken.rest()), (1, pfn..pfn.add(512), Some(pfn.add(512))));
/// assert_eq!((zone.report().isolated, zone.nr_free_pages()), (512, 4096 - 512));
///
/// // The system took it: the next owner gets zeroes.
/// assert_eq!(zone.put_reported(&ranges[0], Reported::GivenBack), Freed::Open);
/// assert_eq!((zone.report().known_zero, zone.nr_free_pages()), (7, 4096));
/// assert_eq!(zone.count_unreported(&(Pfn::new(0)..end)), 1, "the upper half was not asked for yet");
/// zone.note_zeroed(&(pfn..pfn.add(1024)));
/// assert_eq!(zone.count_unreported(&(Pfn::new(0)..end)), 0);
///
/// // Of a mapping that had a life before, nothing is known.
/// zone.forget_contents();
/// assert_eq!(zone.report().known_zero, 0);
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
impl Zone {
    /// As [`rmqueue_buddy`](Self::rmqueue_buddy), for a block of at least a pageblock, and says what it holds.
    pub fn rmqueue_pageblocks(
        &self,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
    ) -> Option<(Pfn, Content)> {
        debug_assert!(order >= Order::PAGEBLOCK, "of smaller blocks nothing is known: {order:?}");
        let areas = self.acquire_for(flags)?;
        self.locked(areas, |areas, _| {
            let pfn = self.take_block(areas, order, migratetype, flags)?;
            Some((pfn, areas.buddy.last_content()))
        })
    }

    /// Has a bell rung, with the wish [`FREED`](super::FREED), whenever a free block of at least a pageblock comes back
    /// (`page_reporting_register`). It is rung [once](Doorbell::ring_once) with the zone's lock held: it is quiet until the wish is taken.
    #[doc(alias = "page_reporting_notify_free")]
    pub fn notify_free(&self, bell: &Arc<Doorbell>) {
        self.with_areas(|areas| areas.buddy.set_bell(Some(Arc::clone(bell))));
    }

    /// Takes free pageblocks of a range that may hold something else than zeroes out of the free areas, as many as `goal` permits at
    /// a time. Each is to be [put back](Self::put_reported).
    pub fn take_unreported(&self, range: &Range<Pfn>, goal: ReportGoal) -> Unreported {
        self.with_areas(|areas| {
            let mut taken = Unreported::NONE;
            let most = if areas.closed { 0 } else { room(areas, goal) };
            if most == 0 {
                return taken;
            }
            let start = range.start.max(self.span().start);
            let end = range.end.min(self.span().end);
            let stop = Pfn::new(start.get().saturating_add(PAGEBLOCKS_AT_ONCE * PAGEBLOCK_FRAMES)).min(end);
            taken.rest = (stop < end).then_some(stop);
            let mut rest = start..stop;
            while let Some(at) = areas.buddy.next_unreported(&rest) {
                if taken.len == most {
                    taken.rest = Some(at);
                    break;
                }
                if seeded(SeededBug::ReportedNotedEarly) {
                    areas.buddy.note_zeroed(at, at.add(PAGEBLOCK_FRAMES));
                }
                if seeded(SeededBug::ReportedInPlace) || areas.buddy.carve(at) {
                    taken.push(at);
                }
                rest.start = at.add(PAGEBLOCK_FRAMES);
            }
            self.extent.reporting.add(frames_of(taken.len));
            taken
        })
    }

    /// Puts pageblocks back that were [taken](Self::take_unreported), and notes what became of their memory.
    pub fn put_reported(&self, range: &Range<Pfn>, reported: Reported) -> Freed {
        self.with_areas(|areas| {
            let frames = u64::from(range.end.get() - range.start.get());
            self.extent.reporting.subtract(frames);
            match reported {
                Reported::GivenBack => {
                    areas.buddy.note_zeroed(range.start, range.end);
                    areas.events.reported_frames += frames;
                }
                Reported::Refused => areas.events.refused_frames += frames,
            }
            if !seeded(SeededBug::ReportedInPlace) {
                areas.free(|buddy| put_back_quietly(buddy, range));
            }
            areas.freed()
        })
    }

    /// Returns how many free pageblocks of a range may hold something else than zeroes.
    pub fn count_unreported(&self, range: &Range<Pfn>) -> u64 {
        let mut rest = range.start.max(self.span().start)..range.end.min(self.span().end);
        let mut count = 0;
        while rest.start < rest.end {
            let stop = Pfn::new(rest.start.get().saturating_add(PAGEBLOCKS_AT_ONCE * PAGEBLOCK_FRAMES));
            count += self.with_areas(|areas| {
                let mut piece = rest.start..stop.min(rest.end);
                let next = || {
                    let at = areas.buddy.next_unreported(&piece)?;
                    piece.start = at.add(PAGEBLOCK_FRAMES);
                    Some(at)
                };
                core::iter::from_fn(next).count() as u64
            });
            rest.start = stop;
        }
        count
    }

    /// Notes that whole pageblocks, which nobody has, hold nothing but zeroes.
    pub fn note_zeroed(&self, range: &Range<Pfn>) {
        self.with_areas(|areas| areas.buddy.note_zeroed(range.start, range.end));
    }

    /// Notes that the zone's memory may hold anything.
    pub fn forget_contents(&self) {
        self.with_areas(|areas| areas.buddy.forget_contents());
    }

    /// Tells whether free memory of the zone is on its way to the system or back.
    #[cfg(not(loom))]
    pub(crate) fn is_reporting(&self) -> bool {
        self.extent.reporting.get() > 0
    }
}

/// Returns how many pageblocks may be out at a time.
fn room(areas: &Areas, goal: ReportGoal) -> usize {
    let free = areas.buddy.free_frames();
    match goal {
        ReportGoal::AboveLow => {
            let least = wmark_pages(&areas.marks, WmarkIndex::Low) + frames_of(REPORTING_CAPACITY);
            if free > least { REPORTING_CAPACITY } else { 0 }
        }
        ReportGoal::Everything => {
            let share = free / SHARE / u64::from(PAGEBLOCK_FRAMES);
            usize::try_from(share).unwrap_or(REPORTING_CAPACITY).clamp(1, REPORTING_CAPACITY)
        }
    }
}

const fn frames_of(pageblocks: usize) -> u64 {
    pageblocks as u64 * PAGEBLOCK_FRAMES as u64
}

/// Puts pageblocks back without a word to those who wait for blocks that come back (`FPI_SKIP_REPORT_NOTIFY`).
fn put_back_quietly(buddy: &mut Buddy, range: &Range<Pfn>) {
    let bell = buddy.set_bell(None);
    for at in (range.start.get()..range.end.get()).step_by(PAGEBLOCK_FRAMES as usize) {
        buddy.put_back(Pfn::new(at));
    }
    buddy.set_bell(bell);
}
