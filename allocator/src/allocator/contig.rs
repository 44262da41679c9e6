//! Contiguous frames by address, and from the areas that are kept for them.

use core::{
    mem::MaybeUninit,
    ops::{Deref, DerefMut, Range},
    panic::Location,
};

use super::{
    Allocator,
    core::{Core, core_of},
    debug::Caller,
};
use crate::{
    alloc::{Busy, CmaArea, CmaError, CmaProblem, alloc_contig_range, free_contig_range},
    error::{RangeError, RangeProblem},
    frame::{AllocatorNumber, Block, Descriptor, Order, PcpList, Pfn},
};

/// Contiguous frames, of any number and anywhere; dropping them frees them.
#[derive(Debug)]
#[must_use = "dropping it frees the frames"]
pub struct ContigPages {
    allocator: AllocatorNumber,
    range: Range<Pfn>,
}

/// What is known of an area that is kept for contiguous requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmaStat {
    /// Its name.
    pub name: &'static str,
    /// Its frames.
    pub range: Range<Pfn>,
    /// Frames that contiguous requests hold; the others are lent to movable requests, or free.
    pub taken_frames: u64,
}

/// Returns the single frames of a range in one zone.
fn frames(core: &Core, range: &Range<Pfn>) -> impl Iterator<Item = Block> + Clone + use<> {
    let kind = core
        .domain
        .zone_of(range.start)
        .map(|zone| Descriptor::of(PcpList::UNMOVABLE, zone.span().number, Order::ZERO));
    let number = core.number();
    let pfns = (range.start.get()..range.end.get()).map(Pfn::new);
    kind.into_iter().flat_map(move |kind| pfns.clone().map(move |pfn| Block::new(number, pfn, kind)))
}

impl ContigPages {
    fn shared(&self) -> &Core {
        // SAFETY: a core lives, under its number, until its last frame has come back, and these have not.
        unsafe { core_of(self.allocator).as_ref() }
    }

    /// Returns the number of the first frame.
    ///
    /// ```
    /// # use gfp::{Allocator, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let frames = allocator.alloc_contig_range(Pfn::new(9000)..Pfn::new(9003))?;
    /// assert_eq!(frames.pfn(), Pfn::new(9000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn pfn(&self) -> Pfn {
        self.range.start
    }

    /// Returns the number of frames.
    ///
    /// ```
    /// # use gfp::{Allocator, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let frames = allocator.alloc_contig_range(Pfn::new(9000)..Pfn::new(9003))?;
    /// assert_eq!(frames.frames(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn frames(&self) -> u32 {
        self.range.end.get() - self.range.start.get()
    }
}

impl Deref for ContigPages {
    type Target = [MaybeUninit<u8>];

    fn deref(&self) -> &[MaybeUninit<u8>] {
        let memory = self.shared().memory(self.pfn(), self.frames());
        // SAFETY: the frames are this value's own as long as it lives.
        unsafe { memory.as_ref() }
    }
}

impl DerefMut for ContigPages {
    fn deref_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let mut memory = self.shared().memory(self.pfn(), self.frames());
        // SAFETY: as above, and nobody else has access to them as long as `self` is borrowed.
        unsafe { memory.as_mut() }
    }
}

impl Drop for ContigPages {
    fn drop(&mut self) {
        let _busy = Busy::enter();
        let core = self.shared();
        if core.is_checked() {
            frames(core, &self.range).for_each(|frame| core.report(core.take_back(frame, None), frame));
        }
        free_contig_range(&core.domain, &self.range);
    }
}

impl Allocator {
    /// Makes frames that were taken the caller's; the range, when a debug mode finds one of them unfit.
    fn contig(&self, range: Range<Pfn>, caller: Caller) -> Result<ContigPages, Pfn> {
        let core = self.core();
        let Err((refused, unfit)) = core.hand_out_frames(frames(core, &range), caller) else {
            return Ok(ContigPages { allocator: core.number(), range });
        };
        let at = refused.pfn();
        free_contig_range(&core.domain, &(range.start..at));
        free_contig_range(&core.domain, &(if unfit { at.add(1) } else { at }..range.end));
        Err(at)
    }

    /// Takes the frames of a range, if nobody holds one of them (`alloc_contig_range`). The range may have any length and
    /// alignment, and lies in one zone.
    ///
    /// Caches are drained if need be; no mark is looked at: who asks for frames by address gets the last ones too.
    ///
    /// ```
    /// # use gfp::{Allocator, Pfn};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut frames = allocator.alloc_contig_range(Pfn::new(9001)..Pfn::new(9731))?;
    /// assert_eq!((frames.pfn(), frames.len()), (Pfn::new(9001), 730 * 4096));
    /// frames[0].write(1);
    /// assert!(allocator.alloc_contig_range(Pfn::new(9730)..Pfn::new(9732)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A range that is empty, not of the arena or of several zones, and one of which frames are in use.
    #[doc(alias = "alloc_contig_pages")]
    #[track_caller]
    pub fn alloc_contig_range(&self, range: Range<Pfn>) -> Result<ContigPages, RangeError> {
        let _busy = Busy::enter();
        alloc_contig_range(&self.core().domain, &range)?;
        let unfit = |at| RangeError { range: range.clone(), problem: RangeProblem::FrameInUse(at) };
        self.contig(range.clone(), Location::caller()).map_err(unfit)
    }

    /// Takes contiguous frames of an area that the builder keeps for them (`cma_alloc`): the first run that is aligned and of
    /// which nobody holds a frame.
    ///
    /// ```
    /// # use gfp::{Allocator, Order};
    /// let allocator = Allocator::builder(256 << 20).cma("ring", 32 << 20).build()?;
    /// let ring = allocator.cma_alloc("ring", 5000, Order::new(9))?;
    /// assert_eq!((ring.frames(), ring.pfn().get() % 512), (5000, 0));
    /// assert_eq!(allocator.cma_areas()[0].taken_frames, 5000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such area, or no such run; the error says which of contiguous and movable requests have it.
    #[track_caller]
    pub fn cma_alloc<'a>(
        &self,
        area: &'a str,
        frames: u32,
        align: Order,
    ) -> Result<ContigPages, CmaError<'a>> {
        let _busy = Busy::enter();
        let caller = Location::caller();
        let domain = &self.core().domain;
        let found = domain.cma().iter().find(|known| known.name() == area);
        found
            .ok_or(CmaProblem::NoArea)
            .and_then(|area| area.alloc(domain, frames, align))
            .and_then(|range| self.contig(range, caller).map_err(|_| CmaProblem::Lent))
            .map_err(|problem| CmaError { area, frames, align, problem })
    }

    /// Returns the areas that are kept for contiguous requests.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// # let allocator = Allocator::builder(64 << 20).cma("ring", 8 << 20).build()?;
    /// let area = &allocator.cma_areas()[0];
    /// assert_eq!((area.name, area.taken_frames), ("ring", 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cma_areas(&self) -> Vec<CmaStat> {
        let stat = |area: &CmaArea| CmaStat {
            name: area.name(),
            range: area.range().clone(),
            taken_frames: area.taken_frames(),
        };
        let domain = &self.core().domain;
        // A child's copy of the lock may be held by a thread that it does not have.
        if domain.is_orphaned() { Vec::new() } else { domain.cma().iter().map(stat).collect() }
    }
}
