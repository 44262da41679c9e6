//! What an allocator, its handles and its blocks share.

use core::{cell::Cell, mem::MaybeUninit, num::NonZeroUsize, ptr::NonNull};

use super::{
    debug::{Caller, Debug},
    id::AllocatorId,
    numbers::{Number, place_of},
    spread::NodeReport,
};
use crate::{
    alloc::{Asked, Busy, Domain, alloc_pages, free_page, free_pages_cold, free_pages_ok, free_unref_page},
    error::{AllocError, FrameStory, FreeError, Misuse},
    frame::{AllocatorNumber, BadFrame, Block, FRAME_BYTES, FrameState, Order, Pfn, take_apart},
    gfp::Gfp,
    pcp::{Put, ThreadCache, local},
    platform::Arena,
    reclaim::{NodeReclaimMode, OomHook, Reclaim, Reporting},
    slowpath::{FailureHook, SlowPath},
    sync::{
        Arc, Owner,
        atomic::{AtomicU64, Ordering},
    },
    zone::{Content, Waiting},
};

/// Called with every misuse that a drop or a handle's free finds, on the thread that committed it; and once with a block that
/// got more references than can be counted.
pub type MisuseHook = Box<dyn Fn(&FreeError) + Send + Sync>;

/// What an allocator calls when something happens.
#[derive(Default)]
pub(super) struct Hooks {
    /// With every misuse.
    pub(super) on_misuse: Option<MisuseHook>,
    /// When memory has run out.
    pub(super) on_oom: Option<OomHook>,
    /// When a request fails.
    pub(super) on_alloc_failure: Option<FailureHook>,
}

/// How an allocator keeps memory near, and gives it back.
pub(super) struct Keeping {
    pub(super) node_reclaim_mode: NodeReclaimMode,
    pub(super) reporting: Reporting,
}

/// The inside of an allocator: lives until it is closed and its last block has come back.
pub(super) struct Core {
    pub(super) domain: Domain,
    pub(super) reclaim: Reclaim,
    pub(super) reporting: Reporting,
    pub(super) slowpath: SlowPath,
    pub(super) arena: Arena,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) debug: Option<Box<Debug>>,
    on_misuse: Option<MisuseHook>,
    misuses: AtomicU64,
    id: AllocatorId,
    number: Number,
}

impl Core {
    pub(super) fn new(
        domain: Domain,
        keeping: Keeping,
        arena: Arena,
        nodes: Vec<NodeReport>,
        debug: Option<Box<Debug>>,
        hooks: Hooks,
        number: Number,
    ) -> Arc<Self> {
        let id = AllocatorId::next();
        let misuses = AtomicU64::new(0);
        let Keeping { node_reclaim_mode, reporting } = keeping;
        let Hooks { on_misuse, on_oom, on_alloc_failure } = hooks;
        let reclaim = Reclaim::new(domain.zonelists().nodes(), node_reclaim_mode, on_oom);
        let slowpath = SlowPath::new(on_alloc_failure);
        let core = Arc::new(Self {
            domain,
            reclaim,
            reporting,
            slowpath,
            arena,
            nodes,
            debug,
            on_misuse,
            misuses,
            id,
            number,
        });
        core.number.publish(NonNull::from(&*core).cast());
        core
    }

    /// Returns what tells the allocator from every other of the process, earlier ones included.
    pub(super) const fn id(&self) -> AllocatorId {
        self.id
    }

    /// Returns the allocator's number among those that are alive.
    #[inline(always)]
    pub(super) const fn number(&self) -> AllocatorNumber {
        self.number.get()
    }

    /// Names the allocator among those that a thread uses.
    #[inline(always)]
    pub(super) fn key(&self) -> NonZeroUsize {
        local::key_of(self.number.get())
    }

    /// Returns the address of a frame.
    #[inline]
    pub(super) fn address(&self, pfn: Pfn) -> NonNull<u8> {
        self.arena.ptr_at(pfn.offset_bytes())
    }

    /// Returns the memory of frames that lie behind each other.
    #[inline]
    pub(super) fn memory(&self, pfn: Pfn, frames: u32) -> NonNull<[MaybeUninit<u8>]> {
        NonNull::slice_from_raw_parts(self.address(pfn).cast(), frames as usize * FRAME_BYTES)
    }

    /// Does what the fast path of a drop left to be done. A thread that only frees gets a cache too: what it frees is what it will
    /// ask for.
    #[cold]
    #[inline(never)]
    pub(super) fn free_slow(&self, block: Block, left: Option<Put>, caller: Option<Caller>) {
        let busy = Busy::enter();
        let owner = self.owner(&busy);
        self.free_checked(owner.as_ref(), block, left, busy.waiting(), caller);
    }

