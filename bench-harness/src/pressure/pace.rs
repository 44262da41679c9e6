//! As many pages a second as are wanted.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// What sleeping costs, about: shorter waits are added up.
const SLEEP: Duration = Duration::from_micros(100);
/// How long a thread sleeps at most before it looks whether to go on, and how far it may fall behind and catch up.
const PATIENCE: Duration = Duration::from_millis(10);

/// The rate of all threads together, which may change while they work.
#[derive(Debug)]
pub(super) struct SharedRate {
    threads: u64,
    /// Nanoseconds from page to page of one thread; 0 for no limit.
    ns_per_page: AtomicU64,
}

impl SharedRate {
    /// Begins without a limit.
    pub(super) const fn new(threads: usize) -> Self {
        Self { threads: threads as u64, ns_per_page: AtomicU64::new(0) }
    }

    /// Sets how many pages a second all threads together may ask for.
    pub(super) fn set(&self, pages_per_s: Option<u64>) {
        let ns = pages_per_s.map_or(0, |rate| (1_000_000_000 * self.threads / rate.max(1)).max(1));
        self.ns_per_page.store(ns, Ordering::Relaxed);
    }

    fn per_page(&self) -> Option<Duration> {
        let ns = self.ns_per_page.load(Ordering::Relaxed);
        (ns > 0).then(|| Duration::from_nanos(ns))
    }
}

/// A thread's own part: when it may ask for its next page.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { next: Instant::now() }
    }

    /// Notes that so many pages are about to be asked for; returns how long to sleep before.
    fn due(&mut self, rate: &SharedRate, pages: u32, now: Instant) -> Option<Duration> {
        let per_page = rate.per_page()?;
        self.next = self.next.max(now.checked_sub(PATIENCE).unwrap_or(now)) + per_page * pages;
        self.next.checked_duration_since(now).filter(|&ahead| ahead >= SLEEP)
    }

    /// Waits until the thread may ask for so many pages, or is to stop.
    pub(super) fn wait(&mut self, rate: &SharedRate, pages: u32, stops: impl Fn() -> bool) {
        let Some(mut left) = self.due(rate, pages, Instant::now()) else { return };
        while !left.is_zero() && !stops() {
            thread::sleep(left.min(PATIENCE));
            left = self.next.saturating_duration_since(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut pace = Pace::new();
        assert_eq!(pace.due(&SharedRate::new(4), u32::MAX, pace.next), None);
    }

    #[test]
    fn a_thread_is_due_after_its_share_of_the_rate() {
        let rate = SharedRate::new(4);
        rate.set(Some(40_000)); // a page each 100 µs for each of four threads
        let mut pace = Pace::new();
        let now = pace.next;
        assert_eq!(pace.due(&rate, 8, now), Some(8 * SLEEP));
        assert_eq!(pace.due(&rate, 1, now), Some(9 * SLEEP));
        assert_eq!(pace.due(&rate, 1, now + 10 * SLEEP), None, "no time is left to sleep");
    }

    #[test]
    fn who_is_far_behind_does_not_catch_up_with_all() {
        let rate = SharedRate::new(1);
        rate.set(Some(1000));
        let mut pace = Pace::new();
        let later = pace.next + Duration::from_secs(60);
        // Ten pages of the last 10 ms, not 60000.
        assert_eq!(pace.due(&rate, 10, later), None);
        assert_eq!(pace.due(&rate, 1, later), Some(Duration::from_millis(1)));
    }
}
