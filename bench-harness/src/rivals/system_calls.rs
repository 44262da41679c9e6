//! The system itself: a mapping for each block.

use std::ptr::NonNull;

use rustix::mm::{Advice, madvise, munmap};

use super::mapping;
use crate::rival::{Request, Rival, RivalThread};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "No allocator: mmap for each block and munmap when it is freed. Blocks are always zero, and each frame costs a page \
     fault at its first touch. A process may have vm.max_map_count mappings: where blocks lie more scattered, what cannot be unmapped is \
     emptied and handed out again.";

/// The system's mappings.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemCalls;

impl Rival for SystemCalls {
    type Thread<'a> = SystemCallsThread;

    fn name(&self) -> &'static str {
        "mmap"
    }

    fn thread(&self) -> SystemCallsThread {
        SystemCallsThread::default()
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

/// One thread's way in: the system finds out by itself who calls.
#[derive(Debug, Default)]
pub struct SystemCallsThread {
    /// What could not be unmapped, with the order of each: a hole makes two mappings of one, and the process has all that it may.
    kept: Vec<(MappedBlock, u32)>,
}

/// An owned mapping, named by its first byte.
#[derive(Debug)]
pub struct MappedBlock(NonNull<u8>);

// SAFETY: it owns the mapping, which any thread of the process may use and unmap.
unsafe impl Send for MappedBlock {}

impl RivalThread for SystemCallsThread {
    type Block = MappedBlock;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<MappedBlock> {
        if !self.kept.is_empty()
            && let Some(block) = self.take_kept(request.order)
        {
            return Some(block);
        }
        // Zeroed or not: the system clears all that it hands out.
        mapping::map(4096 << request.order).ok().map(MappedBlock)
    }

    #[inline(always)]
    fn free(&mut self, block: MappedBlock, order: u32) {
        if let Err(block) = unmap(block, order) {
            self.keep(block, order);
        }
    }

    #[inline(always)]
    fn address(&self, block: &MappedBlock) -> *mut u8 {
        block.0.as_ptr()
    }
}

impl SystemCallsThread {
    #[cold]
    fn take_kept(&mut self, order: u32) -> Option<MappedBlock> {
        let place = self.kept.iter().rposition(|&(_, kept)| kept == order)?;
        Some(self.kept.swap_remove(place).0)
    }

    #[cold]
    fn keep(&mut self, block: MappedBlock, order: u32) {
        // SAFETY: the block is owned, and this is the range that was mapped for it.
        let emptied = unsafe { madvise(block.0.as_ptr().cast(), 4096 << order, Advice::LinuxDontNeed) };
        emptied.expect("a mapping of this process can be emptied");
        self.kept.push((block, order));
    }
}

impl Drop for SystemCallsThread {
    fn drop(&mut self) {
        for (block, order) in self.kept.drain(..) {
            // What lies between mappings that others still have stays mapped, and is empty.
            let _: Result<(), MappedBlock> = unmap(block, order);
        }
    }
}

/// Unmaps a block, or gives it back where the process would have too many mappings.
#[inline(always)]
fn unmap(block: MappedBlock, order: u32) -> Result<(), MappedBlock> {
    // SAFETY: the block is owned, and this is the range that was mapped for it.
    unsafe { munmap(block.0.as_ptr().cast(), 4096 << order) }.map_err(|_too_many| block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rival::{Migrate, Zeroing};

    #[test]
    fn what_cannot_be_unmapped_is_empty_and_handed_out_again() {
        let mut thread = SystemCalls.thread();
        let request = |order| Request { order, migrate: Migrate::Unmovable, zeroed: Zeroing::Zeroed };
        let block = thread.alloc(request(1)).unwrap();
        let address = block.0;
        // SAFETY: the block is mapped, and nobody else has it.
        unsafe { address.write_bytes(7, 8192) };
        thread.keep(block, 1);
        let other = thread.alloc(request(0)).unwrap();
        assert_ne!(other.0, address, "of another order");
        thread.free(other, 0);
        let again = thread.alloc(request(1)).unwrap();
        assert_eq!((again.0, thread.kept.len()), (address, 0));
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr(), 8192) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        thread.free(again, 1);
        assert!(thread.kept.is_empty());
    }
}
