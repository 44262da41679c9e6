//! How a cache follows its load between the bounds.

use super::{LIST_CAP, PcpLimits};
use crate::frame::PcpList;

/// How often a refill or drain may double: at most `batch << 5` frames.
#[doc(alias = "CONFIG_PCP_BATCH_SCALE_MAX")]
pub const BATCH_SCALE_MAX: u8 = 5;

/// Orders above this are expensive to come by, and freeing them is not a sign of a stream.
const PAGE_ALLOC_COSTLY_ORDER: u8 = PcpList::SMALL_ORDER_MAX;

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
///
/// ```
/// use gfp::pcp::sizing::{FreeMode, PcpLimits, PcpTuning, ZonePressure};
///
/// let limits = PcpLimits { batch: 63, high_min: 252, high_max: 4096 };
/// let mut tuning = PcpTuning::new(limits);
/// let calm = ZonePressure::empty();
///
/// // A stream of requests: refills double, and the cache may hold more.
/// let refills = [(); 3].map(|()| tuning.nr_pcp_alloc(0, 0, calm));
/// assert_eq!((refills, tuning.high), ([63, 126, 252], 252 + 63 + 126 + 252));
/// assert!(tuning.refill_bound(0, 0) > 252 && tuning.batch_max() == 63 << 5);
///
/// // Frees do nothing until there is too much; then what was freed in a row goes, a batch at least.
/// assert_eq!(tuning.overflow(100, 0, calm), 0);
/// assert_eq!(tuning.free_count, 1);
/// assert_eq!(tuning.overflow(tuning.high, 0, calm), 63);
/// // The same in three steps.
/// assert_eq!(tuning.note_free(tuning.high, 0), FreeMode::Ordinary);
/// let high = tuning.nr_pcp_high(tuning.high, FreeMode::Ordinary, calm);
/// assert_eq!(tuning.nr_pcp_free(high, high, FreeMode::Ordinary), 63);
///
/// // Requests between the frees halve the count.
/// tuning.note_alloc();
/// assert_eq!(tuning.free_count, 1);
/// tuning.note_allocs(5);
/// assert_eq!(tuning.free_count, 0);
///
/// // What nobody uses goes bit by bit; and limits may change.
/// assert_eq!(tuning.decay(high), high / 8);
/// tuning.set_cache_slice(1000);
/// tuning.set_limits(PcpLimits::OFF);
/// assert_eq!(tuning.high, 0);
/// ```
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

    /// Notes how many frames fit into the thread's share of the last-level cache (kernel: `pcp_free_high_update`): where that
    /// is more than three batches, a batch may stay for reuse when a stream of high orders is drained.
    pub fn set_cache_slice(&mut self, slice_frames: u64) {
        self.flags.set(PcpFlags::FREE_HIGH_BATCH, slice_frames > 3 * u64::from(self.batch));
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

    /// Notes that so many blocks are taken from the cache.
    pub const fn note_allocs(&mut self, blocks: u32) {
        // Each halves it, and it has 32 bits.
        self.free_count = if blocks < u32::BITS { self.free_count >> blocks } else { 0 };
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
    #[inline(always)]
    pub fn note_free(&mut self, count: u32, order: u8) -> FreeMode {
        self.alloc_factor >>= 1;
        let mut mode = FreeMode::Ordinary;
        if (1..=PAGE_ALLOC_COSTLY_ORDER).contains(&order) {
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
        self.nr_to_drain(count, mode, pressure)
    }

    /// Returns how many of `count` frames to drain after a free, 0 mostly.
    pub(crate) fn nr_to_drain(&mut self, count: u32, mode: FreeMode, pressure: ZonePressure) -> u32 {
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

#[cfg(test)]
mod tests;
