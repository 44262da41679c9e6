//! A lock that is only ever tried.

use crate::sync::atomic::{AtomicBool, Ordering};

/// A bit that one thread at a time has (`PGDAT_RECLAIM_LOCKED`): whoever finds it taken does something else.
///
/// As nobody waits for it, it has no rank: it may be held while an application's code runs, which takes what locks it likes.
#[derive(Debug, Default)]
pub(super) struct BitLock(AtomicBool);

/// The bit, had until this is dropped.
#[derive(Debug)]
#[must_use = "the bit is given back when this is dropped"]
pub(super) struct BitHeld<'a>(&'a BitLock);

impl BitLock {
    /// Takes the bit if nobody has it.
    pub(super) fn try_lock(&self) -> Option<BitHeld<'_>> {
        (!self.0.swap(true, Ordering::Acquire)).then_some(BitHeld(self))
    }
}

impl Drop for BitHeld<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_gives_it_back() {
        let lock = BitLock::default();
        let held = lock.try_lock();
        assert!(held.is_some() && lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }
}
