//! How many cycles a sample has, and how many samples are worth their time.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Fault, Team};

/// Samples of an allocator may take this many times what was asked for; a slower one gets fewer of them.
const PATIENCE: u32 = 10;
/// How often a number of cycles is tried before its time is believed.
const TRIES: usize = 3;

/// The size and the number of an allocator's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// How many cycles each member of the team runs in a sample.
    pub cycles: u64,
    /// How many samples are taken.
    pub samples: usize,
}

impl Calibration {
    /// Runs more and more cycles until their time says how many fill a sample; that warms the allocator up. One whose samples take
    /// much longer than that gets fewer of them, as far as the range allows.
    ///
    /// # Errors
    /// The team cannot run the workload.
    pub fn of(team: &mut Team, sample: Duration, samples: RangeInclusive<usize>) -> Result<Self, Fault> {
        Self::find(|cycles| team.sample(cycles), sample, &samples)
    }

    /// Does it with what runs so many cycles and returns their time.
    fn find(
        mut run: impl FnMut(u64) -> Result<Duration, Fault>,
        sample: Duration,
        samples: &RangeInclusive<usize>,
    ) -> Result<Self, Fault> {
        let mut cycles = 1;
        loop {
            let took = shortest(&mut run, cycles, sample)?;
            if took < sample / 4 {
                cycles = grow(cycles, took, sample);
                continue;
            }
            let settled = Self::settle(cycles, took, sample, samples);
            if settled.cycles <= cycles {
                return Ok(settled);
            }
            // Where threads wait for a CPU even a single cycle takes its time, and many hardly more.
            let took = run(settled.cycles)?;
            if took >= sample * 3 / 4 {
                return Ok(settled);
            }
            cycles = grow(settled.cycles, took, sample);
        }
    }

    /// Sizes samples by a run that was long enough to go by.
    fn settle(cycles: u64, took: Duration, sample: Duration, samples: &RangeInclusive<usize>) -> Self {
        let cycles = scale(cycles, took, sample);
        let expected = took.max(sample).as_nanos();
        let (&fewest, &most) = (samples.start(), samples.end());
        let budget = sample.as_nanos() * u128::from(PATIENCE) * most as u128;
        let affordable = usize::try_from(budget / expected.max(1)).unwrap_or(usize::MAX);
        Self { cycles, samples: affordable.clamp(fewest, most) }
    }
}

/// Runs cycles again when they seem to be long enough to go by: whoever lost its CPU in the middle takes long only once.
fn shortest(
    run: &mut impl FnMut(u64) -> Result<Duration, Fault>,
    cycles: u64,
    sample: Duration,
) -> Result<Duration, Fault> {
    let mut took = run(cycles)?;
    for _ in 1..TRIES {
        // Too few, or so slow that nobody would wait for it again.
        if took < sample / 4 || took > sample * PATIENCE {
            break;
        }
        took = took.min(run(cycles)?);
    }
    Ok(took)
}

/// Returns how many cycles to try after a run that was too short to go by: half of what seems right, but not
/// more than 16 times as many, because the first cycles are the slowest.
fn grow(cycles: u64, took: Duration, sample: Duration) -> u64 {
    (scale(cycles, took, sample) / 2).clamp(cycles.saturating_mul(2), cycles.saturating_mul(16))
}

/// Scales cycles that took a time to those that take another; at least 1.
fn scale(cycles: u64, took: Duration, target: Duration) -> u64 {
    let scaled = u128::from(cycles) * target.as_nanos() / took.as_nanos().max(1);
    u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Duration = Duration::from_millis(20);

    #[test]
    fn cycles_grow_until_their_time_can_be_gone_by() {
        assert_eq!(grow(1, Duration::from_nanos(50), SAMPLE), 16);
        assert_eq!(grow(100, Duration::from_millis(4), SAMPLE), 250);
        assert_eq!(grow(100, Duration::from_millis(19), SAMPLE), 200);
    }

    #[test]
    fn a_fast_allocator_gets_all_samples_at_the_length_asked_for() {
        let calibration = Calibration::settle(1000, Duration::from_millis(10), SAMPLE, &(3..=11));
        assert_eq!(calibration, Calibration { cycles: 2000, samples: 11 });
    }

    #[test]
    fn an_allocator_whose_single_cycle_is_long_gets_fewer_samples_but_not_fewer_than_the_fewest() {
        let longer = Calibration::settle(1, Duration::from_millis(400), SAMPLE, &(3..=10));
        assert_eq!(longer, Calibration { cycles: 1, samples: 5 });
        let endless = Calibration::settle(1, Duration::from_secs(60), SAMPLE, &(3..=10));
        assert_eq!(endless, Calibration { cycles: 1, samples: 3 });
    }

    /// Calibrates for a sample of 20 ms on what takes so long for each cycle, and at least `floor`.
    fn cycles_of(each: Duration, floor: Duration, mut stall: impl FnMut() -> Duration) -> u64 {
        let run = |cycles: u64| Ok(floor + each * u32::try_from(cycles).unwrap() + stall());
        Calibration::find(run, SAMPLE, &(3..=5)).unwrap().cycles
    }

    #[test]
    fn cycles_fill_a_sample_even_where_a_single_one_takes_its_time() {
        let each = Duration::from_micros(1);
        assert!((19_000..=20_000).contains(&cycles_of(each, Duration::ZERO, Duration::default)));
        let waiting = cycles_of(each, Duration::from_millis(6), Duration::default);
        assert!((10_000..=40_000).contains(&waiting), "{waiting}");
    }

    #[test]
    fn a_cpu_that_is_lost_once_does_not_make_samples_short() {
        for lost in 0..12 {
            let mut runs = 0;
            let cycles = cycles_of(Duration::from_micros(1), Duration::ZERO, || {
                runs += 1;
                Duration::from_millis(if runs == lost { 30 } else { 0 })
            });
            assert!(cycles >= 9_000, "lost at {lost}: {cycles}");
        }
    }

    #[test]
    fn fewer_samples_than_three_are_taken_when_fewer_are_asked_for() {
        assert_eq!(Calibration::settle(1, Duration::from_secs(60), SAMPLE, &(1..=1)).samples, 1);
    }
}
