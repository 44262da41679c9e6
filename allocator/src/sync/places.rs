//! Numbers that are in use, and what lies there.

use super::atomic::{AtomicPtr, Ordering};
use super::seeded::{SeededBug, seeded};
use std::ptr::{self, NonNull};

/// A table of what has which number, from 1 up to below `N`, a power of two.
///
/// | a place holds | meaning | leaves it by |
/// |---|---|---|
/// | null | the number is free | compare-exchange to the mark |
/// | the mark | taken, and nothing is to be found there | a store of what lies there, or of null |
/// | anything else | taken, and that lies there | a store of the mark |
///
/// Searched without a lock, so that a child that a fork has made can take numbers of its own.
///
/// ```
/// use core::ptr::NonNull;
/// use gfp::sync::Places;
///
/// static PLACES: Places<4> = Places::new();
/// let [first, second] = [(); 2].map(|()| PLACES.take().expect("three are free"));
/// assert_eq!((first, second), (1, 2));
/// assert!(PLACES.published().next().is_none());
///
/// let here = NonNull::<u64>::dangling().cast();
/// PLACES.publish(second, here);
/// assert!(PLACES.published().eq([here]) && PLACES.get(second) == Some(here));
///
/// PLACES.withdraw(second);
/// PLACES.give_back(second);
/// assert_eq!((PLACES.get(second), PLACES.take()), (None, Some(second)));
/// ```
#[derive(Debug)]
pub struct Places<const N: usize>([AtomicPtr<()>; N]);

impl<const N: usize> Places<N> {
    const TAKEN: NonNull<()> = NonNull::dangling();

    /// Makes a table in which all numbers are free.
    #[cfg(not(loom))]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in a static only")]
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two(), "a mask keeps every access inside") };
        Self([const { AtomicPtr::new(ptr::null_mut()) }; N])
    }

    /// Makes a table in which all numbers are free.
    #[cfg(loom)]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the other one has none either")]
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())))
    }

    /// Takes the lowest number that is free, `None` when all are in use: the part of the table that is used stays small.
    pub fn take(&self) -> Option<usize> {
        // Acquires what the one before let go.
        let order = if seeded(SeededBug::PlaceTakenRelaxed) { Ordering::Relaxed } else { Ordering::Acquire };
        (1..N).find(|&number| {
            let (free, taken) = (ptr::null_mut(), Self::TAKEN.as_ptr());
            let taken = self.at(number).compare_exchange(free, taken, order, Ordering::Relaxed);
            taken.is_ok() || seeded(SeededBug::PlaceLostCas)
        })
    }

    /// Gives a number back; whoever takes it next sees what was done until now.
    pub fn give_back(&self, number: usize) {
        self.at(number).store(ptr::null_mut(), Ordering::Release);
    }

    /// Lets others find what lies at a number that the caller has taken.
    pub fn publish(&self, number: usize, place: NonNull<()>) {
        // Whoever asks for it was handed the number by somebody who came after this.
        self.at(number).store(place.as_ptr(), Ordering::Relaxed);
    }

    /// Ends that; the number stays taken.
    pub fn withdraw(&self, number: usize) {
        self.at(number).store(Self::TAKEN.as_ptr(), Ordering::Relaxed);
    }

    /// Returns what lies at a number, `None` if nothing was ever there since it was given back.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, number: usize) -> Option<NonNull<()>> {
        NonNull::new(self.at(number).load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn at(&self, number: usize) -> &AtomicPtr<()> {
        // The mask says nothing new to anyone but the compiler.
        &self.0[number & (N - 1)]
    }

    /// Returns everything that lies somewhere.
    pub fn published(&self) -> impl Iterator<Item = NonNull<()>> {
        let places = self.0.iter().filter_map(|place| NonNull::new(place.load(Ordering::Relaxed)));
        places.filter(|place| *place != Self::TAKEN)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once_until_it_comes_back() {
        const MOST: usize = 64;
        let places = Places::<MOST>::new();
        for number in 1..MOST {
            assert_eq!(places.take(), Some(number));
        }
        assert_eq!(places.take(), None);
        places.give_back(7);
        assert_eq!((places.take(), places.take()), (Some(7), None));
    }

    #[test]
    fn what_lies_there_is_found_until_it_is_withdrawn() {
        let places = Places::<4>::new();
        let number = places.take().expect("three are free");
        assert_eq!((places.get(number + 1), places.published().count()), (None, 0));
        let what = NonNull::from(&places).cast();
        places.publish(number, what);
        assert_eq!((places.get(number), places.published().next()), (Some(what), Some(what)));
        places.withdraw(number);
        assert_eq!(places.published().count(), 0);
        assert_eq!(places.take(), Some(number + 1), "a number that was withdrawn is taken still");
    }
}
