//! The allocators that are alive in the process, by number.
//!
//! A block names its allocator by a number of 14 bits, so that it fits into one word.

use core::{fmt, ptr::NonNull};

use crate::{frame::AllocatorNumber, platform::fork::undivided, sync::Places};

/// Where the allocators lie by number. 128 KiB of address space, committed where numbers are in use.
static PLACES: Places<{ AllocatorNumber::MAX as usize + 1 }> = Places::new();

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
        let number = PLACES.take().and_then(|number| AllocatorNumber::new(u16::try_from(number).ok()?));
        number.map(Self).ok_or(TooManyAllocators)
    }

    /// Returns the number.
    #[inline(always)]
    pub(super) const fn get(&self) -> AllocatorNumber {
        self.0
    }

    /// Lets blocks find what lies there by the number, until it is withdrawn.
    pub(super) fn publish(&self, place: NonNull<()>) {
        let _undivided = undivided();
        PLACES.publish(index(self.0), place);
    }

    /// Ends that, before what lies there ends. The number stays taken until this value is dropped.
    pub(super) fn withdraw(&self) {
        let _undivided = undivided();
        PLACES.withdraw(index(self.0));
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        PLACES.give_back(index(self.0));
    }
}

#[inline(always)]
fn index(number: AllocatorNumber) -> usize {
    usize::from(number.get())
}

/// Returns where a live block's allocator lies.
#[inline(always)]
pub(super) fn place_of(number: AllocatorNumber) -> NonNull<()> {
    PLACES.get(index(number)).expect("a block keeps its allocator")
}

/// Calls `f` with where each allocator lies. Only loads, so that it may run after a fork, when no other thread is there to drop
/// one.
pub(super) fn for_each_place(f: impl FnMut(NonNull<()>)) {
    PLACES.published().for_each(f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_one_too_many_is_told_how_many_there_may_be() {
        assert!(TooManyAllocators.to_string().starts_with("16383 allocators"));
    }
}
