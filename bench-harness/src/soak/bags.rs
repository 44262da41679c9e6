//! Bags of blocks that nobody needs for now, for shrinkers to give back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gfp::reclaim::RegisteredShrinker;

use super::{holding::Holding, violation::Problem};
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
pub(super) struct Registered {
    pub(super) shrinker: RegisteredShrinker,
    pub(super) manner: Manner,
}

/// Blocks, and the shrinker that gives them back, if there is one.
#[derive(Debug, Default)]
pub(super) struct Bag {
    /// A shrinker waits for neither of the locks. Whoever has this one asks for no memory.
    pub(super) blocks: Mutex<Vec<Holding>>,
    pub(super) registered: Mutex<Option<Registered>>,
}

impl Bag {
    /// Locks the blocks; nothing may be asked of the allocator meanwhile.
    pub(super) fn blocks(&self) -> MutexGuard<'_, Vec<Holding>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn registered(&self) -> MutexGuard<'_, Option<Registered>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a shrinker gives its blocks back.
    pub(super) fn has_shrinker(&self) -> bool {
        self.registered().is_some()
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
