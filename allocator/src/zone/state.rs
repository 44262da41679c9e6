//! What a cache must know of a zone before it hands out a block: one word a zone, read without a lock.

use crate::{
    frame::{Descriptor, ZoneNumber},
    gfp::{AllocFlags, NR_ZONE_TYPES, WmarkIndex, ZoneType},
    sync::atomic::{AtomicU32, Ordering},
};

/// The state words of all zones of an allocator.
///
/// A word is rewritten by the holder of the zone's lock whenever the free frames, the marks, the boost or the reserves
/// have changed it; whoever reads it gets the state of some moment since then.
#[derive(Debug)]
pub struct ZoneStates {
    words: Box<[AtomicU32; Descriptor::ZONES]>,
}

impl Default for ZoneStates {
    fn default() -> Self {
        Self::new()
    }
}

impl ZoneStates {
    /// Makes the words of zones that refuse every request.
    pub fn new() -> Self {
        Self { words: Box::new(core::array::from_fn(|_| AtomicU32::new(0))) }
    }

    /// Returns the state of a zone by its index.
    #[inline(always)]
    pub fn get(&self, zone: usize) -> ZoneState {
        ZoneState(self.words[zone % Descriptor::ZONES].load(Ordering::Relaxed))
    }

    /// Replaces a zone's state; for the holder of its lock.
    #[inline]
    pub fn publish(&self, zone: ZoneNumber, state: ZoneState) {
        self.words[zone.index()].store(state.0, Ordering::Relaxed);
    }
}

/// A zone's answers to the watermark test of an order-0 request without reserves.
///
/// For each highest zone that a request may name (bits 4 × zone type):
///
/// | bit | set when the test passes |
/// |---|---|
/// | +0 | at the low mark, CMA frames not counted |
/// | +1 | at the low mark, CMA frames counted |
/// | +2 | at the high mark, CMA frames counted |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct ZoneState(u32);

impl ZoneState {
    /// Asks `test` for every bit: highest zone, mark, flags.
    pub fn of(mut test: impl FnMut(ZoneType, WmarkIndex, AllocFlags) -> bool) -> Self {
        let mut bits = 0;
        for highest in ZoneType::ALL {
            let at = 4 * highest.index();
            bits |= u32::from(test(highest, WmarkIndex::Low, AllocFlags::empty())) << at;
            bits |= u32::from(test(highest, WmarkIndex::Low, AllocFlags::CMA)) << (at + 1);
            bits |= u32::from(test(highest, WmarkIndex::High, AllocFlags::CMA)) << (at + 2);
        }
        Self(bits)
    }

    /// Tells whether an order-0 request at the low mark may be served.
    #[inline(always)]
    pub const fn above_low(self, highest: ZoneType, flags: AllocFlags) -> bool {
        let cma = if flags.contains(AllocFlags::CMA) { 1 } else { 0 };
        self.0 >> (4 * highest.index() + cma) & 1 == 1
    }

    /// Tells whether the zone has more than its high mark for every request (not `ZONE_BELOW_HIGH`).
    #[inline]
    pub const fn above_high(self) -> bool {
        self.0 >> (4 * (NR_ZONE_TYPES - 1) + 2) & 1 == 1
    }
}
