//! Words in a block's memory that say who has it.

use std::{fmt, mem::MaybeUninit};

use crate::stamp;

/// What is written into a block: which operation of which thread got it. Never zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The stamp of an operation: a bit that is always set, 15 bits of the thread, 16 of the epoch, 32 of the number.
    pub(super) const fn new(thread: usize, epoch: u64, operation: u64) -> Self {
        Self(1 << 63 | (thread as u64 & 0x7fff) << 48 | (epoch & 0xffff) << 32 | operation & 0xffff_ffff)
    }

    /// Returns another stamp, which no memory has.
    pub(super) const fn spoiled(self) -> Self {
        Self(self.0 ^ 1 << 63)
    }

    /// Writes the stamp into memory of at least 16 bytes.
    pub(super) fn write(self, memory: &mut [MaybeUninit<u8>]) {
        stamp::write(self.0, memory);
    }

    /// Checks memory that was stamped; the first place that has something else, and what.
    ///
    /// # Safety
    /// A stamp was written to the memory.
    pub(super) unsafe fn check(self, memory: &[MaybeUninit<u8>]) -> Result<(), (usize, Self)> {
        // SAFETY: the caller promises it.
        unsafe { stamp::check(self.0, memory) }.map_err(|(at, found)| (at, Self(found)))
    }
}

/// Checks that memory of zeroes has some where stamps would be; the first place that has something else.
///
/// # Safety
/// The memory is initialised.
pub(super) unsafe fn check_zeroes(memory: &[MaybeUninit<u8>]) -> Result<(), (usize, Stamp)> {
    // SAFETY: the caller promises more.
    unsafe { Stamp(0).check(memory) }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        match word >> 63 {
            1 => {
                let (thread, epoch, operation) =
                    (word >> 48 & 0x7fff, word >> 32 & 0xffff, word & 0xffff_ffff);
                write!(f, "the stamp of thread {thread}, operation {operation} of epoch {epoch}")
            }
            _ => write!(f, "{word:#018x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_whose_it_is() {
        let text = format!("{:?}", Stamp::new(3, 2, 77));
        assert_eq!(text, "the stamp of thread 3, operation 77 of epoch 2");
        assert_eq!(format!("{:?}", Stamp(0x10)), "0x0000000000000010");
    }
}
