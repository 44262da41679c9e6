//! A reference count inside a packed word.

use core::fmt;

use super::atomic::{AtomicU32, Ordering, fence};
use super::seeded::{SeededBug, seeded};

/// The bits of an `AtomicU32` that count the references to a shared block; other bits of the word are left
/// alone.
///
/// | field | meaning | get | put of k |
/// |---|---|---|---|
/// | 0 | not shared | [`RefError::NotShared`] | [`Put::NotShared`] |
/// | n | n references | becomes n + 1 | k < n: becomes n − k, [`Put::StillShared`]; k = n: becomes 0, [`Put::Last`] |
/// | all ones but the lowest | the most that are counted | [`RefError::Saturated`] | as above |
/// | all ones | saturated: no longer counted | [`RefError::Saturated`] | stays: [`Put::StillShared`] |
///
/// A saturated field stays so (`REFCOUNT_SATURATED`): its block is never freed, which wastes memory but harms nobody.
///
/// Every put releases, and the last one acquires: what any holder did to the block happens before what the
/// last putter does with it (the scheme of Boost's and std's shared pointers).
///
/// ```
/// use gfp::sync::{Put, RefError, RefField, atomic::{AtomicU32, Ordering}};
///
/// // Three bits above the lowest four, which are something else.
/// const FIELD: RefField = RefField::new(4, 3);
/// assert_eq!((FIELD.max(), FIELD.saturated()), (6, 7));
/// let word = AtomicU32::new(FIELD.with_count(0b1010, 1));
/// assert!(FIELD.is_unique(&word));
///
/// assert_eq!((FIELD.get(&word), FIELD.get(&word)), (Ok(2), Ok(3)));
/// assert_eq!(FIELD.put(&word), Put::StillShared);
/// assert_eq!(FIELD.put_many(&word, 2), Put::Last);
/// assert_eq!((FIELD.put(&word), FIELD.get(&word)), (Put::NotShared, Err(RefError::NotShared)));
/// assert_eq!(word.load(Ordering::Relaxed), 0b1010);
///
/// word.store(FIELD.with_count(0, 1), Ordering::Relaxed);
/// assert!(FIELD.saturate(&word), "from now on nothing is counted");
/// assert_eq!(FIELD.put(&word), Put::StillShared);
/// assert_eq!(FIELD.count(word.load(Ordering::Relaxed)), FIELD.saturated());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefField {
    shift: u32,
    bits: u32,
}

/// Why a reference was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefError {
    /// There are as many references as can be counted.
    Saturated,
    /// The block is not shared.
    NotShared,
}

impl fmt::Display for RefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Saturated => "it has as many references as can be counted; drop some first",
            Self::NotShared => "it is not shared: its last reference was given back",
        })
    }
}

impl std::error::Error for RefError {}

/// What giving back a reference did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the last putter frees the block"]
pub enum Put {
    /// It was the last one: the caller owns the block alone and sees everything that was done to it.
    Last,
    /// Others remain.
    StillShared,
    /// There were fewer references than are given back: one put too many. Nothing is changed.
    NotShared,
}

impl RefField {
    /// Describes the field of `bits` bits above the lowest `shift` bits.
    ///
    /// # Panics
    ///
    /// When the field has no room for a reference or does not fit into 32 bits.
    #[must_use]
    pub const fn new(shift: u32, bits: u32) -> Self {
        assert!(bits > 1 && shift < 32 && bits <= 32 - shift, "the field must lie inside the word");
        Self { shift, bits }
    }

    /// What the field holds once references are no longer counted.
    #[must_use]
    pub const fn saturated(self) -> u32 {
        u32::MAX >> (32 - self.bits)
    }

