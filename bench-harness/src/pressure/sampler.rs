//! Samples of free memory, every 10 ms.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    ground::Ground,
    levels::{Level, Place},
};

/// From sample to sample.
const PERIOD: Duration = Duration::from_millis(10);

/// Samples by where free memory was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// A node was below its min marks.
    pub below: u64,
    /// All nodes were between min and high + boost.
    pub inside: u64,
    /// A node was above high + boost, none below min.
    pub above: u64,
}

impl Samples {
    fn add(&mut self, place: Place) {
        *match place {
            Place::Below => &mut self.below,
            Place::Inside => &mut self.inside,
            Place::Above => &mut self.above,
        } += 1;
    }

    /// Returns how many there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.below + self.inside + self.above
    }

    /// Returns the share of some of them in percent; of none at all, 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52")]
    pub fn percent(&self, some: u64) -> f64 {
        some as f64 * 100.0 / self.total().max(1) as f64
    }
}

/// Takes samples while it is told to.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    on: AtomicBool,
    samples: Mutex<Samples>,
}

impl Sampler {
    /// Begins to take samples.
    pub(super) fn begin(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// Returns what there is so far.
    pub(super) fn samples(&self) -> Samples {
        *self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on a thread of its own until all is over. A moment that was missed is left out.
    pub(super) fn run(&self, ground: &Ground) {
        let mut next = Instant::now();
        while !ground.stops() {
            next = (next + PERIOD).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.on.load(Ordering::Relaxed) && !ground.stops() {
                let place = Place::of_all(&Level::of(&ground.allocator.zone_stats()));
                self.samples.lock().unwrap_or_else(PoisonError::into_inner).add(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.percent(samples.inside).to_string(), "0");
        for place in [Place::Inside, Place::Above, Place::Inside, Place::Below] {
            samples.add(place);
        }
        assert_eq!(samples, Samples { below: 1, inside: 2, above: 1 });
        assert_eq!((samples.total(), samples.percent(samples.inside).to_string()), (4, "50".into()));
    }
}
