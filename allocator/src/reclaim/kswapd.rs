//! The thread of a node that keeps memory free: when it is woken, works and sleeps.

use core::{cell::Cell, time::Duration};
use std::sync::OnceLock;

use super::{
    KswapdReport, Pgdat, Pinned, Reclaim, Shrunk,
    balance::{Balanced, Boosts, Node, balance_pgdat},
    drain_own_cache,
    wish::Wish,
};
use crate::{
    alloc::{Busy, Domain, Reclaimer},
    compact::compact_gap,
    frame::{Nid, Order, ZoneNumber},
    gfp::{AllocFlags, Gfp, WmarkIndex, ZoneType},
    sync::{
        Doorbell, Rung, SharedCounter, Slept,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    trace,
    zone::{Zone, watermark::wmark_pages},
};

/// How often in a row reclaim may fail before a node counts as hopeless, or a request asks for more (`MAX_RECLAIM_RETRIES`).
pub(crate) const MAX_RECLAIM_RETRIES: u32 = 16;

/// How long a kswapd naps before it goes to sleep, so that whoever needs it at once finds it quickly.
const NAP: Duration = Duration::from_millis(100);

/// How many runs in a row are done by hand.
const RUNS_BY_HAND: u32 = 64;

/// The least that a zone counts for when it is said how much a round should look at (`SWAP_CLUSTER_MAX`).
pub(super) const SWAP_CLUSTER_MAX: u64 = 32;

/// What a node's kswapd and those who wake it share.
#[derive(Debug, Default)]
pub(super) struct Kswapd {
    bell: Doorbell,
    has_thread: AtomicBool,
    pinned: OnceLock<Pinned>,
    /// Runs in a row that reclaimed nothing (`kswapd_failures`).
    failures: AtomicU32,
    /// Whether the next request may wake it although the node is hopeless.
    may_try_again: AtomicBool,
    /// How often the node's zones had come above their high marks when it was given up.
    rises: AtomicU64,
    wakeups: SharedCounter,
    runs: SharedCounter,
    scanned: SharedCounter,
    reclaimed: SharedCounter,
}

impl Kswapd {
    /// Leaves a wish, and wakes the thread if that `is_worth_it`.
    pub(super) fn ring(&self, wish: Wish, is_worth_it: impl FnOnce() -> bool) -> Rung {
        let rung = self.bell.ring(wish.bits(), is_worth_it);
        if rung == Rung::Woken {
            self.wakeups.add(1);
        }
        rung
    }

    /// Tells whether there is a thread.
    pub(super) fn has_thread(&self) -> bool {
        self.has_thread.load(Ordering::Relaxed)
    }

    /// Tells whether so many runs in a row have failed that more are a waste (`pgdat_is_hopeless`).
    ///
    /// There is hope again when memory was reclaimed, by whomever, or when frees have lifted a zone above its high mark since.
    pub(super) fn is_hopeless(&self, domain: &Domain, node: Nid) -> bool {
        if self.failures.load(Ordering::Relaxed) < MAX_RECLAIM_RETRIES {
            return false;
        }
        let is_hopeless = self.rises.load(Ordering::Relaxed) == rises(domain, node);
        if !is_hopeless {
            self.note_success();
        }
        is_hopeless
    }

    /// Tells, once in a while, whether to try although the node is hopeless.
    fn tries_again(&self) -> bool {
        self.may_try_again.load(Ordering::Relaxed) && self.may_try_again.swap(false, Ordering::Relaxed)
    }

    /// Notes that memory was reclaimed.
    pub(super) fn note_success(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn note_failure(&self, domain: &Domain, node: Nid) {
        self.rises.store(rises(domain, node), Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns how often zones of a node have come above their high marks.
fn rises(domain: &Domain, node: Nid) -> u64 {
    domain.zones_of(node, ZoneType::Movable).map(Zone::rises).fold(0, u64::wrapping_add)
}

/// Tells whether the marks of some zone are boosted (`pgdat_watermark_boosted`).
fn is_boosted(domain: &Domain, node: Nid, highest: ZoneType) -> bool {
    domain.zones_of(node, highest).any(|zone| zone.watermarks().boost > 0)
}

/// Tells whether a node has enough for a wish (`pgdat_balanced`).
fn is_balanced(domain: &Domain, node: Nid, wish: Wish) -> bool {
    let high = AllocFlags::from_wmark(WmarkIndex::High);
    let mut managed = domain.zones_of(node, wish.highest).filter(|zone| zone.managed() > 0).peekable();
    managed.peek().is_none() || managed.any(|zone| zone.watermark_ok(wish.order, wish.highest, high))
}

/// What a node lacks to have enough for a wish.
enum Missing {
    Nothing,
    /// So many frames.
    Frames(u64),
    /// A block of the order, of which there are the frames.
    Block,
}

/// Says what a node lacks: where it has several zones, what the one lacks that needs least.
fn missing(domain: &Domain, node: Nid, wish: Wish) -> Missing {
    if is_balanced(domain, node, wish) {
        return Missing::Nothing;
    }
    let managed = domain.zones_of(node, wish.highest).filter(|zone| zone.managed() > 0);
    match managed.map(|zone| zone.missing(WmarkIndex::High, wish.highest)).min() {
        None | Some(0) => Missing::Block,
        Some(frames) => Missing::Frames(frames),
    }
}

impl Reclaim {
    /// Lets the kswapd of a zone's node know that a request finds too little there, or that the zone's marks were boosted
    /// (`wakeup_kswapd`). Never waits: two atomic words, and a system call where it sleeps.
    ///
    /// It is not woken where it would find nothing to do, or nothing to reclaim. Unlike the kernel's, a hopeless one is woken for
    /// a boost, so that the boost ends; and once a second for one run, because a cache that had nothing to give may have by now, and
    /// those who may not wait have nobody else.
    pub(crate) fn wakeup_kswapd(
        &self,
        domain: &Domain,
        zone: ZoneNumber,
        gfp: Gfp,
        order: Order,
        highest: ZoneType,
    ) {
        let zone = domain.zone(zone);
        let node = zone.span().node;
        if zone.managed() == 0 || !domain.cpuset().cpuset_zone_allowed(node) {
            return;
        }
        let (kswapd, wish) = (&self.pgdat(node).kswapd, Wish { order, highest });
        let is_hopeless = || kswapd.is_hopeless(domain, node) && !kswapd.tries_again();
        let is_needed =
            || is_boosted(domain, node, highest) || !(is_balanced(domain, node, wish) || is_hopeless());
        if kswapd.ring(wish, is_needed) == Rung::Woken {
            trace::mm_vmscan_wakeup_kswapd(node, zone.span().kind, order, gfp);
        }
    }

    /// Sleeps and works until the domain is closed: what a node's thread does (`kswapd`).
    pub(crate) fn kswapd(&self, domain: &Domain, node: Nid, pinned: Pinned) {
        let kswapd = &self.pgdat(node).kswapd;
        // Nobody else says where the thread runs.
        let _: Result<(), Pinned> = kswapd.pinned.set(pinned);
        let mut last = Wish { order: Order::ZERO, highest: ZoneType::Movable };
        while !domain.is_closed() {
            self.kswapd_try_to_sleep(domain, node, last);
            if !domain.is_closed() {
                last = self.run(domain, node, last.highest);
            }
        }
    }

    /// Says whether a node has a thread: then requests wait for its progress.
    pub(crate) fn set_has_thread(&self, node: Nid, has_thread: bool) {
        self.pgdat(node).kswapd.has_thread.store(has_thread, Ordering::Relaxed);
    }

    /// Lets the next request wake the kswapds of hopeless nodes once; called once a second.
    pub(crate) fn age(&self) {
        for Pgdat { kswapd, .. } in &self.pgdats {
            let has_given_up = kswapd.failures.load(Ordering::Relaxed) >= MAX_RECLAIM_RETRIES;
            kswapd.may_try_again.store(has_given_up, Ordering::Relaxed);
        }
    }

    /// Wakes all threads, which see that the domain is closed.
    pub(crate) fn wake_all(&self) {
        self.pgdats.iter().for_each(|pgdat| _ = pgdat.kswapd.bell.ring(0, || true));
    }

    /// Does on the caller's thread what kswapds would do that were rung for: where there are no threads.
    pub(crate) fn balance_by_hand(&self, domain: &Domain) {
        for node in domain.zonelists().with_memory().iter() {
            let pgdat = self.pgdat(node);
            let Some(_running) = pgdat.by_hand.try_lock() else { continue };
            let mut last = Wish { order: Order::ZERO, highest: ZoneType::Movable };
            for _ in 0..RUNS_BY_HAND {
                if !pgdat.kswapd.bell.is_awake() || domain.is_closed() {
                    break;
                }
                last = self.run(domain, node, last.highest);
                pgdat.kswapd.bell.rest(|wishes| self.prepare_kswapd_sleep(domain, node, last, wishes));
            }
        }
    }

    /// Naps if there is nothing to do, and then sleeps if nobody has rung and there is still nothing (`kswapd_try_to_sleep`).
    fn kswapd_try_to_sleep(&self, domain: &Domain, node: Nid, last: Wish) {
        let bell = &self.pgdat(node).kswapd.bell;
        let may_sleep = |wishes| self.prepare_kswapd_sleep(domain, node, last, wishes);
        let napped = bell.sleep(Some(NAP), may_sleep);
        if napped == Slept::Woken {
            return self.events.kswapd_low_wmark_hit_quickly.add(1);
        }
        let for_long = |wishes| {
            let may_sleep = napped == Slept::TimedOut && may_sleep(wishes);
            if may_sleep {
                trace::mm_vmscan_kswapd_sleep(node);
            }
            may_sleep
        };
        if bell.sleep(None, for_long) == Slept::NotAtAll {
            self.events.kswapd_high_wmark_hit_quickly.add(1);
        }
    }

    /// Tells whether a kswapd has nothing to do (`prepare_kswapd_sleep`): for what it did last and what was wished for since, there
    /// is enough, or no hope. Whoever waits for it goes on then. Unlike the kernel's, it does not sleep over a boost that it was told of
    /// while it was awake.
    fn prepare_kswapd_sleep(&self, domain: &Domain, node: Nid, last: Wish, wishes: u32) -> bool {
        // One of the watermark rules takes the zone's lock, for which a signal handler on this thread must not wait.
        let _busy = Busy::enter();
        let pgdat = self.pgdat(node);
        let is_hopeless = pgdat.kswapd.is_hopeless(domain, node);
        let wish = last.and(Wish::of_bits(wishes));
        // What it would have been woken for had it slept already.
        let is_rung_for_boost = wishes != 0 && is_boosted(domain, node, wish.highest);
        let is_enough = is_hopeless || is_balanced(domain, node, wish);
        let is_done = !domain.is_closed() && !is_rung_for_boost && is_enough;
        pgdat.throttled.wake_if(|| is_done || domain.is_closed());
        is_done
    }

    /// Reclaims for what was wished for, up to zone `highest` if nobody has said, and returns what was reclaimed for in the end.
    fn run(&self, domain: &Domain, node: Nid, highest: ZoneType) -> Wish {
        let _busy = Busy::enter();
        let kswapd = &self.pgdat(node).kswapd;
        let otherwise = Wish { order: Order::ZERO, highest };
        let wish = Wish::of_bits(kswapd.bell.take()).unwrap_or(otherwise);
        trace::mm_vmscan_kswapd_wake(node, wish.highest, wish.order);
        self.events.pageoutrun.add(1);
        kswapd.runs.add(1);
        let is_one_of_several = domain.zonelists().nodes() > 1;
        if is_one_of_several {
            domain.set_reclaiming(Reclaimer::Kswapd, node, true);
        }
        let view = View { reclaim: self, domain, node };
        let Balanced { order, has_failed, .. } = balance_pgdat(&view, wish.order, wish.highest);
        drain_own_cache(domain);
        if is_one_of_several {
            domain.set_reclaiming(Reclaimer::Kswapd, node, false);
        }
        if has_failed {
            kswapd.note_failure(domain, node);
        }
        Wish { order, ..wish }
    }

    /// Returns what each node's kswapd does and did.
    pub(crate) fn kswapds(&self, domain: &Domain) -> Vec<KswapdReport> {
        let report = |node: Nid| {
            let kswapd = &self.pgdat(node).kswapd;
            KswapdReport {
                node,
                has_thread: kswapd.has_thread(),
                pinned: kswapd.pinned.get().cloned().unwrap_or(Pinned::NotAsked),
                running: kswapd.bell.is_awake(),
                hopeless: kswapd.is_hopeless(domain, node),
                failures: kswapd.failures.load(Ordering::Relaxed),
                wakeups: kswapd.wakeups.get(),
                runs: kswapd.runs.get(),
                scanned: kswapd.scanned.get(),
                reclaimed: kswapd.reclaimed.get(),
            }
        };
        domain.zonelists().with_memory().iter().map(report).collect()
    }
}

/// A node of a domain as a run sees it.
struct View<'a> {
    reclaim: &'a Reclaim,
    domain: &'a Domain,
    node: Nid,
}

impl Node for View<'_> {
    fn is_balanced(&self, order: Order, highest: ZoneType) -> bool {
        is_balanced(self.domain, self.node, Wish { order, highest })
    }

    fn boosts(&self, highest: ZoneType) -> Boosts {
        let mut boosts = Boosts::default();
        for zone in self.domain.zones_of(self.node, highest) {
            boosts[zone.span().kind.index()] = zone.watermarks().boost;
        }
        boosts
    }

    fn end_boosts(&self, boosts: &Boosts) {
        for zone in self.domain.zones_of(self.node, ZoneType::Movable) {
            zone.end_boost(boosts[zone.span().kind.index()]);
        }
    }

    fn set_active(&self, highest: ZoneType, now: bool) {
        self.domain.zones_of(self.node, highest).for_each(|zone| zone.set_reclaim_active(now));
    }

    fn target(&self, highest: ZoneType) -> u64 {
        let of_zone = |zone: &Zone| wmark_pages(&zone.watermarks(), WmarkIndex::High).max(SWAP_CLUSTER_MAX);
        self.domain.zones_of(self.node, highest).filter(|zone| zone.managed() > 0).map(of_zone).sum()
    }

    fn shrink(&self, priority: u8, order: Order, highest: ZoneType, boost: u64) -> Shrunk {
        let wish = Wish { order, highest };
        let for_block = Cell::new(compact_gap(order));
        let wanted = || {
            if boost > 0 {
                return u64::MAX;
            }
            // What it has freed so far is to be counted.
            drain_own_cache(self.domain);
            match missing(self.domain, self.node, wish) {
                Missing::Nothing => 0,
                Missing::Frames(frames) => frames,
                Missing::Block => for_block.take(),
            }
        };
        let shrunk = self.reclaim.shrink_node(self.domain, self.node, Gfp::KERNEL, priority, &wanted);
        let (events, kswapd) = (&self.reclaim.events, &self.reclaim.pgdat(self.node).kswapd);
        for (scanned, reclaimed) in
            [(&events.pgscan_kswapd, &events.pgsteal_kswapd), (&kswapd.scanned, &kswapd.reclaimed)]
        {
            scanned.add(shrunk.scanned);
            reclaimed.add(shrunk.freed);
        }
        shrunk
    }

    fn note_progress(&self) {
        let may_go_on = || self.reclaim.allow_direct_reclaim(self.domain, self.node);
        self.reclaim.pgdat(self.node).throttled.wake_if(may_go_on);
    }

    fn must_stop(&self) -> bool {
        self.domain.is_closed()
    }
}
