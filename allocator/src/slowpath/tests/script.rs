//! A world that answers by a seed.

use crate::{
    compact::{CompactPriority, CompactResult},
    error::FailReason,
    gfp::AllocFlags,
    slowpath::{
        Step,
        effects::{Effects, Pause, Stopped},
    },
};

/// What was done to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Begin,
    Wake,
    Attempt(AllocFlags),
    AttemptBeforeOom,
    LiftNodemask,
    Reclaim,
    Unreserve { force: bool },
    Drain,
    Compact(CompactPriority),
    OomLock,
    OutOfMemory(u32),
    Pause(Pause),
}

/// How often, of 100 times, something is so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odds {
    pub(super) begins: u8,
    pub(super) changes: u8,
    pub(super) finds: u8,
    pub(super) reclaims: u8,
    pub(super) unreserves: u8,
    pub(super) passes: u8,
    pub(super) compactable: u8,
    pub(super) oom_locked: u8,
    pub(super) helps: u8,
    pub(super) cancelled: u8,
    pub(super) victim: u8,
}

/// The world. What it answers depends on what was done to it so far, not on how often it was asked.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) odds: Odds,
    /// After so many deeds the request is cancelled, so that each ends.
    pub(super) patience: usize,
    pub(super) deeds: Vec<Deed>,
    pub(super) steps: Vec<Step>,
}

impl Script {
    pub(super) fn new(seed: u64, odds: Odds, patience: usize) -> Self {
        Self { seed, odds, patience, deeds: Vec::new(), steps: Vec::new() }
    }

    /// Answers a question; each has a number of its own.
    fn is_so(&self, question: u64, percent: u8) -> bool {
        let mut x =
            self.seed ^ question.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((self.deeds.len() as u64) << 20);
        for _ in 0..3 {
            x ^= x >> 30;
            x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^= x >> 27;
        }
        x % 100 < u64::from(percent)
    }

    fn then<R>(&mut self, deed: Deed, answer: impl FnOnce(&Self) -> R) -> R {
        let answer = answer(self);
        self.deeds.push(deed);
        answer
    }

    fn ask(&mut self, deed: Deed, question: u64, percent: u8) -> bool {
        self.then(deed, |script| script.is_so(question, percent))
    }
}

impl Effects for Script {
    /// The number of deeds before it was found.
    type Found = usize;

    fn enter(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn begin(&mut self) -> bool {
        self.ask(Deed::Begin, 1, self.odds.begins)
    }

    fn cookies_changed(&self) -> bool {
        self.is_so(2, self.odds.changes)
    }

    fn stopped(&self) -> Option<Stopped> {
        if self.deeds.len() >= self.patience || self.is_so(3, self.odds.cancelled) {
            return Some(Stopped::Now(FailReason::Cancelled));
        }
        self.is_so(4, self.odds.victim).then_some(Stopped::Victim)
    }

    fn wake_kswapds(&mut self) {
        self.deeds.push(Deed::Wake);
    }

    fn attempt(&mut self, flags: AllocFlags) -> Option<usize> {
        let at = self.deeds.len();
        self.ask(Deed::Attempt(flags), 5, self.odds.finds).then_some(at)
    }

    fn attempt_before_oom(&mut self) -> Option<usize> {
        let at = self.deeds.len();
        self.ask(Deed::AttemptBeforeOom, 6, self.odds.finds).then_some(at)
    }

    fn lift_nodemask(&mut self) {
        self.deeds.push(Deed::LiftNodemask);
    }

    fn reclaim(&mut self) -> u64 {
        u64::from(self.ask(Deed::Reclaim, 7, self.odds.reclaims))
    }

    fn unreserve_highatomic(&mut self, force: bool) -> bool {
        self.ask(Deed::Unreserve { force }, 8, self.odds.unreserves)
    }

    fn drain_all(&mut self) {
        self.deeds.push(Deed::Drain);
    }

    fn compact(&mut self, priority: CompactPriority) -> CompactResult {
        self.deeds.push(Deed::Compact(priority));
        CompactResult::Skipped
    }

    fn could_pass(&self, _flags: AllocFlags) -> bool {
        self.is_so(9, self.odds.passes)
    }

    fn could_be_compacted(&self) -> bool {
        self.is_so(10, self.odds.compactable)
    }

    fn with_oom_lock<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let taken = self.ask(Deed::OomLock, 11, self.odds.oom_locked);
        (!taken).then(|| f(self))
    }

    fn out_of_memory(&mut self, round: u32) -> bool {
        self.ask(Deed::OutOfMemory(round), 12, self.odds.helps)
    }

    fn pause(&mut self, pause: Pause) {
        self.deeds.push(Deed::Pause(pause));
    }
}
