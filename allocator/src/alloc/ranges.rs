//! Ranges of frames that leave circulation, leave or enter their zones, or are taken wherever they lie.
//!
//! What is in use cannot be moved: a range can be emptied only of what waits in caches. So what the kernel does by migrating
//! pages fails here while somebody holds one, and says how many.

use core::ops::Range;

use super::{CmaArea, Domain, tally::note_past_cache};
use crate::{
    error::{RangeError, RangeProblem},
    frame::Pfn,
    sync::thread,
    zone::{Freed, PAGEBLOCK_FRAMES, Zone},
};

/// How often caches are drained again that were in use by a thread that had lost its CPU.
const DRAINS: u32 = 16;

/// A zone with the part of a range that lies in it.
type Part<'a> = (&'a Zone, Range<Pfn>);

fn refuse<T>(range: &Range<Pfn>, problem: RangeProblem) -> Result<T, RangeError> {
    Err(RangeError { range: range.clone(), problem })
}

/// Returns the zones of a range with the part of each.
fn parts<'a>(domain: &'a Domain, range: &Range<Pfn>) -> impl Iterator<Item = Part<'a>> + Clone + use<'a> {
    let (start, end) = (range.start, range.end);
    let part = move |zone: &'a Zone| (zone, start.max(zone.span().start)..end.min(zone.span().end));
    domain.zones().iter().map(part).filter(|(_, part)| !part.is_empty())
}

/// Checks that a range lies in the arena of an allocator that is open.
fn check(domain: &Domain, range: &Range<Pfn>) -> Result<(), RangeError> {
    if domain.is_closed() {
        return refuse(range, RangeProblem::Closed);
    }
    if range.is_empty() {
        return refuse(range, RangeProblem::Empty);
    }
    let frames: u64 = parts(domain, range).map(|(_, part)| frames_of(&part)).sum();
    if frames == frames_of(range) { Ok(()) } else { refuse(range, RangeProblem::OutOfRange) }
}

/// Checks that a range consists of whole pageblocks, also where it goes from one zone to the next.
fn check_pageblocks(domain: &Domain, range: &Range<Pfn>) -> Result<(), RangeError> {
    check(domain, range)?;
    let is_whole = |pfn: Pfn| pfn.get().is_multiple_of(PAGEBLOCK_FRAMES);
    let all_whole = parts(domain, range).all(|(_, part)| is_whole(part.start) && is_whole(part.end));
    if all_whole { Ok(()) } else { refuse(range, RangeProblem::Misaligned) }
}

fn frames_of(range: &Range<Pfn>) -> u64 {
    u64::from(range.end.get() - range.start.get())
}

fn used_frames(domain: &Domain, range: &Range<Pfn>) -> u64 {
    parts(domain, range).map(|(zone, part)| zone.used_frames(&part)).sum()
}

/// Takes the pageblocks of a range out of circulation (`start_isolate_page_range`), and empties all caches of frames of their
/// zones. Returns how many frames of the range are in use still; they stay isolated when they come back.
///
/// # Errors
/// A range that is not of whole pageblocks, or some of which is isolated or offline.
pub(crate) fn start_isolate(domain: &Domain, range: &Range<Pfn>) -> Result<u64, RangeError> {
    check_pageblocks(domain, range)?;
    // Free memory that is with the system would count as in use.
    let _one_at_a_time = domain.resizing();
    isolate(domain, range)
}

/// Does what [`start_isolate`] does with a range of whole pageblocks; the caller keeps others from resizing.
fn isolate(domain: &Domain, range: &Range<Pfn>) -> Result<u64, RangeError> {
    for (zone, part) in parts(domain, range) {
        if let Err(at) = zone.start_isolate(&part) {
            parts(domain, &(range.start..part.start)).for_each(|(zone, part)| zone.undo_isolate(&part));
            let offline = zone.find_offline(&(at..at.add(PAGEBLOCK_FRAMES)), true);
            return refuse(range, offline.map_or(RangeProblem::Isolated(at), RangeProblem::Offline));
        }
    }
    // Whoever refills or overflows from here on learns that nothing may be cached; the others are visited.
    for _ in 0..DRAINS {
        if domain.caches().refit().skipped == 0 {
            break;
        }
        thread::yield_now();
    }
    Ok(used_frames(domain, range))
}

/// Brings the isolated pageblocks of a range back into circulation (`undo_isolate_page_range`).
///
/// # Errors
/// A range that is not of whole pageblocks.
pub(crate) fn undo_isolate(domain: &Domain, range: &Range<Pfn>) -> Result<(), RangeError> {
    check_pageblocks(domain, range)?;
    // Whoever isolates a range to take it offline relies on that until it is gone.
    let _one_at_a_time = domain.resizing();
    bring_back(domain, range);
    Ok(())
}

/// Brings the isolated pageblocks of a range back into circulation; the caller keeps others from resizing.
fn bring_back(domain: &Domain, range: &Range<Pfn>) {
    parts(domain, range).for_each(|(zone, part)| zone.undo_isolate(&part));
    domain.caches().refit();
}

