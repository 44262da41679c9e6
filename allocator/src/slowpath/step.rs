//! The steps of the slow path: their names, and how often each was taken.

use core::fmt;

use crate::sync::SharedCounter;

/// A step of a request that found nothing at the low mark (`__alloc_pages_slowpath`, 6.x).
///
/// ```
/// use gfp::slowpath::Step;
///
/// assert_eq!(Step::ALL[Step::DirectReclaim.index()], Step::DirectReclaim);
/// assert_eq!(Step::DirectReclaim.name(), "direct_reclaim");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Step {
    /// Begins, at first and after the allowed nodes or the zones have changed: flags, cookies, preferred zone.
    Restart,
    /// Wakes the kswapds of all nodes that may serve it (S1).
    WakeKswapds,
    /// Asks the zones at the minimum mark (S2).
    AttemptAtMin,
    /// Compacts before anything is reclaimed, for a block that compaction is more likely to make (S3).
    CompactFirst,
    /// Begins another round, unless the request is to end, or the allowed nodes have changed.
    Retry,
    /// Wakes the kswapds again: they may have slept since (S4).
    WakeAgain,
    /// Takes the reserves that the mask and the thread's state give a right to (S5).
    TakeReserves,
    /// Forgets the allowed nodes, if it may (S6).
    LiftNodemask,
    /// Asks the zones with those reserves (S7).
    AttemptWithReserves,
    /// Ends what may not block, and what frees memory itself (S8).
    MayBlock,
    /// Reclaims, drains all caches and asks again (S9).
    DirectReclaim,
    /// Compacts and asks again (S10).
    DirectCompact,
    /// Ends what is not to try again (S11).
    NoRetry,
    /// Ends what is large and not to try hard (S12).
    Costly,
    /// Asks whether reclaim may still lead to a block (S13).
    ShouldReclaimRetry,
    /// Asks whether compaction may (S14).
    ShouldCompactRetry,
    /// Looks whether the allowed nodes or the zones have changed before memory is said to have run out (S16).
    CheckCookies,
    /// Memory has run out: one attempt at the high mark, then the application's hook (S17).
    MayOom,
    /// Ends what was chosen to come to an end and has used its reserve (S18).
    OomVictim,
    /// Tries again if somebody has freed something (S19).
    Progress,
    /// Nothing helped; begins again if the allowed nodes or the zones have changed (`nopage`).
    NoPage,
    /// Takes half of the reserve for what may not fail, or waits (`__GFP_NOFAIL`).
    NofailAttempt,
    /// Gives up.
    Fail,
}

impl Step {
    /// All steps, by their numbers.
    pub const ALL: [Self; 23] = [
        Self::Restart,
        Self::WakeKswapds,
        Self::AttemptAtMin,
        Self::CompactFirst,
        Self::Retry,
        Self::WakeAgain,
        Self::TakeReserves,
        Self::LiftNodemask,
        Self::AttemptWithReserves,
        Self::MayBlock,
        Self::DirectReclaim,
        Self::DirectCompact,
        Self::NoRetry,
        Self::Costly,
        Self::ShouldReclaimRetry,
        Self::ShouldCompactRetry,
        Self::CheckCookies,
        Self::MayOom,
        Self::OomVictim,
        Self::Progress,
        Self::NoPage,
        Self::NofailAttempt,
        Self::Fail,
    ];

    /// Returns the step's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::WakeKswapds => "wake_kswapds",
            Self::AttemptAtMin => "attempt_at_min",
            Self::CompactFirst => "compact_first",
            Self::Retry => "retry",
            Self::WakeAgain => "wake_again",
            Self::TakeReserves => "take_reserves",
            Self::LiftNodemask => "lift_nodemask",
            Self::AttemptWithReserves => "attempt_with_reserves",
            Self::MayBlock => "may_block",
            Self::DirectReclaim => "direct_reclaim",
            Self::DirectCompact => "direct_compact",
            Self::NoRetry => "no_retry",
            Self::Costly => "costly",
            Self::ShouldReclaimRetry => "should_reclaim_retry",
            Self::ShouldCompactRetry => "should_compact_retry",
            Self::CheckCookies => "check_cookies",
            Self::MayOom => "may_oom",
            Self::OomVictim => "oom_victim",
            Self::Progress => "progress",
            Self::NoPage => "no_page",
            Self::NofailAttempt => "nofail_attempt",
            Self::Fail => "fail",
        }
    }

    /// Returns the step's number, as the probe `slowpath_step` has it.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How often each step was taken by the requests of an allocator.
///
/// ```
/// use gfp::{Allocator, Gfp, Order, slowpath::Step};
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// assert_eq!(allocator.slowpath_report().steps.of(Step::Restart), 0, "nothing was short");
/// let mut held = Vec::new();
/// while let Ok(block) = allocator.alloc_pages(Gfp::ATOMIC, Order::new(9)) {
///     held.push(block);
/// }
/// let steps = allocator.slowpath_report().steps;
/// assert!(steps.of(Step::AttemptAtMin) > 0 && steps.of(Step::Fail) == 1);
/// assert_eq!(steps.of(Step::DirectReclaim), 0, "such a request does not reclaim");
/// assert_eq!(steps.iter().count(), Step::ALL.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCounts {
    counts: [u64; Step::ALL.len()],
}

impl StepCounts {
    /// Returns how often a step was taken.
    #[must_use]
    pub const fn of(&self, step: Step) -> u64 {
        self.counts[step.index()]
    }

    /// Returns all steps with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Step, u64)> + '_ {
        Step::ALL.into_iter().zip(self.counts)
    }
}

impl fmt::Display for StepCounts {
    /// Writes `slowpath_name count` lines, as `/proc/vmstat` has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(step, count)| writeln!(f, "slowpath_{} {count}", step.name()))
    }
}

/// Counts steps.
#[derive(Debug, Default)]
pub(super) struct StepCounters {
    counts: [SharedCounter; Step::ALL.len()],
}

impl StepCounters {
    pub(super) fn count(&self, step: Step) {
        self.counts[step.index()].add(1);
    }

    pub(super) fn get(&self) -> StepCounts {
        StepCounts { counts: core::array::from_fn(|step| self.counts[step].get()) }
    }
}
