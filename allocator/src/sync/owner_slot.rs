//! What a thread-local holds to find the thread's own cells by key.

use super::owned::{Inside, NotEntered, OwnedCell, Owner};
use super::thread::LocalKey;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;

/// What a cell begins with: its key.
type Key = usize;

/// Stands for no cell: no cell has the key 0 that is looked for.
static NONE: Key = 0;

/// The cell that a thread used last, at hand: one word, without a destructor, so that it is reached without a look at
/// whether it still exists.
///
/// | `last` points to | meaning |
/// |---|---|
/// | the mark `NONE` | nothing at hand |
/// | a cell, which begins with its key | that cell is at hand |
///
/// Written by the thread's [`OwnerSlot`] only.
///
/// How a cell gets there is shown at [`OwnerSlot`].
///
/// ```
/// use core::num::NonZeroUsize;
/// use gfp::sync::{Inside, LastOwner, NotEntered, Visit};
///
/// gfp::sync::thread_local! {
///     static LAST: LastOwner<u32> = const { LastOwner::new() };
/// }
/// struct Read;
/// impl Visit<u32> for Read {
///     type Output = Option<u32>;
///     fn visit(self, entered: Result<Inside<'_, u32>, NotEntered>) -> Option<u32> {
///         entered.ok().map(|value| *value)
///     }
/// }
/// assert_eq!(LastOwner::enter(&LAST, NonZeroUsize::MIN, Read), None, "nothing is at hand");
/// ```
#[derive(Debug)]
pub struct LastOwner<T> {
    last: Cell<*const Key>,
    cells: PhantomData<*const OwnedCell<T>>,
}

impl<T: 'static> LastOwner<T> {
    /// Makes a place with nothing at hand.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in a thread_local only")]
    pub const fn new() -> Self {
        Self { last: Cell::new(&raw const NONE), cells: PhantomData }
    }

    /// Enters the calling thread's cell at hand if its key is `key`, one comparison and [`Owner::enter`], and calls `visit`
    /// with what came of it.
    ///
    /// `None` says only that it is not at hand; [`OwnerSlot::find`] looks further.
    #[inline(always)]
    pub fn enter<V: Visit<T>>(
        at_hand: &'static LocalKey<Self>,
        key: NonZeroUsize,
        visit: V,
    ) -> Option<V::Output> {
        // Not all of it inside of `with`, which is inlined only around something small.
        let last = at_hand.with(|at_hand| at_hand.last.get());
        // SAFETY: `last` points to the mark, which is static, or to a cell, which begins with its key, which nobody changes;
        // and a cell is freed only after `last` was pointed elsewhere, by this thread.
        if unsafe { *last } != key.get() {
            return None;
        }
        // SAFETY: the mark has key 0, so this is a cell; and none is freed while its owner is inside.
        let cell = unsafe { &*last.cast::<OwnedCell<T>>() };
        // SAFETY: the slot holds the owners of this thread.
        Some(visit.visit(unsafe { cell.enter_by_owner() }))
    }
}

