//! Writing to blocks, as whoever asked for them would.

use crate::rival::{Request, RivalThread};

/// The size of a cache line in bytes.
pub(super) const LINE_BYTES: usize = 64;

/// What is done to a block when it is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touch {
    /// Nothing.
    #[default]
    Untouched,
    /// Each of its lines is written to.
    Lines,
}

impl Touch {
    /// Returns the word that the records use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Lines => "lines",
        }
    }
}

/// Writes a word to each line of a block; to none of a block that is no memory.
#[inline(always)]
pub(super) fn write_lines<T: RivalThread>(thread: &T, block: &T::Block, order: u32) {
    if !T::IS_MEMORY {
        return;
    }
    let address = thread.address(block);
    for offset in (0..4096_usize << order).step_by(LINE_BYTES) {
        // SAFETY: the block is ours, that long, and aligned to more than a word.
        let word = unsafe { address.add(offset) }.cast::<usize>();
        // SAFETY: as above. Volatile, because nobody reads it.
        unsafe { word.write_volatile(offset) };
    }
}

/// A way into an allocator through which every line of a block is written when it is handed out.
#[derive(Debug)]
pub struct Touching<T>(pub T);

impl<T: RivalThread> RivalThread for Touching<T> {
    type Block = T::Block;

    const IS_MEMORY: bool = T::IS_MEMORY;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<T::Block> {
        let block = self.0.alloc(request)?;
        write_lines(&self.0, &block, request.order);
        Some(block)
    }

    #[inline(always)]
    fn free(&mut self, block: T::Block, order: u32) {
        self.0.free(block, order);
    }

    #[inline(always)]
    fn address(&self, block: &T::Block) -> *mut u8 {
        self.0.address(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rival::Rival;
    use crate::rivals::{Empty, Global};
    use crate::workload::{BlockOrder, Variable};

    #[test]
    fn each_line_of_a_block_is_written() {
        let rival = Global::new("glibc", std::alloc::System);
        let mut thread = Touching(rival.thread());
        let zeroed = Request { zeroed: crate::rival::Zeroing::Zeroed, ..Variable(1).request() };
        let block = thread.alloc(zeroed).unwrap();
        let address = thread.address(&block);
        // SAFETY: the block is ours and that long, all of it was cleared or written, and no word is invalid.
        let words =
            unsafe { std::slice::from_raw_parts(address.cast::<usize>(), 2 * 4096 / size_of::<usize>()) };
        for (line, words) in words.chunks(LINE_BYTES / size_of::<usize>()).enumerate() {
            assert_eq!((words[0], words[1]), (line * LINE_BYTES, 0));
        }
        thread.free(block, 1);
    }

    #[test]
    fn what_is_no_memory_is_left_alone() {
        let rival = Empty::new();
        let mut thread = Touching(rival.thread());
        let block = thread.alloc(Variable(3).request()).unwrap();
        thread.free(block, 3);
    }
}
