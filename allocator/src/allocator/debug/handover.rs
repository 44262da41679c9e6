//! The one place where a block goes to its owner, and the one where it comes back.

use core::ops::Range;

use super::{Caller, Debug, DebugModes};
use crate::{
    alloc::{Asked, free_pages_ok},
    allocator::core::Core,
    error::{AllocError, FailReason, Finding, Flaw},
    frame::{self, BadFrame, Block, Pfn},
    gfp::Gfp,
    platform::Arena,
    sync::atomic::Ordering,
    zone::Waiting,
};

/// Why a block was not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotHandedOut {
    /// It is left out of circulation, or somebody has it: another will do.
    Unfit,
    /// The system does not open its memory.
    Closed,
}

impl Debug {
    /// Looks at a block that is about to go to its owner, and makes it ready.
    fn hand_out(&self, arena: &Arena, block: Block, gfp: Gfp, caller: Caller) -> Result<(), NotHandedOut> {
        if self.modes.contains(DebugModes::CHECK_PAGES)
            && let Err(BadFrame { found, .. }) = frame::hand_out(&self.frames, block)
        {
            self.in_use.fetch_add(1, Ordering::Relaxed);
            let order = found.map_or(block.order(), |found| found.order()).get();
            self.note(block, Flaw::InUse { order });
            return Err(NotHandedOut::Unfit);
        }
        if self.open(arena, block).is_err() {
            self.undo_check(block);
            return Err(NotHandedOut::Closed);
        }
        if let Err(flaw) = self.content.check_and_clear(arena, block) {
            self.undo_check(block);
            self.withheld.add(&self.frames, block);
            self.note(block, flaw);
            return Err(NotHandedOut::Unfit);
        }
        if let Some(owners) = &self.owners {
            owners.allocated(block, gfp, caller);
        }
        Ok(())
    }

    /// Looks at a block that its owner gives up, and leaves it as free memory is to be left.
    fn take_back(&self, arena: &Arena, block: Block, caller: Option<Caller>) -> Result<(), BadFrame> {
        if self.modes.contains(DebugModes::CHECK_PAGES) {
            frame::take_back(&self.frames, block)?;
        }
        if let Some(owners) = &self.owners {
            owners.freed(block, caller);
        }
        self.content.fill(arena, block);
        if let Some(guard) = &self.guard
            && let Err(flaw) = guard.close(arena, block)
        {
            self.note(block, flaw);
        }
        Ok(())
    }

    /// Opens the memory of a block, if free memory is closed.
    fn open(&self, arena: &Arena, block: Block) -> Result<(), NotHandedOut> {
        let Some(Err(flaw)) = self.guard.as_ref().map(|guard| guard.open(arena, block)) else {
            return Ok(());
        };
        let opened = !matches!(flaw, Flaw::NotOpened(_));
        self.note(block, flaw);
        if opened { Ok(()) } else { Err(NotHandedOut::Closed) }
    }

    /// Forgets that a block went to its owner: it did not.
    fn undo_check(&self, block: Block) {
        if self.modes.contains(DebugModes::CHECK_PAGES) {
            let undone = frame::take_back(&self.frames, block);
            debug_assert_eq!(undone, Ok(()), "it was handed out a moment ago");
        }
    }

    #[cold]
    fn note(&self, block: Block, flaw: Flaw) {
        let last_free = self.last_free(block.pfn());
        self.report(&Finding { pfn: block.pfn().get(), order: block.order().get(), flaw, last_free });
    }
}

