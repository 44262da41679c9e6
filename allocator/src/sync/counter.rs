//! Counters: with one writer, and with many.

use super::atomic::{AtomicU64, Ordering};

super::zeroable! {
    /// A counter that one thread at a time writes and any thread reads.
    ///
    /// Adding is a load and a store, which compile to one plain add without a lock prefix; with a second
    /// writer counts would be lost. The writer is the thread that owns the counter, or whoever holds the lock
    /// that protects it. Counts wrap around at 2^64.
    ///
    /// A thread that ends folds its counters into a total **under the lock of the registry that lists it**,
    /// together with leaving that registry ([`Registry::unregister`](super::Registry::unregister)); a reader
    /// adds up the total and the listed threads under the same lock. So it neither counts a thread twice nor
    /// misses one.
    ///
    /// ```
    /// use gfp::sync::OwnedCounter;
    ///
    /// let (mine, total) = (OwnedCounter::new(), OwnedCounter::new());
    /// mine.add(5);
    /// mine.subtract(2);
    /// mine.fold_into(&total);
    /// assert_eq!((mine.get(), total.get()), (3, 3));
    /// ```
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct OwnedCounter(AtomicU64);
}

impl OwnedCounter {
    /// Makes a counter that stands at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `n`; only the owner may call this.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` back; only the owner may call this.
    pub fn subtract(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Reads the count; any thread may, and sees some recent value.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds the count to `total`, whose lock the caller holds, and leaves the counter as it is.
    pub fn fold_into(&self, total: &Self) {
        total.add(self.get());
    }
}

/// A counter that any thread adds to, off the way of a hit.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(AtomicU64);

#[cfg(not(loom))]
impl SharedCounter {
    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads the count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_wrap() {
        let counter = OwnedCounter::new();
        counter.add(3);
        counter.add(u64::MAX);
        assert_eq!(counter.get(), 2);
    }

    #[test]
    fn folding_adds_to_the_total() {
        let (counter, total) = (OwnedCounter::new(), OwnedCounter::new());
        total.add(1);
        counter.add(2);
        counter.fold_into(&total);
        assert_eq!((counter.get(), total.get()), (2, 3));
    }
}
