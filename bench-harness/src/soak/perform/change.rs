//! Changes of what the arena is and of who may use it.

use std::ops::Range;

use gfp::{NodeMask, Pfn, error::RangeProblem};

use super::super::{
    grounds::{Grounds, PAGEBLOCK},
    mix,
    seat::{NamedPolicy, Seat},
    violation::Problem,
    worker::Worker,
};
use crate::workload::Rng;

impl Worker {
    pub(super) fn change_policy(&mut self, grounds: &Grounds, seat: &mut Seat<'_>, rng: &mut Rng) -> bool {
        // Below 2^32 operations in an epoch, each policy has its own name.
        let name = (self.index as u64) << 32 | self.number;
        self.policy = mix::policy(rng, grounds.config.nodes).map(|policy| NamedPolicy { name, policy });
        seat.enforce(self.policy)
    }
}

pub(super) fn mems_allowed(grounds: &Grounds, rng: &mut Rng) -> bool {
    let nodes = mix::nodes(rng, grounds.config.nodes);
    grounds.allocator.set_mems_allowed(if rng.below(2) == 0 { NodeMask::ALL } else { nodes });
    true
}

pub(super) fn reclaiming(grounds: &Grounds, rng: &mut Rng) -> bool {
    grounds.allocator.set_reclaiming(mix::node(rng, grounds.config.nodes), rng.below(3) == 0);
    true
}

/// Draws one to three pageblocks, mostly from a few, so that one change meets another.
fn pageblocks(grounds: &Grounds, rng: &mut Rng) -> Range<Pfn> {
    let all = grounds.frames() / PAGEBLOCK;
    let some = if rng.below(2) == 0 { all } else { all.min(6) };
    let start = u32::try_from(rng.below(some as usize)).expect("few");
    let count = u32::try_from(1 + rng.below(3)).expect("few");
    Pfn::new(start * PAGEBLOCK)..Pfn::new((start + count).min(all) * PAGEBLOCK)
}

pub(super) fn isolate(grounds: &Grounds, rng: &mut Rng) -> bool {
    grounds.allocator.start_isolate(pageblocks(grounds, rng)).is_ok()
}

pub(super) fn undo_isolate(grounds: &Grounds, rng: &mut Rng) -> bool {
    grounds.allocator.undo_isolate(pageblocks(grounds, rng)).is_ok()
}

pub(super) fn offline(grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
    let range = pageblocks(grounds, rng);
    let _offlining = grounds.offlining();
    // Mostly where there is a chance.
    let range = match rng.below(4) {
        0 => range,
        _ => match grounds.owners.unowned(range.start.get(), PAGEBLOCK, PAGEBLOCK) {
            Some(start) => start..start.add(PAGEBLOCK),
            None => return Ok(false),
        },
    };
    if grounds.allocator.offline_pages(range.clone()).is_err() {
        return Ok(false);
    }
    // Nobody brings it online meanwhile.
    match grounds.owners.first_in(range.start, range.end) {
        None => Ok(true),
        Some(frame) => Err(Problem::at(frame, "was taken offline while somebody owned it")),
    }
}

pub(super) fn online(grounds: &Grounds, rng: &mut Rng) -> Result<bool, Problem> {
    let _offlining = grounds.offlining();
    let known = grounds.allocator.offline_ranges();
    let range = match known.len() {
        0 => pageblocks(grounds, rng),
        count => known[rng.below(count)].clone(),
    };
    match grounds.allocator.online_pages(range).map_err(|error| error.problem) {
        Ok(()) => Ok(true),
        Err(RangeProblem::Online(frame)) if !known.is_empty() => {
            Err(Problem::at(frame, "is online, and was said to be offline"))
        }
        Err(_) => Ok(false),
    }
}

pub(super) fn drain(grounds: &Grounds) -> bool {
    grounds.allocator.drain_all();
    true
}

pub(super) fn age(grounds: &Grounds) -> bool {
    grounds.allocator.age();
    true
}

/// Reads statistics; no more can be said of them while others change them.
pub(super) fn report(grounds: &Grounds, rng: &mut Rng) -> bool {
    let allocator = &grounds.allocator;
    let text = match rng.below(8) {
        0 => allocator.vmstat().to_string(),
        1 => allocator.buddyinfo().to_string(),
        2 => allocator.zoneinfo().to_string(),
        3 => allocator.pagetypeinfo().to_string(),
        4 => allocator.unusable_index().to_string(),
        5 => allocator.extfrag_index().to_string(),
        6 => allocator.conservation().to_string(),
        _ => format!("{:?} {:?}", allocator.zone_stats(), allocator.cma_areas()),
    };
    !text.is_empty()
}
