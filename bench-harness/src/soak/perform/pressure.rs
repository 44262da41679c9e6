//! What happens when memory is short: who gives some back, how long requests wait, and what goes to the system.

use std::time::{Duration, Instant};

use gfp::{AllocError, CancelToken, Gfp, NodeMask, error::FailReason, node::NodeStatItem};

use super::super::{
    bag_shrinker, bags::Manner, grounds::Grounds, holding::Holding, ledger::Entry, mix, seat::Seat,
    violation::Problem, worker::Worker,
};
use crate::workload::Rng;

/// The longest that a request waits.
const PATIENCE_US: usize = 2500;

/// What may end a request before there is memory.
struct Limits {
    deadline: Option<Instant>,
    token: Option<CancelToken>,
}

impl Limits {
    /// Checks that a request failed for a reason that it had.
    fn check(&self, error: &AllocError) -> Result<(), Problem> {
        let right = match error.reason() {
            FailReason::DeadlineExceeded => self.deadline.is_some_and(|deadline| Instant::now() >= deadline),
            FailReason::Cancelled => self.token.as_ref().is_some_and(CancelToken::is_cancelled),
            // The nodes that are allowed may be none of those that it names.
            FailReason::NoZone => true,
            _ => !error.gfp().contains(Gfp::NOFAIL),
        };
        if right { Ok(()) } else { Err(Problem::new(format!("a request failed for no reason: {error}"))) }
    }
}

impl Worker {
    /// Makes a request that has a deadline or can be cancelled.
    pub(super) fn request(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        let gfp = mix::mask(rng);
        let (timed, cancellable) = (rng.below(4) > 0, rng.below(4) > 0);
        self.limited(grounds, seat, rng, gfp, timed, cancellable)
    }

    /// Makes a request that may not fail for want of memory; its deadline ends it.
    pub(super) fn request_nofail(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        let gfp = mix::patient_mask(rng) | Gfp::NOFAIL;
        let cancellable = rng.below(2) == 0;
        self.limited(grounds, seat, rng, gfp, true, cancellable)
    }

    fn limited(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
        gfp: Gfp,
        timed: bool,
        cancellable: bool,
    ) -> Result<bool, Problem> {
        let order = mix::order(rng);
        let patience = Duration::from_micros(rng.below(PATIENCE_US) as u64);
        let nodes = grounds.config.nodes;
        let node = mix::node(rng, nodes);
        let named = mix::nodes(rng, nodes);
        let (node, named) = match rng.below(4) {
            0 => (Some(node), None),
            1 => (None, Some(named)),
            _ => (None, None),
        };
        let (renewed, around) = (rng.below(4) > 0, rng.below(2) == 0);
        let limits = Limits {
            deadline: timed.then(|| Instant::now() + patience),
            token: cancellable.then(|| grounds.token_of(self.index, renewed)),
        };
        let allowed = match (node, named) {
            (_, Some(named)) => named,
            (Some(_), None) => NodeMask::ALL,
            (None, None) => self.bound(seat, gfp),
        };
        let mut request = grounds.allocator.request(gfp, order);
        if let Some(node) = node {
            request = request.node(node);
        }
        if let Some(named) = named {
            request = request.nodemask(named);
        }
        if let Some(deadline) = limits.deadline {
            request = request.deadline(deadline);
        }
        let mut scope = None;
        match &limits.token {
            Some(token) if around => scope = Some(token.enter()),
            Some(token) => request = request.cancel(token),
            None => {}
        }
        let result = request.alloc();
        drop(scope);
        if let Err(error) = &result {
            limits.check(error)?;
        }
        self.got(grounds, (gfp, order), allowed, result)
    }

    /// Puts some blocks into a bag whose shrinker may give them back.
    pub(super) fn set_by(&mut self, grounds: &Grounds, rng: &mut Rng) -> bool {
        let bag = &grounds.bags[rng.below(grounds.bags.len())];
        let most = 1 + rng.below(16);
        if !bag.has_shrinker() {
            return false;
        }
        let blocks: Vec<_> = (0..most).map_while(|_| self.pick(rng, Holding::is_pages)).collect();
        let any = !blocks.is_empty();
        bag.blocks().extend(blocks);
        any
    }

    /// Takes some blocks out of a bag.
    pub(super) fn take_up(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let bag = &grounds.bags[rng.below(grounds.bags.len())];
        let most = 1 + rng.below(8);
        let taken: Vec<_> = {
            let mut blocks = bag.blocks();
            let rest = blocks.len().saturating_sub(most);
            blocks.drain(rest..).collect()
        };
        taken.iter().try_for_each(|holding| holding.verify(&grounds.allocator))?;
        let any = !taken.is_empty();
        self.holdings.extend(taken);
        Ok(any)
    }
}

pub(super) fn register_shrinker(grounds: &Grounds, rng: &mut Rng) -> bool {
    let number = rng.below(grounds.bags.len());
    bag_shrinker::register(grounds, number, Manner::draw(rng))
}

pub(super) fn unregister_shrinker(grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
    grounds.bags[rng.below(grounds.bags.len())].unregister()
}

/// Cancels what a thread waits for, or the next that it would wait for.
pub(super) fn cancel(grounds: &Grounds, rng: &mut Rng) -> bool {
    grounds.token_of(rng.below(grounds.config.threads), false).cancel();
    true
}

pub(super) fn trim(grounds: &Grounds) -> Result<bool, Problem> {
    let trimmed = grounds.allocator.trim();
    if (trimmed.refused > 0) != trimmed.refusal.is_some() {
        return Err(Problem::new(format!("free memory was refused without a reason: {trimmed:?}")));
    }
    Ok(trimmed.refusal.is_none())
}

/// Says that some frames of a node are dirty, or are a cache's.
pub(super) fn count(grounds: &Grounds, rng: &mut Rng) -> bool {
    let item = match rng.below(4) {
        0 => NodeStatItem::ActiveFile,
        1 => NodeStatItem::InactiveFile,
        2 => NodeStatItem::FileDirty,
        _ => NodeStatItem::Writeback,
    };
    let node = mix::node(rng, grounds.config.nodes);
    let frames = u32::try_from(1 + rng.below(1000)).expect("small");
    grounds.ledger.add(&grounds.allocator, Entry { node, item, frames })
}
