//! A worker: the state of a thread, which outlives the system's thread that it sits on.

use std::{mem, sync::Arc};

use gfp::PageFragCache;

use super::{
    faults::Planned,
    grounds::Grounds,
    holding::Holding,
    mix::Kind,
    owners::Joint,
    seat::{NamedPolicy, Seat},
    stamp::Stamp,
    tally::{Outcome, Tally},
    violation::{Place, Problem, caught},
};

/// Why a worker pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It has come to the number that it was to come to, or something is wrong.
    Arrived,
    /// Its thread ends.
    Departed,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
}

/// An operation that was done: its number in the order of all, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) ticket: u64,
    pub(super) outcome: Outcome,
}

/// What a thread has and knows.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) epoch: u64,
    /// Of the next operation.
    pub(super) number: u64,
    pub(super) holdings: Vec<Holding>,
    pub(super) fragments: Option<PageFragCache>,
    /// The page that fragments came from last, owned by their cache too.
    pub(super) fragment_page: Option<Arc<Joint>>,
    pub(super) policy: Option<NamedPolicy>,
    pub(super) tally: Tally,
    /// The epoch's operations.
    pub(super) done: Vec<Done>,
}

impl Worker {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            epoch: 0,
            number: 0,
            holdings: Vec::new(),
            fragments: None,
            fragment_page: None,
            policy: None,
            tally: Tally::default(),
            done: Vec::new(),
        }
    }

    pub(super) fn place(&self, grounds: &Grounds) -> Place {
        Place {
            seed: grounds.config.seed,
            epoch: self.epoch,
            thread: Some(self.index),
            operation: self.number,
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp::new(self.index, self.epoch, self.number)
    }

    /// Sits down on a thread of the system that has not met the allocator.
    pub(super) fn sit<'a>(&mut self, grounds: &'a Grounds) -> Seat<'a> {
        let seat = Seat::new(&grounds.allocator);
        let mut rng = grounds.mix.numbers(self.epoch, self.index, self.number);
        if grounds.config.faults && rng.below(4) == 0 {
            seat.be_refused(&mut self.tally);
        }
        seat
    }

    /// Does operations up to a number, or until the thread ends, and checks what is held then.
    pub(super) fn advance(&mut self, grounds: &Grounds, seat: &mut Seat<'_>, until: u64) -> Pause {
        while self.number < until && !grounds.watch.stops() {
            if let Some(Step { kind: Kind::Depart, .. }) = self.step(grounds, seat) {
                return Pause::Departed;
            }
        }
        self.pause(grounds);
        Pause::Arrived
    }

    /// Does the next operation; `None` when something was wrong, which is reported.
    pub(super) fn step(&mut self, grounds: &Grounds, seat: &mut Seat<'_>) -> Option<Step> {
        let ticket = grounds.ticket();
        let kind = self.guarded(grounds, |worker| {
            if worker.epoch == 0 && worker.index == 0 && grounds.config.spoil == Some(worker.number) {
                worker.spoil()?;
            }
            let (kind, mut rng) = grounds.mix.draw(worker.epoch, worker.index, worker.number);
            seat.enforce(worker.policy);
            let odds = match kind {
                Kind::Offline
                | Kind::Online
                | Kind::Isolate
                | Kind::Policy
                | Kind::Elsewhere
                | Kind::Trim => 3,
                _ => 512,
            };
            let fault = (grounds.config.faults && rng.below(odds) == 0).then(|| Planned::any(&mut rng));
            let outcome = worker.perform(kind, grounds, seat, &mut rng);
            if let Some(fault) = fault {
                worker.tally.count_faults(fault.call(), fault.struck());
            }
            Ok(Step { kind, outcome: outcome? })
        });
        let outcome = kind.map_or(Outcome::Refused, |step| step.outcome);
        self.done.push(Done { ticket, outcome });
        self.number += 1;
        if let Some(step) = kind {
            self.tally.count(step.kind, step.outcome);
        }
        kind
    }

    /// Checks all that is held.
    pub(super) fn pause(&mut self, grounds: &Grounds) {
        self.guarded(grounds, |worker| {
            worker.leave_fragments(grounds);
            worker.holdings.iter().try_for_each(|holding| holding.verify(&grounds.allocator))
        });
    }

    /// Frees everything, for a new epoch, which begins without a policy.
    pub(super) fn clear(&mut self, grounds: &Grounds, seat: &mut Seat<'_>) {
        self.guarded(grounds, |worker| {
            worker.leave_fragments(grounds);
            worker.fragments = None;
            let bag = &grounds.bags[worker.index];
            bag.unregister()?;
            let set_by = mem::take(&mut *bag.blocks());
            let handed = mem::take(&mut *grounds.mailbox(worker.index));
            let held = mem::take(&mut worker.holdings);
            for holding in held.into_iter().chain(handed).chain(set_by) {
                worker.free(grounds, seat, holding, 0)?;
            }
            worker.policy = None;
            seat.enforce(None);
            Ok(())
        });
    }

    /// Begins an epoch.
    pub(super) fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.number = 0;
        self.done.clear();
    }

    /// Lets the cache of fragments leave its page, so that it owns nothing.
    pub(super) fn leave_fragments(&mut self, grounds: &Grounds) {
        if let Some(page) = self.fragment_page.take() {
            page.leave(&grounds.owners);
        }
        if let Some(cache) = &self.fragments {
            cache.drain();
        }
    }

    /// Makes what is known of a block wrong.
    fn spoil(&mut self) -> Result<(), Problem> {
        let holding =
            self.holdings.first_mut().ok_or_else(|| Problem::new("nothing is held that could be spoiled"))?;
        holding.stamp = holding.stamp.spoiled();
        Ok(())
    }

    /// Runs something of which a problem, and a panic too, is reported as a violation here.
    fn guarded<R>(
        &mut self,
        grounds: &Grounds,
        run: impl FnOnce(&mut Self) -> Result<R, Problem>,
    ) -> Option<R> {
        let place = self.place(grounds);
        place.enter();
        caught(|| run(self)).map_err(|problem| grounds.watch.report(problem.during(place))).ok()
    }
}
