//! What free memory holds: zeroes, or a pattern that tells whether somebody wrote to it (`init_on_alloc`, `init_on_free`,
//! `page_poison`).

use core::{ops::Range, slice};

use super::{DebugModes, frame_map::FrameMap};
use crate::{
    error::Flaw,
    frame::{Block, FRAME_BYTES, Pfn},
    platform::Arena,
    sync::ZeroedSliceError,
};

/// What a poisoned byte holds (`PAGE_POISON`).
const POISON: u8 = 0xaa;

/// Bytes of [`Flaw::WrittenAfterFree`]'s excerpt.
const ROW: usize = 16;

/// What is done with the memory of a block at its allocation and at its free.
#[derive(Debug)]
pub(super) struct Content {
    modes: DebugModes,
    /// The frames that hold the pattern: memory that was never freed holds whatever it did before.
    poisoned: FrameMap,
}

impl Content {
    /// Makes what the modes need for so many frames.
    pub(super) fn new(modes: DebugModes, frames: usize) -> Result<Self, ZeroedSliceError> {
        let tracked = if modes.contains(DebugModes::PAGE_POISON) { frames } else { 0 };
        Ok(Self { modes, poisoned: FrameMap::new(tracked)? })
    }

    /// Clears what a lender left in the arena, if free memory is to hold zeroes; one of the allocator's own is zero already.
    pub(super) fn prepare(&self, arena: &Arena) {
        let zero_when_free =
            self.modes.contains(DebugModes::INIT_ON_FREE) && !self.modes.contains(DebugModes::PAGE_POISON);
        if zero_when_free && arena.is_lent() {
            // SAFETY: nobody has a block of the arena yet.
            unsafe { core::ptr::write_bytes(arena.base().as_ptr(), 0, arena.len()) };
        }
    }

    /// Looks whether a block that leaves for its owner is as it was filled, and clears it if so asked for.
    ///
    /// # Errors
    /// Where somebody wrote to it since; it is left as it is then.
    pub(super) fn check_and_clear(&self, arena: &Arena, block: Block) -> Result<(), Flaw> {
        if self.modes.contains(DebugModes::PAGE_POISON) {
            for pfn in frames(block).filter(|&pfn| self.poisoned.contains(pfn)) {
                // SAFETY: the frame is free, so that by the rules nobody writes to it.
                check(pfn, unsafe { bytes(arena, pfn) })?;
            }
            self.poisoned.remove_all(block);
        }
        if self.modes.contains(DebugModes::INIT_ON_ALLOC) {
            fill(arena, block, 0);
        }
        Ok(())
    }

    /// Notes that frames hold zeroes: the system had their memory back.
    pub(super) fn forget(&self, range: &Range<Pfn>) {
        if self.modes.contains(DebugModes::PAGE_POISON) {
            (range.start.get()..range.end.get()).for_each(|pfn| _ = self.poisoned.remove(Pfn::new(pfn)));
        }
    }

    /// Fills a block that came back.
    pub(super) fn fill(&self, arena: &Arena, block: Block) {
        if self.modes.contains(DebugModes::PAGE_POISON) {
            fill(arena, block, POISON);
            self.poisoned.insert_all(block);
        } else if self.modes.contains(DebugModes::INIT_ON_FREE) {
            fill(arena, block, 0);
        }
    }
}

/// Returns the frames of a block.
fn frames(block: Block) -> impl Iterator<Item = Pfn> {
    (0..block.order().frames()).map(move |index| block.pfn().add(index))
}

/// Compares a frame with the pattern.
#[expect(clippy::cast_possible_truncation, reason = "a frame has 4096 bytes")]
fn check(pfn: Pfn, bytes: &[u8]) -> Result<(), Flaw> {
    let is_wrong = |&byte: &u8| byte != POISON;
    let Some(first) = bytes.iter().position(is_wrong) else { return Ok(()) };
    let last = bytes.iter().rposition(is_wrong).unwrap_or(first);
    let mut found = [0; ROW];
    found.copy_from_slice(&bytes[first - first % ROW..][..ROW]);
    let (offset, len) = (first as u16, (last + 1 - first) as u16);
    Err(Flaw::WrittenAfterFree { frame: pfn.get(), offset, len, found })
}

/// Returns the memory of a frame.
///
/// # Safety
/// The frame is open, and nobody writes to it meanwhile.
unsafe fn bytes(arena: &Arena, pfn: Pfn) -> &[u8] {
    let start = arena.ptr_at(pfn.offset_bytes());
    // SAFETY: the frame lies in the arena, whose memory the system or its lender has initialised; the rest is the caller's.
    unsafe { slice::from_raw_parts(start.as_ptr(), FRAME_BYTES) }
}

/// Fills a block that is between its owners: it belongs to who calls.
fn fill(arena: &Arena, block: Block, byte: u8) {
    let start = arena.ptr_at(block.pfn().offset_bytes());
    // SAFETY: the block lies in the arena and is open; its owner has given it up, or does not have it yet.
    unsafe { core::ptr::write_bytes(start.as_ptr(), byte, block.order().bytes()) };
}
