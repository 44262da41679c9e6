//! What the locks of gfp's zones went through, in a build that counts it.

use gfp::Allocator;
use serde::{Deserialize, Serialize};

/// Counts since the allocator was built, all zones together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    acquired: u64,
    contended: u64,
    held_ns: u64,
}

impl Locks {
    /// Reads the counts; nothing in a build without the feature `lock-stats`.
    #[must_use]
    pub fn of(allocator: &Allocator) -> Option<Self> {
        #[cfg(feature = "lock-stats")]
        return Some(allocator.zone_lock_stats().into_iter().fold(Self::default(), |sum, zone| Self {
            acquired: sum.acquired + zone.acquisitions,
            contended: sum.contended + zone.contended,
            held_ns: sum.held_ns + zone.hold_ns_total,
        }));
        #[cfg(not(feature = "lock-stats"))]
        {
            let _ = allocator;
            None
        }
    }
}

/// What 1000 operations cost the zones' locks; in records, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockUse {
    /// How often one was taken.
    pub acquired: f64,
    /// How often it was held by another thread then.
    pub contended: f64,
    /// How many nanoseconds they were held, the clock's own cost included.
    pub held_ns: f64,
}

impl LockUse {
    /// Returns what so many operations cost that lie between two readings.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn between(before: Locks, after: Locks, operations: u64) -> Self {
        let rate =
            |before: u64, after: u64| 1e3 * after.saturating_sub(before) as f64 / operations.max(1) as f64;
        Self {
            acquired: rate(before.acquired, after.acquired),
            contended: rate(before.contended, after.contended),
            held_ns: rate(before.held_ns, after.held_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_thousand_operations() {
        let before = Locks { acquired: 10, contended: 1, held_ns: 100 };
        let after = Locks { acquired: 30, contended: 1, held_ns: 4100 };
        let expected = LockUse { acquired: 10.0, contended: 0.0, held_ns: 2000.0 };
        assert_eq!(LockUse::between(before, after, 2000), expected);
    }

    #[test]
    fn a_build_that_counts_sees_what_passes_the_caches() {
        let allocator = Allocator::builder(64 << 20).build().unwrap();
        let before = Locks::of(&allocator);
        drop(allocator.alloc_pages(gfp::Gfp::KERNEL, gfp::Order::new(10)).unwrap());
        let after = Locks::of(&allocator);
        assert_eq!(before.is_some(), cfg!(feature = "lock-stats"));
        if let (Some(before), Some(after)) = (before, after) {
            assert!(after.acquired >= before.acquired + 2, "{before:?} {after:?}");
        }
    }
}
