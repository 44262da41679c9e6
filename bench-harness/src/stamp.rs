//! A word in many places of a block's memory, so that whoever else writes there, or has it too, is found out.

use std::mem::{MaybeUninit, size_of};

const FRAME_BYTES: usize = 4096;
const WORD_BYTES: usize = size_of::<u64>();
/// How many frames of a block are stamped at most, and its last one: all of most blocks.
const STAMPED_FRAMES: usize = 16;

/// Writes the word into memory of at least 16 bytes.
pub(crate) fn write(word: u64, memory: &mut [MaybeUninit<u8>]) {
    for at in places(memory.len()) {
        memory[at..at + WORD_BYTES].write_copy_of_slice(&word.to_ne_bytes());
    }
}

/// Checks memory for the word; the first place that has another one, and that word.
///
/// # Safety
/// A word was written to the memory by [`write`], or all of it is initialised.
pub(crate) unsafe fn check(word: u64, memory: &[MaybeUninit<u8>]) -> Result<(), (usize, u64)> {
    for at in places(memory.len()) {
        let mut found = [0; WORD_BYTES];
        // SAFETY: the caller promises it.
        found.copy_from_slice(unsafe { memory[at..at + WORD_BYTES].assume_init_ref() });
        let found = u64::from_ne_bytes(found);
        if found != word {
            return Err((at, found));
        }
    }
    Ok(())
}

/// Returns where words are: in the first and the last word of frames, or of what is not whole frames.
fn places(bytes: usize) -> impl Iterator<Item = usize> {
    let frames = if bytes.is_multiple_of(FRAME_BYTES) { bytes / FRAME_BYTES } else { 0 };
    let step = frames.div_ceil(STAMPED_FRAMES).max(1);
    let starts = (0..frames).step_by(step).map(|frame| frame * FRAME_BYTES);
    let inside = starts.flat_map(|start| [start, start + FRAME_BYTES - WORD_BYTES]);
    let first = (frames == 0).then_some(0);
    first.into_iter().chain(inside).chain([bytes - WORD_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_memory_of_any_size_and_a_change_with_its_place() {
        for bytes in [16, 100, 4096, 4097, 5 * 4096, 1024 * 4096] {
            let mut memory = vec![MaybeUninit::new(0); bytes];
            // SAFETY: it is initialised.
            assert_eq!(unsafe { check(0, &memory) }, Ok(()));
            write(77, &mut memory);
            // SAFETY: it is initialised.
            assert_eq!(unsafe { check(77, &memory) }, Ok(()));
            memory[bytes - 1] = MaybeUninit::new(1);
            // SAFETY: it is initialised.
            let (at, found) = unsafe { check(77, &memory) }.unwrap_err();
            assert_eq!((at, found.to_ne_bytes()[7]), (bytes - 8, 1));
        }
    }
}
