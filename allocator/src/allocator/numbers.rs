//! The allocators that are alive in the process, by number.
//!
//! A block names its allocator by a number of 14 bits, so that it fits into one word.

use core::{fmt, ptr, ptr::NonNull};

use crate::{
    frame::AllocatorNumber,
    sync::{
        Mutex,
        atomic::{AtomicPtr, Ordering},
    },
};

/// Where the allocators lie by number; null where there is none. 128 KiB of address space, committed where numbers are in use.
static PLACES: [AtomicPtr<()>; AllocatorNumber::MAX as usize + 1] =
    [const { AtomicPtr::new(ptr::null_mut()) }; AllocatorNumber::MAX as usize + 1];

static POOL: Mutex<Pool> = Mutex::new(Pool { fresh: 1, returned: Vec::new() });

/// Numbers that are not in use.
#[derive(Debug)]
struct Pool {
    /// The lowest that was never used.
    fresh: u16,
    returned: Vec<AllocatorNumber>,
}

impl Pool {
    /// Takes a number, one that was used before if there is one: the table stays small.
    fn take(&mut self) -> Result<AllocatorNumber, TooManyAllocators> {
        if let Some(number) = self.returned.pop() {
            return Ok(number);
        }
        let number = AllocatorNumber::new(self.fresh).ok_or(TooManyAllocators)?;
        self.fresh += 1;
        Ok(number)
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
        POOL.lock().take().map(Self)
    }

    /// Returns the number.
    #[inline(always)]
    pub(super) const fn get(&self) -> AllocatorNumber {
        self.0
    }

    /// Lets blocks find what lies there by the number, until this value is dropped.
    pub(super) fn publish(&self, place: NonNull<()>) {
        // Whoever has a block was handed it by somebody who came after this.
        PLACES[usize::from(self.0.get())].store(place.as_ptr(), Ordering::Relaxed);
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        PLACES[usize::from(self.0.get())].store(ptr::null_mut(), Ordering::Relaxed);
        POOL.lock().returned.push(self.0);
    }
}

/// Returns where a live block's allocator lies.
#[inline(always)]
pub(super) fn place_of(number: AllocatorNumber) -> NonNull<()> {
    // The mask says nothing new to anyone but the compiler.
    let place = PLACES[usize::from(number.get() & AllocatorNumber::MAX)].load(Ordering::Relaxed);
    NonNull::new(place).expect("a block keeps its allocator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once_until_it_comes_back() {
        let mut pool = Pool { fresh: 1, returned: Vec::new() };
        for number in 1..=AllocatorNumber::MAX {
            assert_eq!(pool.take().map(AllocatorNumber::get), Ok(number));
        }
        assert_eq!(pool.take(), Err(TooManyAllocators));
        assert!(TooManyAllocators.to_string().contains("16383"));
        pool.returned.push(AllocatorNumber::new(7).expect("a number"));
        assert_eq!(pool.take().map(AllocatorNumber::get), Ok(7));
        assert_eq!(pool.take(), Err(TooManyAllocators));
    }
}
