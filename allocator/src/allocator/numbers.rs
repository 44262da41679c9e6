//! The allocators that are alive in the process, by number.
//!
//! A block names its allocator by a number of 14 bits, so that it fits into one word.

use core::{fmt, ptr, ptr::NonNull};
use std::sync::LazyLock;

use crate::{
    frame::AllocatorNumber,
    sync::{
        LockRank, SpinGuard, SpinLock,
        atomic::{AtomicPtr, Ordering},
    },
};

/// Where the allocators lie by number. 128 KiB of address space, committed where numbers are in use.
static PLACES: Places = Places::new();

/// Held while an allocator is published or withdrawn; [`hold`] says who else holds it.
static CHANGES: LazyLock<SpinLock<()>> = LazyLock::new(|| SpinLock::new(LockRank::Leaf, ()));

/// A table that is searched without a lock, so that a child that a fork has made can number allocators of its own.
#[derive(Debug)]
struct Places([AtomicPtr<()>; AllocatorNumber::MAX as usize + 1]);

impl Places {
    /// Stands for an allocator that has its number and is not built yet.
    const TAKEN: NonNull<()> = NonNull::dangling();

    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; AllocatorNumber::MAX as usize + 1])
    }

    /// Takes the lowest number that is free: the part of the table that is in use stays small.
    fn take(&self) -> Result<AllocatorNumber, TooManyAllocators> {
        (1..=AllocatorNumber::MAX)
            .filter_map(AllocatorNumber::new)
            .find(|number| {
                let place = self.at(*number);
                // Acquires what the one before let go.
                place
                    .compare_exchange(
                        ptr::null_mut(),
                        Self::TAKEN.as_ptr(),
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok()
            })
            .ok_or(TooManyAllocators)
    }

    fn give_back(&self, number: AllocatorNumber) {
        self.at(number).store(ptr::null_mut(), Ordering::Release);
    }

    #[inline(always)]
    fn at(&self, number: AllocatorNumber) -> &AtomicPtr<()> {
        // The mask says nothing new to anyone but the compiler.
        &self.0[usize::from(number.get() & AllocatorNumber::MAX)]
    }

    /// Returns where each allocator lies that is built.
    fn built(&self) -> impl Iterator<Item = NonNull<()>> {
        let places = self.0.iter().filter_map(|place| NonNull::new(place.load(Ordering::Relaxed)));
        places.filter(|place| *place != Self::TAKEN)
    }
}

/// All numbers are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyAllocators;

impl fmt::Display for TooManyAllocators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} allocators are alive in this process, and no more can be: drop one with all of its blocks first",
            AllocatorNumber::MAX
        )
    }
}

impl std::error::Error for TooManyAllocators {}

/// A number that is this allocator's as long as this value lives.
#[derive(Debug)]
pub(super) struct Number(AllocatorNumber);

impl Number {
    /// Takes a number.
    ///
    /// # Errors
    /// When all are in use.
    pub(super) fn take() -> Result<Self, TooManyAllocators> {
        PLACES.take().map(Self)
    }

    /// Returns the number.
    #[inline(always)]
    pub(super) const fn get(&self) -> AllocatorNumber {
        self.0
    }

    /// Lets blocks find what lies there by the number, until it is withdrawn.
    pub(super) fn publish(&self, place: NonNull<()>) {
        let _held = CHANGES.lock();
        // Whoever has a block was handed it by somebody who came after this.
        PLACES.at(self.0).store(place.as_ptr(), Ordering::Relaxed);
    }

    /// Ends that, before what lies there ends. The number stays taken until this value is dropped.
    pub(super) fn withdraw(&self) {
        let _held = CHANGES.lock();
        PLACES.at(self.0).store(Places::TAKEN.as_ptr(), Ordering::Relaxed);
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        PLACES.give_back(self.0);
    }
}

/// Returns where a live block's allocator lies.
#[inline(always)]
pub(super) fn place_of(number: AllocatorNumber) -> NonNull<()> {
    NonNull::new(PLACES.at(number).load(Ordering::Relaxed)).expect("a block keeps its allocator")
}

/// Keeps allocators from being published or withdrawn. A fork copies the process piece by piece while other threads run; with
/// this held, the child finds whole what it finds published. The unlocking asks nothing of anybody, so that the child can do it.
pub(super) fn hold() -> SpinGuard<'static, ()> {
    CHANGES.lock()
}

/// Calls `f` with where each allocator lies. Only loads, so that it may run after a fork, when no other thread is there to drop
/// one.
pub(super) fn for_each_place(f: impl FnMut(NonNull<()>)) {
    PLACES.built().for_each(f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once_until_it_comes_back() {
        static PLACES: Places = Places::new();
        for number in 1..=AllocatorNumber::MAX {
            assert_eq!(PLACES.take().map(AllocatorNumber::get), Ok(number));
        }
        assert_eq!(PLACES.take(), Err(TooManyAllocators));
        assert!(TooManyAllocators.to_string().contains("16383"));
        PLACES.give_back(AllocatorNumber::new(7).expect("a number"));
        assert_eq!(PLACES.take().map(AllocatorNumber::get), Ok(7));
        assert_eq!(PLACES.take(), Err(TooManyAllocators));
        assert_eq!(PLACES.built().count(), 0, "none of them is built");
    }
}
