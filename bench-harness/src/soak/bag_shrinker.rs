//! Shrinkers that give the blocks of bags back when memory is short; some that do not.

use std::{mem, panic::resume_unwind, sync::Weak};

use gfp::{
    Gfp,
    reclaim::{ObjectCount, ShrinkControl, Shrinker},
};

use super::{
    bags::{Manner, Registered},
    grounds::Grounds,
    holding::{Block, Holding},
    violation::Place,
};

/// Registers a shrinker for the bag of a number, unless it has one; tells whether it did.
pub(super) fn register(grounds: &Grounds, number: usize, manner: Manner) -> bool {
    let mut registered = grounds.bags[number].registered();
    if registered.is_some() {
        return false;
    }
    let shrinker = BagShrinker { grounds: grounds.myself.clone(), number, manner };
    let shrinker = grounds.allocator.register_shrinker("soak", shrinker);
    *registered = Some(Registered { shrinker, manner });
    true
}

/// Gives the blocks of a bag back.
#[derive(Debug)]
struct BagShrinker {
    /// The grounds have the allocator, which has the shrinker.
    grounds: Weak<Grounds>,
    number: usize,
    manner: Manner,
}

impl BagShrinker {
    /// Tells whether a block is among those that are asked for.
    fn is_asked_for(&self, grounds: &Grounds, control: &ShrinkControl, holding: &Holding) -> bool {
        match &holding.block {
            Block::Pages(pages) if self.manner == Manner::ByNode => {
                grounds.allocator.node_of(pages) == control.nid()
            }
            _ => true,
        }
    }

    /// Frees so many blocks as are asked for, if the bag is not in use.
    fn give(&self, grounds: &Grounds, control: &mut ShrinkControl) -> Option<u64> {
        let wanted = usize::try_from(control.nr_to_scan()).unwrap_or(usize::MAX);
        let given: Vec<_> = {
            let mut blocks = grounds.bags[self.number].blocks.try_lock().ok()?;
            blocks
                .extract_if(.., |holding| self.is_asked_for(grounds, control, holding))
                .take(wanted)
                .collect()
        };
        let count = given.len() as u64;
        control.set_nr_scanned(count);
        for holding in given {
            match holding.verify(&grounds.allocator) {
                Ok(()) => drop(holding.release(&grounds.owners)),
                Err(problem) => {
                    grounds.watch.report(problem.during(Place::current()));
                    mem::forget(holding);
                }
            }
        }
        Some(count)
    }
}

impl Shrinker for BagShrinker {
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        let Some(grounds) = self.grounds.upgrade() else { return ObjectCount::Empty };
        if matches!(self.manner, Manner::Lies | Manner::Keeps | Manner::Panics) {
            return ObjectCount::Objects(8);
        }
        let Ok(blocks) = grounds.bags[self.number].blocks.try_lock() else { return ObjectCount::Objects(0) };
        match blocks.iter().filter(|holding| self.is_asked_for(&grounds, control, holding)).count() {
            0 => ObjectCount::Empty,
            count => ObjectCount::Objects(count as u64),
        }
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let grounds = self.grounds.upgrade()?;
        match self.manner {
            Manner::Proper if !control.gfp().contains(Gfp::FS) => None,
            Manner::Proper | Manner::ByNode => self.give(&grounds, control),
            Manner::Asks => {
                let given = self.give(&grounds, control);
                // Free again at once.
                drop(grounds.allocator.alloc_page(Gfp::NOWAIT));
                given
            }
            Manner::Leaves => {
                let given = self.give(&grounds, control);
                if let Ok(mut registered) = grounds.bags[self.number].registered.try_lock() {
                    *registered = None;
                }
                given
            }
            Manner::Lies => Some(control.nr_to_scan()),
            Manner::Keeps => Some(0),
            // Without a word to standard error.
            Manner::Panics => resume_unwind(Box::new("a shrinker that panics")),
        }
    }

    fn batch(&self) -> u64 {
        16
    }

    fn numa_aware(&self) -> bool {
        self.manner == Manner::ByNode
    }
}
