//! What a request does after it found nothing at the low mark: `alloc_pages_slowpath`, as of Linux 6.x.
//!
//! The machine decides which step follows, from the request and from what it sees; the effects act. One function is one step:
//!
//! | | step | function of the machine | then |
//! |---|---|---|---|
//! | | [`Restart`](Step::Restart) | `restart` | S1; no zone may serve it: `NoPage` |
//! | S1 | [`WakeKswapds`](Step::WakeKswapds) | `wake_kswapds` | S2 |
//! | S2 | [`AttemptAtMin`](Step::AttemptAtMin) | `attempt_at_min` | served, or S3 |
//! | S3 | [`CompactFirst`](Step::CompactFirst) | `compact_first` | `Retry`; costly and NORETRY: `NoPage` |
//! | | [`Retry`](Step::Retry) | `retry` | S4; cookies changed: `Restart`; cancelled or late: the end |
//! | S4 | [`WakeAgain`](Step::WakeAgain) | `wake_kswapds` | S5 |
//! | S5 | [`TakeReserves`](Step::TakeReserves) | `take_reserves` | S6 |
//! | S6 | [`LiftNodemask`](Step::LiftNodemask) | `lift_nodemask` | S7 |
//! | S7 | [`AttemptWithReserves`](Step::AttemptWithReserves) | `attempt_with_reserves` | served, or S8 |
//! | S8 | [`MayBlock`](Step::MayBlock) | `may_block` | S9; may not block, or frees memory itself: `NoPage` |
//! | S9 | [`DirectReclaim`](Step::DirectReclaim) | `direct_reclaim` | served, or S10 |
//! | S10 | [`DirectCompact`](Step::DirectCompact) | `direct_compact` | S11 |
//! | S11 | [`NoRetry`](Step::NoRetry) | `no_retry` | S12; NORETRY: `NoPage` |
//! | S12 | [`Costly`](Step::Costly) | `costly` | S13; costly, and not RETRY_MAYFAIL with I/O: `NoPage` |
//! | S13 | [`ShouldReclaimRetry`](Step::ShouldReclaimRetry) | `should_reclaim_retry` | `Retry`, or S14 |
//! | S14 | [`ShouldCompactRetry`](Step::ShouldCompactRetry) | `should_compact_retry` | `Retry`, or S16 |
//! | S15 | none: there is no `defrag_mode`, whose NOFRAGMENT would be given up here | | |
//! | S16 | [`CheckCookies`](Step::CheckCookies) | `check_cookies` | S17; cookies changed: `Restart` |
//! | S17 | [`MayOom`](Step::MayOom) | `may_oom` | served, or S18 |
//! | S18 | [`OomVictim`](Step::OomVictim) | `oom_victim` | S19; a victim that has had its reserve: `NoPage` |
//! | S19 | [`Progress`](Step::Progress) | `after_progress` | `Retry`; nothing was freed: `NoPage` |
//! | | [`NoPage`](Step::NoPage) | `no_page` | `Fail`; cookies changed: `Restart`; NOFAIL: `NofailAttempt` |
//! | | [`NofailAttempt`](Step::NofailAttempt) | `nofail_attempt` | served, or `Retry` after a pause |
//! | | [`Fail`](Step::Fail) | `fail` | the end |
//!
//! Beyond the kernel, each attempt that finds nothing, and each new round, asks whether the request was cancelled or is late
//! ([`CancelToken`](crate::CancelToken), [`Request::deadline`](crate::Request::deadline)). A signal handler and whoever asks without
//! waiting for locks makes one more attempt at the minimum mark, and none of these steps.

#![deny(unsafe_code)]

mod decide;
mod effects;
mod live;
mod machine;
mod step;
#[cfg(all(test, not(shuttle)))]
mod tests;
mod warn;

pub(crate) use warn::FailureHook;
pub use {
    step::{Step, StepCounts},
    warn::{AllocFailure, WarnCounts},
};

use self::{decide::Wish, live::Live, machine::Machine, step::StepCounters, warn::WarnAlloc};
use crate::{
    alloc::{AllocContext, Asked, get_page_from_freelist},
    error::{AllocError, FailReason},
    frame::Block,
    gfp::{AllocFlags, Gfp, ZoneType, current_scopes, gfp_to_alloc_flags, reserve_flags},
    node::ZoneRef,
    reclaim::{OomCounts, Reclaim},
    zone::Waiting,
};

