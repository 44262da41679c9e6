//! Blocks that several hold: how many there are, and what the last one does.

use super::{BadFrame, Block, FrameTable, Pfn, descriptor::FrameState, prepare::record};
use crate::sync::{
    Put, RefError, RefField, SeededBug, ZeroedSlice, ZeroedSliceError,
    atomic::{AtomicU32, Ordering},
    seeded,
};

/// How many hold each block that is shared (`_refcount`).
///
/// The descriptor of a block's first frame says that it is shared, the word of that frame here how often. The count has a word
/// of its own, so that it is as wide as the kernel's and the descriptor keeps its generation: raw parts from before are told
/// apart as well as ever. 4 bytes a frame, committed where blocks are shared.
///
/// ```
/// use gfp::{Pfn, frame::References, sync::Put};
///
/// let (references, pfn) = (References::new(1024).expect("4 KiB"), Pfn::new(5));
/// references.set(pfn, 2);
/// assert_eq!((references.get(pfn), references.count(pfn)), (Ok(3), 3));
/// assert_eq!((references.put(pfn, 2), references.is_unique(pfn)), (Put::StillShared, true));
///
/// // One put too many is found, and what is no longer counted stays for ever.
/// assert_eq!((references.put(pfn, 2), references.put(pfn, 1)), (Put::NotShared, Put::Last));
/// references.set(pfn, 1);
/// assert!(references.saturate(pfn) && references.is_saturated(pfn));
/// assert_eq!(references.put(pfn, 1), Put::StillShared);
/// ```
#[derive(Debug)]
pub struct References {
    counts: ZeroedSlice<AtomicU32>,
}

/// The whole word counts.
const FIELD: RefField = RefField::new(0, u32::BITS);

impl References {
    /// The most references that a block can have.
    pub const MAX: u32 = FIELD.max();

    /// Makes the table of an allocator, in which nothing is shared.
    ///
    /// # Errors
    /// When the address space for 4 bytes a frame cannot be had.
    pub fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        ZeroedSlice::new(frames).map(|counts| Self { counts })
    }

    fn word(&self, pfn: Pfn) -> &AtomicU32 {
        &self.counts[pfn.index()]
    }

    /// Returns how many hold the shared block at `pfn`, at that moment; 0 for one that is not shared or outside the arena,
    /// `u32::MAX` for one whose references are no longer counted (`page_count`).
    pub fn count(&self, pfn: Pfn) -> u32 {
        self.counts.get(pfn.index()).map_or(0, |word| FIELD.count(word.load(Ordering::Relaxed)))
    }

    /// Sets how many references there are to a block that the caller alone holds (`set_page_count`).
    pub fn set(&self, pfn: Pfn, count: u32) {
        self.word(pfn).store(count, Ordering::Relaxed);
    }

    /// Takes one more reference to a block that the caller has one of (`try_get_page`).
    ///
    /// # Errors
    /// When there are [`MAX`](Self::MAX) already, or the block is not shared.
    pub fn get(&self, pfn: Pfn) -> Result<u32, RefError> {
        FIELD.get(self.word(pfn))
    }

    /// Gives back `given` references, at least 1 (`page_ref_sub_and_test`). The last putter holds the block alone and still
    /// shared; for all others it may be gone.
    pub fn put(&self, pfn: Pfn, given: u32) -> Put {
        FIELD.put_many(self.word(pfn), given)
    }

    /// Gives up counting, so that the block is never freed (`REFCOUNT_SATURATED`). Tells whether it was counted before. The
    /// caller has a reference.
    pub fn saturate(&self, pfn: Pfn) -> bool {
        FIELD.saturate(self.word(pfn))
    }

    /// Tells whether the references of the block at `pfn` are no longer counted.
    pub fn is_saturated(&self, pfn: Pfn) -> bool {
        self.count(pfn) == FIELD.saturated()
    }

    /// Tells whether the caller's reference is the only one; if so, and nobody can take another meanwhile, the block is the
    /// caller's alone.
    pub fn is_unique(&self, pfn: Pfn) -> bool {
        FIELD.is_unique(self.word(pfn))
    }
}

/// Makes a shared block of one that the caller owns, who has `count` references to it then.
///
/// # Errors
/// The descriptor that was found, when somebody else holds the block or has freed it: it was copied. Nothing is changed then.
pub fn share(frames: &FrameTable, references: &References, block: Block, count: u32) -> Result<(), BadFrame> {
    record(frames, block, FrameState::Shared)?;
    references.set(block.pfn(), count);
    Ok(())
}

