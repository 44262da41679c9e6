//! Giving free memory back to the system.

use core::ops::Range;
use std::time::Duration;

use super::{Allocator, core::Core};
use crate::{
    alloc::Busy,
    frame::{FRAME_BYTES, FRAME_SHIFT, Pfn},
    platform::PlatformError,
    reclaim::{Trimmed, report_free},
    zone::{PAGEBLOCK_FRAMES, ReportGoal, Waiting, Zone},
};

/// What became of free memory so far: [`Allocator::free_page_reporting`]. A block is 2 MiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreePageReporting {
    /// How long after frees blocks are given back without anybody's asking ([`Builder::report_free`](super::Builder::report_free)); `None` when they are not.
    pub delay: Option<Duration>,
    /// Blocks that were given back so far.
    pub given_back: u64,
    /// Times that a block stayed as it was because the system refused.
    pub refused: u64,
    /// Why it refused last; or why no memory of this arena is ever given back.
    pub refusal: Option<PlatformError>,
    /// Blocks that are known to hold nothing but zeroes: nobody used them yet, or not since they were given back.
    pub known_zero: u64,
}

impl Core {
    /// Gives free memory back as far as `goal` says, or until it is to stop.
    pub(super) fn report_free(&self, goal: ReportGoal, is_stopped: impl Fn() -> bool) -> Trimmed {
        let give_back = |range: &Range<Pfn>| self.give_back(range);
        let trimmed = report_free(&self.domain, self.locked_end(), goal, is_stopped, give_back);
        self.reporting.note(&trimmed);
        trimmed
    }

    /// Gives back all that is free.
    fn trim(&self) -> Trimmed {
        if self.domain.is_closed() {
            return Trimmed::default();
        }
        self.domain.caches().drain_all();
        if let Some(error) = self.arena.keeps_memory() {
            let refused = self.count_unreported(&(Pfn::new(0)..Pfn::new(u32::MAX)));
            return Trimmed { refused, refusal: Some(error), ..Trimmed::default() };
        }
        let trimmed = self.report_free(ReportGoal::Everything, || false);
        Trimmed { locked: self.count_unreported(&(Pfn::new(0)..self.locked_end())), ..trimmed }
    }

    /// Returns the frame behind those that are locked in memory.
    fn locked_end(&self) -> Pfn {
        Pfn::new(u32::try_from(self.arena.locked_bytes() >> FRAME_SHIFT).unwrap_or(u32::MAX))
    }

    /// Returns how many free blocks of a range may hold something else than zeroes.
    fn count_unreported(&self, range: &Range<Pfn>) -> u64 {
        self.domain.zones().iter().map(|zone| zone.count_unreported(range)).sum()
    }

    /// Gives the memory of frames back, for which the caller knows that they are nobody's.
    fn give_back(&self, range: &Range<Pfn>) -> Result<(), PlatformError> {
        let bytes = (range.end.index() - range.start.index()) * FRAME_BYTES;
        // SAFETY: the frames were taken out of the free areas to be given back, and are put there again after this call: nobody has
        // a block of them, or can get one meanwhile.
        unsafe { self.arena.discard(range.start.offset_bytes(), bytes) }?;
        self.forget_content(range);
        Ok(())
    }

    /// Does what the reporting thread would have done by now, where there is none.
    pub(super) fn report_if_due(&self) {
        if !self.domain.is_closed() && self.reporting.is_due() {
            let _ = self.report_free(ReportGoal::AboveLow, || false);
        }
    }
}

impl Allocator {
    /// Gives all free memory back to the system, in blocks of 2 MiB, and says how much that was and what was refused.
    ///
    /// Drains the caches of all threads first. A block that was given back costs no memory until it is used again; then it costs
    /// a page fault for each page, and holds zeroes, so that a [`ZERO`](crate::Gfp::ZERO) request for 2 MiB and more that gets such
    /// blocks does not clear them. Blocks that nobody has used since they were fresh are left out: they cost nothing.
    ///
    /// While it runs, up to 64 MiB of a zone, but no more than an eighth of what it has free, or one block, are out of
    /// circulation at a time; a request that would fail for want of them waits for them. Smaller free blocks stay resident.
    ///
    /// Never given back are hugetlb pages, which nobody could be sure to get again; a [mapping of the
    /// caller's](super::Builder::from_raw); and what is locked in memory, as the DMA zone mostly is.
    ///
    /// ```
    /// # use gfp::{Allocator, Gfp, Order};
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(10))?;
    /// pages.bytes_mut().fill(std::mem::MaybeUninit::new(1));
    /// drop(pages);
    /// assert_eq!(allocator.trim().bytes(), 4 << 20);
    /// assert_eq!(allocator.trim().bytes(), 0, "nobody has used it since");
    ///
    /// // Nothing is cleared here, and nothing becomes resident before it is written to.
    /// let zeroes = allocator.alloc_zeroed_pages(Gfp::KERNEL, Order::new(10))?;
    /// assert_eq!(zeroes[4095], 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "malloc_trim")]
    #[doc(alias = "page_reporting")]
    #[doc(alias = "page_reporting_process")]
    pub fn trim(&self) -> Trimmed {
        let busy = Busy::enter();
        if busy.waiting() == Waiting::Never {
            // A signal handler, which may wait for no lock.
            return Trimmed::default();
        }
        self.core().trim()
    }

    /// Returns what became of free memory so far.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use gfp::Allocator;
    ///
    /// let delay = Duration::from_secs(2);
    /// let allocator = Allocator::builder(64 << 20).report_free(delay).build()?;
    /// let reporting = allocator.free_page_reporting();
    /// assert_eq!((reporting.delay, reporting.given_back, reporting.refusal), (Some(delay), 0, None));
    /// assert!(reporting.known_zero >= 24, "nobody has used it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn free_page_reporting(&self) -> FreePageReporting {
        let _busy = Busy::enter();
        let core = self.core();
        // A child has not got the thread that may be writing it down.
        let last = || (!core.domain.is_orphaned()).then(|| core.reporting.refusal()).flatten();
        let refusal = core.arena.keeps_memory().or_else(last);
        let delay = core.reporting.listening().map(|(_, delay)| delay);
        let mut sum = FreePageReporting { delay, refusal, ..FreePageReporting::default() };
        for report in core.domain.zones().iter().map(Zone::report) {
            sum.given_back += report.events.reported_frames / u64::from(PAGEBLOCK_FRAMES);
            sum.refused += report.events.refused_frames / u64::from(PAGEBLOCK_FRAMES);
            sum.known_zero += report.known_zero;
        }
        sum
    }
}
