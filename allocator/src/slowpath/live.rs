//! The world of a real request.

use std::time::Duration;

use super::{
    Step,
    decide::COSTLY_ORDER,
    effects::{Effects, Pause, Stopped},
    step::StepCounters,
};
use crate::{
    alloc::{AllocContext, Asked, Domain, get_page_from_freelist},
    compact::{self, CompactPriority, CompactResult, compact_gap},
    error::{AllocError, FailReason},
    frame::{Block, Order},
    gfp::{AllocFlags, Gfp, Stop, WmarkIndex, current_stop},
    node::{MemsAllowed, NodeMask, ZoneRef, first_of_each_node},
    reclaim::{OomReport, Reclaim},
    sync::thread,
    trace,
    zone::{Waiting, Zone, watermark::wmark_pages},
};

/// How long a request sleeps before it looks again: what the kernel's timer takes at 1000 Hz.
const TICK: Duration = Duration::from_millis(1);

/// How often a request waits for free memory that is on its way to the system and back.
const REPORTING_WAITS: u32 = 16;

/// What a request looked at when it began, to notice that it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cookies {
    mems: MemsAllowed,
    resized: u32,
}

impl Cookies {
    /// Takes the cookies as they are now.
    fn of(domain: &Domain) -> Self {
        Self { resized: domain.resized(), mems: domain.cpuset().read_mems_allowed_begin() }
    }

    fn have_changed(self, domain: &Domain) -> bool {
        domain.cpuset().read_mems_allowed_retry(self.mems) || domain.resized() != self.resized
    }
}

/// A request of an allocator.
pub(super) struct Live<'a> {
    steps: &'a StepCounters,
    reclaim: &'a Reclaim,
    asked: Asked<'a>,
    context: AllocContext<'a>,
    cookies: Cookies,
    reporting_waits: u32,
    error: AllocError,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        steps: &'a StepCounters,
        reclaim: &'a Reclaim,
        asked: Asked<'a>,
        context: AllocContext<'a>,
        error: AllocError,
    ) -> Self {
        let cookies = Cookies::of(asked.domain);
        Self { steps, reclaim, asked, context, cookies, reporting_waits: 0, error }
    }

    /// Returns the request as it is now, and which zones refused it last.
    pub(super) fn into_refused(self) -> (AllocContext<'a>, AllocError) {
        (self.context, self.error)
    }

    fn zones(&self) -> impl Iterator<Item = ZoneRef> + 'a {
        self.context.zonelist.zones(self.context.highest_zone, self.context.nodemask)
    }

    fn zone(&self, zone: ZoneRef) -> &'a Zone {
        self.asked.domain.zone(zone.number)
    }

    /// Waits, if the request may, for free memory that is with the system, and tells whether there was some.
    fn await_reported(&mut self) -> bool {
        let waited = self.context.gfp.allows_blocking()
            && self.reporting_waits < REPORTING_WAITS
            && self.stopped().is_none()
            && self.asked.domain.await_reported();
        self.reporting_waits += u32::from(waited);
        waited
    }

    /// Finds the zone to try first again.
    fn prefer(&mut self) -> bool {
        let first = self.zones().next();
        self.context.preferred = first.unwrap_or(self.context.preferred);
        first.is_some()
    }
}

