//! What a thread-local holds to find the thread's own cells by key.

use super::owned::Owner;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// The thread's own, so nothing that a model should see.
#[expect(clippy::disallowed_types, reason = "const, and written by one thread only")]
type Key = std::sync::atomic::AtomicUsize;
const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// The key in front of an entry; 0 in the two marks, and in an entry that was removed.
#[repr(transparent)]
struct Head {
    key: Key,
}

/// `last` has no entry.
static NONE: Head = Head { key: Key::new(0) };
/// The entry that was in `last` is in use.
static IN_USE: Head = Head { key: Key::new(0) };

#[repr(C)]
struct Entry<T> {
    head: Head,
    owner: Owner<T>,
}

/// The cells that a thread owns, by key (an allocator's address, say), with the last one at hand.
///
/// Lives in a `thread_local!`. Every method may be called from within the callbacks of the others, and
/// [`with_last`](Self::with_last) and [`find`](Self::find) also from a signal handler that interrupts any of
/// them: what they need is one word, `last`, and a list that is left alone while it changes.
///
/// | `last` points to | meaning |
/// |---|---|
/// | the mark `NONE` | nothing at hand |
/// | an entry with a key | that owner is at hand |
/// | an entry with key 0 | that owner was removed while it was in use; freed by the next change of the list |
/// | the mark `IN_USE` | an entry is in use: no entry is freed meanwhile |
pub struct OwnerSlot<T> {
    last: Cell<*const Head>,
    entries: RefCell<Vec<EntryBox<T>>>,
    /// Entries that were removed while one was in use.
    removed: RefCell<Vec<EntryBox<T>>>,
    retire: fn(NonZeroUsize, Owner<T>),
}

/// An entry at a stable address; not a `Box`, whose moves would end the validity of pointers to the entry.
struct EntryBox<T>(NonNull<Entry<T>>);

impl<T> EntryBox<T> {
    fn new(key: NonZeroUsize, owner: Owner<T>) -> Self {
        Self(NonNull::from(Box::leak(Box::new(Entry { head: Head { key: Key::new(key.get()) }, owner }))))
    }

    fn get(&self) -> &Entry<T> {
        // SAFETY: the entry lives as long as this value, and is changed through shared references only.
        unsafe { self.0.as_ref() }
    }

    fn key(&self) -> usize {
        self.get().head.key.load(RELAXED)
    }
}

