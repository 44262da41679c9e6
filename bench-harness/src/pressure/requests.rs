//! Kinds of requests, and what came of them.

use std::time::Duration;

use gfp::{AllocError, Gfp, error::FailReason};
use hdrhistogram::Histogram;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A page that a cache missed, with `GFP_KERNEL`.
    Fill,
    /// A block of 2, 4 or 8 pages that a cache missed, with `GFP_KERNEL`.
    FillLarge,
    /// For a moment, with `GFP_KERNEL`.
    Short,
    /// For a moment, with `GFP_NOWAIT`: does not wait.
    ShortNowait,
    /// For a moment, with `GFP_ATOMIC`: does not wait, and may use reserves.
    ShortAtomic,
    /// For long, with `GFP_KERNEL`.
    Long,
}

impl RequestKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Fill, Self::FillLarge, Self::Short, Self::ShortNowait, Self::ShortAtomic, Self::Long];

    /// Returns its name in tables and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::FillLarge => "fill_large",
            Self::Short => "short_kernel",
            Self::ShortNowait => "short_nowait",
            Self::ShortAtomic => "short_atomic",
            Self::Long => "long",
        }
    }

    /// Returns how it asks, except where a cache says it.
    pub(super) const fn gfp(self) -> Gfp {
        match self {
            Self::ShortNowait => Gfp::NOWAIT,
            Self::ShortAtomic => Gfp::ATOMIC,
            Self::Fill | Self::FillLarge | Self::Short | Self::Long => Gfp::KERNEL,
        }
    }
}

/// Requests by kind, and failures by kind and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    asked: [u64; RequestKind::ALL.len()],
    failures: Vec<(RequestKind, FailReason, u64)>,
}

impl Outcomes {
    pub(super) fn asked(&mut self, kind: RequestKind) {
        self.asked[kind as usize] += 1;
    }

    pub(super) fn failed(&mut self, kind: RequestKind, error: &AllocError) {
        self.add_failures(kind, error.reason(), 1);
    }

    fn add_failures(&mut self, kind: RequestKind, reason: FailReason, count: u64) {
        match self.failures.iter_mut().find(|failure| (failure.0, failure.1) == (kind, reason)) {
            Some(failure) => failure.2 += count,
            None => self.failures.push((kind, reason, count)),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.asked.iter_mut().zip(other.asked) {
            *mine += theirs;
        }
        for &(kind, reason, count) in &other.failures {
            self.add_failures(kind, reason, count);
        }
    }

    /// Returns how many requests of a kind there were.
    #[must_use]
    pub const fn of(&self, kind: RequestKind) -> u64 {
        self.asked[kind as usize]
    }

    /// Returns how many requests there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.asked.iter().sum()
    }

    /// Returns how many requests of a kind failed, for each reason.
    pub fn failures_of(&self, kind: RequestKind) -> impl Iterator<Item = (FailReason, u64)> {
        let of_kind = self.failures.iter().filter(move |failure| failure.0 == kind);
        of_kind.map(|&(_, reason, count)| (reason, count))
    }
}

/// How long requests took that may reclaim directly: from the call to its answer.
///
/// A request reclaimed directly if caches were asked on its own thread meanwhile; that is a direct stall. One that waits for
/// kswapd because it is throttled asks no cache and is seen in the times of all.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// In nanoseconds; of all that may wait.
    pub all: Histogram<u64>,
    /// In nanoseconds; of those that reclaimed directly.
    pub direct: Histogram<u64>,
}

impl Latencies {
    /// The longest time that is told from longer ones.
    const MAX_NS: u64 = 1 << 40;

    pub(super) fn new() -> Self {
        let empty = || Histogram::new_with_max(Self::MAX_NS, 2).expect("two digits of up to 18 minutes");
        Self { all: empty(), direct: empty() }
    }

    pub(super) fn count(&mut self, took: Duration, direct: bool) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.all.saturating_record(ns);
        if direct {
            self.direct.saturating_record(ns);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.all, &other.all), (&mut self.direct, &other.direct)] {
            mine.add(theirs).expect("both have the same range");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_the_order_of_their_places() {
        assert!(RequestKind::ALL.iter().enumerate().all(|(place, &kind)| kind as usize == place));
    }

    #[test]
    fn outcomes_add_up_by_kind_and_reason() {
        let error = |reason| AllocError::new(Gfp::NOWAIT, 0, reason);
        let mut one = Outcomes::default();
        one.asked(RequestKind::ShortNowait);
        one.failed(RequestKind::ShortNowait, &error(FailReason::NoMemory));
        let mut sum = one.clone();
        one.failed(RequestKind::ShortNowait, &error(FailReason::WouldBlock));
        sum.add(&one);
        assert_eq!((sum.of(RequestKind::ShortNowait), sum.of(RequestKind::Fill), sum.total()), (2, 0, 2));
        let failures: Vec<_> = sum.failures_of(RequestKind::ShortNowait).collect();
        assert_eq!(failures, [(FailReason::NoMemory, 2), (FailReason::WouldBlock, 1)]);
        assert_eq!(sum.failures_of(RequestKind::Fill).count(), 0);
    }

    #[test]
    fn times_of_direct_stalls_are_among_all() {
        let mut latencies = Latencies::new();
        latencies.count(Duration::from_nanos(100), false);
        latencies.count(Duration::from_millis(5), true);
        let mut sum = Latencies::new();
        sum.add(&latencies);
        sum.add(&latencies);
        assert_eq!((sum.all.len(), sum.direct.len()), (4, 2));
        assert!((5_000_000..5_100_000).contains(&sum.direct.value_at_quantile(0.5)));
        latencies.count(Duration::MAX, true);
        assert!(latencies.direct.max() >= Latencies::MAX_NS);
    }
}