/// What is done with a cell that was entered, or was not: a function with what it needs.
///
/// Not a closure, which cannot be told to be inlined: not inlined, it got the outcome of the entry through memory, a third of
/// a pair's time.
///
/// ```
/// use gfp::sync::{Inside, NotEntered, Owner, Visit};
///
/// struct Add(u32);
/// impl Visit<u32> for Add {
///     type Output = Result<u32, NotEntered>;
///     fn visit(self, entered: Result<Inside<'_, u32>, NotEntered>) -> Self::Output {
///         let mut value = entered?;
///         *value += self.0;
///         Ok(*value)
///     }
/// }
/// let owner = Owner::new(1);
/// assert_eq!(Add(2).visit(owner.enter()), Ok(3));
/// ```
pub trait Visit<T> {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit(self, entered: Result<Inside<'_, T>, NotEntered>) -> Self::Output;
}

/// The cells that a thread owns, by key (an allocator's number, say).
///
/// Lives in a `thread_local!`, beside the [`LastOwner`] that it keeps. [`LastOwner::enter`] and [`find`](Self::find) may be
/// called from a signal handler that interrupts any of the methods: what they need is one word, and a list that is
/// left alone while it changes. [`insert`](Self::insert) may not.
///
/// An owner that was removed is dropped by a later insertion, once its cell is not in use any more.
///
/// ```
/// use core::num::NonZeroUsize;
/// use gfp::sync::{Inside, LastOwner, NotEntered, Owner, OwnerSlot, Visit};
///
/// gfp::sync::thread_local! {
///     static LAST: LastOwner<u32> = const { LastOwner::new() };
/// }
/// gfp::sync::thread_local! {
///     static SLOT: OwnerSlot<u32> = const { OwnerSlot::new(&LAST, |_, _| ()) };
/// }
///
/// /// Counts up, and tells how far.
/// struct Count;
/// impl Visit<u32> for Count {
///     type Output = u32;
///     fn visit(self, entered: Result<Inside<'_, u32>, NotEntered>) -> u32 {
///         entered.map_or(0, |mut value| {
///             *value += 1;
///             *value
///         })
///     }
/// }
///
/// let keys = [1, 2].map(|key| NonZeroUsize::new(key).expect("not 0"));
/// SLOT.with(|slot| keys.map(|key| slot.insert(Owner::with_key(key, 10)).is_none()));
/// assert_eq!(LastOwner::enter(&LAST, keys[1], Count), Some(11));
/// assert_eq!(LastOwner::enter(&LAST, keys[0], Count), None, "another one was used last");
///
/// // The slow way, after which it is at hand.
/// assert!(SLOT.with(|slot| slot.find(keys[0])).is_some());
/// assert_eq!(LastOwner::enter(&LAST, keys[0], Count), Some(11));
///
/// SLOT.with(|slot| {
///     assert!(slot.remove(keys[0]).is_some());
///     slot.for_each(|owner| assert_eq!(owner.cell().key(), 2));
/// });
/// ```
pub struct OwnerSlot<T: 'static> {
    last: &'static LocalKey<LastOwner<T>>,
    owners: RefCell<Vec<Owner<T>>>,
    removed: RefCell<Vec<Owner<T>>>,
    retire: fn(NonZeroUsize, Owner<T>),
}

impl<T: 'static> OwnerSlot<T> {
    /// Makes an empty slot that keeps `last`; when it is dropped, which is when the thread ends, `retire` gets each owner
    /// with its key.
    #[must_use]
    pub const fn new(last: &'static LocalKey<LastOwner<T>>, retire: fn(NonZeroUsize, Owner<T>)) -> Self {
        Self { last, owners: RefCell::new(Vec::new()), removed: RefCell::new(Vec::new()), retire }
    }

    fn set_last(&self, last: *const Key) {
        self.last.with(|at_hand| at_hand.last.set(last));
    }

    /// Returns where a cell begins.
    fn address(owner: &Owner<T>) -> *const Key {
        let cell: *const OwnedCell<T> = &raw const **owner.cell();
        cell.cast()
    }

    /// Returns the owner whose key is `key`, and has it at hand next time; `None` when there is none.
    ///
    /// `None` as well in a signal handler that interrupts a change of the list.
    #[cold]
    pub fn find(&self, key: NonZeroUsize) -> Option<Owner<T>> {
        let owners = self.owners.try_borrow().ok()?;
        let owner = owners.iter().find(|owner| owner.cell().key() == key.get())?;
        self.set_last(Self::address(owner));
        Some(owner.clone())
    }

    /// Calls `f` with every owner; with none while the list changes.
    pub fn for_each(&self, f: impl FnMut(&Owner<T>)) {
        if let Ok(owners) = self.owners.try_borrow() {
            owners.iter().for_each(f);
        }
    }

    /// Adds `owner`, whose cell has a key, and has it at hand; returns the one that had the key before.
    ///
    /// Allocates, and drops what was removed before and is not in use; not for signal handlers.
    ///
    /// # Panics
    ///
    /// When the cell has no key.
    pub fn insert(&self, owner: Owner<T>) -> Option<Owner<T>> {
        let key = NonZeroUsize::new(owner.cell().key()).expect("the cell was made with a key");
        let before = self.remove(key);
        self.set_last(Self::address(&owner));
        self.owners.borrow_mut().push(owner);
        let freed: Vec<_> = self.removed.borrow_mut().extract_if(.., |owner| !owner.is_inside()).collect();
        // Outside of the borrow: what a cell holds may come back to the slot when it is dropped.
        drop(freed);
        before
    }

    /// Takes the owner whose key is `key` out, without retiring it.
    pub fn remove(&self, key: NonZeroUsize) -> Option<Owner<T>> {
        let owner = {
            let mut owners = self.owners.borrow_mut();
            let position = owners.iter().position(|owner| owner.cell().key() == key.get())?;
            owners.swap_remove(position)
        };
        if self.last.with(|at_hand| at_hand.last.get()) == Self::address(&owner) {
            self.set_last(&raw const NONE);
        }
        self.removed.borrow_mut().push(owner.clone());
        Some(owner)
    }
}

