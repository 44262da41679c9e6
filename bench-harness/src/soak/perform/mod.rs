//! The operations of a worker.

mod ask;
mod change;
mod elsewhere;
mod give;
mod pressure;

use std::mem;

use crate::workload::Rng;

use super::{
    grounds::Grounds, holding::Holding, mix::Kind, seat::Seat, tally::Outcome, violation::Problem,
    worker::Worker,
};

impl Worker {
    /// Does an operation of a kind; whatever else it is about comes from the random numbers.
    pub(super) fn perform(
        &mut self,
        kind: Kind,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<Outcome, Problem> {
        let served = match kind {
            Kind::Alloc => self.alloc(grounds, seat, rng),
            Kind::OnNode => self.alloc_on_node(grounds, rng),
            Kind::FromNodes => self.alloc_from_nodes(grounds, rng),
            Kind::OfPolicy => self.alloc_of_policy(grounds, rng),
            Kind::Zeroed => self.alloc_zeroed(grounds, rng),
            Kind::NoLock => self.alloc_nolock(grounds, rng),
            Kind::Bulk => self.alloc_bulk(grounds, seat, rng),
            Kind::Atomic => self.alloc_atomic(grounds, rng),
            Kind::Request => self.request(grounds, seat, rng),
            Kind::NoFail => self.request_nofail(grounds, seat, rng),
            Kind::Exact => self.alloc_exact(grounds, rng),
            Kind::Fragment => self.alloc_fragment(grounds, rng),
            Kind::Contig => self.alloc_contig(grounds, rng),
            Kind::Cma => self.alloc_cma(grounds, rng),
            Kind::Free => self.free_any(grounds, seat, rng),
            Kind::FreeBulk => self.free_bulk(grounds, seat, rng),
            Kind::SetBy => Ok(self.set_by(grounds, rng)),
            Kind::TakeUp => self.take_up(grounds, rng),
            Kind::Split => self.split(grounds, rng),
            Kind::Share => self.share(rng),
            Kind::Get => self.get(rng),
            Kind::Unshare => self.unshare(rng),
            Kind::TakeApart => self.take_apart(rng),
            Kind::PutTogether => self.put_together(grounds, rng),
            Kind::Verify => self.verify_any(grounds, rng),
            Kind::Send => Ok(self.send(grounds, rng)),
            Kind::Receive => self.receive(grounds),
            Kind::Policy => Ok(self.change_policy(grounds, seat, rng)),
            Kind::MemsAllowed => Ok(change::mems_allowed(grounds, rng)),
            Kind::Reclaiming => Ok(change::reclaiming(grounds, rng)),
            Kind::Register => Ok(pressure::register_shrinker(grounds, rng)),
            Kind::Unregister => pressure::unregister_shrinker(grounds, rng),
            Kind::Cancel => Ok(pressure::cancel(grounds, rng)),
            Kind::Count => Ok(pressure::count(grounds, rng)),
            Kind::TakeBack => grounds.ledger.take_back(&grounds.allocator),
            Kind::Trim => pressure::trim(grounds),
            Kind::Isolate => Ok(change::isolate(grounds, rng)),
            Kind::UndoIsolate => Ok(change::undo_isolate(grounds, rng)),
            Kind::Offline => change::offline(grounds, rng),
            Kind::Online => change::online(grounds, rng),
            Kind::Drain => Ok(change::drain(grounds)),
            Kind::Age => Ok(change::age(grounds)),
            Kind::Report => Ok(change::report(grounds, rng)),
            Kind::Elsewhere => elsewhere::come_and_go(self.stamp(), seat, rng),
            Kind::Depart => Ok(self.depart(grounds, rng)),
        };
        served.map(Outcome::of)
    }

    /// Takes one of the blocks that are held, if one of the next 8 is as wanted.
    fn pick(&mut self, rng: &mut Rng, wanted: impl Fn(&Holding) -> bool) -> Option<Holding> {
        let at = self.find(rng, wanted)?;
        Some(self.holdings.swap_remove(at))
    }

    /// Finds one of the blocks that are held, if one of the next 8 is as wanted.
    fn find(&self, rng: &mut Rng, wanted: impl Fn(&Holding) -> bool) -> Option<usize> {
        let count = self.holdings.len();
        let first = rng.below(count.max(1));
        (first..first + 8).map(|at| at % count.max(1)).take(count).find(|&at| wanted(&self.holdings[at]))
    }

    fn verify_any(&self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let Some(at) = self.find(rng, |_| true) else { return Ok(false) };
        self.holdings[at].verify(&grounds.allocator).map(|()| true)
    }

    /// Hands some blocks to another thread.
    fn send(&mut self, grounds: &Grounds, rng: &mut Rng) -> bool {
        let rest = self.holdings.len().saturating_sub(1 + rng.below(32));
        let to = rng.below(grounds.config.threads);
        let mut mailbox = grounds.mailbox(to);
        mailbox.extend(self.holdings.drain(rest..));
        !mailbox.is_empty()
    }

    /// Takes what other threads have handed over.
    fn receive(&mut self, grounds: &Grounds) -> Result<bool, Problem> {
        let received = mem::take(&mut *grounds.mailbox(self.index));
        received.iter().try_for_each(|holding| holding.verify(&grounds.allocator))?;
        let any = !received.is_empty();
        self.holdings.extend(received);
        Ok(any)
    }

    /// Hands all blocks to others, since the thread ends.
    fn depart(&mut self, grounds: &Grounds, rng: &mut Rng) -> bool {
        for holding in self.holdings.drain(..) {
            grounds.mailbox(rng.below(grounds.config.threads)).push(holding);
        }
        true
    }
}
