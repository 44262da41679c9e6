//! Records that are read while somebody writes them: the reader notices, and looks again.

use super::atomic::{AtomicU32, Ordering, fence};
use super::seeded::{SeededBug, seeded};

super::zeroable! {
    /// Guards a record of atomics that one thread at a time writes and any thread reads (`seqcount_t`).
    ///
    /// | value | meaning |
    /// |---|---|
    /// | even | nobody writes; half of it is how often somebody has, modulo 2^31 |
    /// | odd | somebody writes |
    ///
    /// The record's own accesses are relaxed. The writer's fence keeps what it writes behind the odd value, the reader's keeps
    /// its second look at the value behind what it reads: whoever sees a part of a change sees that the value has moved (Boehm,
    /// "Can Seqlocks Get Along With Programming Language Memory Models?", 2012).
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct SeqCount(AtomicU32);
}

/// ```
/// use gfp::sync::{SeqCount, atomic::{AtomicU32, Ordering}};
///
/// let (count, record) = (SeqCount::new(), [const { AtomicU32::new(0) }; 2]);
/// let read = || count.try_read(|| record.each_ref().map(|word| word.load(Ordering::Relaxed)));
/// count.write(|| {
///     record.iter().for_each(|word| word.store(7, Ordering::Relaxed));
///     assert_eq!(read(), None, "somebody writes");
/// });
/// assert_eq!(read(), Some([7, 7]));
/// ```
impl SeqCount {
    /// Makes the count of a record that nobody has written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `change`, which writes the record; nobody else writes meanwhile (`write_seqcount_begin`, `write_seqcount_end`).
    #[doc(alias = "write_seqcount_begin")]
    pub fn write(&self, change: impl FnOnce()) {
        self.0.fetch_add(1, Ordering::Relaxed);
        if !seeded(SeededBug::SeqWriterSkipsFence) {
            fence(Ordering::Release);
        }
        change();
        let order = if seeded(SeededBug::SeqWrittenRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.0.fetch_add(1, order);
    }

    /// Runs `look`, which reads the record; `None` when somebody wrote meanwhile, and what was seen means nothing
    /// (`read_seqcount_begin`, `read_seqcount_retry`).
    #[doc(alias = "read_seqcount_begin")]
    #[doc(alias = "read_seqcount_retry")]
    pub fn try_read<R>(&self, look: impl FnOnce() -> R) -> Option<R> {
        let before = self.0.load(Ordering::Acquire);
        let seen = look();
        if !seeded(SeededBug::SeqReaderSkipsFence) {
            fence(Ordering::Acquire);
        }
        let whole = before.is_multiple_of(2) || seeded(SeededBug::SeqReaderTakesOdd);
        (whole && self.0.load(Ordering::Relaxed) == before).then_some(seen)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_look_during_a_change_is_refused() {
        let count = SeqCount::new();
        assert_eq!(count.try_read(|| 1), Some(1));
        count.write(|| assert_eq!(count.try_read(|| 2), None, "somebody writes"));
        assert_eq!(count.try_read(|| count.write(|| ())), None, "somebody wrote meanwhile");
        assert_eq!(count.try_read(|| 3), Some(3));
    }
}
