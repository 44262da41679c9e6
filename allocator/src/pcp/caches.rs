//! All caches of an allocator: who has one, how large they may be, and how they are visited.

use core::fmt;
use core::num::NonZeroUsize;
use core::time::Duration;

use super::{
    cache::{Handover, ThreadCache},
    ledger::{Ledger, OnLast},
    sizing::{HighFraction, PcpLimits},
};
use crate::{
    frame::{FrameBatch, FrameTable, Nid, PcpList, ZoneNumber},
    sync::{
        Arc, OwnedCell, OwnedCounter, Owner, Registry, ZeroedSliceError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        fence_claims, thread,
    },
    trace,
    zone::{Freed, Zone},
};

#[cfg(not(loom))]
mod balances;

/// How many caches are claimed with one fence.
const CLAIMS_AT_ONCE: usize = 64;

/// How long a drainer waits for an owner that is inside its cache: longer means that it lost its CPU there.
const PATIENCE: Duration = Duration::from_micros(200);

/// What all caches of an allocator share.
#[derive(Debug)]
pub struct Caches {
    pub(super) zones: Arc<[Zone]>,
    pub(super) frames: FrameTable,
    /// By node, the zone that ordinary requests of its threads try first.
    hot_zones: Box<[ZoneNumber]>,
    registry: Registry<OwnedCell<ThreadCache>>,
    cpus: u32,
    fraction: HighFraction,
    handover: Handover,
    /// Frames that fit into one CPU's share of its last-level cache.
    pub(super) cache_slice_frames: u64,
    /// How many caches share the zones, rounded up; the limits of every cache follow from it.
    shares: AtomicU32,
    pub(super) ledger: Ledger,
    /// What the caches of ended threads had handed out and taken back, by zone. Written under the registry's lock.
    ended: Box<[Traffic]>,
    skipped: AtomicU64,
    /// The number of the next cache.
    next: AtomicU64,
}

/// Frames that went through caches.
#[derive(Debug, Default)]
struct Traffic {
    allocated: OwnedCounter,
    freed: OwnedCounter,
}

/// What the caches of one zone hold and did, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedTotals {
    /// Frames in caches now.
    pub cached_frames: u64,
    /// Frames that caches handed out so far.
    pub allocated_frames: u64,
    /// Frames that were freed into caches so far.
    pub freed_frames: u64,
}

/// What a visit to all caches did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Frames that went from caches to zones.
    pub frames: u64,
    /// Caches that were left alone because their owner did not leave them in time.
    pub skipped: u32,
}

/// Why a thread got no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCache {
    /// The allocator is closed.
    Closed,
    /// The thread is ending, and its cache has been emptied.
    ThreadEnds,
    /// There is no memory for it.
    NoMemory(ZeroedSliceError),
}

impl fmt::Display for NoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the allocator is closed"),
            Self::ThreadEnds => f.write_str("the thread is ending and has no cache any more"),
            Self::NoMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoCache {}

/// Returns by how many caches the zones are shared: as many as there are, at least one.
///
/// Above 8 the number is rounded up to eighths of a power of two, so that a thousand threads do not change the limits of all
/// caches a thousand times.
fn shares_of(caches: u32) -> u32 {
    let step = if caches < 8 { 1 } else { 1 << (caches.ilog2() - 3) };
    caches.next_multiple_of(step).max(1)
}