impl Effects for Live<'_> {
    type Found = (ZoneRef, Block);

    fn enter(&mut self, step: Step) {
        self.steps.count(step);
        let allocator = self.asked.domain.frames().allocator();
        trace::slowpath_step(allocator, step as u8, self.context.order, self.context.gfp);
    }

    fn begin(&mut self) -> bool {
        self.cookies = Cookies::of(self.asked.domain);
        let allowed = self.cookies.mems.allowed();
        self.context.mems_allowed = allowed;
        // Whoever insists on nodes of which the allowed ones have no zone waits in vain (`cpusets_insane_config`).
        let AllocContext { gfp, zonelist, highest_zone, .. } = self.context;
        self.prefer()
            && (!gfp.contains(Gfp::HARDWALL) || zonelist.zones(highest_zone, allowed).next().is_some())
    }

    fn cookies_changed(&self) -> bool {
        self.cookies.have_changed(self.asked.domain)
    }

    fn stopped(&self) -> Option<Stopped> {
        if self.asked.domain.is_closed() {
            return Some(Stopped::Now(FailReason::Closed));
        }
        Some(match current_stop()? {
            Stop::Cancelled => Stopped::Now(FailReason::Cancelled),
            Stop::DeadlineExceeded => Stopped::Now(FailReason::DeadlineExceeded),
            Stop::Victim => Stopped::Victim,
        })
    }

    fn wake_kswapds(&mut self) {
        let AllocContext { gfp, order, highest_zone, .. } = self.context;
        let managed = self.zones().filter(|zone| self.zone(*zone).managed() > 0);
        for zone in first_of_each_node(managed) {
            self.reclaim.wakeup_kswapd(self.asked.domain, zone.number, gfp, order, highest_zone);
        }
    }

    fn attempt(&mut self, flags: AllocFlags) -> Option<Self::Found> {
        loop {
            let found = get_page_from_freelist(&self.asked, &self.context, flags, &mut self.error);
            if found.is_some() || !self.await_reported() {
                return found;
            }
        }
    }

    fn attempt_before_oom(&mut self) -> Option<Self::Found> {
        let gfp = (self.context.gfp | Gfp::HARDWALL).without(Gfp::DIRECT_RECLAIM);
        let context = AllocContext { gfp, ..self.context };
        let flags = AllocFlags::from_wmark(WmarkIndex::High) | AllocFlags::CPUSET;
        // It asks for more than the request needs: why that is refused is not what the request fails for.
        let mut aside = self.error;
        get_page_from_freelist(&self.asked, &context, flags, &mut aside)
    }

    fn lift_nodemask(&mut self) {
        self.context.nodemask = NodeMask::ALL;
        self.prefer();
    }

    fn reclaim(&mut self) -> u64 {
        let freed = self.reclaim.try_to_free_pages(self.asked.domain, &self.context);
        self.error.record_reclaim(freed);
        freed
    }

    fn unreserve_highatomic(&mut self, force: bool) -> bool {
        self.asked.domain.unreserve_highatomic_pageblock(&self.context, force)
    }

    fn drain_all(&mut self) {
        self.asked.domain.caches().drain_all();
    }

    fn compact(&mut self, priority: CompactPriority) -> CompactResult {
        compact::try_to_compact_pages(&self.context, self.context.gfp, priority)
    }

    fn could_pass(&self, flags: AllocFlags) -> bool {
        let AllocContext { order, highest_zone, mems_allowed, .. } = self.context;
        let is_eligible =
            |zone: &ZoneRef| !flags.contains(AllocFlags::CPUSET) || mems_allowed.contains(zone.node);
        self.zones().filter(is_eligible).any(|reference| {
            let zone = self.zone(reference);
            let min = wmark_pages(&zone.watermarks(), WmarkIndex::Min);
            zone.would_pass(order, min, highest_zone, flags, self.reclaim.reclaimable_pages(reference.node))
        })
    }

    fn could_be_compacted(&self) -> bool {
        let AllocContext { order, highest_zone, .. } = self.context;
        let index = if order > COSTLY_ORDER { WmarkIndex::Low } else { WmarkIndex::Min };
        self.zones().any(|reference| {
            let zone = self.zone(reference);
            let mark = wmark_pages(&zone.watermarks(), index) + compact_gap(order);
            let more = self.reclaim.reclaimable_pages(reference.node) / u64::from(order.get()).max(1);
            zone.would_pass(Order::ZERO, mark, highest_zone, AllocFlags::CMA, more)
        })
    }

    fn with_oom_lock<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let _alone = self.reclaim.oom.try_lock()?;
        Some(f(self))
    }

    fn out_of_memory(&mut self, round: u32) -> bool {
        let AllocContext { gfp, order, nodemask, .. } = self.context;
        let (reclaim, domain) = (self.reclaim, self.asked.domain);
        reclaim.oom.out_of_memory(|| {
            OomReport::new(gfp, order, nodemask, round, reclaim.mem_info(domain, Waiting::Allowed))
        })
    }

    fn pause(&mut self, pause: Pause) {
        match pause {
            Pause::Yield => thread::yield_now(),
            Pause::Tick => thread::sleep(TICK),
        }
    }
}
