//! How much a thread's cache holds, and how much it moves at a time.
//!
//! The decisions of the kernel's per-CPU lists (6.x), as a small state machine on plain integers: it sees counts
//! and answers with counts, and knows neither lists nor locks. All amounts are frames unless a name says blocks.
//!
//! | event | call | answer |
//! |---|---|---|
//! | a block is wanted | [`note_alloc`](PcpTuning::note_alloc) | – |
//! | … and its list is empty | [`nr_pcp_alloc`](PcpTuning::nr_pcp_alloc) | blocks to refill |
//! | a block was cached | [`note_free`](PcpTuning::note_free), [`nr_pcp_high`](PcpTuning::nr_pcp_high) | how full is too full |
//! | … and that is reached | [`nr_pcp_free`](PcpTuning::nr_pcp_free) | frames to drain |
//! | a second passed | [`decay`](PcpTuning::decay) | frames to drain |

use core::fmt;

/// The most frames that one list of a cache holds, whatever [`PcpLimits::high_max`] says.
pub const LIST_CAP: u32 = 4096;

/// How often a refill or drain may double: at most `batch << 5` frames.
#[doc(alias = "CONFIG_PCP_BATCH_SCALE_MAX")]
pub const BATCH_SCALE_MAX: u8 = 5;

/// The share of a zone that all caches together may hold: one part in this many.
const MANAGED_SHARE: u64 = 8;

/// Orders above this are expensive to come by, and freeing them is not a sign of a stream.
const PAGE_ALLOC_COSTLY_ORDER: u8 = 3;

/// The largest batch before rounding: 256 KiB.
const BATCH_FRAMES_MAX: u64 = 64;

/// Returns how many frames a cache of a zone moves at a time, for a zone of `managed` frames (kernel: `zone_batchsize`).
///
/// One less than a power of two, so that batches do not keep step with cache colours; 63 from 1 GiB on, 1 below
/// 32 MiB.
#[must_use]
pub fn zone_batchsize(managed: u64) -> u32 {
    let frames = u32::try_from((managed >> 12).min(BATCH_FRAMES_MAX)).expect("at most BATCH_FRAMES_MAX");
    if frames <= 1 { 1 } else { (1 << (frames + frames / 2).ilog2()) - 1 }
}

/// How the size of caches is chosen (kernel: `vm.percpu_pagelist_high_fraction`).
#[doc(alias = "percpu_pagelist_high_fraction")]
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct HighFraction(u32);

/// A fraction that would let caches hold more than an eighth of a zone.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BadHighFraction(u32);

impl fmt::Display for BadHighFraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "caches may hold at most 1/8 of a zone, not 1/{}; give 0 for automatic, or 8 and more",
            self.0
        )
    }
}

impl std::error::Error for BadHighFraction {}

impl HighFraction {
    /// Sizes that follow the load.
    pub const AUTO: Self = Self(0);

    /// Returns a fixed size: all caches of a zone together hold one part in `fraction` of it; 0 means automatic.
    ///
    /// # Errors
    ///
    /// [`BadHighFraction`] for 1 to 7.
    pub const fn new(fraction: u32) -> Result<Self, BadHighFraction> {
        match fraction {
            1..8 => Err(BadHighFraction(fraction)),
            _ => Ok(Self(fraction)),
        }
    }
}

/// The bounds between which a cache's size is tuned.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PcpLimits {
    /// Frames moved at a time; at least 1.
    pub batch: u32,
    /// The least that [`PcpTuning::high`] falls to.
    pub high_min: u32,
    /// The most that [`PcpTuning::high`] rises to; 0 means that nothing is cached.
    pub high_max: u32,
}

impl PcpLimits {
    /// Limits of a cache that is turned off: every free goes to the zone at once.
    #[doc(alias = "zone_pcp_disable")]
    pub const OFF: Self = Self { batch: 1, high_min: 0, high_max: 0 };

    /// Returns the limits of each cache of a zone of `managed` frames, when `divisor` caches share it.
    ///
    /// `low_wmark` is the zone's low watermark. As in the kernel, caches start at their share of the low watermark
    /// and grow to their share of an eighth of the zone (or are fixed by `fraction`), but at least four batches.
    /// Unlike the kernel's, all caches together never exceed that eighth: where four batches are more than the share,
    /// the share is the size and the batch shrinks to a quarter of it, down to no caching at all. So a thousand
    /// sleeping threads cannot strand a small arena.
    #[doc(alias = "zone_highsize")]
    #[must_use]
    pub fn new(managed: u64, low_wmark: u64, divisor: u32, fraction: HighFraction) -> Self {
        let batch = zone_batchsize(managed);
        let divisor = u64::from(divisor.max(1));
        let four_batches = 4 * batch;
        let bound = frames(managed / MANAGED_SHARE / divisor);
        if bound == 0 {
            return Self::OFF;
        }
        if bound < four_batches {
            return Self { batch: batch.min(bound / 4).max(1), high_min: bound, high_max: bound };
        }
        let (high_min, high_max) = match fraction {
            HighFraction::AUTO => (frames(low_wmark / divisor), bound),
            HighFraction(fixed) => {
                let high = frames(managed / u64::from(fixed) / divisor);
                (high, high)
            }
        };
        let in_bounds = |high: u32| high.max(four_batches).min(bound);
        Self { batch, high_min: in_bounds(high_min), high_max: in_bounds(high_max) }
    }
}

