//! gfp itself: through a handle, and through the calling thread's cache without one.

use gfp::{Allocator, Gfp, Handle, Order, Pages, platform::Downgrade};

use super::Memory;
use crate::rival::{Migrate, Request, Rival, RivalThread, Zeroing, alloc_one_by_one};

/// What it does that others do not, or the reverse; see [`bias`](super::bias).
pub(super) const BIAS: &str = "Touches no block that is not to be zeroed, puts no header before any, and aligns each to its own size; follows migrate \
     types, of which others know nothing, and checks every free. Each thread has a handle, so that no call looks for its cache.";

/// The same for gfp without handles.
pub(super) const BIAS_WITHOUT_HANDLE: &str = "gfp as by name alone: every call finds the calling thread's cache, as the calls of a general allocator do. All else is as \
     with a handle.";

/// Returns the mask of requests for blocks that may be moved, or not.
#[inline(always)]
pub const fn gfp_mask(migrate: Migrate) -> Gfp {
    match migrate {
        Migrate::Unmovable => Gfp::KERNEL,
        Migrate::Movable => Gfp::HIGHUSER_MOVABLE,
        Migrate::Reclaimable => Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    }
}

/// Returns the mask that asks for the same as the request.
#[inline(always)]
const fn mask(request: Request) -> Gfp {
    let mask = gfp_mask(request.migrate);
    match request.zeroed {
        Zeroing::Untouched => mask,
        Zeroing::Zeroed => mask.union(Gfp::ZERO),
    }
}

/// Builds an allocator with default options but for its pages: those asked for, or none.
fn build(Memory { bytes, backing }: Memory) -> anyhow::Result<Allocator> {
    Ok(Allocator::builder(bytes).backing(backing).downgrade(Downgrade::Forbidden).build()?)
}

/// gfp, each thread with a handle.
#[derive(Debug)]
pub struct WithHandle(Allocator);

impl WithHandle {
    /// Builds an allocator with default options.
    ///
    /// # Errors
    /// When the arena cannot be had.
    pub fn new(memory: Memory) -> anyhow::Result<Self> {
        build(memory).map(Self)
    }
}

impl WithHandle {
    /// Takes an allocator that is built already.
    pub(super) fn over(allocator: Allocator) -> Self {
        Self(allocator)
    }
}

impl Rival for WithHandle {
    type Thread<'a> = HandleThread;

    fn name(&self) -> &'static str {
        "gfp"
    }

    fn thread(&self) -> HandleThread {
        HandleThread(self.0.handle().expect("a thread that measures gets a cache"))
    }

    fn base(&self) -> Option<usize> {
        Some(self.0.arena().base().addr().get())
    }

    fn as_gfp(&self) -> Option<&Allocator> {
        Some(&self.0)
    }
}

/// A thread's handle.
#[derive(Debug)]
pub struct HandleThread(Handle);

impl RivalThread for HandleThread {
    type Block = Pages;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<Pages> {
        self.0.alloc_pages(mask(request), Order::try_new(request.order)?).ok()
    }

    #[inline(always)]
    fn free(&mut self, block: Pages, _order: u32) {
        self.0.free_pages(block);
    }

    #[inline(always)]
    fn address(&self, block: &Pages) -> *mut u8 {
        block.as_ptr().as_ptr()
    }

    #[inline(always)]
    fn alloc_bulk(&mut self, request: Request, places: &mut [Option<Pages>]) -> usize {
        match request.order {
            // The call for many is one for single frames, as the kernel's is.
            0 => self.0.alloc_pages_bulk(mask(request), places),
            _ => alloc_one_by_one(self, request, places),
        }
    }

    #[inline(always)]
    fn free_bulk(&mut self, places: &mut [Option<Pages>], _order: u32) {
        self.0.free_pages_bulk(places);
    }
}

/// gfp without handles: every call finds the thread's cache.
#[derive(Debug)]
pub struct WithoutHandle(Allocator);

impl WithoutHandle {
    /// Builds an allocator with default options.
    ///
    /// # Errors
    /// When the arena cannot be had.
    pub fn new(memory: Memory) -> anyhow::Result<Self> {
        build(memory).map(Self)
    }
}

impl Rival for WithoutHandle {
    type Thread<'a> = &'a Allocator;

    fn name(&self) -> &'static str {
        "gfp-tls"
    }

    fn thread(&self) -> &Allocator {
        &self.0
    }

    fn base(&self) -> Option<usize> {
        Some(self.0.arena().base().addr().get())
    }

    fn as_gfp(&self) -> Option<&Allocator> {
        Some(&self.0)
    }
}

impl RivalThread for &Allocator {
    type Block = Pages;

    #[inline(always)]
    fn alloc(&mut self, request: Request) -> Option<Pages> {
        self.alloc_pages(mask(request), Order::try_new(request.order)?).ok()
    }

    #[inline(always)]
    fn free(&mut self, block: Pages, _order: u32) {
        self.free_pages(block);
    }

    #[inline(always)]
    fn address(&self, block: &Pages) -> *mut u8 {
        block.as_ptr().as_ptr()
    }

    #[inline(always)]
    fn alloc_bulk(&mut self, request: Request, places: &mut [Option<Pages>]) -> usize {
        match request.order {
            // The call for many is one for single frames, as the kernel's is.
            0 => self.alloc_pages_bulk(mask(request), places),
            _ => alloc_one_by_one(self, request, places),
        }
    }

    #[inline(always)]
    fn free_bulk(&mut self, places: &mut [Option<Pages>], _order: u32) {
        self.free_pages_bulk(places);
    }
}