impl Caches {
    /// Makes the caches of an allocator that has none yet.
    pub fn new(
        zones: Arc<[Zone]>,
        frames: FrameTable,
        hot_zones: Box<[ZoneNumber]>,
        cpus: u32,
        fraction: HighFraction,
        cache_slice_frames: u64,
        handover: Handover,
    ) -> Self {
        let ended = zones.iter().map(|_| Traffic::default()).collect();
        Self {
            zones,
            frames,
            hot_zones,
            registry: Registry::new(),
            cpus,
            fraction,
            handover,
            cache_slice_frames,
            shares: AtomicU32::new(shares_of(0)),
            ledger: Ledger::default(),
            ended,
            skipped: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Returns the zones.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Returns the zone that ordinary requests of a node's threads try first.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn hot_zone(&self, node: Nid) -> ZoneNumber {
        self.hot_zones[node.index()]
    }

    /// Returns the limits of each cache of a zone as of now.
    pub(super) fn limits(&self, zone: &Zone) -> PcpLimits {
        if !zone.may_be_cached() {
            return PcpLimits::OFF;
        }
        let shares = self.shares.load(Ordering::Relaxed);
        PcpLimits::new(zone.managed(), zone.watermarks().low, self.cpus, shares, self.fraction)
    }

    /// Makes a cache for the calling thread, which is on `node`, and finds it again by `key`.
    ///
    /// The only point on the way of a request that allocates from the heap, once in a thread's life.
    ///
    /// # Errors
    /// When the allocator is closed, or there is no memory.
    pub fn register(this: &Arc<Self>, key: NonZeroUsize, node: Nid) -> Result<Owner<ThreadCache>, NoCache> {
        let zones = this.zones.iter().map(|zone| (zone.shared_state(), this.limits(zone)));
        let home = Arc::clone(this);
        let trusted = (this.handover == Handover::Direct).then(|| this.frames.allocator());
        let serial = this.next.fetch_add(1, Ordering::Relaxed);
        let cache = ThreadCache::new(node, this.hot_zone(node), trusted, zones, home, serial)
            .map_err(NoCache::NoMemory)?;
        let owner = Owner::with_key(key, cache);
        this.registry.register(Arc::clone(owner.cell())).map_err(|_closed| NoCache::Closed)?;
        // Its limits are from before it was listed: whoever changed since what they follow from has not seen it.
        this.resize(core::slice::from_ref(owner.cell()));
        Ok(owner)
    }

    /// Gives every cache its share again after threads came or went, and drains what is above it; if no share has changed, those
    /// that came theirs.
    fn resize(&self, came: &[Arc<OwnedCell<ThreadCache>>]) {
        self.registry.with_entries(|entries| {
            let caches = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let shares = shares_of(caches);
            let changed = self.shares.swap(shares, Ordering::Relaxed) != shares;
            self.visit(if changed { entries } else { came }, |cache| self.fit(cache));
        });
    }

    /// Gives every cache its limits again after something that they follow from changed, and drains what is above them: all that
    /// is of a zone that [may not be cached](Zone::may_be_cached) now.
    pub fn refit(&self) -> Drained {
        self.registry.with_entries(|entries| self.visit(entries, |cache| self.fit(cache)))
    }

    /// Gives one cache its limits, and drains what is above them.
    fn fit(&self, cache: &mut ThreadCache) -> u64 {
        let fit_zone = |(index, zone): (usize, &Zone)| {
            let limits = self.limits(zone);
            let too_much = cache.zone_mut(index).map_or(0, |pcp| {
                pcp.tune(|tuning, count, _| {
                    tuning.set_limits(limits);
                    count.saturating_sub(tuning.high_max)
                })
            });
            self.shrink(cache, index, too_much)
        };
        self.zones.iter().enumerate().map(fit_zone).sum()
    }

    /// Drains at least `frames` frames of a zone's lists, coldest first, as far as there are any.
    fn shrink(&self, cache: &mut ThreadCache, zone: usize, frames: u32) -> u64 {
        let mut left = frames;
        let mut drained = 0;
        let Some(pcp) = cache.zone_mut(zone) else { return 0 };
        for (list, order) in (0..PcpList::COUNT).map(PcpList::with_index) {
            while left > 0 && !pcp.lists().list(list).is_empty() {
                let mut batch = FrameBatch::new();
                let blocks = left.div_ceil(order.frames()) as usize;
                let moved = pcp.give_up(list, blocks, &mut batch) * order.frames();
                left = left.saturating_sub(moved);
                drained += u64::from(moved);
                self.free_to_zone(zone, list, &batch);
            }
        }
        drained
    }

    /// Frees a batch that a cache gave up.
    pub(super) fn free_to_zone(&self, zone: usize, list: PcpList, batch: &FrameBatch) {
        if let Freed::Closed(frames) = self.zones[zone].free_bulk(list, batch) {
            self.ledger.settle(frames);
        }
    }

    /// Counts frames of a closed allocator that have come back to their zone.
    #[cold]
    pub fn settle(&self, frames: u64) {
        self.ledger.settle(frames);
    }

    /// Drains everything that a cache holds.
    pub(super) fn drain(&self, cache: &mut ThreadCache) -> u64 {
        (0..self.zones.len()).map(|zone| self.shrink(cache, zone, u32::MAX)).sum()
    }

    /// Drains the caches of all threads (`drain_all_pages`). May wait a while for each: for requests that may block.
    pub fn drain_all(&self) -> Drained {
        let drained = self.registry.with_entries(|entries| self.visit(entries, |cache| self.drain(cache)));
        trace::drain_all_pages(drained.frames, drained.skipped);
        drained
    }

    /// Claims each cache in turn and calls `f` with it; the caller holds the registry's lock.
    ///
    /// One fence covers many claims, and each cache is released as soon as it was visited.
    fn visit(
        &self,
        entries: &[Arc<OwnedCell<ThreadCache>>],
        f: impl FnMut(&mut ThreadCache) -> u64,
    ) -> Drained {
        let mut f = f;
        let mut done = Drained::default();
        for group in entries.chunks(CLAIMS_AT_ONCE) {
            let mut claims = [const { None }; CLAIMS_AT_ONCE];
            for (slot, cell) in claims.iter_mut().zip(group) {
                *slot = cell.try_claim();
            }
            let fenced = fence_claims();
            for claim in claims.into_iter().flatten() {
                match claim.wait(&fenced, PATIENCE) {
                    Some(mut cache) => done.frames += f(&mut cache),
                    None => done.skipped += 1,
                }
            }
        }
        self.skipped.fetch_add(u64::from(done.skipped), Ordering::Relaxed);
        done
    }

    /// Lets every cache age by a second: what was tuned up decays, what nobody used for three seconds goes back
    /// (`decay_pcp_high`, `drain_zone_pages`).
    pub fn age(&self) -> Drained {
        const EXPIRE_SECONDS: u32 = 3;
        self.registry.with_entries(|entries| {
            self.visit(entries, |cache| {
                let mut drained = self.fit(cache);
                for zone in 0..self.zones.len() {
                    let Some(pcp) = cache.zone_mut(zone) else { continue };
                    let expired = pcp.age() >= EXPIRE_SECONDS;
                    let too_much =
                        pcp.tune(|tuning, count, _| if expired { count } else { tuning.decay(count) });
                    drained += self.shrink(cache, zone, too_much);
                }
                drained
            })
        })
    }

    /// Adds up what the caches of each zone hold and did; exact while no thread is inside its cache.
    pub fn totals(&self) -> Vec<CachedTotals> {
        self.registry.with_entries(|entries| {
            let mut totals: Vec<_> = self
                .ended
                .iter()
                .map(|ended| CachedTotals {
                    cached_frames: 0,
                    allocated_frames: ended.allocated.get(),
                    freed_frames: ended.freed.get(),
                })
                .collect();
            self.visit(entries, |cache| {
                for (total, pcp) in totals.iter_mut().zip(cache.zones()) {
                    total.cached_frames += u64::from(pcp.count());
                    total.allocated_frames += pcp.allocated_frames();
                    total.freed_frames += pcp.freed_frames();
                }
                0
            });
            totals
        })
    }

    /// Calls `f` with each cache, numbered in the order of registration, as far as its owner leaves it in time.
    pub fn for_each(&self, f: impl FnMut(usize, &ThreadCache)) {
        let mut f = f;
        let mut number = 0;
        self.registry.with_entries(|entries| {
            self.visit(entries, |cache| {
                f(number, cache);
                number += 1;
                0
            })
        });
    }

    /// Returns how often a cache was left alone because its owner was inside for too long.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Returns how many caches there are.
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Shows no cache from now on and takes none: for the child of a fork, whose caches may all be half changed.
    ///
    /// ```
    /// # use core::num::NonZeroUsize;
    /// # use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, ZoneNumber}};
    /// # use gfp::gfp::ZoneType;
    /// # use gfp::pcp::{Caches, Handover, sizing::HighFraction};
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
    /// let owner = Caches::register(&caches, NonZeroUsize::MIN, node)?;
    /// assert_eq!(caches.len(), 1);
    /// caches.orphan();
    /// assert!(caches.is_empty() && Caches::register(&caches, NonZeroUsize::MIN, node).is_err());
    /// # drop(owner);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn orphan(&self) {
        self.registry.orphan();
    }

