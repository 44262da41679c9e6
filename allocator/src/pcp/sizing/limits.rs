//! The bounds of a cache's size.

use core::fmt;

/// The share of a zone that all caches together may hold: one part in this many.
const MANAGED_SHARE: u64 = 8;

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

/// The batch of a zone that is too small for [`zone_batchsize`] to give this much, as far as a cache has room for four.
const SMALL_ZONE_BATCH: u32 = 63;

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
    /// The least that [`PcpTuning::high`](super::PcpTuning::high) falls to.
    pub high_min: u32,
    /// The most that [`PcpTuning::high`](super::PcpTuning::high) rises to; 0 means that nothing is cached.
    pub high_max: u32,
}

impl PcpLimits {
    /// Limits of a cache that is turned off: every free goes to the zone at once.
    #[doc(alias = "zone_pcp_disable")]
    pub const OFF: Self = Self { batch: 1, high_min: 0, high_max: 0 };

    /// Returns the limits of each cache of a zone of `managed` frames, when `caches` caches share it on `cpus` CPUs.
    ///
    /// `low_wmark` is the zone's low watermark. As in the kernel, caches start at a CPU's share of the low watermark and grow
    /// to a share of an eighth of the zone (or are fixed by `fraction`), but at least four batches. Unlike the kernel's, of
    /// which there is one for each CPU, used or not, the caches that there are share that eighth; and all together never
    /// exceed it: where four batches are more than the share, the share is the size and the batch shrinks to a quarter of it,
    /// down to no caching at all. So one thread may have a whole eighth of a small arena, and a thousand sleeping threads
    /// cannot strand it. And unlike the kernel's, the batch of a zone below 1 GiB, where [`zone_batchsize`] falls to a single
    /// frame, is a quarter of the share, up to what a large zone has: a small arena in user space is no less busy than a
    /// large one.
    #[doc(alias = "zone_highsize")]
    #[must_use]
    pub fn new(managed: u64, low_wmark: u64, cpus: u32, caches: u32, fraction: HighFraction) -> Self {
        let bound = frames(managed / MANAGED_SHARE / u64::from(caches.max(1)));
        let divisor = u64::from(cpus.max(caches).max(1));
        let batch = zone_batchsize(managed).max((bound / 4).min(SMALL_ZONE_BATCH));
        let four_batches = 4 * batch;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_of_a_64_gib_zone_shared_by_16_threads() {
        let limits = PcpLimits::new(16_777_216, 24_969, 16, 16, HighFraction::AUTO);
        assert_eq!(limits, PcpLimits { batch: 63, high_min: 1560, high_max: 131_072 });
    }

    #[test]
    fn a_batch_is_one_less_than_a_power_of_two() {
        let table =
            [(0, 1), (8191, 1), (8192, 1), (3 << 12, 3), (16 << 12, 15), (63 << 12, 63), (1 << 32, 63)];
        for (managed, batch) in table {
            assert_eq!(zone_batchsize(managed), batch, "{managed}");
        }
    }

    #[test]
    fn a_fixed_fraction_sets_both_limits() {
        let fixed = HighFraction::new(64).unwrap();
        let limits = PcpLimits::new(1 << 24, 24_969, 16, 3, fixed);
        assert_eq!((limits.high_min, limits.high_max), (16_384, 16_384));
        assert_eq!(HighFraction::new(0), Ok(HighFraction::AUTO));
        assert_eq!(HighFraction::new(7), Err(BadHighFraction(7)));
        assert!(HighFraction::new(8).is_ok());
    }

    #[test]
    fn a_fraction_that_is_refused_is_named_with_what_may_be_given() {
        for fraction in 1..8 {
            let refused = HighFraction::new(fraction).expect_err("too much of a zone").to_string();
            assert_eq!(
                refused,
                format!(
                    "caches may hold at most 1/8 of a zone, not 1/{fraction}; give 0 for automatic, or 8 and more"
                )
            );
        }
    }

    #[test]
    fn many_threads_shrink_the_batch_down_to_no_caching() {
        // 2^20 / 8 = 131072 frames for all caches; four batches are 252.
        let of = |threads| PcpLimits::new(1 << 20, 2000, 1, threads, HighFraction::AUTO);
        assert_eq!(of(520), PcpLimits { batch: 63, high_min: 252, high_max: 252 });
        assert_eq!(of(1000), PcpLimits { batch: 32, high_min: 131, high_max: 131 });
        assert_eq!(of(131_072), PcpLimits { batch: 1, high_min: 1, high_max: 1 });
        assert_eq!(of(131_073), PcpLimits::OFF);
    }

    #[test]
    fn one_thread_of_a_small_zone_has_the_whole_eighth_whatever_the_number_of_cpus() {
        let limits = PcpLimits::new(3072, 100, 64, 1, HighFraction::AUTO);
        assert_eq!(limits, PcpLimits { batch: 63, high_min: 252, high_max: 384 });
    }

    proptest! {
        #[test]
        fn all_caches_together_stay_within_an_eighth_of_the_zone(
            managed in 0_u64..1 << 32, low in 0_u64..1 << 32, cpus in 1_u32..1024, threads in 1_u32..1 << 20,
            fraction in 0_u32..100
        ) {
            let Ok(fraction) = HighFraction::new(fraction) else { return Ok(()) };
            let limits = PcpLimits::new(managed, low, cpus, threads, fraction);
            prop_assert!(u64::from(limits.high_max) * u64::from(threads) <= managed / 8);
            prop_assert!(limits.high_min <= limits.high_max);
            prop_assert!(limits.batch >= 1);
            prop_assert!(limits.high_max < 4 || limits.high_min >= 4 * limits.batch);
        }
    }
}
