//! One shrinker's turn in a round (`do_shrink_slab`).

use super::{
    ObjectCount, ShrinkControl, ShrinkRound, Shrinker, Shrunk,
    entry::Entry,
    meter::{Meter, Place},
    share::Share,
};
use crate::{alloc::Domain, sync::atomic::Ordering, trace};

/// After so many scans in a row in which nothing came back, a turn ends.
const MOST_FRUITLESS_SCANS: u32 = 1024;

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// The scanned are objects, the freed are frames.
    pub(super) shrunk: Shrunk,
    /// Whether a scan was left out because no more was wanted.
    pub(super) is_sated: bool,
}

/// Asks a shrinker for its share (`do_shrink_slab`).
pub(super) fn do_shrink_slab(entry: &Entry, domain: &Domain, round: ShrinkRound<'_>) -> Turn {
    let nid = entry.nid(round.node);
    let mut control = ShrinkControl::new(round.gfp, nid);
    entry.counts.fetch_add(1, Ordering::Relaxed);
    let Some(ObjectCount::Objects(objects @ 1..)) = entry.call(|shrinker| shrinker.count_objects(&control))
    else {
        return Turn::default();
    };
    let asked = trace::ShrinkSlab { name: entry.name, node: nid, deferred: entry.take_deferred(nid) };
    let mut share = Share::new(objects, asked.deferred, round.priority, entry.cost);
    let (delta, total) = (share.delta(), share.total());
    trace::mm_shrink_slab_start(asked, round.gfp, objects, delta, total, round.priority);

    let turn = scan(entry, domain, round.wanted, &mut control, &mut share);

    let left_over = share.left_over();
    entry.defer(nid, left_over);
    trace::mm_shrink_slab_end(asked, turn.shrunk.freed, left_over, share.total());
    turn
}

/// Has a shrinker scan its share, batch after batch, until it is done, stops, or is given up, no more is wanted, or the allocator ends. No scan is for
/// more objects than frames are wanted: the kernel's may be.
fn scan(
    entry: &Entry,
    domain: &Domain,
    wanted: &dyn Fn() -> u64,
    control: &mut ShrinkControl,
    share: &mut Share,
) -> Turn {
    let mut turn = Turn::default();
    if share.next_scan().is_none() {
        return turn;
    }
    let mut meter = Meter::start(domain, entry.frees_elsewhere.load(Ordering::Relaxed));
    let mut fruitless = 0;
    while let Some(nr_to_scan) = share.next_scan().filter(|_| !domain.is_closed()) {
        let nr_to_scan = nr_to_scan.min(wanted());
        if nr_to_scan == 0 {
            turn.is_sated = true;
            break;
        }
        control.ask(nr_to_scan);
        let scanned = entry.call(|shrinker: &dyn Shrinker| shrinker.scan_objects(control));
        let stopped = !matches!(scanned, Some(Some(_)));
        let nr_scanned = if stopped { 0 } else { control.nr_scanned() };
        let claimed = scanned.flatten().unwrap_or(0);
        // What came back has come back, whatever the shrinker says, and if it panicked.
        let reading = meter.read(claimed);
        if reading.place != Place::Nowhere {
            entry.frees_elsewhere.store(reading.place == Place::Elsewhere, Ordering::Relaxed);
        }
        turn.shrunk.freed += reading.frames;
        entry.note_scan(nr_scanned, claimed, reading.frames);
        share.scanned(nr_scanned);
        turn.shrunk.scanned = turn.shrunk.scanned.saturating_add(nr_scanned);
        if nr_scanned == 0 {
            break;
        }
        fruitless = if reading.frames > 0 { 0 } else { fruitless + 1 };
        if fruitless == MOST_FRUITLESS_SCANS {
            entry.given_up.fetch_add(1, Ordering::Relaxed);
            break;
        }
    }
    turn
}