    /// The largest number of references.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.saturated() - 1
    }

    /// Reads the number of references out of a word's value.
    #[inline(always)]
    #[must_use]
    pub const fn count(self, value: u32) -> u32 {
        (value >> self.shift) & self.saturated()
    }

    /// Replaces the number of references in a word's value; `count` is at most [`saturated`](Self::saturated).
    #[inline(always)]
    #[must_use]
    pub const fn with_count(self, value: u32, count: u32) -> u32 {
        debug_assert!(count <= self.saturated(), "the count must fit into the field");
        (value & !(self.saturated() << self.shift)) | (count << self.shift)
    }

    /// Takes one more reference and returns how many there are then; the caller holds one.
    ///
    /// # Errors
    ///
    /// When the block is not shared, or the field is full.
    pub fn get(self, word: &AtomicU32) -> Result<u32, RefError> {
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let count = self.count(seen);
            if count == 0 {
                return Err(RefError::NotShared);
            }
            if count >= self.max() {
                return Err(RefError::Saturated);
            }
            // Relaxed: the caller's own reference keeps the block, and nothing is published by counting.
            let next = self.with_count(seen, count + 1);
            match word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(count + 1),
                Err(changed) => seen = changed,
            }
        }
    }

    /// Gives up counting: the field is saturated from now on. Tells whether it was not before. The caller holds a reference.
    pub fn saturate(self, word: &AtomicU32) -> bool {
        let seen = word.fetch_or(self.saturated() << self.shift, Ordering::Relaxed);
        self.count(seen) != self.saturated()
    }

    /// Tells whether the caller's reference is the only one; then the caller sees what was done through all others.
    #[must_use]
    pub fn is_unique(self, word: &AtomicU32) -> bool {
        let acquire = if seeded(SeededBug::RefUniqueRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        self.count(word.load(acquire)) == 1
    }

    /// Gives one reference back.
    pub fn put(self, word: &AtomicU32) -> Put {
        self.put_many(word, 1)
    }

    /// Gives back `given` references, at least 1, in one step (`page_ref_sub_and_test`).
    ///
    /// Unless it was the last, the word may be gone when this returns: another putter may have been the last since.
    pub fn put_many(self, word: &AtomicU32, given: u32) -> Put {
        let release = if seeded(SeededBug::RefPutRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let count = self.count(seen);
            if count == self.saturated() {
                return Put::StillShared;
            }
            if count == 0 || count < given {
                return Put::NotShared;
            }
            let next = self.with_count(seen, count - given);
            if seeded(SeededBug::RefPutLostUpdate) {
                word.store(next, release);
            } else if let Err(changed) = word.compare_exchange_weak(seen, next, release, Ordering::Relaxed) {
                seen = changed;
                continue;
            }
            if count > given {
                return Put::StillShared;
            }
            fence(Ordering::Acquire);
            return Put::Last;
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::thread;

    const FIELD: RefField = RefField::new(5, 3);
    const OTHERS: u32 = 0xabcd_ef00 | 0x1f;

    #[test]
    fn references_are_counted_beside_other_bits() {
        let word = AtomicU32::new(FIELD.with_count(OTHERS, 1));
        for count in 2..=FIELD.max() {
            assert_eq!(FIELD.get(&word), Ok(count));
        }
        assert_eq!(FIELD.get(&word), Err(RefError::Saturated));
        for _ in 1..FIELD.max() {
            assert_eq!(FIELD.put(&word), Put::StillShared);
        }
        assert_eq!(FIELD.put(&word), Put::Last);
        assert_eq!((FIELD.put(&word), FIELD.get(&word)), (Put::NotShared, Err(RefError::NotShared)));
        assert_eq!(word.load(Ordering::Relaxed), OTHERS);
    }

    #[test]
    fn a_field_may_be_the_whole_word() {
        let field = RefField::new(0, 32);
        assert_eq!((field.saturated(), field.max()), (u32::MAX, u32::MAX - 1));
        assert_eq!(field.with_count(7, 9), 9);
    }

    #[test]
    fn several_references_are_given_back_at_once() {
        let word = AtomicU32::new(FIELD.with_count(OTHERS, 6));
        assert_eq!(FIELD.put_many(&word, 4), Put::StillShared);
        assert_eq!(FIELD.put_many(&word, 3), Put::NotShared);
        assert!(!FIELD.is_unique(&word));
        assert_eq!(FIELD.put(&word), Put::StillShared);
        assert!(FIELD.is_unique(&word));
        assert_eq!(FIELD.put_many(&word, 1), Put::Last);
        assert_eq!(word.load(Ordering::Relaxed), OTHERS);
    }

    #[test]
    fn what_is_saturated_stays_so() {
        let word = AtomicU32::new(FIELD.with_count(OTHERS, FIELD.max()));
        assert_eq!((FIELD.saturate(&word), FIELD.saturate(&word)), (true, false));
        for _ in 0..10 {
            assert_eq!((FIELD.put(&word), FIELD.get(&word)), (Put::StillShared, Err(RefError::Saturated)));
        }
        assert_eq!(word.load(Ordering::Relaxed), FIELD.with_count(OTHERS, FIELD.saturated()));
    }

    #[test]
    fn exactly_one_putter_is_the_last() {
        for _ in 0..200 {
            let word = AtomicU32::new(FIELD.with_count(OTHERS, 4));
            let lasts: usize = thread::scope(|scope| {
                let putters = [(); 4].map(|()| scope.spawn(|| FIELD.put(&word) == Put::Last));
                putters.into_iter().map(|putter| usize::from(putter.join().unwrap())).sum()
            });
            assert_eq!(lasts, 1);
        }
    }
}