impl<T> Drop for EntryBox<T> {
    fn drop(&mut self) {
        // SAFETY: the entry came out of a box in `new`, and this is its only owner.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T> OwnerSlot<T> {
    /// Makes an empty slot; when it is dropped, which is when the thread ends, `retire` gets each owner with
    /// its key.
    #[must_use]
    pub const fn new(retire: fn(NonZeroUsize, Owner<T>)) -> Self {
        Self {
            last: Cell::new(&raw const NONE),
            entries: RefCell::new(Vec::new()),
            removed: RefCell::new(Vec::new()),
            retire,
        }
    }

    /// Calls `f` with the owner at hand if its key is `key`: one compare.
    ///
    /// `None` says only that it is not at hand; [`find`](Self::find) looks further.
    #[inline(always)]
    pub fn with_last<R>(&self, key: NonZeroUsize, f: impl FnOnce(&Owner<T>) -> R) -> Option<R> {
        let last = self.last.get();
        // SAFETY: `last` points to one of the marks, which are static, or to an entry, which is freed only
        // after `last` was pointed elsewhere.
        if unsafe { &(*last).key }.load(RELAXED) != key.get() {
            return None;
        }
        let _restore = Restore { last: &self.last, entry: last };
        self.last.set(&raw const IN_USE);
        // SAFETY: the marks have key 0, so this is an entry; and while `last` is IN_USE no entry is freed.
        let entry = unsafe { &*last.cast::<Entry<T>>() };
        Some(f(&entry.owner))
    }

    /// Calls `f` with the owner whose key is `key`, and has it at hand next time; `None` when there is none.
    ///
    /// `None` as well in a signal handler that interrupts a change of the list.
    #[cold]
    pub fn find<R>(&self, key: NonZeroUsize, f: impl FnOnce(&Owner<T>) -> R) -> Option<R> {
        let owner = {
            let entries = self.entries.try_borrow().ok()?;
            let entry = entries.iter().find(|entry| entry.key() == key.get())?;
            if self.last.get() != &raw const IN_USE {
                self.last.set(entry.0.as_ptr().cast_const().cast());
            }
            entry.get().owner.clone()
        };
        Some(f(&owner))
    }

    /// Adds `owner` under `key` and has it at hand; returns the one that had the key before.
    ///
    /// Allocates; not for signal handlers.
    pub fn insert(&self, key: NonZeroUsize, owner: Owner<T>) -> Option<Owner<T>> {
        let before = self.remove(key);
        let entry = EntryBox::new(key, owner);
        let address = entry.0.as_ptr().cast_const().cast();
        self.entries.borrow_mut().push(entry);
        if self.last.get() != &raw const IN_USE {
            self.last.set(address);
        }
        before
    }

    /// Takes the owner whose key is `key` out, without retiring it.
    pub fn remove(&self, key: NonZeroUsize) -> Option<Owner<T>> {
        let in_use = self.last.get() == &raw const IN_USE;
        let entry = {
            let mut entries = self.entries.borrow_mut();
            let position = entries.iter().position(|entry| entry.key() == key.get());
            position.map(|position| entries.swap_remove(position))
        };
        if let Some(entry) = &entry {
            entry.get().head.key.store(0, RELAXED);
        }
        let owner = entry.as_ref().map(|entry| entry.get().owner.clone());
        if in_use {
            self.removed.borrow_mut().extend(entry);
            return owner;
        }
        // Nothing is in use. If what is at hand was removed, now or while it was in use, let go of it; then
        // free.
        // SAFETY: as in `with_last`.
        if unsafe { &(*self.last.get()).key }.load(RELAXED) == 0 {
            self.last.set(&raw const NONE);
        }
        let removed = self.removed.take();
        // A signal handler must not find in `last` what is freed below.
        super::asymmetric::light();
        drop((removed, entry));
        owner
    }

    /// Calls `f` with every owner and its key.
    pub fn for_each(&self, mut f: impl FnMut(NonZeroUsize, &Owner<T>)) {
        let all: Vec<_> = self
            .entries
            .borrow()
            .iter()
            .filter_map(|entry| Some((NonZeroUsize::new(entry.key())?, entry.get().owner.clone())))
            .collect();
        for (key, owner) in &all {
            f(*key, owner);
        }
    }
}

/// Puts the entry back at hand, also on unwind.
struct Restore<'a> {
    last: &'a Cell<*const Head>,
    entry: *const Head,
}

impl Drop for Restore<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.last.set(self.entry);
    }
}

impl<T> Drop for OwnerSlot<T> {
    fn drop(&mut self) {
        self.last.set(&raw const NONE);
        for entry in self.entries.take() {
            if let Some(key) = NonZeroUsize::new(entry.key()) {
                (self.retire)(key, entry.get().owner.clone());
            }
        }
    }
}

