//! What is done to a zone by address: pageblocks that leave circulation or the zone, and frames taken wherever they lie.

use core::ops::Range;

use super::{Freed, PAGEBLOCK_FRAMES, Zone, buddy::Buddy};
use crate::{frame::Pfn, gfp::MigrateType};

/// How many pageblocks are changed with one acquisition of the zone's lock.
const PAGEBLOCKS_AT_ONCE: u32 = 64;

/// Returns the first frames of the pageblocks of a range that consists of whole ones.
fn pageblocks(range: &Range<Pfn>) -> impl Iterator<Item = Pfn> + use<> {
    (range.start.get()..range.end.get()).step_by(PAGEBLOCK_FRAMES as usize).map(Pfn::new)
}

/// Divides a range into pieces that are short enough for one acquisition of the lock.
fn pieces(range: &Range<Pfn>) -> impl Iterator<Item = Range<Pfn>> + use<> {
    let (piece, end) = (PAGEBLOCKS_AT_ONCE * PAGEBLOCK_FRAMES, range.end);
    (range.start.get()..range.end.get())
        .step_by(piece as usize)
        .map(move |start| Pfn::new(start)..Pfn::new(start.saturating_add(piece)).min(end))
}

/// Ranges are of whole pageblocks of the zone unless they say otherwise.
///
/// ```
/// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, ZoneNumber}};
/// # use gfp::gfp::{ZoneType};
/// # use gfp::zone::{FirstFor, Freed, Grouping, Zone, ZoneSpan, watermark::WatermarkRule};
/// # let end = Pfn::new(4096);
/// # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
/// # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
/// # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 4096)?;
/// # let first_for = FirstFor::collect(|highest| highest >= kind);
/// # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
/// # let zone = Zone::new(span, Order::new(10), rule, frames, first_for, grouping)?;
/// let block = Pfn::new(512)..Pfn::new(1024);
/// zone.start_isolate(&block).expect("it is in circulation");
/// assert_eq!(zone.used_frames(&block), 0);
/// assert!(!zone.may_be_cached(), "caches would hand out frames of it");
///
/// // All of it is free: it can be taken out of the zone, and brought back.
/// assert_eq!((zone.take_offline(&block), zone.managed()), (512, 4096 - 512));
/// assert_eq!(zone.find_offline(&(Pfn::new(0)..end), true), Some(Pfn::new(512)));
/// zone.bring_online(&block);
/// assert_eq!((zone.find_offline(&block, true), zone.managed()), (None, 4096));
///
/// // Or taken by address, in circulation or isolated.
/// zone.start_isolate(&block).expect("it is back");
/// zone.undo_isolate(&block);
/// zone.reserve_cma(&block);
/// assert_eq!(zone.cma_pages(), 512);
/// let odd = Pfn::new(600)..Pfn::new(607);
/// assert_eq!(zone.take_range(&odd, false), Ok(()));
/// assert_eq!(zone.take_range(&odd, false), Err(Pfn::new(600)), "it is taken");
/// assert_eq!(zone.free_range(&odd), Freed::Open);
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
impl Zone {
    /// Changes every pageblock of a range, and calls `note` with how many could be changed, with the lock held.
    fn change_pageblocks(
        &self,
        range: &Range<Pfn>,
        change: impl Fn(&mut Buddy, Pfn) -> bool,
        note: impl Fn(u64),
    ) -> u64 {
        let change_piece = |piece: Range<Pfn>| {
            self.with_areas(|areas| {
                let changed = pageblocks(&piece).filter(|&at| change(&mut areas.buddy, at)).count() as u64;
                note(changed);
                changed
            })
        };
        pieces(range).map(change_piece).sum()
    }