/// Gives back `given` references, and returns the block to the last putter, who owns it then as before it was shared
/// (`put_page_testzero`).
///
/// Nothing of the allocator may be touched afterwards by any other: the block was what kept it.
///
/// # Errors
/// The descriptor that was found, when there were not so many references; nothing is changed then.
pub fn put_page_testzero(
    frames: &FrameTable,
    references: &References,
    block: Block,
    given: u32,
) -> Result<Option<Block>, BadFrame> {
    let pfn = block.pfn();
    if seeded(SeededBug::PutUnsharesEarly) {
        end_sharing(frames, pfn)?;
    }
    match references.put(pfn, given) {
        Put::StillShared => Ok(None),
        Put::Last => end_sharing(frames, pfn).map(|()| Some(block)),
        Put::NotShared => Err(BadFrame { pfn, found: frames.get(pfn) }),
    }
}

/// Makes a shared block one with an owner, if the caller's reference is the only one; tells whether it was.
///
/// # Errors
/// The descriptor that was found, when the block is not shared; nothing is changed then.
pub fn unshare(frames: &FrameTable, references: &References, block: Block) -> Result<bool, BadFrame> {
    let pfn = block.pfn();
    if !references.is_unique(pfn) {
        return Ok(false);
    }
    end_sharing(frames, pfn)?;
    references.set(pfn, 0);
    Ok(true)
}

fn end_sharing(frames: &FrameTable, pfn: Pfn) -> Result<(), BadFrame> {
    frames
        .update(pfn, |found| (found.state() == Some(FrameState::Shared)).then(|| found.returned()))
        .map(drop)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::{
        frame::{AllocatorNumber, Order, PcpList, ZoneNumber, prep_new_page, put_together, take_apart},
        gfp::MigrateType,
    };

    const PFN: Pfn = Pfn::new(4);

    fn arena() -> (FrameTable, References, Block) {
        let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 8).expect("32 bytes");
        let order = Order::new(2);
        let list = PcpList::of(order, MigrateType::Movable);
        let block = prep_new_page(&frames, PFN, list, ZoneNumber::new(3), order);
        (frames, References::new(8).expect("32 bytes"), block)
    }

    #[test]
    fn the_last_putter_gets_the_block_as_it_was() {
        let (frames, references, block) = arena();
        share(&frames, &references, block, 1).expect("it has an owner");
        assert_eq!(references.get(PFN), Ok(2));
        assert_eq!(put_page_testzero(&frames, &references, block, 1), Ok(None));
        assert_eq!(frames.get(PFN).and_then(|found| found.state()), Some(FrameState::Shared));
        assert_eq!(put_page_testzero(&frames, &references, block, 1), Ok(Some(block)));
        assert_eq!(frames.get(PFN).and_then(|found| found.state()), Some(FrameState::Returned));
        let too_many = put_page_testzero(&frames, &references, block, 1);
        assert_eq!(too_many.map_err(|bad| bad.pfn), Err(PFN));
    }

    #[test]
    fn only_a_single_reference_becomes_an_owner() {
        let (frames, references, block) = arena();
        share(&frames, &references, block, 2).expect("it has an owner");
        assert_eq!(unshare(&frames, &references, block), Ok(false));
        assert_eq!(put_page_testzero(&frames, &references, block, 1), Ok(None));
        assert_eq!(unshare(&frames, &references, block), Ok(true));
        assert_eq!(references.count(PFN), 0);
        share(&frames, &references, block, 1).expect("it has an owner again");
    }

    #[test]
    fn a_shared_block_has_one_way_back_and_keeps_its_generation() {
        let (frames, references, block) = arena();
        let old = take_apart(&frames, block).expect("it has an owner");
        let block = put_together(&frames, PFN, block.order(), old).expect("its own parts");
        share(&frames, &references, block, 1).expect("it has an owner");
        let found = frames.get(PFN).expect("it lies in the table");
        assert_eq!((found.state(), found.generation()), (Some(FrameState::Shared), old + 1));
        let shared = Err(BadFrame { pfn: PFN, found: Some(found) });
        assert_eq!(share(&frames, &references, block, 1), shared);
        assert_eq!(take_apart(&frames, block).map(drop), shared);
        for generation in [old, old + 1] {
            assert_eq!(put_together(&frames, PFN, block.order(), generation).map(drop), shared);
        }
        assert_eq!(references.count(PFN), 1);
    }
}
