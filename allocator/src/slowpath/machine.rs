//! The state machine of a request that found nothing at the low mark. It decides which step comes next; [`Effects`] acts.

use super::{
    Step,
    decide::{MAX_OOM_ROUNDS, Wish, count_round, pause_after},
    effects::{Effects, Pause, Stopped},
};
use crate::{
    compact::{CompactPriority, CompactResult},
    error::FailReason,
    gfp::{self, AllocFlags, WmarkIndex},
    reclaim::MAX_RECLAIM_RETRIES,
};

/// What comes after a step.
enum Next<F> {
    /// Another one.
    Go(Step),
    /// The request is served.
    Got(F),
    /// The request ends, with a reason if there is a better one than that there is no memory.
    End(Option<FailReason>),
}

/// What was done once memory had run out.
enum Oom<F> {
    /// There was a block after all.
    Got(F),
    /// Somebody frees memory, or will.
    Progress,
    /// Nobody does.
    Nothing,
    /// The request ends.
    Stopped(FailReason),
}

/// A request on its way through the steps.
pub(super) struct Machine<'a, E> {
    effects: &'a mut E,
    wish: Wish,
    flags: AllocFlags,
    compaction_retries: u32,
    /// Rounds without progress.
    no_progress: u32,
    /// Frames that the last round of reclaim freed, or 1 for what the application did when memory had run out.
    progress: u64,
    /// How often the application was asked.
    oom_rounds: u32,
    /// How often a request that may not fail should have failed.
    nofail_rounds: u32,
}

impl<'a, E: Effects> Machine<'a, E> {
    pub(super) fn new(effects: &'a mut E, wish: Wish) -> Self {
        let flags = wish.flags();
        Self {
            effects,
            wish,
            flags,
            compaction_retries: 0,
            no_progress: 0,
            progress: 0,
            oom_rounds: 0,
            nofail_rounds: 0,
        }
    }

    /// Goes through the steps until the request is served or given up.
    ///
    /// # Errors
    /// Why it was given up.
    pub(super) fn run(mut self) -> Result<E::Found, FailReason> {
        let mut step = Step::Restart;
        loop {
            self.effects.enter(step);
            match self.perform(step) {
                Next::Go(next) => step = next,
                Next::Got(found) => return Ok(found),
                Next::End(reason) => return Err(reason.unwrap_or(FailReason::NoMemory)),
            }
        }
    }

    fn perform(&mut self, step: Step) -> Next<E::Found> {
        match step {
            Step::Restart => self.restart(),
            Step::WakeKswapds => self.wake_kswapds(Step::AttemptAtMin),
            Step::AttemptAtMin => self.attempt_at_min(),
            Step::CompactFirst => self.compact_first(),
            Step::Retry => self.retry(),
            Step::WakeAgain => self.wake_kswapds(Step::TakeReserves),
            Step::TakeReserves => self.take_reserves(),
            Step::LiftNodemask => self.lift_nodemask(),
            Step::AttemptWithReserves => self.attempt_with_reserves(),
            Step::MayBlock => self.may_block(),
            Step::DirectReclaim => self.direct_reclaim(),
            Step::DirectCompact => self.direct_compact(),
            Step::NoRetry => self.no_retry(),
            Step::Costly => self.costly(),
            Step::ShouldReclaimRetry => self.should_reclaim_retry(),
            Step::ShouldCompactRetry => self.should_compact_retry(),
            Step::CheckCookies => self.check_cookies(),
            Step::MayOom => self.may_oom(),
            Step::OomVictim => self.oom_victim(),
            Step::Progress => self.after_progress(),
            Step::NoPage => self.no_page(),
            Step::NofailAttempt => self.nofail_attempt(),
            Step::Fail => self.fail(),
        }
    }

    /// Begins, at first and after a change of what may serve the request.
    fn restart(&mut self) -> Next<E::Found> {
        self.compaction_retries = 0;
        self.no_progress = 0;
        self.flags = self.wish.flags();
        Next::Go(if self.effects.begin() { Step::WakeKswapds } else { Step::NoPage })
    }

    /// S1 and S4.
    fn wake_kswapds(&mut self, next: Step) -> Next<E::Found> {
        if self.flags.contains(AllocFlags::KSWAPD) {
            self.effects.wake_kswapds();
        }
        Next::Go(next)
    }

    /// S2.
    fn attempt_at_min(&mut self) -> Next<E::Found> {
        self.attempt_or(Step::CompactFirst)
    }

    /// S3. What the kernel does when a compaction found something to do has no place yet: none does.
    fn compact_first(&mut self) -> Next<E::Found> {
        if self.wish.compacts_first(self.reserves()) {
            let CompactResult::Skipped = self.effects.compact(CompactPriority::Async);
            if self.wish.ends_when_compaction_skips() {
                return Next::Go(Step::NoPage);
            }
        }
        Next::Go(Step::Retry)
    }

