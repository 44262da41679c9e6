//! Telling a thread of the allocator's own to stop.

use core::time::Duration;

use crate::sync::{Condvar, LockRank, Mutex};

/// What such a thread sleeps on when nothing else ends its sleep.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Sleeps for a while, and tells whether to stop.
    pub(super) fn sleep(&self, period: Duration) -> bool {
        let _rank = LockRank::Leaf.acquire();
        let mut asked = self.asked.lock();
        if !*asked {
            self.changed.wait_for(&mut asked, period);
        }
        *asked
    }

    /// Tells whether to stop.
    pub(super) fn is_asked(&self) -> bool {
        let _rank = LockRank::Leaf.acquire();
        *self.asked.lock()
    }

    /// Tells the thread to stop, and ends its sleep.
    pub(super) fn ask(&self) {
        let _rank = LockRank::Leaf.acquire();
        *self.asked.lock() = true;
        self.changed.notify_all();
    }
}
