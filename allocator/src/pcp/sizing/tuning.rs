//! How a cache follows its load between the bounds.

use super::{LIST_CAP, PcpLimits};

/// How often a refill or drain may double: at most `batch << 5` frames.
#[doc(alias = "CONFIG_PCP_BATCH_SCALE_MAX")]
pub const BATCH_SCALE_MAX: u8 = 5;

/// Orders above this are expensive to come by, and freeing them is not a sign of a stream.
const PAGE_ALLOC_COSTLY_ORDER: u8 = 3;

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The spec's rules word by word on signed integers, as an oracle.
    #[derive(Clone, Debug)]
    struct Literal {
        high: i64,
        high_min: i64,
        high_max: i64,
        batch: i64,
        free_count: i64,
        alloc_factor: u32,
        prev_free_high_order: bool,
        free_high_batch: bool,
    }

    impl Literal {
        fn clamped(&self) -> i64 {
            self.high.clamp(self.high_min, self.high_max)
        }

        fn alloc(&mut self, count: i64, order: u32, below_high: bool) -> i64 {
            self.free_count /= 2;
            let base = self.batch;
            self.high = self.clamped();
            if self.high < base {
                return 1;
            }
            let mut b = if order > 0 { base } else { base << self.alloc_factor };
            if self.high_min != self.high_max && !below_high {
                self.high = (self.high + b).min(self.high_max);
            }
            if order == 0 {
                let cap = (self.high - count - base).max(base);
                if b <= cap && self.alloc_factor < 5 {
                    self.alloc_factor += 1;
                }
                b = b.min(cap);
            }
            if b > 1 {
                b = (b >> order).max(2);
            }
            b
        }

        fn free(&mut self, count: i64, order: u32, below_high: bool, reclaim_active: bool) -> i64 {
            self.alloc_factor /= 2;
            let mut free_high = false;
            if (1..=3).contains(&order) {
                free_high = self.free_count >= self.batch + self.high_min / 2
                    && self.prev_free_high_order
                    && (!self.free_high_batch || count >= self.batch);
                self.prev_free_high_order = true;
            } else {
                self.prev_free_high_order = false;
            }
            if self.free_count < self.batch << 5 {
                self.free_count += 1 << order;
            }
            let limit = self.limit(count, free_high, below_high, reclaim_active);
            if count < limit {
                0
            } else if free_high {
                count.min(self.batch << 5)
            } else if limit < self.batch {
                1
            } else {
                // Ours: at least 1, which the kernel's limits never need.
                self.free_count.max(self.batch).min(limit - self.batch).max(1)
            }
        }

        fn limit(&mut self, count: i64, free_high: bool, below_high: bool, reclaim_active: bool) -> i64 {
            let high = self.clamped();
            self.high = high;
            let less = (high - self.free_count.max(self.batch)).max(self.high_min);
            if high == 0 {
                0
            } else if free_high {
                self.high = (high - (self.batch << 5)).max(self.high_min);
                0
            } else if reclaim_active {
                self.high = less;
                less.min(4 * self.batch)
            } else if self.high_min == self.high_max {
                high
            } else if below_high {
                self.high = less;
                count.max(self.high_min)
            } else {
                if count >= high && high < self.free_count + self.batch {
                    self.high = (self.free_count + self.batch).clamp(self.high_min, self.high_max);
                }
                high
            }
        }

        fn decay(&mut self, count: i64) -> i64 {
            if self.high > self.high_min {
                self.high = (count - (self.batch << 5)).max(self.high - self.high / 8).max(self.high_min);
            }
            (count - self.high).max(0)
        }
    }

    fn literal(tuning: &PcpTuning) -> Literal {
        Literal {
            high: tuning.high.into(),
            high_min: tuning.high_min.into(),
            high_max: tuning.high_max.into(),
            batch: tuning.batch.into(),
            free_count: tuning.free_count.into(),
            alloc_factor: tuning.alloc_factor.into(),
            prev_free_high_order: tuning.flags.contains(PcpFlags::PREV_FREE_HIGH_ORDER),
            free_high_batch: tuning.flags.contains(PcpFlags::FREE_HIGH_BATCH),
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Alloc { order: u8, pressure: ZonePressure },
        Free { order: u8, pressure: ZonePressure },
        Decay,
        Limits(PcpLimits),
    }

    fn any_limits() -> impl Strategy<Value = PcpLimits> {
        (1_u32..=63, 0_u32..4000, 0_u32..140_000).prop_map(|(batch, min, more)| match min {
            0 => PcpLimits::OFF,
            _ => PcpLimits { batch, high_min: min, high_max: min + more },
        })
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let order = || prop_oneof![4 => Just(0_u8), 2 => 1..=3_u8, 1 => Just(9)];
        let pressure = || {
            prop_oneof![
                6 => Just(ZonePressure::empty()),
                1 => Just(ZonePressure::BELOW_HIGH),
                1 => Just(ZonePressure::RECLAIM_ACTIVE),
                1 => Just(ZonePressure::all()),
            ]
        };
        prop_oneof![
            10 => (order(), pressure()).prop_map(|(order, pressure)| Event::Alloc { order, pressure }),
            14 => (order(), pressure()).prop_map(|(order, pressure)| Event::Free { order, pressure }),
            1 => Just(Event::Decay),
            1 => any_limits().prop_map(Event::Limits),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn decisions_are_those_of_the_rules_word_by_word(
            limits in any_limits(), large_cache in any::<bool>(), events in prop::collection::vec(any_event(), 1..200)
        ) {
            let mut tuning = PcpTuning::new(limits);
            tuning.flags.set(PcpFlags::FREE_HIGH_BATCH, large_cache);
            let mut rules = literal(&tuning);
            let mut count = 0_u32;
            for event in events {
                let (ours, theirs) = match event {
                    Event::Alloc { order, pressure } => {
                        tuning.note_alloc();
                        let blocks = tuning.nr_pcp_alloc(count, order, pressure);
                        let theirs =
                            rules.alloc(count.into(), order.into(), pressure.contains(ZonePressure::BELOW_HIGH));
                        count += (blocks - 1) << order;
                        (blocks, theirs)
                    }
                    Event::Free { order, pressure } => {
                        count += 1 << order;
                        let drained = tuning.overflow(count, order, pressure);
                        let theirs = rules.free(
                            count.into(),
                            order.into(),
                            pressure.contains(ZonePressure::BELOW_HIGH),
                            pressure.contains(ZonePressure::RECLAIM_ACTIVE),
                        );
                        count -= drained.min(count);
                        (drained, theirs)
                    }
                    Event::Decay => {
                        let drained = tuning.decay(count);
                        let theirs = rules.decay(count.into());
                        count -= drained;
                        (drained, theirs)
                    }
                    Event::Limits(limits) => {
                        tuning.set_limits(limits);
                        rules = Literal { high: rules.high, ..literal(&tuning) };
                        rules.high = rules.clamped();
                        (0, 0)
                    }
                };
                prop_assert_eq!(i64::from(ours), theirs);
                prop_assert_eq!(i64::from(tuning.high), rules.high);
                prop_assert_eq!(i64::from(tuning.free_count), rules.free_count);
                prop_assert_eq!(u32::from(tuning.alloc_factor), rules.alloc_factor);
            }
        }

        #[test]
        fn a_bounded_refill_never_exceeds_the_limit(
            limits in any_limits(), count in 0_u32..200_000, order in 0_u8..10
        ) {
            let mut tuning = PcpTuning::new(limits);
            let blocks =
                tuning.nr_pcp_alloc(count, order, ZonePressure::empty()).min(tuning.refill_bound(count, order));
            let cached = (blocks - 1) << order;
            prop_assert!(blocks >= 1 && cached <= LIST_CAP);
            prop_assert!(cached == 0 || count + cached <= tuning.high_max);
        }
    }

    const LIMITS: PcpLimits = PcpLimits { batch: 63, high_min: 1560, high_max: 131_072 };

    #[test]
    fn refills_double_while_only_allocating_up_to_the_scale() {
        let mut tuning = PcpTuning::new(LIMITS);
        let refills: Vec<u32> = (0..7).map(|_| tuning.nr_pcp_alloc(0, 0, ZonePressure::empty())).collect();
        assert_eq!(refills, [63, 126, 252, 504, 1008, 2016, 2016]);
    }

    #[test]
    fn caches_do_not_grow_while_the_zone_is_short() {
        let mut tuning = PcpTuning::new(LIMITS);
        let _ = tuning.nr_pcp_alloc(0, 0, ZonePressure::BELOW_HIGH);
        assert_eq!(tuning.high, 1560);
        let _ = tuning.nr_pcp_alloc(0, 0, ZonePressure::empty());
        assert!(tuning.high > 1560);
    }

    #[test]
    fn high_orders_are_refilled_two_at_least() {
        let mut tuning = PcpTuning::new(LIMITS);
        let blocks = |tuning: &mut PcpTuning, order| tuning.nr_pcp_alloc(0, order, ZonePressure::empty());
        assert_eq!(blocks(&mut tuning, 3), 7);
        assert_eq!(blocks(&mut tuning, 9), 2);
    }

    #[test]
    fn a_stream_of_high_order_frees_drains_everything() {
        let mut tuning = PcpTuning::new(LIMITS);
        let mut count = 0;
        let drained = (0..).map(|_| {
            count += 8;
            tuning.overflow(count, 3, ZonePressure::empty())
        });
        // (63 + 1560 / 2) / 8 frees make the stream long enough; the next one drains.
        assert_eq!(drained.take(107).collect::<Vec<_>>(), [vec![0; 106], vec![856]].concat());
    }

    #[test]
    fn a_cache_that_is_off_gives_back_every_block() {
        let mut tuning = PcpTuning::new(PcpLimits::OFF);
        assert_eq!(tuning.nr_pcp_alloc(0, 0, ZonePressure::empty()), 1);
        assert_eq!(tuning.overflow(1, 0, ZonePressure::empty()), 1);
    }

    #[test]
    fn the_smallest_cache_never_grows_beyond_its_limit() {
        let mut tuning = PcpTuning::new(PcpLimits { batch: 1, high_min: 1, high_max: 1 });
        assert_eq!(tuning.overflow(1, 0, ZonePressure::empty()), 1);
    }

    #[test]
    fn an_idle_cache_decays_to_its_minimum() {
        let mut tuning = PcpTuning { high: 4000, ..PcpTuning::new(LIMITS) };
        assert_eq!(tuning.decay(4000), 500);
        assert_eq!(tuning.high, 3500);
        let mut count = 3500;
        for _ in 0..10 {
            count -= tuning.decay(count);
        }
        assert_eq!((tuning.high, count), (1560, 1560));
    }
}