    /// Tells whether there is no cache.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties the cache of a thread that ends and forgets it.
    ///
    /// Registry first, then the claim: a visitor has either finished with this cache or does not see it any more, and
    /// its counts are in the totals at every moment.
    fn retire(&self, owner: &Owner<ThreadCache>) {
        let retired = self.registry.unregister(owner.cell(), |_| {
            owner.retire(|cache| {
                self.drain(cache);
                for (ended, pcp) in self.ended.iter().zip(cache.zones()) {
                    ended.allocated.add(pcp.allocated_frames());
                    ended.freed.add(pcp.freed_frames());
                }
                cache.bury();
            })
        });
        if retired.is_some() {
            self.resize(&[]);
        }
    }

    /// Closes all zones and caches: from now on requests fail and every free goes to its zone. When the last frame has
    /// come back, which may be now, `on_last` runs.
    pub fn close(&self, on_last: OnLast) {
        let count = || self.zones.iter().map(Zone::close).sum();
        self.ledger.close(on_last, count, || {
            self.registry.close(|entries| {
                for cell in entries {
                    self.bury(cell);
                }
            });
        });
    }

    /// Empties a cache and claims it for ever.
    fn bury(&self, cell: &OwnedCell<ThreadCache>) {
        // An owner that lost its CPU inside its cache gets it back sooner or later.
        while !cell.is_kept() {
            match cell.try_claim().and_then(|claim| claim.wait(&fence_claims(), PATIENCE)) {
                Some(mut cache) => {
                    self.drain(&mut cache);
                    cache.bury();
                    cache.keep();
                }
                None => thread::yield_now(),
            }
        }
    }
}

