//! What a thread-local holds to find the thread's own cells by key.

use super::owned::{Inside, NotEntered, Owner};
use super::thread::LocalKey;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// The thread's own, so nothing that a model should see.
#[expect(clippy::disallowed_types, reason = "const, and written by one thread only")]
type Key = std::sync::atomic::AtomicUsize;
const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// The key in front of an entry; 0 in the mark, and in an entry that was removed.
#[repr(transparent)]
struct Head {
    key: Key,
}

impl Head {
    /// Reads the key on the thread that alone writes it: an ordinary read, which the compiler may fold into a comparison.
    #[inline(always)]
    fn get(&self) -> usize {
        // SAFETY: the pointer is valid, and other threads at most read the mark's, which nobody writes.
        unsafe { *self.key.as_ptr() }
    }
}

/// `last` has no entry.
static NONE: Head = Head { key: Key::new(0) };

#[repr(C)]
struct Entry<T> {
    head: Head,
    owner: Owner<T>,
}

/// The owner that a thread used last, at hand: one word, without a destructor, so that it is reached without a look at
/// whether it still exists.
///
/// | `last` points to | meaning |
/// |---|---|
/// | the mark `NONE` | nothing at hand |
/// | an entry with a key | that owner is at hand |
///
/// Written by the thread's [`OwnerSlot`] only.
#[derive(Debug)]
pub struct LastOwner<T> {
    last: Cell<*const Head>,
    owners: PhantomData<*const Owner<T>>,
}

impl<T: 'static> LastOwner<T> {
    /// Makes a place with nothing at hand.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in a thread_local only")]
    pub const fn new() -> Self {
        Self { last: Cell::new(&raw const NONE), owners: PhantomData }
    }

    /// Enters the calling thread's cell at hand if its key is `key`, one comparison and [`Owner::enter`], and calls `f` with
    /// what came of it.
    ///
    /// `None` says only that it is not at hand; [`OwnerSlot::find`] looks further.
    #[inline(always)]
    pub fn enter<R>(
        at_hand: &'static LocalKey<Self>,
        key: NonZeroUsize,
        f: impl FnOnce(Result<Inside<'_, T>, NotEntered>) -> R,
    ) -> Option<R> {
        // Not all of it inside of `with`, which is inlined only around something small.
        let last = at_hand.with(|at_hand| at_hand.last.get());
        // SAFETY: `last` points to the mark, which is static, or to an entry, which is freed only after `last` was pointed
        // elsewhere, and by this thread.
        let head = unsafe { &*last };
        if head.get() != key.get() {
            return None;
        }
        // SAFETY: the mark has key 0, so this is an entry; and none is freed while its cell is in use.
        let entry = unsafe { &*last.cast::<Entry<T>>() };
        Some(f(entry.owner.enter()))
    }
}

/// The cells that a thread owns, by key (an allocator's address, say).
///
/// Lives in a `thread_local!`, beside the [`LastOwner`] that it keeps. [`LastOwner::enter`] and [`find`](Self::find) may be
/// called from a signal handler that interrupts any of the methods: what they need is one word, and a list that is
/// left alone while it changes. [`insert`](Self::insert) may not.
///
/// An entry that was removed is freed by a later insertion, once its cell is not in use any more.
pub struct OwnerSlot<T: 'static> {
    last: &'static LocalKey<LastOwner<T>>,
    entries: RefCell<Vec<EntryBox<T>>>,
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

    fn address(&self) -> *const Head {
        self.0.as_ptr().cast_const().cast()
    }

    fn key(&self) -> usize {
        self.get().head.get()
    }
}

