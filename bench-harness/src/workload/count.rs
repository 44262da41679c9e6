//! How many blocks a worker keeps: known to the compiler, or only at run time.

use std::fmt::Debug;
use std::mem::MaybeUninit;

/// A number of places, a power of two, in one of two forms. A workload whose number is written down is compiled with it; one whose
/// number follows from the machine's caches is not.
pub trait Count: Copy + Debug + Send {
    /// The places for blocks.
    type Places<B>: Debug;

    /// Returns the number.
    fn get(self) -> usize;

    /// Returns the index modulo the number.
    fn wrap(self, index: usize) -> usize;

    /// Takes so many places; the caller made as many.
    fn places<B>(self, places: Box<[MaybeUninit<B>]>) -> Self::Places<B>;

    /// Returns all places.
    fn all<B>(places: &mut Self::Places<B>) -> &mut [MaybeUninit<B>];

    /// Returns the place at an index that was wrapped.
    fn at<B>(places: &mut Self::Places<B>, index: usize) -> &mut MaybeUninit<B>;
}

/// A number that the compiler knows.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const N: usize>;

impl<const N: usize> Count for Fixed<N> {
    type Places<B> = Box<[MaybeUninit<B>; N]>;

    #[inline(always)]
    fn get(self) -> usize {
        N
    }

    #[inline(always)]
    fn wrap(self, index: usize) -> usize {
        const { assert!(N.is_power_of_two()) };
        index % N
    }

    fn places<B>(self, places: Box<[MaybeUninit<B>]>) -> Self::Places<B> {
        let Ok(places) = places.try_into() else { unreachable!("N places were made") };
        places
    }

    #[inline(always)]
    fn all<B>(places: &mut Self::Places<B>) -> &mut [MaybeUninit<B>] {
        &mut places[..]
    }

    #[inline(always)]
    fn at<B>(places: &mut Self::Places<B>, index: usize) -> &mut MaybeUninit<B> {
        // The index is below N already; this way the compiler knows it, too.
        &mut places[index % N]
    }
}

/// A number that is known at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerOfTwo {
    mask: usize,
}

impl PowerOfTwo {
    /// Takes a power of two; `None` for any other number.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        number.is_power_of_two().then(|| Self { mask: number - 1 })
    }
}

impl Count for PowerOfTwo {
    type Places<B> = Box<[MaybeUninit<B>]>;

    #[inline(always)]
    fn get(self) -> usize {
        self.mask + 1
    }

    #[inline(always)]
    fn wrap(self, index: usize) -> usize {
        index & self.mask
    }

    fn places<B>(self, places: Box<[MaybeUninit<B>]>) -> Self::Places<B> {
        places
    }

    #[inline(always)]
    fn all<B>(places: &mut Self::Places<B>) -> &mut [MaybeUninit<B>] {
        places
    }

    #[inline(always)]
    fn at<B>(places: &mut Self::Places<B>, index: usize) -> &mut MaybeUninit<B> {
        &mut places[index]
    }
}
