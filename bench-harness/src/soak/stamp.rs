//! Words in a block's memory that say who has it.

use std::{
    fmt,
    mem::{MaybeUninit, size_of},
};

const FRAME_BYTES: usize = 4096;
const WORD_BYTES: usize = size_of::<u64>();
/// How many frames of a block are stamped at most, and its last one: all of most blocks.
const STAMPED_FRAMES: usize = 16;

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
        for at in places(memory.len()) {
            memory[at..at + WORD_BYTES].write_copy_of_slice(&self.0.to_ne_bytes());
        }
    }

    /// Checks memory that was stamped; the first place that has something else, and what.
    ///
    /// # Safety
    /// A stamp was written to the memory.
    pub(super) unsafe fn check(self, memory: &[MaybeUninit<u8>]) -> Result<(), (usize, Self)> {
        // SAFETY: the caller promises it.
        unsafe { find_other(memory, self) }
    }
}

/// Checks that memory of zeroes has some where stamps would be; the first place that has something else.
///
/// # Safety
/// The memory is initialised.
pub(super) unsafe fn check_zeroes(memory: &[MaybeUninit<u8>]) -> Result<(), (usize, Stamp)> {
    // SAFETY: the caller promises more.
    unsafe { find_other(memory, Stamp(0)) }
}

/// # Safety
/// The memory's stamped places are initialised.
unsafe fn find_other(memory: &[MaybeUninit<u8>], wanted: Stamp) -> Result<(), (usize, Stamp)> {
    for at in places(memory.len()) {
        let mut word = [0; WORD_BYTES];
        // SAFETY: the caller promises it.
        word.copy_from_slice(unsafe { memory[at..at + WORD_BYTES].assume_init_ref() });
        let found = Stamp(u64::from_ne_bytes(word));
        if found != wanted {
            return Err((at, found));
        }
    }
    Ok(())
}

/// Returns where stamps are: in the first and the last word of frames, or of what is not whole frames.
fn places(bytes: usize) -> impl Iterator<Item = usize> {
    let frames = if bytes.is_multiple_of(FRAME_BYTES) { bytes / FRAME_BYTES } else { 0 };
    let step = frames.div_ceil(STAMPED_FRAMES).max(1);
    let starts = (0..frames).step_by(step).map(|frame| frame * FRAME_BYTES);
    let inside = starts.flat_map(|start| [start, start + FRAME_BYTES - WORD_BYTES]);
    let first = (frames == 0).then_some(0);
    first.into_iter().chain(inside).chain([bytes - WORD_BYTES])
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
    fn a_stamp_is_found_in_memory_of_any_size_and_a_change_with_its_place() {
        let stamp = Stamp::new(3, 0x1_0002, 77);
        for bytes in [16, 100, 4096, 4097, 5 * 4096, 1024 * 4096] {
            let mut memory = vec![MaybeUninit::new(0); bytes];
            // SAFETY: it is initialised.
            assert_eq!(unsafe { check_zeroes(&memory) }, Ok(()));
            stamp.write(&mut memory);
            // SAFETY: it is stamped.
            assert_eq!(unsafe { stamp.check(&memory) }, Ok(()));
            memory[bytes - 1] = MaybeUninit::new(0);
            // SAFETY: it is initialised.
            let (at, _) = unsafe { stamp.check(&memory) }.unwrap_err();
            assert_eq!(at, bytes - 8);
        }
    }

    #[test]
    fn a_stamp_says_whose_it_is() {
        let text = format!("{:?}", Stamp::new(3, 2, 77));
        assert_eq!(text, "the stamp of thread 3, operation 77 of epoch 2");
        assert_eq!(format!("{:?}", Stamp(0x10)), "0x0000000000000010");
    }
}