impl<T> fmt::Debug for OwnerSlot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerSlot").field("at_hand", &self.last.get()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn key(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("tests use keys above 0")
    }

    fn value(owner: &Owner<u32>) -> u32 {
        *owner.enter().expect("nobody has it")
    }

    fn ignore(_: NonZeroUsize, _: Owner<u32>) {}

    #[test]
    fn the_last_owner_is_at_hand_and_others_are_found() {
        let slot = OwnerSlot::new(ignore);
        assert_eq!(slot.with_last(key(1), value), None);
        assert!(slot.insert(key(1), Owner::new(10)).is_none());
        assert!(slot.insert(key(2), Owner::new(20)).is_none());
        assert_eq!(slot.with_last(key(2), value), Some(20));
        assert_eq!(slot.with_last(key(1), value), None, "not at hand");
        assert_eq!(slot.find(key(1), value), Some(10));
        assert_eq!(slot.with_last(key(1), value), Some(10), "at hand since it was found");
        assert_eq!(slot.find(key(3), value), None);
        let mut sum = 0;
        slot.for_each(|key, owner| sum += key.get() + value(owner) as usize);
        assert_eq!(sum, 33);
    }

    #[test]
    fn a_key_may_be_used_again() {
        let slot = OwnerSlot::new(ignore);
        slot.insert(key(1), Owner::new(10));
        let removed = slot.remove(key(1)).expect("it was there");
        assert_eq!(value(&removed), 10);
        assert_eq!((slot.with_last(key(1), value), slot.find(key(1), value)), (None, None));
        slot.insert(key(1), Owner::new(11));
        assert_eq!(slot.with_last(key(1), value), Some(11));
        let replaced = slot.insert(key(1), Owner::new(12)).expect("the key was in use");
        assert_eq!(value(&replaced), 11);
        assert_eq!(slot.with_last(key(1), value), Some(12));
    }

    #[test]
    fn an_owner_in_use_outlives_its_removal() {
        let slot = OwnerSlot::new(ignore);
        slot.insert(key(1), Owner::new(10));
        slot.with_last(key(1), |owner| {
            assert_eq!(slot.with_last(key(1), value), None, "in use");
            assert_eq!(slot.find(key(1), value), Some(10), "but found");
            drop(slot.remove(key(1)));
            slot.insert(key(1), Owner::new(11));
            slot.insert(key(2), Owner::new(20));
            assert_eq!(value(owner), 10);
        });
        assert_eq!(slot.removed.borrow().len(), 1);
        assert_eq!(slot.with_last(key(1), value), None, "the removed one is not mistaken for the new one");
        assert_eq!(slot.find(key(1), value), Some(11));
        drop(slot.remove(key(2)));
        assert_eq!(slot.removed.borrow().len(), 0, "the next change frees it");
        assert_eq!(slot.with_last(key(1), value), Some(11));
    }

    #[test]
    fn a_removed_owner_at_hand_is_let_go_before_it_is_freed() {
        let slot = OwnerSlot::new(ignore);
        slot.insert(key(1), Owner::new(10));
        slot.with_last(key(1), |_| drop(slot.remove(key(1))));
        // This frees it, although it asks for another.
        assert!(slot.remove(key(5)).is_none());
        assert_eq!(slot.with_last(key(1), value), None);
    }

    #[test]
    fn a_panic_leaves_the_owner_at_hand() {
        let slot = OwnerSlot::new(ignore);
        slot.insert(key(1), Owner::new(10));
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            slot.with_last(key(1), |_| panic!("in use"));
        }));
        assert!(unwound.is_err());
        assert_eq!(slot.with_last(key(1), value), Some(10));
    }

    #[test]
    fn the_end_of_a_thread_retires_its_owners_and_may_come_back_to_the_slot() {
        type Report = mpsc::Sender<(usize, Option<u32>)>;
        fn retire(key: NonZeroUsize, owner: Owner<(u32, Report)>) {
            let again = SLOT.try_with(|slot| slot.find(key, |_| ()));
            assert!(again.is_err(), "the slot is gone for whoever asks again");
            let report = owner.retire(|(value, report)| (*value, report.clone()));
            let (value, report) = report.expect("nobody kept it");
            report.send((key.get(), Some(value))).unwrap();
        }
        std::thread_local! {
            static SLOT: OwnerSlot<(u32, Report)> = const { OwnerSlot::new(retire) };
        }
        let (report, reports) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                SLOT.with(|slot| {
                    slot.insert(key(1), Owner::new((10, report.clone())));
                    slot.insert(key(2), Owner::new((20, report)));
                });
            });
        });
        assert_eq!(reports.iter().collect::<Vec<_>>(), [(1, Some(10)), (2, Some(20))]);
    }
}