/// Ends the cache of a thread that ends; for the thread itself.
pub(super) fn retire(owner: &Owner<ThreadCache>) {
    // A cache that cannot be entered is buried already: its allocator is closed.
    if let Some(home) = owner.enter_behind_drainer().ok().and_then(|cache| cache.home()) {
        home.retire(owner);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::ZeroedSlice;

    #[test]
    fn a_thousand_threads_change_the_shares_a_few_times_only() {
        assert_eq!([0, 1, 2, 7, 8, 9, 15, 16].map(shares_of), [1, 1, 2, 7, 8, 9, 15, 16]);
        assert_eq!([17, 18, 19, 31, 32, 33, 37, 1000].map(shares_of), [18, 18, 20, 32, 32, 36, 40, 1024]);
        let mut shares: Vec<_> = (1..=1000).map(shares_of).collect();
        assert!(
            (1..).zip(&shares).all(|(caches, &shares)| caches <= shares && shares - caches <= caches / 8)
        );
        shares.dedup();
        assert_eq!(shares.len(), 7 + 7 * 8 + 1);
    }

    #[test]
    fn a_thread_that_gets_no_cache_is_told_why() {
        let refused = ZeroedSlice::<u64>::new(usize::MAX / 16).map(|_| ()).expect_err("too much");
        let texts =
            [NoCache::Closed, NoCache::ThreadEnds, NoCache::NoMemory(refused)].map(|why| why.to_string());
        let ends = "the thread is ending and has no cache any more".to_owned();
        assert_eq!(texts, ["the allocator is closed".to_owned(), ends, refused.to_string()]);
    }
}
