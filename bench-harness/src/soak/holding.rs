//! What a thread holds: blocks of all kinds, each with the frames that it claims and a stamp in its memory.

use std::{
    mem::{self, MaybeUninit},
    ptr::NonNull,
    slice,
    sync::Arc,
};

use gfp::{Allocator, ContigPages, ExactPages, PageFrag, Pages, RawParts, SharedPages};

use super::{
    owners::{Claim, Joint, Owners},
    stamp::Stamp,
    violation::Problem,
};

/// A block, in any of the forms that it can be held in.
#[derive(Debug)]
pub(super) enum Block {
    Pages(Pages),
    Shared(SharedPages, Arc<Joint>),
    Exact(ExactPages),
    Contig(ContigPages),
    Raw(RawParts),
    Fragment(PageFrag, Arc<Joint>),
}

/// Whose the frames of a block are, besides the holder's.
#[derive(Debug)]
pub(super) enum Ownership {
    Alone(Claim),
    /// The block itself has the others.
    Together,
}

/// A block that is held.
#[derive(Debug)]
#[must_use = "its frames stay claimed until it is freed"]
pub(super) struct Holding {
    pub(super) block: Block,
    pub(super) ownership: Ownership,
    pub(super) stamp: Stamp,
}

impl Holding {
    /// Claims the frames of a new block and stamps it.
    ///
    /// # Errors
    /// Somebody owns one of the frames. The block is forgotten: nobody can say what a free of it would do.
    pub(super) fn new(owners: &Owners, mut block: Block, stamp: Stamp) -> Result<Self, Problem> {
        let (start, frames) = match &block {
            Block::Pages(pages) => (pages.pfn(), pages.order().frames()),
            Block::Exact(run) => (run.pfn(), run.frames()),
            Block::Contig(run) => (run.pfn(), run.frames()),
            Block::Shared(..) | Block::Raw(_) | Block::Fragment(..) => {
                unreachable!("nobody gets these at first")
            }
        };
        match owners.claim(start, frames) {
            Ok(claim) => {
                match &mut block {
                    Block::Pages(pages) => stamp.write(pages.bytes_mut()),
                    Block::Exact(run) => stamp.write(run),
                    Block::Contig(run) => stamp.write(run),
                    Block::Shared(..) | Block::Raw(_) | Block::Fragment(..) => {}
                }
                Ok(Self { block, ownership: Ownership::Alone(claim), stamp })
            }
            Err(problem) => {
                mem::forget(block);
                Err(problem)
            }
        }
    }

    /// Stamps a piece of a page, which is owned together with the page's other pieces.
    pub(super) fn fragment(mut fragment: PageFrag, page: Arc<Joint>, stamp: Stamp) -> Self {
        stamp.write(&mut fragment);
        Self { block: Block::Fragment(fragment, page), ownership: Ownership::Together, stamp }
    }

    /// Checks that nobody has written to the block.
    pub(super) fn verify(&self, allocator: &Allocator) -> Result<(), Problem> {
        let memory: &[MaybeUninit<u8>] = match &self.block {
            Block::Pages(pages) => pages.bytes(),
            Block::Shared(pages, _) => pages.bytes(),
            Block::Exact(run) => run,
            Block::Contig(run) => run,
            Block::Fragment(fragment, _) => fragment,
            Block::Raw(parts) => {
                let Some(start) = allocator.pfn_to_virt(parts.pfn) else {
                    return Err(Problem::at(parts.pfn, "its parts are not of the arena"));
                };
                // SAFETY: the block stays allocated and is this value's own, though its parts are held as numbers.
                unsafe { slice::from_raw_parts(start.as_ptr().cast(), parts.order.bytes()) }
            }
        };
        // SAFETY: every block was stamped when it came, and keeps its form and length or becomes smaller by whole frames.
        unsafe { self.stamp.check(memory) }.map_err(|(at, found)| {
            let frame = allocator.virt_to_pfn(NonNull::from_ref(&memory[at]).cast());
            let what =
                format!("holds {found:?} instead of {:?}, {at} bytes into {:?}", self.stamp, self.block);
            Problem { frame, what }
        })
    }

    /// Gives up the frames, just before the block itself is freed.
    pub(super) fn release(self, owners: &Owners) -> Block {
        match (&self.ownership, &self.block) {
            (Ownership::Alone(claim), _) => owners.release(claim),
            (Ownership::Together, Block::Shared(_, joint) | Block::Fragment(_, joint)) => joint.leave(owners),
            (Ownership::Together, _) => unreachable!("only these have several owners"),
        }
        self.block
    }

    pub(super) const fn is_pages(&self) -> bool {
        matches!(self.block, Block::Pages(_))
    }
}