    /// Does what the fast path left to be done, through a cache if there is one: all of it if it was not there, or where
    /// debug modes look at the block, which then is in no cache yet.
    pub(super) fn free_checked(
        &self,
        owner: Option<&Owner<ThreadCache>>,
        block: Block,
        left: Option<Put>,
        waiting: Waiting,
        caller: Option<Caller>,
    ) {
        let left = left.filter(|_| !self.is_checked());
        let freed = self.take_back(block, caller).and_then(|()| match (owner, left) {
            (Some(owner), Some(left)) => free_unref_page(&self.domain, owner, block, left, waiting),
            (Some(owner), None) => free_page(&self.domain, owner, block, waiting),
            (None, _) => free_pages_ok(&self.domain, block, waiting),
        });
        self.report(freed, block);
    }

    /// Does what the caller's cache left to be done with a block of this allocator.
    pub(super) fn finish_free(&self, owner: &Owner<ThreadCache>, block: Block, left: Put, caller: Caller) {
        let busy = Busy::enter();
        self.free_checked(Some(owner), block, Some(left), busy.waiting(), Some(caller));
    }

    /// Frees a block at the cold end of the calling thread's cache.
    pub(super) fn free_cold(&self, block: Block, caller: Caller) {
        let busy = Busy::enter();
        let freed = self.take_back(block, Some(caller)).and_then(|()| match self.owner(&busy) {
            Some(owner) => free_pages_cold(&self.domain, &owner, block, busy.waiting()),
            None => free_pages_ok(&self.domain, block, busy.waiting()),
        });
        self.report(freed, block);
    }

    /// Returns the calling thread's cache, and makes one unless the caller may not wait; `None` past the thread's end, when
    /// there is no memory for one, or when the allocator is closed.
    pub(super) fn owner(&self, busy: &Busy) -> Option<Owner<ThreadCache>> {
        match busy.waiting() {
            Waiting::Allowed if self.domain.is_orphaned() => None,
            Waiting::Allowed => {
                local::get_or_register(self.key(), self.domain.caches(), || self.domain.numa_mem_id()).ok()
            }
            Waiting::Never => local::find(self.key()),
        }
    }

    /// Notes in a block's descriptor that its owner holds it as plain numbers from now on.
    ///
    /// Returns how often that had been so before, modulo 1024.
    pub(super) fn take_apart(&self, block: Block) -> u16 {
        let taken = self.leave_for_record(block).and_then(|()| take_apart(self.domain.frames(), block));
        let generation = *taken.as_ref().unwrap_or(&0);
        self.report(taken.map(drop), block);
        generation
    }

    pub(super) fn report(&self, freed: Result<(), BadFrame>, block: Block) {
        if let Err(bad) = freed {
            self.report_misuse(bad, block.order());
        }
    }

    /// Returns the calling thread's cache for a request: as [`owner`](Self::owner), but a request that may not block makes none, because
    /// that waits for whoever has the list of caches.
    pub(super) fn owner_for(&self, busy: &Busy, gfp: Gfp) -> Option<Owner<ThreadCache>> {
        if gfp.allows_blocking() { self.owner(busy) } else { local::find(self.key()) }
    }

    /// Allocates for a thread that has no cache at hand.
    #[cold]
    pub(super) fn alloc_slow(
        &self,
        gfp: Gfp,
        order: Order,
        caller: Caller,
    ) -> Result<(Block, Content), AllocError> {
        let busy = Busy::enter();
        let owner = self.owner_for(&busy, gfp);
        self.alloc_through(owner.as_ref(), gfp, order, busy.waiting(), caller)
    }