    /// Where each further round begins.
    fn retry(&mut self) -> Next<E::Found> {
        if let Some(Stopped::Now(reason)) = self.effects.stopped() {
            return Next::End(Some(reason));
        }
        Next::Go(if self.effects.cookies_changed() { Step::Restart } else { Step::WakeAgain })
    }

    /// S5. They replace the other flags but those that say who may be woken and which pageblocks are usable.
    fn take_reserves(&mut self) -> Next<E::Found> {
        let reserves = self.reserves();
        if !reserves.is_empty() {
            self.flags = reserves | (self.flags & (AllocFlags::KSWAPD | AllocFlags::CMA));
        }
        Next::Go(Step::LiftNodemask)
    }

    /// S6. Who may not wait and has a high priority, and who frees memory, is served from any node of its list.
    fn lift_nodemask(&mut self) -> Next<E::Found> {
        if !self.flags.contains(AllocFlags::CPUSET) || !self.reserves().is_empty() {
            self.effects.lift_nodemask();
        }
        Next::Go(Step::AttemptWithReserves)
    }

    /// S7.
    fn attempt_with_reserves(&mut self) -> Next<E::Found> {
        self.attempt_or(Step::MayBlock)
    }

    /// S8.
    fn may_block(&mut self) -> Next<E::Found> {
        let frees_memory = self.wish.scopes.contains(gfp::Scopes::MEMALLOC);
        Next::Go(if self.wish.may_reclaim() && !frees_memory { Step::DirectReclaim } else { Step::NoPage })
    }

    /// S9. Unlike the kernel, drains the caches also when nothing was reclaimed: here they may hold a good part of the memory.
    fn direct_reclaim(&mut self) -> Next<E::Found> {
        self.progress = self.effects.reclaim();
        if self.progress > 0 {
            match self.attempt(self.flags) {
                Ok(None) => {}
                done => return after(done, Step::DirectCompact),
            }
        }
        self.effects.unreserve_highatomic(false);
        self.effects.drain_all();
        self.attempt_or(Step::DirectCompact)
    }

    /// S10.
    fn direct_compact(&mut self) -> Next<E::Found> {
        if self.wish.order.get() > 0 && self.wish.can_compact() {
            // Nothing was moved, so there is nothing new to be had.
            let CompactResult::Skipped = self.effects.compact(CompactPriority::SyncLight);
        }
        Next::Go(Step::NoRetry)
    }

    /// S11.
    fn no_retry(&mut self) -> Next<E::Found> {
        let ends = self.wish.gfp.contains(gfp::Gfp::NORETRY);
        Next::Go(if ends { Step::NoPage } else { Step::Costly })
    }

    /// S12.
    fn costly(&mut self) -> Next<E::Found> {
        Next::Go(if self.wish.ends_when_costly() { Step::NoPage } else { Step::ShouldReclaimRetry })
    }

    /// S13. Before it says no, it gives up the last of the highatomic reserve.
    fn should_reclaim_retry(&mut self) -> Next<E::Found> {
        self.no_progress = count_round(self.no_progress, self.progress, self.wish.is_costly());
        let again = if self.no_progress <= MAX_RECLAIM_RETRIES && self.effects.could_pass(self.flags) {
            self.effects.pause(pause_after(self.no_progress));
            true
        } else {
            self.effects.unreserve_highatomic(true)
        };
        Next::Go(if again { Step::Retry } else { Step::ShouldCompactRetry })
    }

    /// S14. The kernel waits for ever for a zone that was skipped and could be compacted; here, where nothing can be compacted yet, as often as
    /// for compactions that did something.
    fn should_compact_retry(&mut self) -> Next<E::Found> {
        let worth_it = self.progress > 0 && self.wish.can_compact() && self.wish.order.get() > 0;
        let again = worth_it && self.effects.could_be_compacted() && {
            self.compaction_retries += 1;
            self.compaction_retries <= self.wish.compact_retries()
        };
        Next::Go(if again { Step::Retry } else { Step::CheckCookies })
    }

    /// S16.
    fn check_cookies(&mut self) -> Next<E::Found> {
        Next::Go(if self.effects.cookies_changed() { Step::Restart } else { Step::MayOom })
    }

    /// S17. If somebody else is at it, that counts as progress.
    fn may_oom(&mut self) -> Next<E::Found> {
        let (wish, round) = (self.wish, self.oom_rounds);
        let done = self.effects.with_oom_lock(|effects| out_of_memory(effects, wish, round));
        self.progress = match done {
            None => {
                self.effects.pause(Pause::Tick);
                1
            }
            Some(Oom::Got(found)) => return Next::Got(found),
            Some(Oom::Stopped(reason)) => return Next::End(Some(reason)),
            Some(Oom::Progress) => {
                self.oom_rounds = self.oom_rounds.saturating_add(1);
                self.effects.pause(pause_after(self.oom_rounds));
                1
            }
            Some(Oom::Nothing) => 0,
        };
        Next::Go(Step::OomVictim)
    }