/// Returns `amount` as the 32 bits that all counts of a cache have; an arena has at most 2^32 frames.
fn frames(amount: u64) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

bitflags::bitflags! {
    /// What a cache must know of its zone's pressure.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ZonePressure: u8 {
        /// The zone was last seen below its high watermark.
        #[doc(alias = "ZONE_BELOW_HIGH")]
        const BELOW_HIGH = 1;
        /// The background thread is reclaiming.
        #[doc(alias = "ZONE_RECLAIM_ACTIVE")]
        const RECLAIM_ACTIVE = 2;
    }
}

bitflags::bitflags! {
    /// What a cache remembers besides counts.
    #[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PcpFlags: u8 {
        /// The previous free was of order 1 to 3.
        #[doc(alias = "PCPF_PREV_FREE_HIGH_ORDER")]
        const PREV_FREE_HIGH_ORDER = 1;
        /// The thread's share of the last-level cache exceeds three batches, so a batch may stay for reuse.
        #[doc(alias = "PCPF_FREE_HIGH_BATCH")]
        const FREE_HIGH_BATCH = 2;
    }
}

/// What a free asks of the cache.
#[must_use]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FreeMode {
    /// Drain only what is too much.
    Ordinary,
    /// A stream of frees of orders 1 to 3 without allocations: drain everything, so that they can merge.
    DrainAll,
}

/// The tuning state of one cache of one zone.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PcpTuning {
    /// How many frames are enough, for now; between the two limits.
    pub high: u32,
    /// See [`PcpLimits::high_min`].
    pub high_min: u32,
    /// See [`PcpLimits::high_max`].
    pub high_max: u32,
    /// See [`PcpLimits::batch`].
    pub batch: u32,
    /// Recently freed frames, halved at every allocation: how one-sided the stream of frees is.
    pub free_count: u32,
    /// How often in a row refills grew, halved at every free; at most [`BATCH_SCALE_MAX`].
    pub alloc_factor: u8,
    /// What else the cache remembers.
    pub flags: PcpFlags,
}

impl PcpTuning {
    /// Returns the state of a new cache.
    #[must_use]
    pub const fn new(limits: PcpLimits) -> Self {
        Self {
            high: limits.high_min,
            high_min: limits.high_min,
            high_max: limits.high_max,
            batch: limits.batch,
            free_count: 0,
            alloc_factor: 0,
            flags: PcpFlags::empty(),
        }
    }

    /// Replaces the limits, as when a thread came or went. The cache keeps what it has learnt.
    pub fn set_limits(&mut self, limits: PcpLimits) {
        self.batch = limits.batch;
        self.high_min = limits.high_min;
        self.high_max = limits.high_max;
        self.clamp_high();
    }

    /// Returns the most frames that a stream moves at once.
    #[must_use]
    pub const fn batch_max(&self) -> u32 {
        self.batch << BATCH_SCALE_MAX
    }

    /// Brings `high` back between limits that may have changed.
    fn clamp_high(&mut self) {
        self.high = self.high.max(self.high_min).min(self.high_max);
    }

    /// Lowers `high` by what is being freed, to no less than its minimum.
    fn shrink_high(&mut self) {
        self.high = self.high.saturating_sub(self.free_count.max(self.batch)).max(self.high_min);
    }

    /// Notes that a block is taken from the cache, whether from a list or by a refill.
    #[inline]
    pub const fn note_alloc(&mut self) {
        self.free_count >>= 1;
    }

    /// Returns how many blocks of `order` to fetch for an empty list, the one to hand out included; at least 1.
    ///
    /// `count` is the frames in the whole cache. Refills of order 0 double while no free intervenes; `high` grows with
    /// them unless the zone is below its high watermark. Orders above 0 fetch the same number of frames, but at least 2
    /// blocks.
    pub fn nr_pcp_alloc(&mut self, count: u32, order: u8, pressure: ZonePressure) -> u32 {
        self.clamp_high();
        if self.high < self.batch {
            return 1;
        }
        let mut batch = if order == 0 { self.batch << self.alloc_factor } else { self.batch };
        if self.high_min != self.high_max && !pressure.contains(ZonePressure::BELOW_HIGH) {
            self.high = self.high.saturating_add(batch).min(self.high_max);
        }
        if order == 0 {
            let room = self.high.saturating_sub(count).saturating_sub(self.batch).max(self.batch);
            if batch <= room && self.alloc_factor < BATCH_SCALE_MAX {
                self.alloc_factor += 1;
            }
            batch = batch.min(room);
        }
        if batch > 1 { (batch >> order).max(2) } else { batch }
    }

