//! The tuning of caches against the rules word by word, and its shape in numbers.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

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
        // The bound is the most that fits.
        let fits = |cached: u32| cached <= LIST_CAP && count + cached <= tuning.high_max;
        let bound = tuning.refill_bound(count, order);
        prop_assert!(bound == 1 || fits((bound - 1) << order));
        prop_assert!(!fits(bound << order));
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

#[test]
fn many_allocations_in_a_row_halve_the_count_as_often() {
    let limits = PcpLimits { high_min: 100, high_max: 1000, batch: 63 };
    let after = |blocks| {
        let mut tuning = PcpTuning { free_count: u32::MAX, ..PcpTuning::new(limits) };
        tuning.note_allocs(blocks);
        tuning.free_count
    };
    assert_eq!([0, 1, 31, 32, 33].map(after), [u32::MAX, u32::MAX >> 1, 1, 0, 0]);
}

#[test]
fn a_batch_may_stay_where_more_than_three_fit_into_the_share_of_the_last_level_cache() {
    let mut tuning = PcpTuning::new(PcpLimits { high_min: 100, high_max: 1000, batch: 60 });
    for (frames, may_stay) in [(0, false), (20, false), (63, false), (180, false), (181, true)] {
        tuning.set_cache_slice(frames);
        assert_eq!(tuning.flags.contains(PcpFlags::FREE_HIGH_BATCH), may_stay, "{frames}");
    }
}

#[test]
fn new_limits_are_in_force_at_once_and_what_was_learnt_stays() {
    let mut tuning = PcpTuning::new(PcpLimits { high_min: 100, high_max: 1000, batch: 60 });
    (tuning.high, tuning.free_count, tuning.alloc_factor) = (700, 5, 3);
    tuning.set_limits(PcpLimits { high_min: 50, high_max: 400, batch: 30 });
    let expected = PcpTuning {
        free_count: 5,
        alloc_factor: 3,
        high: 400,
        ..PcpTuning::new(PcpLimits { high_min: 50, high_max: 400, batch: 30 })
    };
    assert_eq!(tuning, expected);
}
