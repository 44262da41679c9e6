//! Counts of what was served elsewhere than where it was wanted.

use crate::{
    frame::{Nid, ZoneNumber},
    node::{Target, ZoneRef},
    sync::atomic::{AtomicU64, Ordering},
};

/// The exceptions of one zone, in frames.
///
/// What a cache serves at once comes from the zone that its thread tries first, on its own node; so only the rest is counted,
/// and the hits are what was allocated less the misses.
#[derive(Debug, Default)]
struct Exceptions {
    miss: AtomicU64,
    foreign: AtomicU64,
    other: AtomicU64,
    interleave_hit: AtomicU64,
}

/// What one zone served, in frames; the kernel counts calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NumaEvents {
    /// Served here although another node was wanted.
    pub(crate) miss: u64,
    /// Wanted here, served elsewhere.
    pub(crate) foreign: u64,
    /// Served here to threads of other nodes.
    pub(crate) other: u64,
    /// Served here by turns, as wanted.
    pub(crate) interleave_hit: u64,
}

/// The exceptions of all zones (`zone_statistics`).
#[derive(Debug)]
pub(crate) struct NumaCounters(Box<[Exceptions]>);

impl NumaCounters {
    pub(super) fn new(zones: usize) -> Self {
        Self((0..zones).map(|_| Exceptions::default()).collect())
    }

    /// Counts a block that was served past the shortest way (`zone_statistics`).
    ///
    /// `first` is the zone that the request tried first, and `local` the node of the thread.
    #[doc(alias = "zone_statistics")]
    pub(super) fn count(&self, target: &Target, first: ZoneNumber, served: ZoneRef, local: Nid, frames: u32) {
        let add = |counter: &AtomicU64| {
            counter.fetch_add(u64::from(frames), Ordering::Relaxed);
        };
        let here = &self.0[served.number.index()];
        if served.node != target.node {
            add(&here.miss);
            add(&self.0[first.index()].foreign);
        } else if target.in_turn {
            add(&here.interleave_hit);
        }
        if served.node != local {
            add(&here.other);
        }
    }

    /// Returns the counts of a zone.
    pub(crate) fn of(&self, zone: ZoneNumber) -> NumaEvents {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Exceptions { miss, foreign, other, interleave_hit } = &self.0[zone.index()];
        NumaEvents {
            miss: read(miss),
            foreign: read(foreign),
            other: read(other),
            interleave_hit: read(interleave_hit),
        }
    }
}