    /// Takes pageblocks out of circulation (`start_isolate_page_range`).
    ///
    /// # Errors
    /// The first that is isolated or offline already; nothing is changed then.
    pub fn start_isolate(&self, range: &Range<Pfn>) -> Result<(), Pfn> {
        let refused = pageblocks(range).find(|&at| {
            self.with_areas(|areas| {
                let isolated = areas.buddy.start_isolate(at);
                self.extent.isolated_pageblocks.add(u64::from(isolated));
                !isolated
            })
        });
        refused.map_or(Ok(()), |at| {
            self.undo_isolate(&(range.start..at));
            Err(at)
        })
    }

    /// Brings isolated pageblocks back into circulation (`undo_isolate_page_range`).
    pub fn undo_isolate(&self, range: &Range<Pfn>) {
        let note = |undone| self.extent.isolated_pageblocks.subtract(undone);
        self.change_pageblocks(range, Buddy::undo_isolate, note);
    }

    /// Returns how many frames of a range are not in the free areas (`test_pages_isolated`).
    pub fn used_frames(&self, range: &Range<Pfn>) -> u64 {
        let used = |piece: Range<Pfn>| {
            self.with_areas(|areas| {
                pageblocks(&piece).map(|at| u64::from(areas.buddy.used_in_pageblock(at))).sum::<u64>()
            })
        };
        pieces(range).map(used).sum()
    }

    /// Returns the first pageblock of a range that is offline, or the first that is not.
    pub fn find_offline(&self, range: &Range<Pfn>, offline: bool) -> Option<Pfn> {
        pieces(range).find_map(|piece| {
            self.with_areas(|areas| pageblocks(&piece).find(|&at| areas.buddy.is_offline(at) == offline))
        })
    }

    /// Takes isolated pageblocks, as far as they are all free, out of the zone, and returns their frames
    /// (`__offline_isolated_pages`).
    pub fn take_offline(&self, range: &Range<Pfn>) -> u64 {
        let note = |taken| {
            self.extent.isolated_pageblocks.subtract(taken);
            self.extent.managed.subtract(taken * u64::from(PAGEBLOCK_FRAMES));
        };
        self.change_pageblocks(range, Buddy::take_offline, note) * u64::from(PAGEBLOCK_FRAMES)
    }

    /// Brings offline pageblocks into the zone (`online_pages_range`).
    pub fn bring_online(&self, range: &Range<Pfn>) {
        let note = |brought| self.extent.managed.add(brought * u64::from(PAGEBLOCK_FRAMES));
        self.change_pageblocks(range, Buddy::bring_online, note);
    }

    /// Keeps pageblocks for contiguous requests, and lends them to movable ones meanwhile
    /// (`init_cma_reserved_pageblock`).
    pub fn reserve_cma(&self, range: &Range<Pfn>) {
        let to_cma = |buddy: &mut Buddy, at| {
            buddy.set_migratetype(at, MigrateType::Cma);
            true
        };
        self.change_pageblocks(range, to_cma, |blocks| {
            self.extent.cma_pages.add(blocks * u64::from(PAGEBLOCK_FRAMES));
        });
    }

    /// Takes the frames of a range, of any length, if all of them are free and their pageblocks are isolated, or all are not, as
    /// `isolated` says (`alloc_contig_range`).
    ///
    /// # Errors
    /// The first frame of which that is not so; nothing is taken then.
    pub fn take_range(&self, range: &Range<Pfn>, isolated: bool) -> Result<(), Pfn> {
        self.with_areas(|areas| {
            let first =
                Pfn::new(range.start.get() / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES).max(self.span().start);
            let mut around = pageblocks(&(first..range.end));
            let other = around.find(|&at| areas.buddy.is_isolated(at) != isolated);
            if let Some(at) = other.or(areas.closed.then_some(first)) {
                return Err(at.max(range.start));
            }
            areas.buddy.take_range(range.start, range.end)?;
            areas.events.allocated_frames += u64::from(range.end.get() - range.start.get());
            Ok(())
        })
    }

    /// Frees the frames of a range that was [taken](Self::take_range) (`free_contig_range`).
    pub fn free_range(&self, range: &Range<Pfn>) -> Freed {
        self.free_past_caches(|buddy| buddy.free_range(range.start, range.end))
    }
}
