//! The harness's own cost: an allocator that hands out addresses and nothing else.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rival::{Request, Rival, RivalThread};

/// How many addresses a thread has for itself: 64 TiB, which no run gets through.
const SPAN: usize = 1 << 46;

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "No allocator: hands out addresses without memory, inlined. Its figure is what the harness itself costs, is \
     part of every other figure and subtracted from none; where blocks are touched, its own are not.";

/// An allocator without memory: what a workload costs by itself.
///
/// Its two calls are inlined, as a part of the loop that is measured: a call would be a cost of the allocator, not of the
/// harness. What they hand out and take back passes through `black_box`, so that the loop remains with all its reads and
/// writes of blocks.
///
/// Each thread counts upwards through a span of addresses of its own. No address is handed out twice, so that the check
/// for overlaps holds for it as well.
#[derive(Debug)]
pub struct Empty {
    next_span: AtomicUsize,
}

impl Empty {
    /// Makes one.
    #[must_use]
    pub fn new() -> Self {
        Self { next_span: AtomicUsize::new(SPAN) }
    }
}

impl Default for Empty {
    fn default() -> Self {
        Self::new()
    }
}

impl Rival for Empty {
    type Thread<'a> = EmptyThread;

    fn name(&self) -> &'static str {
        super::EMPTY
    }

    fn thread(&self) -> EmptyThread {
        EmptyThread { next: self.next_span.fetch_add(SPAN, Ordering::Relaxed) }
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

/// One thread's counter.
#[derive(Debug)]
pub struct EmptyThread {
    next: usize,
}

/// A block that is no memory: two machine words, as gfp's own blocks are, so that the cost of moving it is
/// theirs.
#[derive(Debug)]
pub struct FakeBlock {
    address: NonZeroUsize,
    order: u64,
}

impl RivalThread for EmptyThread {
    type Block = FakeBlock;

    const IS_MEMORY: bool = false;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<FakeBlock> {
        // Opaque, or a loop of allocations would become vector stores of an arithmetic series.
        let address = NonZeroUsize::new(black_box(self.next))?;
        self.next = self.next.wrapping_add(4096 << request.order);
        Some(FakeBlock { address, order: u64::from(request.order) })
    }

    #[inline(always)]
    fn free(&mut self, block: FakeBlock, _order: u32) {
        black_box(block.address);
        black_box(block.order);
    }

    #[inline(always)]
    fn address(&self, block: &FakeBlock) -> *mut u8 {
        std::ptr::without_provenance_mut(block.address.get())
    }
}
