//! Debug modes: what is done with a block on its way to its owner and back, to find those who misuse it.
//!
//! An allocator without any has none of what is here: its blocks pass on the fast path, and no memory is spent. With one, the
//! fast path finds every cache's doors shut ([`Handover::Checked`]), and each block passes through `hand_out` and `take_back`,
//! whichever call it is asked for or freed by. Caches, zones and watermarks work as ever.

mod content;
mod frame_map;
mod guard;
mod handover;
mod owner;
mod report;
#[cfg(test)]
mod tests;
mod withheld;

use core::panic::Location;

use self::{content::Content, guard::Guard, owner::PageOwners, withheld::Withheld};
use crate::{
    error::{BuildError, Finding, Trace},
    frame::{FrameTable, Pfn},
    pcp::Handover,
    platform::{Arena, PlatformError},
    sync::{
        ZeroedSliceError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{
    owner::PageOwner,
    report::{CallerBlocks, DebugCounts, PageOwnerReport},
};

/// The line that a request or a free came from.
pub(super) type Caller = &'static Location<'static>;

/// Called with every finding of a debug mode, on the thread that met it.
pub type FindingHook = Box<dyn Fn(&Finding) + Send + Sync>;

/// Debug modes of an allocator.
///
/// Each stands for a boot option of the kernel. What they find goes to the builder's hooks
/// ([`on_finding`](super::Builder::on_finding), [`on_misuse`](super::Builder::on_misuse)) and into
/// [`debug_counts`](super::Allocator::debug_counts). With any of them, requests and frees take the slow path.
///
/// ```
/// use gfp::{Allocator, DebugModes, Gfp, Order};
///
/// let modes = DebugModes::PAGE_POISON | DebugModes::PAGE_OWNER;
/// let allocator = Allocator::builder(64 << 20).debug(modes).build()?;
/// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(2))?;
/// let report = allocator.page_owner().expect("the mode is on");
/// assert_eq!(report.blocks()[0].pfn, pages.pfn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DebugModes(u8);

bitflags::bitflags! {
    impl DebugModes: u8 {
        /// Clears every block when it is allocated (`init_on_alloc=1`).
        #[doc(alias = "init_on_alloc")]
        const INIT_ON_ALLOC = 1;
        /// Clears every block when it is freed (`init_on_free=1`); with [`PAGE_POISON`](Self::PAGE_POISON) it is filled with the
        /// pattern instead.
        #[doc(alias = "init_on_free")]
        const INIT_ON_FREE = 1 << 1;
        /// Fills every block with 0xaa when it is freed, and looks whether it is so still when it is allocated
        /// (`page_poison=1`). One that is not is reported as
        /// [`WrittenAfterFree`](crate::error::Flaw::WrittenAfterFree) and left out of circulation until the allocator closes.
        #[doc(alias = "page_poison")]
        const PAGE_POISON = 1 << 2;
        /// Makes free memory inaccessible, so that whoever uses it dies of SIGSEGV at that instruction (`debug_pagealloc=on`).
        ///
        /// A system call each for an allocation and a free. Every block that is free beside one that is in use costs a mapping of
        /// the system's, and a process has 65530 (`vm.max_map_count`) unless told otherwise. When the system refuses one more, the
        /// guard is lifted from all memory that is free at that moment, in one call that gives the mappings back; this is
        /// reported ([`GuardLifted`](crate::error::Flaw::GuardLifted)) and counted, and what is freed afterwards is guarded again.
        /// Not for a lent mapping, whose protection is its lender's.
        #[doc(alias = "debug_pagealloc")]
        const GUARD = 1 << 3;
        /// Exchanges the descriptor of every block atomically when it goes to its owner and when it comes back (the kernel's checks
        /// in `free_pages_prepare` and `check_new_page`, which `debug_pagealloc` and `CONFIG_DEBUG_VM` turn on).
        ///
        /// Of several frees of a copied block, which only unsafe code can make, one succeeds, at the same moment too, and the others
        /// are a [`DoubleFree`](crate::error::Misuse::DoubleFree) at once; unless it has a new owner by then, of the same order
        /// and type, whom a copy cannot be told from. A block that is handed out twice is
        /// [`InUse`](crate::error::Flaw::InUse).
        #[doc(alias = "check_pages")]
        const CHECK_PAGES = 1 << 4;
        /// Records who allocated every block, and who freed it last: see [`page_owner`](super::Allocator::page_owner)
        /// (`page_owner=on`). 96 bytes for each frame at which a block ever began.
        #[doc(alias = "page_owner")]
        const PAGE_OWNER = 1 << 5;
    }
}

impl DebugModes {
    /// Returns how blocks pass between caches and owners.
    pub(super) const fn handover(self) -> Handover {
        if self.is_empty() { Handover::Direct } else { Handover::Checked }
    }
}

/// What the debug modes of one allocator need.
pub(super) struct Debug {
    modes: DebugModes,
    frames: FrameTable,
    content: Content,
    guard: Option<Guard>,
    owners: Option<PageOwners>,
    withheld: Withheld,
    on_finding: Option<FindingHook>,
    in_use: AtomicU64,
}

impl Debug {
    /// Makes what the modes need, `None` if there are none; nobody uses the arena yet.
    ///
    /// # Errors
    /// When the address space for a table, or the closing of the arena, is refused.
    pub(super) fn new(
        modes: DebugModes,
        frames: &FrameTable,
        arena: &Arena,
        on_finding: Option<FindingHook>,
    ) -> Result<Option<Box<Self>>, BuildError> {
        if modes.is_empty() {
            return Ok(None);
        }
        if modes.contains(DebugModes::GUARD) && arena.is_lent() {
            let problem =
                "GUARD would change the protection of a mapping that its lender gets back; leave it out";
            return Err(BuildError::option("debug", problem));
        }
        let no_table =
            |error: ZeroedSliceError| BuildError::platform("reserving a table of a debug mode", error);
        let not_closed =
            |error: PlatformError| BuildError::platform("closing the arena's free memory", error);
        let owners = modes.contains(DebugModes::PAGE_OWNER).then(|| PageOwners::new(frames.len()));
        let debug = Self {
            modes,
            frames: frames.clone(),
            content: Content::new(modes, frames.len()).map_err(no_table)?,
            owners: owners.transpose().map_err(no_table)?,
            withheld: Withheld::new(frames.len()).map_err(no_table)?,
            on_finding,
            in_use: AtomicU64::new(0),
            guard: None,
        };
        debug.content.prepare(arena);
        let guard = modes.contains(DebugModes::GUARD).then(|| Guard::new(arena));
        Ok(Some(Box::new(Self { guard: guard.transpose().map_err(not_closed)?, ..debug })))
    }

    /// Returns who freed last a block that began at a frame, as far as that is recorded.
    pub(super) fn last_free(&self, pfn: Pfn) -> Option<Trace> {
        self.owners.as_ref()?.last_free(pfn)
    }

    /// Tells the hook.
    fn report(&self, finding: &Finding) {
        if let Some(hook) = &self.on_finding {
            hook(finding);
        }
    }

    fn counts(&self) -> DebugCounts {
        DebugCounts {
            withheld_blocks: self.withheld.blocks(),
            withheld_frames: self.withheld.frames(),
            in_use: self.in_use.load(Ordering::Relaxed),
            guard_lifted: self.guard.as_ref().map_or(0, Guard::lifted),
        }
    }
}
