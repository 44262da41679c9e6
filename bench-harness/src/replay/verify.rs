//! The pass that checks every block.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{bits::bits_of, pace::Pace, plan::Step, play::Slots};
use crate::{
    rival::{Request, RivalThread, Zeroing},
    trace::Op,
};

/// Bytes of a frame.
const FRAME: usize = 4096;
/// Byte offsets of the words of a frame that are stamped: the first and the last.
const STAMPED: [usize; 2] = [0, FRAME - 8];

/// What the verify pass found; all zero is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Allocations that failed.
    pub failed: u64,
    /// Blocks with a frame that another live block had.
    pub overlaps: u64,
    /// Blocks whose address is not a multiple of their size (in an arena), or of 4 KiB (elsewhere, where no more is
    /// asked for).
    pub misaligned: u64,
    /// Blocks that were to be zeroed and were not.
    pub not_zeroed: u64,
    /// Blocks whose stamps were not there any more when they were freed.
    pub overwritten: u64,
}

impl Verified {
    /// Adds what another thread found.
    pub(super) fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.overlaps += other.overlaps;
        self.misaligned += other.misaligned;
        self.not_zeroed += other.not_zeroed;
        self.overwritten += other.overwritten;
    }

    /// Tells whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// The frames of live blocks, by address.
///
/// It works for an arena as for blocks anywhere in the address space: a bitmap for each 2 MiB that was ever used.
#[derive(Debug)]
pub(super) struct LiveFrames {
    shards: Vec<Mutex<HashMap<u64, Bitmap>>>,
    alignment: Alignment,
}

/// What an allocator's blocks must be aligned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alignment {
    /// Their own size, as a buddy allocator's are.
    Size,
    /// 4 KiB, all that general-purpose allocators are asked for.
    Frame,
}

/// How many locks bitmaps are under.
const SHARDS: u64 = 64;
/// Words of a bitmap: 512 frames.
const WORDS: usize = 8;
/// A bit for each frame.
type Bitmap = [u64; WORDS];

/// What [`LiveFrames::claim`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Free,
    Overlap,
}

impl LiveFrames {
    /// Knows no live frame yet. `base` is the arena's, where there is one.
    pub(super) fn new(base: Option<usize>) -> Self {
        let alignment = if base.is_some() { Alignment::Size } else { Alignment::Frame };
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), alignment }
    }

    fn is_aligned(&self, address: usize, order: u8) -> bool {
        address.is_multiple_of(match self.alignment {
            Alignment::Size => FRAME << order,
            Alignment::Frame => FRAME,
        })
    }

    /// Marks the frames of a block as live, and tells whether one already was.
    fn claim(&self, address: usize, order: u8) -> Claim {
        let mut claim = Claim::Free;
        self.for_frames(address, order, |word, bits| {
            if *word & bits != 0 {
                claim = Claim::Overlap;
            }
            *word |= bits;
        });
        claim
    }

    /// Marks the frames of a block as not live.
    fn release(&self, address: usize, order: u8) {
        self.for_frames(address, order, |word, bits| *word &= !bits);
    }

    fn for_frames(&self, address: usize, order: u8, mut visit: impl FnMut(&mut u64, u64)) {
        let first = (address / FRAME) as u64;
        for (chunk, word, bits) in bits_of::<WORDS>(first..first + (1 << order)) {
            let shard = &self.shards[(chunk % SHARDS) as usize];
            let mut shard = shard.lock().expect("a replay thread panicked");
            visit(&mut shard.entry(chunk).or_default()[word], bits);
        }
    }
}

/// What one thread's verify pass found.
#[derive(Debug, Default)]
pub(super) struct VerifyPart {
    pub(super) verified: Verified,
    /// Where each allocation was placed, by number of the event.
    pub(super) addresses: Vec<(u32, usize)>,
}

/// Replays a thread's steps, checking every block.
///
/// # Safety
///
/// As for [`play`](super::play::play); and the allocator's blocks are memory that may be written.
pub(super) unsafe fn verify<T: RivalThread, P: Pace>(
    thread: &mut T,
    steps: &[Step],
    slots: &Slots<T::Block>,
    pace: &P,
    worker: usize,
    live: &LiveFrames,
) -> VerifyPart {
    let mut part = VerifyPart::default();
    let mut local = P::Local::default();
    for (number, step) in steps.iter().enumerate() {
        pace.enter(&mut local, worker, number, step);
        match step.op {
            Op::Alloc(migrate, zeroed) => {
                let block = thread.alloc(Request { order: u32::from(step.order), migrate, zeroed });
                match &block {
                    Some(block) => {
                        let address = thread.address(block);
                        part.addresses.push((step.event, address.addr()));
                        // SAFETY: the block is `thread`'s, unless the allocator is wrong, which is being tested.
                        unsafe { welcome(&mut part.verified, live, address, step, zeroed) };
                    }
                    None => part.verified.failed += 1,
                }
                // SAFETY: it is this step's turn.
                unsafe { slots.put(step.slot, block) };
            }
            Op::Free => {
                // SAFETY: it is this step's turn.
                if let Some(block) = unsafe { slots.take(step.slot) } {
                    // SAFETY: the block is live, and was stamped in the turn before.
                    unsafe { dismiss(&mut part.verified, live, thread.address(&block), step, step.turn - 1) };
                    thread.free(block, u32::from(step.order));
                }
            }
        }
        pace.leave(step);
    }
    part
}