/// What the slow path of an allocator did so far.
///
/// ```
/// # use gfp::{Allocator, Gfp, Order};
/// # let allocator = Allocator::builder(64 << 20).build()?;
/// let report = allocator.slowpath_report();
/// assert_eq!((report.oom.asked, report.warn.reported), (0, 0));
/// println!("{}", report.steps);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowpathReport {
    /// How often each step was taken.
    pub steps: StepCounts,
    /// What came of memory having run out.
    pub oom: OomCounts,
    /// What came of failures.
    pub warn: WarnCounts,
}

/// What an allocator knows of the slow path.
#[derive(Debug)]
pub(crate) struct SlowPath {
    steps: StepCounters,
    warn: WarnAlloc,
}

impl SlowPath {
    pub(crate) fn new(on_failure: Option<FailureHook>) -> Self {
        Self { steps: StepCounters::default(), warn: WarnAlloc::new(on_failure) }
    }

    /// Returns what happened so far.
    pub(crate) fn report(&self, reclaim: &Reclaim) -> SlowpathReport {
        SlowpathReport { steps: self.steps.get(), oom: reclaim.oom.counts(), warn: self.warn.counts() }
    }

    /// Does all that a request permits after it found nothing at the low mark (`__alloc_pages_slowpath`).
    ///
    /// # Errors
    /// Which zones refused last, what was reclaimed, and why the request was given up.
    #[cold]
    pub(crate) fn alloc_pages_slowpath(
        &self,
        reclaim: &Reclaim,
        asked: &Asked<'_>,
        context: &AllocContext<'_>,
        error: AllocError,
    ) -> Result<(ZoneRef, Block), AllocError> {
        if asked.waiting == Waiting::Never {
            return attempt_without_waiting(asked, context, error);
        }
        let mut live = Live::new(&self.steps, reclaim, *asked, *context, error);
        let wish = Wish {
            gfp: context.gfp,
            order: context.order,
            highest_zone: context.highest_zone,
            migratetype: context.migratetype,
            scopes: current_scopes(),
        };
        Machine::new(&mut live, wish).run().map_err(|reason| {
            let (now, error) = live.into_refused();
            let error = error.with_reason(reason);
            self.warn_alloc(reclaim, asked, &now, context, error);
            error
        })
    }

    /// Tells the application of a failure (`warn_alloc`), unless nothing else was to be expected: of a closed allocator, or for
    /// a DMA zone that has no memory.
    fn warn_alloc(
        &self,
        reclaim: &Reclaim,
        asked: &Asked<'_>,
        now: &AllocContext<'_>,
        context: &AllocContext<'_>,
        error: AllocError,
    ) {
        let domain = asked.domain;
        let has_dma =
            || domain.zones().iter().any(|zone| zone.span().kind == ZoneType::Dma && zone.managed() > 0);
        if error.reason() == FailReason::Closed || (context.gfp.contains(Gfp::DMA) && !has_dma()) {
            return;
        }
        let waiting = if context.gfp.allows_blocking() { Waiting::Allowed } else { Waiting::Never };
        self.warn.warn(context.gfp, |suppressed| {
            let mems_allowed = now.mems_allowed.and(domain.zonelists().with_memory());
            let mem_info = reclaim.mem_info(domain, waiting);
            AllocFailure::new(error, context.nodemask, mems_allowed, suppressed, mem_info)
        });
    }
}

/// All that a request does which may wait for nothing: one attempt at the minimum mark, past every lock that is taken.
fn attempt_without_waiting(
    asked: &Asked<'_>,
    context: &AllocContext<'_>,
    error: AllocError,
) -> Result<(ZoneRef, Block), AllocError> {
    let mut error = error;
    let mut flags = gfp_to_alloc_flags(context.gfp, context.order.get());
    let reserves = reserve_flags(context.gfp, current_scopes());
    if !reserves.is_empty() {
        flags = reserves | (flags & AllocFlags::CMA);
    }
    get_page_from_freelist(asked, context, flags | AllocFlags::TRYLOCK, &mut error).ok_or(error)
}