impl<T: 'static> Drop for OwnerSlot<T> {
    fn drop(&mut self) {
        self.set_last(&raw const NONE);
        for owner in self.owners.take() {
            if let Some(key) = NonZeroUsize::new(owner.cell().key()) {
                (self.retire)(key, owner);
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
        struct Read;
        impl Visit<u32> for Read {
            type Output = u32;
            fn visit(self, entered: Result<Inside<'_, u32>, NotEntered>) -> u32 {
                *entered.expect("nobody has it")
            }
        }
        LastOwner::enter(&LAST, key, Read)
    }

    fn found(slot: &OwnerSlot<u32>, key: NonZeroUsize) -> Option<u32> {
        slot.find(key).as_ref().map(value)
    }

    #[test]
    fn the_last_owner_is_at_hand_and_others_are_found() {
        let slot = OwnerSlot::new(&LAST, ignore);
        assert_eq!(at_hand(key(1)), None);
        assert!(slot.insert(Owner::with_key(key(1), 10)).is_none());
        assert!(slot.insert(Owner::with_key(key(2), 20)).is_none());
        assert_eq!(at_hand(key(2)), Some(20));
        assert_eq!(at_hand(key(1)), None, "not at hand");
        assert_eq!(found(&slot, key(1)), Some(10));
        assert_eq!(at_hand(key(1)), Some(10), "at hand since it was found");
        assert_eq!(found(&slot, key(3)), None);
        let mut all = Vec::new();
        slot.for_each(|owner| all.push(value(owner)));
        assert_eq!(all, [10, 20]);
        assert_eq!(format!("{slot:?}"), "OwnerSlot { .. }");
    }

    #[test]
    fn a_key_may_be_used_again() {
        let slot = OwnerSlot::new(&LAST, ignore);
        slot.insert(Owner::with_key(key(1), 10));
        let removed = slot.remove(key(1)).expect("it was there");
        assert_eq!(value(&removed), 10);
        assert_eq!((at_hand(key(1)), found(&slot, key(1))), (None, None));
        slot.insert(Owner::with_key(key(1), 11));
        assert_eq!(at_hand(key(1)), Some(11));
        let replaced = slot.insert(Owner::with_key(key(1), 12)).expect("the key was in use");
        assert_eq!(value(&replaced), 11);
        assert_eq!(at_hand(key(1)), Some(12));
    }

    #[test]
    fn a_cell_in_use_outlives_its_removal() {
        struct Replace<'a>(&'a OwnerSlot<u32>);
        impl Visit<u32> for Replace<'_> {
            type Output = ();
            fn visit(self, entered: Result<Inside<'_, u32>, NotEntered>) {
                let inside = entered.expect("nobody has it");
                drop(self.0.remove(key(1)));
                self.0.insert(Owner::with_key(key(1), 11));
                assert_eq!((*inside, self.0.removed.borrow().len()), (10, 1));
            }
        }
        let slot = OwnerSlot::new(&LAST, ignore);
        slot.insert(Owner::with_key(key(1), 10));
        LastOwner::enter(&LAST, key(1), Replace(&slot)).expect("at hand");
        slot.insert(Owner::with_key(key(2), 20));
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
                    slot.insert(Owner::with_key(key(1), (10, report.clone())));
                    slot.insert(Owner::with_key(key(2), (20, report)));
                });
            });
        });
        assert_eq!(reports.iter().collect::<Vec<_>>(), [(1, Some(10)), (2, Some(20))]);
    }
}