impl Core {
    /// Hands out a block of those that `request` gives: the first, unless a debug mode finds it unfit.
    ///
    /// # Errors
    /// Those of `request`; and when the block's memory cannot be opened.
    pub(in crate::allocator) fn hand_out(
        &self,
        caller: Caller,
        asked: &Asked<'_>,
        request: impl Fn(&Asked<'_>) -> Result<Block, AllocError>,
    ) -> Result<Block, AllocError> {
        let &Asked { gfp, waiting, content, .. } = asked;
        loop {
            content.take();
            let block = request(asked)?;
            let Some(debug) = &self.debug else { return Ok(block) };
            match debug.hand_out(&self.arena, block, gfp, caller) {
                Ok(()) => return Ok(block),
                Err(NotHandedOut::Unfit) => {}
                Err(NotHandedOut::Closed) => {
                    self.report(free_pages_ok(&self.domain, block, waiting), block);
                    return Err(AllocError::new(gfp, block.order().get(), FailReason::Guarded));
                }
            }
        }
    }

    /// Takes a block back from its owner; only then may it be freed.
    ///
    /// # Errors
    /// What is known of the frame, when a debug mode finds that its owner does not have it; nothing is changed then.
    pub(in crate::allocator) fn take_back(
        &self,
        block: Block,
        caller: Option<Caller>,
    ) -> Result<(), BadFrame> {
        match &self.debug {
            // In a child, the memory may be shared with the parent, whose block it is.
            Some(debug) if !self.domain.is_orphaned() => debug.take_back(&self.arena, block, caller),
            _ => Ok(()),
        }
    }

    /// Tells whether blocks are looked at on their way.
    pub(in crate::allocator) const fn is_checked(&self) -> bool {
        self.debug.is_some()
    }

    /// Lets the debug modes know that the frames of a block will come back one by one.
    pub(in crate::allocator) fn split_checked(&self, block: Block) {
        let Some(debug) = &self.debug else { return };
        if debug.modes.contains(DebugModes::CHECK_PAGES) {
            let split = frame::take_back(&debug.frames, block)
                .and_then(|()| block.into_frames().try_for_each(|one| frame::hand_out(&debug.frames, one)));
            self.report(split, block);
        }
        if let Some(owners) = &debug.owners {
            owners.split(block);
        }
    }

    /// Lets the debug modes know that a block's owner is about to hold it as plain numbers, or to share it: its descriptor says
    /// so from then on.
    ///
    /// # Errors
    /// As [`take_back`](Self::take_back).
    pub(in crate::allocator) fn leave_for_record(&self, block: Block) -> Result<(), BadFrame> {
        match &self.debug {
            Some(debug) if debug.modes.contains(DebugModes::CHECK_PAGES) => {
                frame::take_back(&debug.frames, block)
            }
            _ => Ok(()),
        }
    }

    /// Lets the debug modes know that a block which was plain numbers, or shared, has an owner again.
    ///
    /// # Errors
    /// As [`take_back`](Self::take_back).
    pub(in crate::allocator) fn return_from_record(&self, block: Block) -> Result<(), BadFrame> {
        match &self.debug {
            Some(debug) if debug.modes.contains(DebugModes::CHECK_PAGES) => {
                frame::hand_out(&debug.frames, block)
            }
            _ => Ok(()),
        }
    }

    /// Hands out single frames that were taken by address, one after the other.
    ///
    /// # Errors
    /// The first that a debug mode finds unfit, which is left out of circulation then, or whose memory cannot be opened, which is
    /// not; those before it are taken back.
    pub(in crate::allocator) fn hand_out_frames(
        &self,
        frames: impl Iterator<Item = Block> + Clone,
        caller: Caller,
    ) -> Result<(), (Block, bool)> {
        let Some(debug) = &self.debug else { return Ok(()) };
        for (done, frame) in frames.clone().enumerate() {
            if let Err(refused) = debug.hand_out(&self.arena, frame, Gfp::KERNEL, caller) {
                frames.take(done).for_each(|frame| self.report(self.take_back(frame, Some(caller)), frame));
                return Err((frame, refused == NotHandedOut::Unfit));
            }
        }
        Ok(())
    }

    /// Lets the debug modes know that the system has the memory of a range of frames, which are free, back.
    pub(in crate::allocator) fn forget_content(&self, range: &Range<Pfn>) {
        if let Some(debug) = &self.debug {
            debug.content.forget(range);
        }
    }

    /// Frees what was left out of circulation: the allocator closes.
    pub(in crate::allocator) fn release_withheld(&self) {
        if let Some(debug) = &self.debug {
            debug.withheld.release(&debug.frames, |block| {
                self.report(free_pages_ok(&self.domain, block, Waiting::Allowed), block);
            });
        }
    }
}