/// Checks a new block, and stamps it.
///
/// # Safety
///
/// `address` is the first byte of 2^order frames that may be read and written.
unsafe fn welcome(found: &mut Verified, live: &LiveFrames, address: *mut u8, step: &Step, zeroed: Zeroing) {
    if !live.is_aligned(address.addr(), step.order) {
        found.misaligned += 1;
        if !address.addr().is_multiple_of(FRAME) {
            return;
        }
    }
    found.overlaps += u64::from(live.claim(address.addr(), step.order) == Claim::Overlap);
    let (mut frame, mut dirty) = (0, false);
    // SAFETY: the caller's contract.
    let words = unsafe { words(address, step.order) };
    for word in words {
        // Only these words are ever written by this pass: memory that was used before shows here.
        dirty |= zeroed == Zeroing::Zeroed && word.load(Ordering::Relaxed) != 0;
        word.store(stamp(step.slot, step.turn, frame), Ordering::Relaxed);
        frame += 1;
    }
    found.not_zeroed += u64::from(dirty);
}

/// Checks the stamps of a block that is about to be freed, and makes its frames free.
///
/// # Safety
///
/// As for [`welcome`].
pub(super) unsafe fn dismiss(
    found: &mut Verified,
    live: &LiveFrames,
    address: *mut u8,
    step: &Step,
    stamped_in: u32,
) {
    if !address.addr().is_multiple_of(FRAME) {
        return;
    }
    // SAFETY: the caller's contract.
    let words = unsafe { words(address, step.order) };
    let intact = words
        .enumerate()
        .all(|(frame, word)| word.load(Ordering::Relaxed) == stamp(step.slot, stamped_in, frame as u64));
    found.overwritten += u64::from(!intact);
    live.release(address.addr(), step.order);
}

/// Returns the words of a block that are stamped. They are atomics because two threads write the same one when
/// an allocator hands out overlapping blocks.
///
/// # Safety
///
/// `address` is the first byte of 2^order frames that may be read and written while the words are used.
unsafe fn words<'a>(address: *mut u8, order: u8) -> impl Iterator<Item = &'a AtomicU64> {
    (0..1_usize << order).flat_map(move |frame| {
        STAMPED.map(|offset| {
            // SAFETY: within the block.
            let word = unsafe { address.add(frame * FRAME + offset) };
            // SAFETY: aligned to 8, because the frame and the offset are; atomics are the only accesses in this pass.
            unsafe { AtomicU64::from_ptr(word.cast()) }
        })
    })
}

/// Mixes an allocation and the number of a word in it; never 0, which fresh memory holds. (Steps of splitmix64.)
fn stamp(slot: u32, turn: u32, word: u64) -> u64 {
    let mut mixed =
        (u64::from(slot) << 32 | u64::from(turn)).wrapping_add(word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_found_across_2_mib_boundaries() {
        let live = LiveFrames::new(None);
        let base = 0x7f00_0000_0000_usize;
        assert_eq!(live.claim(base + 511 * FRAME, 0), Claim::Free);
        assert_eq!(live.claim(base + 512 * FRAME, 9), Claim::Free);
        assert_eq!(live.claim(base, 10), Claim::Overlap);
        live.release(base, 10);
        assert_eq!(live.claim(base, 10), Claim::Free);
        assert_eq!(live.claim(base + 1023 * FRAME, 0), Claim::Overlap);
        assert_eq!(live.claim(base + 1024 * FRAME, 0), Claim::Free);
    }

    #[test]
    fn blocks_of_an_arena_are_aligned_to_their_size() {
        let (arena, anywhere) = (LiveFrames::new(Some(0)), LiveFrames::new(None));
        assert!(arena.is_aligned(8 * FRAME, 3) && !arena.is_aligned(4 * FRAME, 3));
        assert!(anywhere.is_aligned(4 * FRAME, 3) && !anywhere.is_aligned(8 * FRAME + 16, 0));
    }

    #[test]
    fn stamps_differ_between_blocks_turns_and_words() {
        let mut seen = std::collections::HashSet::new();
        for slot in 0..20 {
            for turn in 0..20 {
                for word in 0..20 {
                    assert!(seen.insert(stamp(slot, turn, word)));
                }
            }
        }
        assert!(!seen.contains(&0));
    }
}
