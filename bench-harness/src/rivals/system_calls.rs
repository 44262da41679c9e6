//! The system itself: a mapping for each block.

use std::{
    ptr::NonNull,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::mm::{Advice, madvise, munmap};

use super::mapping;
use crate::rival::{Request, Rival, RivalThread};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "No allocator: mmap for each block and munmap when it is freed. Blocks are always zero, and each frame costs a page \
     fault at its first touch. A process may have vm.max_map_count mappings: where blocks lie more scattered, what cannot be unmapped is \
     emptied and handed out again, and unmapped when what lies around it is.";

/// The system's mappings.
#[derive(Debug, Default)]
pub struct SystemCalls {
    kept: Mutex<Vec<(MappedBlock, u32)>>,
    /// Whether anything is kept, so that who asks need not wait.
    keeps: AtomicBool,
}

impl Rival for SystemCalls {
    type Thread<'a> = SystemCallsThread<'a>;

    fn name(&self) -> &'static str {
        "mmap"
    }

    fn thread(&self) -> SystemCallsThread<'_> {
        SystemCallsThread(self)
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

impl SystemCalls {
    fn with_kept<R>(&self, f: impl FnOnce(&mut Vec<(MappedBlock, u32)>) -> R) -> R {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut kept);
        self.keeps.store(!kept.is_empty(), Ordering::Relaxed);
        result
    }

    #[cold]
    fn take_kept(&self, order: u32) -> Option<MappedBlock> {
        self.with_kept(|kept| {
            let place = kept.iter().rposition(|&(_, kept)| kept == order)?;
            Some(kept.swap_remove(place).0)
        })
    }

    /// Keeps what could not be unmapped: a hole makes two mappings of one, and the process has all that it may.
    #[cold]
    fn keep(&self, block: MappedBlock, order: u32) {
        // SAFETY: the block is owned, and this is the range that was mapped for it.
        let emptied = unsafe { madvise(block.0.as_ptr().cast(), 4096 << order, Advice::LinuxDontNeed) };
        emptied.expect("a mapping of this process can be emptied");
        self.with_kept(|kept| kept.push((block, order)));
    }

    /// Unmaps what is kept as far as that can be done now: a process that has all the mappings it may have can start no thread.
    #[cold]
    fn unmap_kept(&self) {
        self.with_kept(|kept| {
            // In the order of addresses each takes a piece off the end of a mapping, but for the first of those next to each other.
            kept.sort_unstable_by_key(|(block, _)| block.0);
            *kept = kept
                .drain(..)
                .filter_map(|(block, order)| Some((unmap(block, order).err()?, order)))
                .collect();
        });
    }
}

impl Drop for SystemCalls {
    fn drop(&mut self) {
        self.unmap_kept();
    }
}

/// One thread's way in: the system finds out by itself who calls.
#[derive(Debug)]
pub struct SystemCallsThread<'a>(&'a SystemCalls);

/// An owned mapping, named by its first byte.
#[derive(Debug)]
pub struct MappedBlock(NonNull<u8>);

// SAFETY: it owns the mapping, which any thread of the process may use and unmap.
unsafe impl Send for MappedBlock {}

impl RivalThread for SystemCallsThread<'_> {
    type Block = MappedBlock;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<MappedBlock> {
        if self.0.keeps.load(Ordering::Relaxed)
            && let Some(block) = self.0.take_kept(request.order)
        {
            return Some(block);
        }
        // Zeroed or not: the system clears all that it hands out.
        mapping::map(4096 << request.order).ok().map(MappedBlock)
    }

    #[inline(always)]
    fn free(&mut self, block: MappedBlock, order: u32) {
        if let Err(block) = unmap(block, order) {
            self.0.keep(block, order);
        }
    }

    #[inline(always)]
    fn address(&self, block: &MappedBlock) -> *mut u8 {
        block.0.as_ptr()
    }

    fn end_sample(&mut self, _: Duration) {
        if self.0.keeps.load(Ordering::Relaxed) {
            self.0.unmap_kept();
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
        let rival = SystemCalls::default();
        let mut thread = rival.thread();
        let request = |order| Request { order, migrate: Migrate::Unmovable, zeroed: Zeroing::Zeroed };
        let block = thread.alloc(request(1)).unwrap();
        let address = block.0;
        // SAFETY: the block is mapped, and nobody else has it.
        unsafe { address.write_bytes(7, 8192) };
        rival.keep(block, 1);
        let other = thread.alloc(request(0)).unwrap();
        assert_ne!(other.0, address, "of another order");
        thread.free(other, 0);
        let again = thread.alloc(request(1)).unwrap();
        assert_eq!((again.0, kept(&rival)), (address, 0));
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr(), 8192) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        thread.free(again, 1);
        assert_eq!(kept(&rival), 0);
    }

    fn kept(rival: &SystemCalls) -> usize {
        rival.with_kept(|kept| kept.len())
    }
}
