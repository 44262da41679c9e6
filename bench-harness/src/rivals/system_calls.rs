//! The system itself: a mapping for each block.

use std::{
    ptr::NonNull,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::mm::{Advice, madvise, munmap};

use super::{
    mapping,
    spare_mappings::{SPARE, SpareMappings},
};
use crate::rival::{Request, Rival, RivalThread};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "No allocator: mmap for each block and munmap when it is freed. Blocks are always zero, and each frame costs a page \
     fault at its first touch. A process may have vm.max_map_count mappings: where blocks lie so scattered that they are nearly used up, what is freed is \
     emptied and handed out again instead, and what cannot be had so is not measured.";

/// How many mappings are still made when the process is short of them: the rest of the spare ones is for others.
const MADE_WHEN_SHORT: usize = SPARE / 2;

/// The system's mappings.
#[derive(Debug)]
pub struct SystemCalls {
    /// Given up when the process is short of mappings: one that can have no other can start no thread.
    spare: Mutex<Option<SpareMappings>>,
    is_short: AtomicBool,
    made_when_short: AtomicUsize,
    kept: Mutex<Vec<(MappedBlock, u32)>>,
}

impl Default for SystemCalls {
    fn default() -> Self {
        let spare = SpareMappings::new();
        Self {
            is_short: AtomicBool::new(spare.is_none()),
            spare: Mutex::new(spare),
            made_when_short: AtomicUsize::new(0),
            kept: Mutex::default(),
        }
    }
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

    fn is_at_system_limit(&self) -> bool {
        self.made_when_short.load(Ordering::Relaxed) >= MADE_WHEN_SHORT
    }
}

impl SystemCalls {
    fn with_kept<R>(&self, f: impl FnOnce(&mut Vec<(MappedBlock, u32)>) -> R) -> R {
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the system refused a mapping, or a hole in one, which makes two of it.
    #[cold]
    fn begin_to_save(&self) {
        self.is_short.store(true, Ordering::Relaxed);
        drop(self.spare.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Takes what is kept of an order, or makes one of the last mappings.
    #[cold]
    fn alloc_when_short(&self, order: u32) -> Option<MappedBlock> {
        let kept = self.with_kept(|kept| {
            let place = kept.iter().rposition(|&(_, kept)| kept == order)?;
            Some(kept.swap_remove(place).0)
        });
        kept.or_else(|| {
            let made = self.made_when_short.fetch_add(1, Ordering::Relaxed);
            let block = (made < MADE_WHEN_SHORT).then(|| mapping::map(4096 << order).ok())?;
            block.map(MappedBlock)
        })
    }

    /// Keeps what is not unmapped, without its memory.
    #[cold]
    fn keep(&self, block: MappedBlock, order: u32) {
        // SAFETY: the block is owned, and this is the range that was mapped for it.
        let emptied = unsafe { madvise(block.0.as_ptr().cast(), 4096 << order, Advice::LinuxDontNeed) };
        emptied.expect("a mapping of this process can be emptied");
        self.with_kept(|kept| kept.push((block, order)));
    }
}

impl Drop for SystemCalls {
    fn drop(&mut self) {
        self.with_kept(|kept| {
            // In the order of addresses each takes a piece off the end of a mapping, but for the first of those next to each other.
            kept.sort_unstable_by_key(|(block, _)| block.0);
            for (block, order) in kept.drain(..) {
                let unmapped = unmap(block, order);
                debug_assert!(unmapped.is_ok(), "nobody else has a part of the mapping");
            }
        });
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
        // Zeroed or not: the system clears all that it hands out.
        if !self.0.is_short.load(Ordering::Relaxed) {
            if let Ok(block) = mapping::map(4096 << request.order) {
                return Some(MappedBlock(block));
            }
            self.0.begin_to_save();
        }
        self.0.alloc_when_short(request.order)
    }

    #[inline(always)]
    fn free(&mut self, block: MappedBlock, order: u32) {
        if self.0.is_short.load(Ordering::Relaxed) {
            self.0.keep(block, order);
        } else if let Err(block) = unmap(block, order) {
            self.0.begin_to_save();
            self.0.keep(block, order);
        }
    }

    #[inline(always)]
    fn address(&self, block: &MappedBlock) -> *mut u8 {
        block.0.as_ptr()
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
    fn what_is_not_unmapped_is_empty_and_handed_out_again() {
        let rival = SystemCalls::default();
        let mut thread = rival.thread();
        let request = |order| Request { order, migrate: Migrate::Unmovable, zeroed: Zeroing::Zeroed };
        let block = thread.alloc(request(1)).unwrap();
        let address = block.0;
        // SAFETY: the block is mapped, and nobody else has it.
        unsafe { address.write_bytes(7, 8192) };
        rival.begin_to_save();
        thread.free(block, 1);
        let other = thread.alloc(request(0)).unwrap();
        assert_ne!(other.0, address, "of another order");
        thread.free(other, 0);
        assert_eq!(kept(&rival), 2);
        let again = thread.alloc(request(1)).unwrap();
        assert_eq!((again.0, kept(&rival)), (address, 1));
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr(), 8192) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        thread.free(again, 1);
        assert_eq!(kept(&rival), 2);
    }

    #[test]
    fn a_process_that_is_short_of_mappings_gets_a_number_of_them_and_no_more() {
        let rival = SystemCalls::default();
        let mut thread = rival.thread();
        let request = Request { order: 0, migrate: Migrate::Unmovable, zeroed: Zeroing::Untouched };
        rival.begin_to_save();
        let blocks: Vec<_> = std::iter::from_fn(|| {
            assert!(!rival.is_at_system_limit());
            thread.alloc(request)
        })
        .take(MADE_WHEN_SHORT)
        .collect();
        assert!(blocks.len() == MADE_WHEN_SHORT && rival.is_at_system_limit());
        assert!(thread.alloc(request).is_none());
        blocks.into_iter().for_each(|block| thread.free(block, 0));
        assert!(thread.alloc(request).is_some_and(|block| {
            thread.free(block, 0);
            true
        }));
    }

    fn kept(rival: &SystemCalls) -> usize {
        rival.with_kept(|kept| kept.len())
    }
}
