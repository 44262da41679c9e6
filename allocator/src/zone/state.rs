//! What a cache must know of a zone before it hands out a block: one word a zone, read without a lock.

use crate::{
    gfp::{AllocFlags, NR_ZONE_TYPES, WmarkIndex, ZoneType},
    sync::{
        Arc, CachePadded, SeededBug,
        atomic::{AtomicU64, Ordering},
        seeded,
    },
};

/// The state word of one zone, shared with every cache.
///
/// It is rewritten by the holder of the zone's lock whenever the free frames, the marks, the boost or the reserves have
/// changed it; whoever reads it gets the state of some moment since then. It has cache lines of its own.
///
/// ```
/// use gfp::zone::{SharedZoneState, ZoneState};
///
/// let word = SharedZoneState::new();
/// word.publish(ZoneState::default());
/// assert_eq!(word.get(), ZoneState::default());
/// ```
#[derive(Clone, Debug)]
pub struct SharedZoneState {
    word: Arc<CachePadded<AtomicU64>>,
}

impl Default for SharedZoneState {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedZoneState {
    /// Makes the word of a zone that refuses every request.
    pub fn new() -> Self {
        Self { word: Arc::new(CachePadded::new(AtomicU64::new(0))) }
    }

    /// Returns the state.
    #[inline(always)]
    pub fn get(&self) -> ZoneState {
        ZoneState(self.word.load(Ordering::Relaxed))
    }

    /// Replaces the state; for the holder of the zone's lock.
    #[inline]
    pub fn publish(&self, state: ZoneState) {
        if seeded(SeededBug::StatePublishedInParts) {
            const LOW_MARK: u64 = 0x3333_3333;
            self.word.store(state.0 & LOW_MARK, Ordering::Relaxed);
        }
        self.word.store(state.0, Ordering::Relaxed);
    }
}

/// The highest zones that a request may name to try a zone first: the zone's own type, and those above it that have no
/// memory.
///
/// ```
/// use gfp::{gfp::ZoneType, zone::FirstFor};
///
/// // The NORMAL zone of a machine without HIGHMEM.
/// let first_for = FirstFor::collect(|highest| highest >= ZoneType::Normal);
/// assert!(first_for.contains(ZoneType::HighMem) && !first_for.contains(ZoneType::Dma32));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstFor(u8);

impl FirstFor {
    /// Collects the types for which `is_first` says so.
    pub fn collect(is_first: impl Fn(ZoneType) -> bool) -> Self {
        Self(
            ZoneType::ALL
                .into_iter()
                .filter(|&kind| is_first(kind))
                .fold(0, |bits, kind| bits | 1 << kind.index()),
        )
    }

    /// Tells whether requests with this highest zone try the zone first.
    pub const fn contains(self, highest: ZoneType) -> bool {
        self.0 >> highest.index() & 1 == 1
    }
}

/// A zone's answers to the watermark test of an order-0 request without reserves.
///
/// For each highest zone that a request may name, by the number of its type:
///
/// | bit | set when the test passes |
/// |---|---|
/// | 4 × type + 0 | at the low mark, CMA frames not counted, and such a request tries this zone first: a cache then needs no other test |
/// | 4 × type + 1 | the same, CMA frames counted |
/// | 4 × type + 2 | at the high mark, CMA frames counted |
/// | 31 | (no test) the background thread reclaims memory of the zone (`ZONE_RECLAIM_ACTIVE`) |
/// | 32 + 2 × type + 0 | at the low mark, CMA frames not counted, whichever zone is tried first |
/// | 32 + 2 × type + 1 | the same, CMA frames counted |
///
/// ```
/// use gfp::{gfp::{AllocFlags, WmarkIndex, ZoneType}, zone::{FirstFor, SharedZoneState, ZoneState}};
///
/// // A DMA zone that is above its low mark, below its high one, and that nobody but DMA requests tries first.
/// let first_for = FirstFor::collect(|highest| highest == ZoneType::Dma);
/// assert!(first_for.contains(ZoneType::Dma) && !first_for.contains(ZoneType::Normal));
/// let state = ZoneState::of(first_for, |_, mark, _| mark == WmarkIndex::Low);
/// let none = AllocFlags::empty();
/// assert!(state.above_low(ZoneType::Dma, none));
/// assert!(!state.above_low(ZoneType::Normal, none) && state.is_willing(ZoneType::Normal, none));
/// assert!(!state.above_high());
///
/// // While memory of the zone is reclaimed the answers are the same, and caches know.
/// let active = state.with_reclaim_active();
/// assert!(active.is_reclaim_active() && active.above_low(ZoneType::Dma, none) && !state.is_reclaim_active());
///
/// let shared = SharedZoneState::new();
/// assert!(!shared.get().is_willing(ZoneType::Dma, none), "at first it refuses all");
/// shared.publish(state);
/// assert_eq!(shared.get(), state);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct ZoneState(u64);

impl ZoneState {
    /// Asks `test` for every bit: highest zone, mark, flags.
    pub fn of(first_for: FirstFor, mut test: impl FnMut(ZoneType, WmarkIndex, AllocFlags) -> bool) -> Self {
        let mut bits = 0;
        for highest in ZoneType::ALL {
            let at = 4 * highest.index();
            let low = u64::from(test(highest, WmarkIndex::Low, AllocFlags::empty()))
                | u64::from(test(highest, WmarkIndex::Low, AllocFlags::CMA)) << 1;
            if first_for.contains(highest) {
                bits |= low << at;
            }
            bits |= low << (Self::ANY_ZONE + 2 * highest.index());
            bits |= u64::from(test(highest, WmarkIndex::High, AllocFlags::CMA)) << (at + 2);
        }
        Self(bits)
    }

