//! Areas that are kept for contiguous requests, and lent to movable ones meanwhile (CMA).

use core::{fmt, ops::Range};

use super::{Domain, alloc_contig_range};
use crate::{
    error::RangeProblem,
    frame::{Order, Pfn},
    sync::{Mutex, ZeroedSlice, ZeroedSliceError},
};

/// An area and which of its frames contiguous requests have (`struct cma`).
#[derive(Debug)]
pub(crate) struct CmaArea {
    name: &'static str,
    range: Range<Pfn>,
    /// A bit for every frame that a contiguous request has. Frames that are lent are not marked: they are the buddy's.
    taken: Mutex<ZeroedSlice<u64>>,
}

/// Why an area has no contiguous frames for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CmaProblem {
    /// There is no area of this name.
    NoArea,
    /// No frame was asked for, or more than the area has.
    BadSize,
    /// Contiguous requests hold so much that no free run is long enough.
    Full,
    /// Of every run that is long enough, frames are in use by movable requests.
    Lent,
    /// The allocator is closed.
    Closed,
}

/// A contiguous request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CmaError<'a> {
    /// The area.
    pub area: &'a str,
    /// The frames that were asked for.
    pub frames: u32,
    /// Their alignment.
    pub align: Order,
    /// Why not.
    pub problem: CmaProblem,
}

impl fmt::Display for CmaError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { area, frames, align, problem } = self;
        write!(f, "cannot take {frames} contiguous frames aligned to order {} of {area:?}: ", align.get())?;
        f.write_str(match problem {
            CmaProblem::NoArea => "there is no such area; name it to the builder",
            CmaProblem::BadSize => "an area gives at least one frame, and at most all that it has",
            CmaProblem::Full => "other contiguous requests hold too much of it",
            CmaProblem::Lent => {
                "movable blocks are in use in every run that is long enough; free some of them"
            }
            CmaProblem::Closed => "the allocator is closed",
        })
    }
}

impl std::error::Error for CmaError<'_> {}

impl CmaArea {
    /// Makes an area of the frames of a range, of which none is taken.
    ///
    /// # Errors
    /// When there is no memory for a bit a frame.
    pub(crate) fn new(name: &'static str, range: Range<Pfn>) -> Result<Self, ZeroedSliceError> {
        let frames = range.end.index() - range.start.index();
        let taken = Mutex::new(ZeroedSlice::new(frames.div_ceil(64))?);
        Ok(Self { name, range, taken })
    }

    /// Returns the area's name.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the area's frames.
    pub(crate) const fn range(&self) -> &Range<Pfn> {
        &self.range
    }

    /// Returns how many frames contiguous requests have.
    pub(crate) fn taken_frames(&self) -> u64 {
        self.taken.lock().iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn frames(&self) -> u32 {
        self.range.end.get() - self.range.start.get()
    }

    /// Marks the first run that no contiguous request has, at or behind `from`, and returns it.
    fn mark_next(&self, from: Pfn, frames: u32, align: Order) -> Option<Range<Pfn>> {
        let mut taken = self.taken.lock();
        let step = align.frames();
        let mut start = from.get().checked_next_multiple_of(step)?;
        loop {
            let end = start.checked_add(frames).filter(|&end| end <= self.range.end.get())?;
            let first = self.range.start.get();
            let bits = (start - first)..(end - first);
            match bits.clone().rev().find(|&bit| taken[bit as usize / 64] >> (bit % 64) & 1 == 1) {
                None => {
                    bits.for_each(|bit| taken[bit as usize / 64] |= 1 << (bit % 64));
                    return Some(Pfn::new(start)..Pfn::new(end));
                }
                Some(bit) => start = (first + bit + 1).checked_next_multiple_of(step)?,
            }
        }
    }

    /// Notes that the frames of a range are not a contiguous request's any more.
    pub(crate) fn unmark(&self, range: &Range<Pfn>) {
        let mut taken = self.taken.lock();
        let first = self.range.start.get();
        for bit in range.start.get() - first..range.end.get() - first {
            taken[bit as usize / 64] &= !(1 << (bit % 64));
        }
    }

    /// Takes contiguous frames (`cma_alloc`): the first run of which nobody holds a frame.
    ///
    /// # Errors
    /// When there is no such run.
    pub(crate) fn alloc(&self, domain: &Domain, frames: u32, align: Order) -> Result<Range<Pfn>, CmaProblem> {
        if domain.is_closed() {
            return Err(CmaProblem::Closed);
        }
        if frames == 0 || frames > self.frames() {
            return Err(CmaProblem::BadSize);
        }
        let (mut from, mut problem) = (self.range.start, CmaProblem::Full);
        while let Some(run) = self.mark_next(from, frames, align) {
            let Err(refused) = alloc_contig_range(domain, &run) else { return Ok(run) };
            self.unmark(&run);
            problem = CmaProblem::Lent;
            from = match refused.problem {
                RangeProblem::Closed => return Err(CmaProblem::Closed),
                // Whatever begins at or before a frame that is in use has it, too.
                RangeProblem::FrameInUse(at) => at.add(1),
                _ => run.start.add(align.frames()),
            };
        }
        Err(problem)
    }
}
