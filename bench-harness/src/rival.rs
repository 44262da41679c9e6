//! What every allocator under test offers, whatever it is.

/// The migrate type that a request asks for; allocators without migrate types ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// MIGRATE_UNMOVABLE, what the kernel's own allocations are.
    Unmovable,
    /// MIGRATE_MOVABLE.
    Movable,
    /// MIGRATE_RECLAIMABLE.
    Reclaimable,
}

/// What the content of a new block must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeroing {
    /// Anything: the allocator need not touch it.
    Untouched,
    /// All zero, as `__GFP_ZERO` asks.
    Zeroed,
}

/// What one block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The block's size is 4096 << order bytes, and so is its alignment where the allocator is a buddy.
    pub order: u32,
    /// Its migrate type.
    pub migrate: Migrate,
    /// Its content.
    pub zeroed: Zeroing,
}

/// An allocator under test, shared by the threads of a run.
pub trait Rival: Sync {
    /// What one thread allocates through.
    type Thread<'a>: RivalThread
    where
        Self: 'a;

    /// Names it, as `--allocator` does.
    fn name(&self) -> &'static str;

    /// Makes what one thread allocates through (a handle, or nothing).
    fn thread(&self) -> Self::Thread<'_>;

    /// Returns the arena's base address, where blocks lie in one arena.
    fn base(&self) -> Option<usize>;
}

/// One thread's way into an allocator under test.
pub trait RivalThread {
    /// An owned block; sent between threads by the handoff workload.
    type Block: Send;

    /// Allocates a block, or says that there is none.
    fn alloc(&mut self, request: Request) -> Option<Self::Block>;

    /// Frees a block of the order that it was allocated with.
    fn free(&mut self, block: Self::Block, order: u32);

    /// Returns where the block lies.
    fn address(&self, block: &Self::Block) -> *mut u8;
}