impl<T> Drop for EntryBox<T> {
    fn drop(&mut self) {
        // SAFETY: the entry came out of a box in `new`, and this is its only owner.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T: 'static> OwnerSlot<T> {
    /// Makes an empty slot that keeps `last`; when it is dropped, which is when the thread ends, `retire` gets each owner
    /// with its key.
    #[must_use]
    pub const fn new(last: &'static LocalKey<LastOwner<T>>, retire: fn(NonZeroUsize, Owner<T>)) -> Self {
        Self { last, entries: RefCell::new(Vec::new()), removed: RefCell::new(Vec::new()), retire }
    }

    fn set_last(&self, last: *const Head) {
        self.last.with(|at_hand| at_hand.last.set(last));
    }

    /// Returns the owner whose key is `key`, and has it at hand next time; `None` when there is none.
    ///
    /// `None` as well in a signal handler that interrupts a change of the list.
    #[cold]
    pub fn find(&self, key: NonZeroUsize) -> Option<Owner<T>> {
        let entries = self.entries.try_borrow().ok()?;
        let entry = entries.iter().find(|entry| entry.key() == key.get())?;
        self.set_last(entry.address());
        Some(entry.get().owner.clone())
    }

    /// Adds `owner` under `key` and has it at hand; returns the one that had the key before.
    ///
    /// Allocates, and frees what was removed before and is not in use; not for signal handlers.
    pub fn insert(&self, key: NonZeroUsize, owner: Owner<T>) -> Option<Owner<T>> {
        let before = self.remove(key);
        let entry = EntryBox::new(key, owner);
        self.set_last(entry.address());
        self.entries.borrow_mut().push(entry);
        let freed: Vec<_> =
            self.removed.borrow_mut().extract_if(.., |entry| !entry.get().owner.is_inside()).collect();
        // Outside of the borrow: what a cell holds may come back to the slot when it is dropped.
        drop(freed);
        before
    }

    /// Takes the owner whose key is `key` out, without retiring it.
    pub fn remove(&self, key: NonZeroUsize) -> Option<Owner<T>> {
        let entry = {
            let mut entries = self.entries.borrow_mut();
            let position = entries.iter().position(|entry| entry.key() == key.get())?;
            entries.swap_remove(position)
        };
        entry.get().head.key.store(0, RELAXED);
        if self.last.with(|at_hand| at_hand.last.get()) == entry.address() {
            self.set_last(&raw const NONE);
        }
        let owner = entry.get().owner.clone();
        self.removed.borrow_mut().push(entry);
        Some(owner)
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

impl<T: 'static> Drop for OwnerSlot<T> {
    fn drop(&mut self) {
        self.set_last(&raw const NONE);
        for entry in self.entries.take() {
            if let Some(key) = NonZeroUsize::new(entry.key()) {
                (self.retire)(key, entry.get().owner.clone());
            }
        }
    }
}

impl<T: 'static> fmt::Debug for OwnerSlot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerSlot").finish_non_exhaustive()
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

    std::thread_local! {
        static LAST: LastOwner<u32> = const { LastOwner::new() };
    }

    fn at_hand(key: NonZeroUsize) -> Option<u32> {
        LastOwner::enter(&LAST, key, |entered| *entered.expect("nobody has it"))
    }

    fn found(slot: &OwnerSlot<u32>, key: NonZeroUsize) -> Option<u32> {
        slot.find(key).as_ref().map(value)
    }

    #[test]
    fn the_last_owner_is_at_hand_and_others_are_found() {
        let slot = OwnerSlot::new(&LAST, ignore);
        assert_eq!(at_hand(key(1)), None);
        assert!(slot.insert(key(1), Owner::new(10)).is_none());
        assert!(slot.insert(key(2), Owner::new(20)).is_none());
        assert_eq!(at_hand(key(2)), Some(20));
        assert_eq!(at_hand(key(1)), None, "not at hand");
        assert_eq!(found(&slot, key(1)), Some(10));
        assert_eq!(at_hand(key(1)), Some(10), "at hand since it was found");
        assert_eq!(found(&slot, key(3)), None);
        let mut sum = 0;
        slot.for_each(|key, owner| sum += key.get() + value(owner) as usize);
        assert_eq!(sum, 33);
    }

    #[test]
    fn a_key_may_be_used_again() {
        let slot = OwnerSlot::new(&LAST, ignore);
        slot.insert(key(1), Owner::new(10));
        let removed = slot.remove(key(1)).expect("it was there");
        assert_eq!(value(&removed), 10);
        assert_eq!((at_hand(key(1)), found(&slot, key(1))), (None, None));
        slot.insert(key(1), Owner::new(11));
        assert_eq!(at_hand(key(1)), Some(11));
        let replaced = slot.insert(key(1), Owner::new(12)).expect("the key was in use");
        assert_eq!(value(&replaced), 11);
        assert_eq!(at_hand(key(1)), Some(12));
    }

    #[test]
    fn a_cell_in_use_outlives_its_removal() {
        let slot = OwnerSlot::new(&LAST, ignore);
        slot.insert(key(1), Owner::new(10));
        LastOwner::enter(&LAST, key(1), |entered| {
            let inside = entered.expect("nobody has it");
            drop(slot.remove(key(1)));
            slot.insert(key(1), Owner::new(11));
            assert_eq!((*inside, slot.removed.borrow().len()), (10, 1));
        })
        .expect("at hand");
        slot.insert(key(2), Owner::new(20));
        assert_eq!(slot.removed.borrow().len(), 0, "the next insertion frees it");
        assert_eq!(found(&slot, key(1)), Some(11));
    }

    #[test]
    fn the_end_of_a_thread_retires_its_owners_and_may_come_back_to_the_slot() {
        type Report = mpsc::Sender<(usize, Option<u32>)>;
        fn retire(key: NonZeroUsize, owner: Owner<(u32, Report)>) {
            let again = SLOT.try_with(|slot| slot.find(key).is_some());
            assert!(again.is_err(), "the slot is gone for whoever asks again");
            let report = owner.retire(|(value, report)| (*value, report.clone()));
            let (value, report) = report.expect("nobody kept it");
            report.send((key.get(), Some(value))).unwrap();
        }
        std::thread_local! {
            static LAST: LastOwner<(u32, Report)> = const { LastOwner::new() };
            static SLOT: OwnerSlot<(u32, Report)> = const { OwnerSlot::new(&LAST, retire) };
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