    /// Returns a request of this allocator.
    pub(super) fn asked<'a>(
        &'a self,
        owner: Option<&'a Owner<ThreadCache>>,
        gfp: Gfp,
        order: Order,
        waiting: Waiting,
        content: &'a Cell<Content>,
    ) -> Asked<'a> {
        Asked { domain: &self.domain, pressure: self, owner, gfp, order, waiting, content }
    }

    /// Allocates through a cache, if there is one; and says what the block holds.
    pub(super) fn alloc_through(
        &self,
        owner: Option<&Owner<ThreadCache>>,
        gfp: Gfp,
        order: Order,
        waiting: Waiting,
        caller: Caller,
    ) -> Result<(Block, Content), AllocError> {
        let content = Cell::default();
        let asked = self.asked(owner, gfp, order, waiting, &content);
        let block = self.hand_out(caller, &asked, alloc_pages)?;
        Ok((block, content.get()))
    }

    /// Counts a free with `order` that was refused, and tells the hook.
    #[cold]
    pub(super) fn report_misuse(&self, bad: BadFrame, order: Order) {
        self.misuses.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = &self.on_misuse {
            hook(&self.explain(bad, order, None));
        }
    }

    /// Returns how many frees by drop or handle were refused.
    pub(super) fn misuses(&self) -> u64 {
        self.misuses.load(Ordering::Relaxed)
    }

    /// Says what is wrong with a free, from what the frame's descriptor said, what the buddy says, and what was expected: of raw
    /// parts their generation.
    #[cold]
    pub(super) fn explain(&self, bad: BadFrame, order: Order, generation: Option<u16>) -> FreeError {
        let pfn = bad.pfn;
        let Some(found) = bad.found else {
            return FreeError::new(Misuse::OutOfRange, pfn.get(), order.get(), FrameStory::Unknown);
        };
        let references = self.domain.references();
        let seen = FrameStory::Allocated {
            order: found.order().get(),
            generation: found.generation().to_le_bytes()[0],
            references: match found.state() {
                Some(FrameState::Shared) => references.count(pfn),
                _ => 1,
            },
        };
        let (misuse, story) = match found.state() {
            _ if !pfn.is_aligned(order) => (Misuse::Misaligned, FrameStory::Unknown),
            Some(FrameState::Shared) if references.is_saturated(pfn) => (Misuse::Saturated, seen),
            Some(FrameState::Shared) => (Misuse::Shared, seen),
            Some(FrameState::Raw) if generation.is_some_and(|other| other != found.generation()) => {
                (Misuse::Stale, seen)
            }
            Some(FrameState::Raw) if found.order() != order => (Misuse::WrongOrder, seen),
            Some(FrameState::Raw) => (Misuse::DoubleFree, seen),
            Some(FrameState::Pending) => (Misuse::DoubleFree, FrameStory::Free),
            Some(FrameState::Owned) if generation.is_none() && found.order() != order => {
                (Misuse::WrongOrder, seen)
            }
            Some(FrameState::Owned) => (Misuse::DoubleFree, seen),
            Some(FrameState::Withheld) => (Misuse::DoubleFree, FrameStory::Isolated),
            Some(FrameState::Unrecorded | FrameState::Returned) if self.is_free(pfn) => {
                // Whoever has a block got it; raw parts may be of anything.
                let never = found.state() == Some(FrameState::Unrecorded) && generation.is_some();
                (if never { Misuse::NotAllocated } else { Misuse::DoubleFree }, FrameStory::Free)
            }
            Some(FrameState::Unrecorded) if self.is_tail(pfn) => (Misuse::Tail, FrameStory::Interior),
            Some(FrameState::Returned) => (Misuse::DoubleFree, seen),
            Some(FrameState::Unrecorded) | None => (Misuse::NotAllocated, FrameStory::Unknown),
        };
        let last_free = self.debug.as_ref().and_then(|debug| debug.last_free(pfn));
        FreeError { last_free, ..FreeError::new(misuse, pfn.get(), order.get(), story) }
    }

    /// Tells whether a frame is known to be in its zone's free areas.
    fn is_free(&self, pfn: Pfn) -> bool {
        self.domain.zone_of(pfn).and_then(|zone| zone.is_free(pfn)) == Some(true)
    }

    /// Tells whether a frame lies inside a block that is, or was last, plain numbers.
    fn is_tail(&self, pfn: Pfn) -> bool {
        (1..=self.domain.max_order().get()).map(Order::new).any(|order| {
            let head = Pfn::new(pfn.get() & !(order.frames() - 1));
            head != pfn
                && self.domain.frames().get(head).is_some_and(|found| {
                    found.state() != Some(FrameState::Unrecorded) && found.order() >= order
                })
        })
    }
}

/// Returns the core of a live block's allocator.
#[inline(always)]
pub(super) fn core_of(number: AllocatorNumber) -> NonNull<Core> {
    place_of(number).cast()
}

impl Drop for Core {
    fn drop(&mut self) {
        self.number.withdraw();
    }
}

/// Returns the core that lies at a published place, for as long as nobody can drop it: in a child with one thread.
pub(super) fn core_at(place: NonNull<()>) -> &'static Core {
    // SAFETY: a place is published by a core that lives there, and withdrawn before any of it ends; none ends now.
    unsafe { place.cast::<Core>().as_ref() }
}

impl core::fmt::Debug for Core {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Core")
            .field("arena", &self.arena)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// Closes an allocator; what it is made of goes with its last block.
pub(super) fn close(core: Arc<Core>) {
    core.release_withheld();
    // What shrinkers hold would keep the allocator for ever.
    core.reclaim.shrinkers.close();
    let last = Arc::clone(&core);
    core.domain.close(Box::new(move || drop(last)));
}
