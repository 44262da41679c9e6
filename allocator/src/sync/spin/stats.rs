//! Statistics of a lock, kept under the lock itself.

use crate::sync::OwnedCounter;
use std::time::Duration;

/// How often and how long a lock was held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LockStats {
    /// Acquisitions that have ended.
    pub acquisitions: u64,
    /// Those among them that found the lock held.
    pub contended: u64,
    /// Time held, in nanoseconds, all acquisitions together.
    pub hold_ns_total: u64,
    /// The longest time held, in nanoseconds.
    pub hold_ns_max: u64,
}

/// The counters; only the holder of the lock writes them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    acquisitions: OwnedCounter,
    contended: OwnedCounter,
    hold_ns_total: OwnedCounter,
    hold_ns_max: OwnedCounter,
}

impl Counters {
    /// Records one acquisition that lasted `hold`.
    pub(super) fn record(&self, contended: bool, hold: Duration) {
        let hold_ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
        self.acquisitions.add(1);
        self.contended.add(u64::from(contended));
        self.hold_ns_total.add(hold_ns);
        let max = self.hold_ns_max.get();
        self.hold_ns_max.add(hold_ns.saturating_sub(max));
    }

    /// Reads the counters one after the other.
    pub(super) fn read(&self) -> LockStats {
        LockStats {
            acquisitions: self.acquisitions.get(),
            contended: self.contended.get(),
            hold_ns_total: self.hold_ns_total.get(),
            hold_ns_max: self.hold_ns_max.get(),
        }
    }
}
