//! Frees, and what becomes of blocks before.

use gfp::{Order, Pages};

use super::super::{
    grounds::Grounds,
    holding::{Block, Holding, Ownership},
    owners::Joint,
    seat::Seat,
    violation::Problem,
    worker::Worker,
};
use crate::workload::Rng;

impl Worker {
    pub(super) fn free_any(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        if self.holdings.is_empty() {
            self.receive(grounds)?;
        }
        let Some(holding) = self.pick(rng, |_| true) else { return Ok(false) };
        self.free(grounds, seat, holding, rng.below(16)).map(|()| true)
    }

    /// Checks a block and frees it, in one of 16 ways.
    pub(in super::super) fn free(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        holding: Holding,
        way: usize,
    ) -> Result<(), Problem> {
        holding.verify(&grounds.allocator)?;
        match holding.release(&grounds.owners) {
            Block::Pages(pages) => free_pages(seat, pages, way),
            Block::Raw(parts) => {
                // SAFETY: the parts are of a block of this allocator that was taken apart.
                unsafe { grounds.allocator.free_raw(parts) }.map_err(|error| {
                    Problem::at(parts.pfn, format!("cannot be freed by its parts: {error}"))
                })?;
                // SAFETY: parts that are used up are refused.
                if unsafe { grounds.allocator.free_raw(parts) }.is_ok() {
                    return Err(Problem::at(parts.pfn, "was freed by its parts a second time"));
                }
            }
            Block::Shared(pages, _) => drop(pages),
            Block::Exact(run) => drop(run),
            Block::Contig(run) => drop(run),
            Block::Fragment(fragment, _) => drop(fragment),
        }
        Ok(())
    }

    pub(super) fn free_bulk(
        &mut self,
        grounds: &Grounds,
        seat: &mut Seat<'_>,
        rng: &mut Rng,
    ) -> Result<bool, Problem> {
        let mut places = Vec::new();
        for _ in 0..1 + rng.below(64) {
            let Some(holding) = self.pick(rng, Holding::is_pages) else { break };
            holding.verify(&grounds.allocator)?;
            if let Block::Pages(pages) = holding.release(&grounds.owners) {
                places.push(Some(pages));
            }
        }
        match (rng.below(2), seat.handle()) {
            (0, Some(handle)) => handle.free_pages_bulk(&mut places),
            _ => seat.allocator().free_pages_bulk(&mut places),
        }
        if places.iter().any(Option::is_some) {
            return Err(Problem::new("blocks are left of those that were to be freed"));
        }
        Ok(!places.is_empty())
    }

    /// Makes single frames of a block.
    pub(super) fn split(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let large = |holding: &Holding| match &holding.block {
            Block::Pages(pages) => (1..6).contains(&pages.order().get()),
            _ => false,
        };
        let Some(holding) = self.pick(rng, large) else { return Ok(false) };
        holding.verify(&grounds.allocator)?;
        if let Block::Pages(pages) = holding.release(&grounds.owners) {
            let mut frames = Vec::with_capacity(pages.order().frames() as usize);
            pages.split_page(|frame| frames.push(frame));
            for frame in frames {
                if frame.order() != Order::ZERO {
                    return Err(Problem::at(frame.pfn(), format!("{frame:?} is a part of a split block")));
                }
                self.holdings.push(Holding::new(&grounds.owners, Block::Pages(frame), self.stamp())?);
            }
        }
        Ok(true)
    }

    pub(super) fn share(&mut self, rng: &mut Rng) -> Result<bool, Problem> {
        let Some(holding) = self.pick(rng, Holding::is_pages) else { return Ok(false) };
        self.holdings.push(match holding {
            Holding { block: Block::Pages(pages), ownership: Ownership::Alone(claim), stamp } => Holding {
                block: Block::Shared(pages.into_shared(), Joint::new(claim).into()),
                ownership: Ownership::Together,
                stamp,
            },
            other => other,
        });
        Ok(true)
    }

    pub(super) fn get(&mut self, rng: &mut Rng) -> Result<bool, Problem> {
        let at = self.find(rng, |holding| matches!(holding.block, Block::Shared(..)));
        let Some(holding) = at.map(|at| &self.holdings[at]) else { return Ok(false) };
        let Block::Shared(pages, joint) = &holding.block else { return Ok(false) };
        let another = match rng.below(2) {
            0 => pages.clone(),
            _ => pages.try_get().map_err(|error| Problem::at(pages.pfn(), error.to_string()))?,
        };
        joint.join();
        let block = Block::Shared(another, joint.clone());
        let another = Holding { block, ownership: Ownership::Together, stamp: holding.stamp };
        self.holdings.push(another);
        Ok(true)
    }

    /// Makes a reference a block with an owner, if it is the only one.
    pub(super) fn unshare(&mut self, rng: &mut Rng) -> Result<bool, Problem> {
        let shared = self.pick(rng, |holding| matches!(holding.block, Block::Shared(..)));
        let Some(Holding { block: Block::Shared(pages, joint), ownership, stamp }) = shared else {
            return Ok(false);
        };
        match pages.try_into_pages() {
            Ok(pages) => {
                let block = Block::Pages(pages);
                // References are given back after their owner has left, and taken before one joins.
                if joint.count() != 1 {
                    let what = format!("{} own it, and it is said that one does", joint.count());
                    return Err(Problem::at(joint.claim().start(), what));
                }
                let ownership = Ownership::Alone(joint.claim().clone());
                self.holdings.push(Holding { block, ownership, stamp });
                Ok(true)
            }
            Err(pages) => {
                self.holdings.push(Holding { block: Block::Shared(pages, joint), ownership, stamp });
                Ok(false)
            }
        }
    }

    pub(super) fn take_apart(&mut self, rng: &mut Rng) -> Result<bool, Problem> {
        let Some(holding) = self.pick(rng, Holding::is_pages) else { return Ok(false) };
        self.holdings.push(match holding {
            Holding { block: Block::Pages(pages), ownership, stamp } => {
                Holding { block: Block::Raw(pages.into_raw_parts()), ownership, stamp }
            }
            other => other,
        });
        Ok(true)
    }

    pub(super) fn put_together(&mut self, grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
        let taken_apart = self.pick(rng, |holding| matches!(holding.block, Block::Raw(_)));
        let Some(Holding { block: Block::Raw(parts), ownership, stamp }) = taken_apart else {
            return Ok(false);
        };
        // SAFETY: the parts are of a block of this allocator that was taken apart.
        let pages = unsafe { grounds.allocator.from_raw_parts(parts) }
            .map_err(|error| Problem::at(parts.pfn, format!("cannot be put together: {error}")))?;
        self.holdings.push(Holding { block: Block::Pages(pages), ownership, stamp });
        Ok(true)
    }
}

fn free_pages(seat: &mut Seat<'_>, pages: Pages, way: usize) {
    let allocator = seat.allocator();
    match (way, seat.handle()) {
        (0..3, _) => drop(pages),
        (3, _) => allocator.free_pages_cold(pages),
        (4, _) => allocator.free_pages_nolock(pages),
        (5..8, _) | (_, None) => allocator.free_pages(pages),
        (_, Some(handle)) => handle.free_pages(pages),
    }
}