/// Takes the pageblocks of a range out of their zones (`offline_pages`), if nobody holds a frame of them, and returns what `discard`
/// does with their memory. Nobody can bring them online before that is done.
///
/// # Errors
/// As [`start_isolate`], and when frames are in use.
pub(crate) fn offline_pages<E>(
    domain: &Domain,
    range: &Range<Pfn>,
    discard: impl FnOnce() -> Result<(), E>,
) -> Result<Result<(), E>, RangeError> {
    check_pageblocks(domain, range)?;
    let overlaps = |area: &&CmaArea| area.range().start < range.end && range.start < area.range().end;
    if let Some(area) = domain.cma().iter().find(overlaps) {
        return refuse(range, RangeProblem::Cma(area.range().start));
    }
    let _one_at_a_time = domain.resizing();
    let used = isolate(domain, range)?;
    if used > 0 {
        bring_back(domain, range);
        return refuse(range, RangeProblem::InUse(used));
    }
    // Nobody has a frame of it and nobody can get one, so it is all free until it is gone.
    let taken: u64 = parts(domain, range).map(|(zone, part)| zone.take_offline(&part)).sum();
    debug_assert_eq!(taken, frames_of(range), "an isolated range was in use again");
    domain.setup_per_zone_wmarks();
    let discarded = discard();
    if discarded.is_ok() {
        parts(domain, range).for_each(|(zone, part)| zone.note_zeroed(&part));
    }
    Ok(discarded)
}

/// Brings the pageblocks of a range into their zones, all free (`online_pages`).
///
/// # Errors
/// A range that is not of whole pageblocks, or some of which is not offline.
pub(crate) fn online_pages(domain: &Domain, range: &Range<Pfn>) -> Result<(), RangeError> {
    check_pageblocks(domain, range)?;
    let _one_at_a_time = domain.resizing();
    if let Some(at) = parts(domain, range).find_map(|(zone, part)| zone.find_offline(&part, false)) {
        return refuse(range, RangeProblem::Online(at));
    }
    parts(domain, range).for_each(|(zone, part)| zone.bring_online(&part));
    domain.setup_per_zone_wmarks();
    Ok(())
}

/// Returns the ranges of whole pageblocks that are offline.
pub(crate) fn offline_ranges(domain: &Domain) -> Vec<Range<Pfn>> {
    let mut ranges: Vec<Range<Pfn>> = Vec::new();
    for zone in domain.zones() {
        let mut rest = zone.span().start..zone.span().end;
        while let Some(start) = zone.find_offline(&rest, true) {
            let end = zone.find_offline(&(start..rest.end), false).unwrap_or(rest.end);
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
            rest.start = end;
        }
    }
    ranges
}

/// Takes the frames of a range of any length in one zone (`alloc_contig_range`), and returns the zone: at once if all of them
/// are free; else when what waits in caches has been drained from them.
///
/// # Errors
/// A range over several zones, or frames that are in use.
pub(crate) fn alloc_contig_range<'a>(domain: &'a Domain, range: &Range<Pfn>) -> Result<&'a Zone, RangeError> {
    check(domain, range)?;
    let Some((zone, _)) = parts(domain, range).next().filter(|(_, part)| part == range) else {
        return refuse(range, RangeProblem::SeveralZones);
    };
    if zone.take_range(range, false).is_ok() {
        note_taken(domain, range);
        return Ok(zone);
    }
    let down = |pfn: Pfn| Pfn::new(pfn.get() / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES);
    let around = down(range.start)..down(range.end.add(PAGEBLOCK_FRAMES - 1));
    // Of several who isolate the same pageblocks, one would be refused.
    let _one_at_a_time = domain.resizing();
    let taken = if check_pageblocks(domain, &around).is_ok() {
        // While they are drained, nobody else gets what is free among them.
        isolate(domain, &around)?;
        let taken = zone.take_range(range, true);
        bring_back(domain, &around);
        taken
    } else {
        domain.caches().drain_all();
        zone.take_range(range, false)
    };
    match taken {
        Ok(()) => {
            note_taken(domain, range);
            Ok(zone)
        }
        Err(at) => refuse(range, RangeProblem::FrameInUse(at)),
    }
}

fn note_taken(domain: &Domain, range: &Range<Pfn>) {
    note_past_cache(domain.frames().allocator(), -frames_of(range).cast_signed());
}

/// Frees the frames of a range that [`alloc_contig_range`] gave (`free_contig_range`).
pub(crate) fn free_contig_range(domain: &Domain, range: &Range<Pfn>) {
    if domain.is_orphaned() {
        return;
    }
    // First: an area is gone with the last of the frames.
    let area = |area: &&CmaArea| area.range().start <= range.start && range.end <= area.range().end;
    if let Some(area) = domain.cma().iter().find(area) {
        area.unmark(range);
    }
    note_past_cache(domain.frames().allocator(), frames_of(range).cast_signed());
    for (zone, part) in parts(domain, range) {
        match zone.free_range(&part) {
            Freed::Closed(frames) => domain.caches().settle(frames),
            freed => debug_assert_eq!(freed, Freed::Open, "{range:?} was taken as a whole"),
        }
    }
}