    /// The bit that says that memory of the zone is being reclaimed.
    const RECLAIM_ACTIVE: u64 = 1 << 31;

    /// Returns the same answers for a zone whose memory the background thread reclaims.
    #[must_use]
    pub const fn with_reclaim_active(self) -> Self {
        Self(self.0 | Self::RECLAIM_ACTIVE)
    }

    /// Tells whether the background thread reclaims memory of the zone.
    #[doc(alias = "ZONE_RECLAIM_ACTIVE")]
    pub const fn is_reclaim_active(self) -> bool {
        self.0 & Self::RECLAIM_ACTIVE != 0
    }

    /// Where the bits begin that are the same whichever zone is tried first.
    const ANY_ZONE: usize = 32;

    /// Tells whether an order-0 request at the low mark tries this zone first and may be served.
    #[inline(always)]
    pub const fn above_low(self, highest: ZoneType, flags: AllocFlags) -> bool {
        let cma = if flags.contains(AllocFlags::CMA) { 1 } else { 0 };
        self.0 >> (4 * highest.index() + cma) & 1 == 1
    }

    /// Tells whether an order-0 request at the low mark may be served, when its turn comes to this zone.
    pub const fn is_willing(self, highest: ZoneType, flags: AllocFlags) -> bool {
        let cma = if flags.contains(AllocFlags::CMA) { 1 } else { 0 };
        self.0 >> (Self::ANY_ZONE + 2 * highest.index() + cma) & 1 == 1
    }

    /// Tells whether the zone has more than its high mark for every request (not `ZONE_BELOW_HIGH`).
    #[inline]
    pub const fn above_high(self) -> bool {
        self.0 >> (4 * (NR_ZONE_TYPES - 1) + 2) & 1 == 1
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CMA: [AllocFlags; 2] = [AllocFlags::empty(), AllocFlags::CMA];

    proptest! {
        #[test]
        fn a_word_gives_back_every_answer_that_it_was_made_of(
            first in prop::array::uniform5(any::<bool>()),
            low in prop::array::uniform5(prop::array::uniform2(any::<bool>())),
            high in prop::array::uniform5(prop::array::uniform2(any::<bool>())),
        ) {
            let first_for = FirstFor::collect(|highest| first[highest.index()]);
            let answer = |highest: ZoneType, mark, flags: AllocFlags| {
                let marks = if mark == WmarkIndex::Low { low } else { high };
                marks[highest.index()][usize::from(flags.contains(AllocFlags::CMA))]
            };
            let word = SharedZoneState::default();
            word.publish(ZoneState::of(first_for, answer));
            for highest in ZoneType::ALL {
                prop_assert_eq!(first_for.contains(highest), first[highest.index()]);
                for (cma, flags) in CMA.into_iter().enumerate() {
                    let willing = low[highest.index()][cma];
                    prop_assert_eq!(word.get().is_willing(highest, flags), willing);
                    prop_assert_eq!(word.get().above_low(highest, flags), willing && first[highest.index()]);
                }
            }
            prop_assert_eq!(word.get().above_high(), high[ZoneType::Movable.index()][1]);
        }
    }

    #[test]
    fn a_new_word_refuses_every_request() {
        let state = SharedZoneState::new().get();
        assert!(!state.above_high());
        for (highest, flags) in ZoneType::ALL.into_iter().flat_map(|kind| CMA.map(|flags| (kind, flags))) {
            assert!(!state.above_low(highest, flags) && !state.is_willing(highest, flags));
        }
    }
}