    /// Returns the most blocks of `order` that a refill may fetch, the one to hand out included; at least 1.
    ///
    /// Keeps the cache within [`high_max`](Self::high_max) and the empty list within [`LIST_CAP`], which the kernel's
    /// refill exceeds by up to a batch, or by two blocks of a high order.
    #[must_use]
    pub fn refill_bound(&self, count: u32, order: u8) -> u32 {
        1 + (self.high_max.saturating_sub(count).min(LIST_CAP) >> order)
    }

    /// Notes that a block of `order` was put into the cache, which now has `count` frames.
    #[inline]
    pub fn note_free(&mut self, count: u32, order: u8) -> FreeMode {
        self.alloc_factor >>= 1;
        let mut mode = FreeMode::Ordinary;
        if order >= 1 && order <= PAGE_ALLOC_COSTLY_ORDER {
            if self.free_count >= self.batch + self.high_min / 2
                && self.flags.contains(PcpFlags::PREV_FREE_HIGH_ORDER)
                && (!self.flags.contains(PcpFlags::FREE_HIGH_BATCH) || count >= self.batch)
            {
                mode = FreeMode::DrainAll;
            }
            self.flags.insert(PcpFlags::PREV_FREE_HIGH_ORDER);
        } else {
            self.flags.remove(PcpFlags::PREV_FREE_HIGH_ORDER);
        }
        if self.free_count < self.batch_max() {
            self.free_count += 1 << order;
        }
        mode
    }

    /// Returns how many frames are too many after a free: drain when `count` has reached it.
    pub fn nr_pcp_high(&mut self, count: u32, mode: FreeMode, pressure: ZonePressure) -> u32 {
        self.clamp_high();
        let high = self.high;
        if high == 0 {
            return 0;
        }
        if mode == FreeMode::DrainAll {
            self.high = high.saturating_sub(self.batch_max()).max(self.high_min);
            return 0;
        }
        if pressure.contains(ZonePressure::RECLAIM_ACTIVE) {
            self.shrink_high();
            return self.high.min(4 * self.batch);
        }
        if self.high_min == self.high_max {
            return high;
        }
        if pressure.contains(ZonePressure::BELOW_HIGH) {
            self.shrink_high();
            return count.max(self.high_min);
        }
        if count >= high {
            // Room for what is being freed, so that the next batch is not drained block by block.
            let wanted = self.free_count.saturating_add(self.batch).min(self.high_max);
            self.high = high.max(wanted);
        }
        high
    }

    /// Returns how many of `count` frames to drain, when `high` is what [`nr_pcp_high`](Self::nr_pcp_high) returned; at
    /// least 1.
    ///
    /// The longer the stream of frees, the more at once; a batch stays in the cache where it can.
    #[must_use]
    pub fn nr_pcp_free(&self, count: u32, high: u32, mode: FreeMode) -> u32 {
        if mode == FreeMode::DrainAll {
            return count.min(self.batch_max());
        }
        if high < self.batch {
            return 1;
        }
        // Where `high` is less than two batches the upper bound wins, and must not become 0.
        self.free_count.max(self.batch).min(high - self.batch).max(1)
    }

    /// Notes a free of `order` and returns how many frames to drain, 0 mostly.
    ///
    /// `count` includes the freed block. Drain in pieces of [`batch`](Self::batch), coldest first, and stop early when
    /// fewer than the returned frames are left.
    #[inline]
    pub fn overflow(&mut self, count: u32, order: u8, pressure: ZonePressure) -> u32 {
        let mode = self.note_free(count, order);
        let high = self.nr_pcp_high(count, mode, pressure);
        if count < high { 0 } else { self.nr_pcp_free(count, high, mode) }
    }

    /// Lowers `high` once a second and returns how many of `count` frames to drain (kernel: `decay_pcp_high`).
    ///
    /// An eighth at a time, down to the minimum, and never so far that more than the largest batch must go.
    pub fn decay(&mut self, count: u32) -> u32 {
        if self.high > self.high_min {
            let eighth_less = self.high - self.high / 8;
            let one_step = count.saturating_sub(self.batch_max());
            self.high = one_step.max(eighth_less).max(self.high_min);
        }
        count.saturating_sub(self.high)
    }
}
