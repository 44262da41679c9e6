//! What each thread gave back, for whoever must tell who it was.

use super::Caches;

/// What there is beside the balances of the caches that were shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherBalances {
    /// Frames that were freed into the caches of ended threads, less those that they handed out.
    pub(crate) ended: i64,
    /// Caches that were left alone because their owner did not leave them in time.
    pub(crate) skipped: u32,
}

impl Caches {
    /// Calls `each` with the [serial number](super::ThreadCache::serial) and the [balance](super::ThreadCache::balance) of every cache. Takes
    /// nothing from the heap.
    pub(crate) fn balances(&self, mut each: impl FnMut(u64, i64)) -> OtherBalances {
        self.registry.with_entries(|entries| {
            let visited = self.visit(entries, |cache| {
                each(cache.serial(), cache.balance());
                0
            });
            let ended = self.ended.iter().map(|ended| ended.freed.get().wrapping_sub(ended.allocated.get()));
            OtherBalances { ended: ended.map(u64::cast_signed).sum(), skipped: visited.skipped }
        })
    }
}