    /// S18.
    fn oom_victim(&mut self) -> Next<E::Found> {
        let is_victim = self.effects.stopped() == Some(Stopped::Victim);
        let ends = is_victim && self.wish.is_done_as_victim(self.flags);
        Next::Go(if ends { Step::NoPage } else { Step::Progress })
    }

    /// S19.
    fn after_progress(&mut self) -> Next<E::Found> {
        if self.progress == 0 {
            return Next::Go(Step::NoPage);
        }
        self.no_progress = 0;
        Next::Go(Step::Retry)
    }

    /// Where everything ends up that did not help (`nopage`).
    fn no_page(&mut self) -> Next<E::Found> {
        Next::Go(match () {
            () if self.effects.cookies_changed() => Step::Restart,
            () if self.wish.may_not_fail() => Step::NofailAttempt,
            () => Step::Fail,
        })
    }

    /// What may not fail gets a part of the reserve, but not all of it: others need it to free memory.
    fn nofail_attempt(&mut self) -> Next<E::Found> {
        match attempt_cpuset_fallback(self.effects, AllocFlags::MIN_RESERVE) {
            Ok(None) => {}
            done => return after(done, Step::Retry),
        }
        self.nofail_rounds = self.nofail_rounds.saturating_add(1);
        self.effects.pause(pause_after(self.nofail_rounds));
        Next::Go(Step::Retry)
    }

    fn fail(&self) -> Next<E::Found> {
        Next::End(self.effects.stopped().map(|stopped| match stopped {
            Stopped::Now(reason) => reason,
            Stopped::Victim => FailReason::Cancelled,
        }))
    }

    fn reserves(&self) -> AllocFlags {
        self.wish.reserves(self.effects.stopped() == Some(Stopped::Victim))
    }

    fn attempt(&mut self, flags: AllocFlags) -> Result<Option<E::Found>, FailReason> {
        attempt(self.effects, flags)
    }

    fn attempt_or(&mut self, next: Step) -> Next<E::Found> {
        let done = self.attempt(self.flags);
        after(done, next)
    }
}

/// Says what follows an attempt.
fn after<F>(done: Result<Option<F>, FailReason>, next: Step) -> Next<F> {
    match done {
        Ok(Some(found)) => Next::Got(found),
        Ok(None) => Next::Go(next),
        Err(reason) => Next::End(Some(reason)),
    }
}

/// Asks the zones, and ends the request only if they have nothing: one that was cancelled meanwhile is served.
fn attempt<E: Effects>(effects: &mut E, flags: AllocFlags) -> Result<Option<E::Found>, FailReason> {
    let taken = effects.attempt(flags);
    gfp::unless_stopped(taken, || match effects.stopped()? {
        Stopped::Now(reason) => Some(reason),
        // It has had its part of the reserve.
        Stopped::Victim => flags.contains(AllocFlags::OOM).then_some(FailReason::Cancelled),
    })
}

/// Asks the zones for what may not fail, on the allowed nodes and then on all (`__alloc_pages_cpuset_fallback`).
fn attempt_cpuset_fallback<E: Effects>(
    effects: &mut E,
    reserve: AllocFlags,
) -> Result<Option<E::Found>, FailReason> {
    let flags = AllocFlags::from_wmark(WmarkIndex::Min) | reserve;
    match attempt(effects, flags | AllocFlags::CPUSET)? {
        Some(found) => Ok(Some(found)),
        None => attempt(effects, flags),
    }
}

/// What whoever finds memory run out does alone (`__alloc_pages_may_oom`).
fn out_of_memory<E: Effects>(effects: &mut E, wish: Wish, round: u32) -> Oom<E::Found> {
    // Somebody may have been here a moment ago, and memory may be back.
    if let Some(found) = effects.attempt_before_oom() {
        return Oom::Got(found);
    }
    if wish.never_runs_out() {
        return Oom::Nothing;
    }
    let asks = wish.may_ask_for_memory() && (round < MAX_OOM_ROUNDS || wish.may_not_fail());
    let helped = asks && effects.out_of_memory(round);
    if wish.may_not_fail() {
        match attempt_cpuset_fallback(effects, AllocFlags::NO_WATERMARKS) {
            Ok(Some(found)) => return Oom::Got(found),
            Ok(None) => return Oom::Progress,
            Err(reason) => return Oom::Stopped(reason),
        }
    }
    if helped { Oom::Progress } else { Oom::Nothing }
}
