//! Requests that wait for kswapd because they would reclaim too much by themselves (`throttle_direct_reclaim`).

use core::time::Duration;
use std::time::Instant;

use super::{Reclaim, wish::Wish};
use crate::{
    alloc::{AllocContext, Domain},
    frame::{Nid, Order},
    gfp::{WmarkIndex, ZoneType},
    sync::{
        Condvar, LockRank, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    zone::watermark::wmark_pages,
};

/// How long a request waits at most. The kernel's wait for a second, or until they are killed; here a request has no signal
/// that ends it, and goes on to reclaim by itself.
const AT_MOST: Duration = Duration::from_millis(100);

/// Where requests of a node wait (`pfmemalloc_wait`).
#[derive(Debug, Default)]
pub(super) struct Throttled {
    waiting: AtomicU32,
    lock: Mutex<()>,
    progress: Condvar,
}

impl Throttled {
    /// Waits until the caller may go on, for a while.
    fn wait(&self, may_go_on: impl Fn() -> bool) {
        let _rank = LockRank::Leaf.acquire();
        let until = Instant::now() + AT_MOST;
        let mut held = self.lock.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while !may_go_on() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.progress.wait_for(&mut held, left);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets those who wait look again, if there are any and they may go on.
    pub(super) fn wake_if(&self, may_go_on: impl Fn() -> bool) {
        if self.waiting.load(Ordering::SeqCst) > 0 && may_go_on() {
            let _rank = LockRank::Leaf.acquire();
            drop(self.lock.lock());
            self.progress.notify_all();
        }
    }
}

impl Reclaim {
    /// Waits a while if so little is free on the node that a request tries first that its kswapd should have it: less than half of
    /// what the minimum marks of the zones up to NORMAL keep. Woken by kswapd's progress.
    ///
    /// Nobody waits where no kswapd runs, or has nothing to reclaim.
    pub(super) fn throttle_direct_reclaim(&self, domain: &Domain, context: &AllocContext<'_>) {
        let mut zones = context.zonelist.zones(context.highest_zone, context.nodemask);
        let Some(first) = zones.find(|zone| zone.kind <= ZoneType::Normal) else { return };
        let pgdat = self.pgdat(first.node);
        let may_go_on = || self.allow_direct_reclaim(domain, first.node);
        if !pgdat.kswapd.has_thread() || may_go_on() || self.reclaimable_pages(first.node) == 0 {
            return;
        }
        self.events.pgscan_direct_throttle.add(1);
        pgdat.throttled.wait(may_go_on);
    }

    /// Tells whether requests may reclaim memory of a node by themselves (`allow_direct_reclaim`); if not, its kswapd is rung for.
    pub(super) fn allow_direct_reclaim(&self, domain: &Domain, node: Nid) -> bool {
        let kswapd = &self.pgdat(node).kswapd;
        if domain.is_closed() || kswapd.is_hopeless(domain, node) {
            return true;
        }
        let is_enough = is_enough_free(domain, node);
        if !is_enough {
            kswapd.ring(Wish { order: Order::ZERO, highest: ZoneType::Normal }, || true);
        }
        is_enough
    }
}

/// Tells whether more than half of what the minimum marks of a node's lower zones keep is free.
fn is_enough_free(domain: &Domain, node: Nid) -> bool {
    let (mut free, mut reserve) = (0, 0);
    for zone in domain.zones_of(node, ZoneType::Normal) {
        free += zone.nr_free_pages();
        reserve += wmark_pages(&zone.watermarks(), WmarkIndex::Min);
    }
    reserve == 0 || free > reserve / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Arc, atomic::AtomicBool, thread};

    #[test]
    fn who_waits_goes_on_when_woken_or_after_a_while() {
        let (throttled, may_go_on) = (Arc::new(Throttled::default()), Arc::new(AtomicBool::new(false)));
        let waiter = {
            let (throttled, may_go_on) = (Arc::clone(&throttled), Arc::clone(&may_go_on));
            thread::spawn(move || {
                throttled.wait(|| may_go_on.load(Ordering::Relaxed));
                may_go_on.load(Ordering::Relaxed)
            })
        };
        while throttled.waiting.load(Ordering::Relaxed) == 0 && !waiter.is_finished() {
            thread::yield_now();
        }
        throttled.wake_if(|| false);
        may_go_on.store(true, Ordering::Relaxed);
        throttled.wake_if(|| true);
        waiter.join().expect("no panic");
        throttled.wait(|| false);
        assert_eq!(throttled.waiting.load(Ordering::Relaxed), 0);
    }
}
