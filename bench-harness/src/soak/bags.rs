//! Bags of blocks that nobody needs for now: shrinkers give them back when memory is short.

use std::{
    mem,
    panic::resume_unwind,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use gfp::{
    Gfp,
    reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker},
};

use super::{
    grounds::Grounds,
    holding::{Block, Holding},
    violation::{Place, Problem},
};
use crate::workload::Rng;

/// How a shrinker does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Gives blocks back, for requests that may go into the storage layer.
    Proper,
    /// Gives blocks of one node back.
    ByNode,
    /// Gives blocks back, and asks for a page itself.
    Asks,
    /// Gives blocks back, and removes itself.
    Leaves,
    /// Says that it gave back what it was asked to, and gave nothing.
    Lies,
    /// Has a lot, and gives nothing.
    Keeps,
    /// Panics.
    Panics,
}

impl Manner {
    /// Draws a manner, mostly a useful one.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(16) {
            0 => Self::Lies,
            1 => Self::Keeps,
            2 => Self::Panics,
            3 | 4 => Self::Leaves,
            5 | 6 => Self::Asks,
            7..10 => Self::ByNode,
            _ => Self::Proper,
        }
    }
}

/// A shrinker that is registered, and how it does its work.
#[derive(Debug)]
struct Registered {
    shrinker: RegisteredShrinker,
    manner: Manner,
}

/// Blocks, and the shrinker that gives them back, if there is one.
#[derive(Debug, Default)]
pub(super) struct Bag {
    /// A shrinker waits for neither of the locks. Whoever has this one asks for no memory.
    blocks: Mutex<Vec<Holding>>,
    registered: Mutex<Option<Registered>>,
}

impl Bag {
    /// Locks the blocks; nothing may be asked of the allocator meanwhile.
    pub(super) fn blocks(&self) -> MutexGuard<'_, Vec<Holding>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self) -> MutexGuard<'_, Option<Registered>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a shrinker gives its blocks back.
    pub(super) fn has_shrinker(&self) -> bool {
        self.registered().is_some()
    }

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

    /// Removes the shrinker, if there is one; tells whether there was.
    pub(super) fn unregister(&self) -> Result<bool, Problem> {
        // Not under the lock: it waits for callbacks.
        let Some(Registered { shrinker, manner }) = self.registered().take() else { return Ok(false) };
        match shrinker.report().panics {
            panics if panics > 0 && manner != Manner::Panics => {
                Err(Problem::new(format!("a callback of a shrinker panicked: {shrinker:?}")))
            }
            _ => Ok(true),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manners_are_drawn() {
        let mut rng = Rng::new(1);
        let drawn: Vec<_> = (0..1000).map(|_| Manner::draw(&mut rng)).collect();
        use Manner::{Asks, ByNode, Keeps, Leaves, Lies, Panics, Proper};
        for manner in [Proper, ByNode, Asks, Leaves, Lies, Keeps, Panics] {
            assert!(drawn.contains(&manner), "{manner:?}");
        }
    }
}
