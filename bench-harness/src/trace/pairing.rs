//! Allocations and frees of page frames, made into blocks that a replay can allocate and free.
//!
//! The rules are in the documentation of the module above, under "Pairing".

use std::collections::HashMap;

use crate::rival::{Migrate, Zeroing};

/// What the replay does at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Allocates the slot's block; `Zeroed` where the kernel's request had `__GFP_ZERO`.
    Alloc(Migrate, Zeroing),
    /// Frees the slot's block.
    Free,
}

/// One allocation or free of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The place that holds the block: dense, from 0. Between two allocations of a slot there is one free of it.
    pub slot: u32,
    /// The CPU that the kernel did it on.
    pub cpu: u16,
    /// The order that the block was allocated with.
    pub order: u8,
    /// Allocation or free.
    pub op: Op,
}

/// What became of a trace's allocations and frees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Blocks allocated.
    pub allocs: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Frees of which no frame was live; not replayed.
    pub unmatched_frees: u64,
    /// Allocations that failed in the kernel; not replayed.
    pub trace_failures: u64,
    /// Blocks of which a frame was allocated again without having been freed.
    pub implicit_frees: u64,
    /// Frees that covered only a part of a block.
    pub partial_frees: u64,
    /// Frees that covered frames of several blocks, or live frames beside others.
    pub merged_frees: u64,
    /// Largest number of frames in live blocks.
    pub peak_live_frames: u64,
    /// Frames in blocks that were live when the trace ended.
    pub live_frames_at_end: u64,
}

/// Frames in one chunk of the frame map.
const CHUNK: usize = 64;
/// No slot: the frame is not live.
const NONE: u32 = u32::MAX;

/// The state of pairing while a trace is read.
#[derive(Default)]
pub(super) struct Pairing {
    pub(super) events: Vec<Event>,
    /// The kernel's first frame of each slot's blocks.
    pub(super) pfns: Vec<u64>,
    pub(super) account: Account,
    blocks: Vec<LiveBlock>,
    /// The slot that last held a block beginning at this frame.
    slots: HashMap<u64, u32>,
    /// The slot whose block has this frame, in chunks that are made at first use.
    frames: HashMap<u64, Box<[u32; CHUNK]>>,
    live_frames: u64,
}

/// The block of a slot.
#[derive(Clone, Copy)]
struct LiveBlock {
    order: u8,
    /// Frames not yet freed; 0 when the slot is empty.
    remaining: u32,
}

impl Pairing {
    /// Records a successful allocation.
    pub(super) fn alloc(&mut self, cpu: u16, pfn: u64, order: u8, migrate: Migrate, zeroing: Zeroing) {
        let frames = 1_u32 << order;
        let mut last_missed = NONE;
        for frame in frames_of(pfn, order) {
            let owner = self.owner(frame);
            if owner != NONE {
                self.account.implicit_frees += u64::from(owner != last_missed);
                last_missed = owner;
                self.release(cpu, frame, owner);
            }
        }
        let slot = self.slot_for(pfn);
        for frame in frames_of(pfn, order) {
            self.set_owner(frame, slot);
        }
        self.blocks[slot as usize] = LiveBlock { order, remaining: frames };
        self.events.push(Event { slot, cpu, order, op: Op::Alloc(migrate, zeroing) });
        self.account.allocs += 1;
        self.live_frames += u64::from(frames);
        self.account.peak_live_frames = self.account.peak_live_frames.max(self.live_frames);
        self.account.live_frames_at_end = self.live_frames;
    }

    /// Records a free.
    pub(super) fn free(&mut self, cpu: u16, pfn: u64, order: u8) {
        let (mut live, mut blocks, mut partial) = (0_u64, 0_u64, false);
        let mut last_owner = NONE;
        for frame in frames_of(pfn, order) {
            let owner = self.owner(frame);
            if owner == NONE {
                continue;
            }
            live += 1;
            if owner != last_owner {
                blocks += 1;
                last_owner = owner;
                let LiveBlock { order: allocated, .. } = self.blocks[owner as usize];
                partial |= allocated > order;
            }
            self.release(cpu, frame, owner);
        }
        if live == 0 {
            self.account.unmatched_frees += 1;
        }
        self.account.partial_frees += u64::from(partial);
        self.account.merged_frees += u64::from(live > 0 && (blocks > 1 || live < 1 << order));
    }

    /// Takes a live frame from its block, which is freed with the last one.
    fn release(&mut self, cpu: u16, frame: u64, slot: u32) {
        self.set_owner(frame, NONE);
        let block = &mut self.blocks[slot as usize];
        block.remaining -= 1;
        if block.remaining == 0 {
            let order = block.order;
            self.live_frames -= 1 << order;
            self.account.frees += 1;
            self.account.live_frames_at_end = self.live_frames;
            self.events.push(Event { slot, cpu, order, op: Op::Free });
        }
    }

    /// Finds an empty slot for a block that begins at `pfn`: the frame's own, unless a piece of its last block is
    /// still live.
    fn slot_for(&mut self, pfn: u64) -> u32 {
        let blocks = &self.blocks;
        if let Some(&slot) = self.slots.get(&pfn).filter(|&&slot| blocks[slot as usize].remaining == 0) {
            return slot;
        }
        // Never `NONE`: the reader stops before there are that many events.
        let slot = u32::try_from(self.blocks.len()).unwrap_or(NONE);
        self.blocks.push(LiveBlock { order: 0, remaining: 0 });
        self.pfns.push(pfn);
        self.slots.insert(pfn, slot);
        slot
    }

    fn owner(&self, frame: u64) -> u32 {
        self.frames.get(&(chunk_of(frame))).map_or(NONE, |chunk| chunk[index_in_chunk(frame)])
    }

    fn set_owner(&mut self, frame: u64, slot: u32) {
        let chunk = self.frames.entry(chunk_of(frame)).or_insert_with(|| Box::new([NONE; CHUNK]));
        chunk[index_in_chunk(frame)] = slot;
    }
}

fn frames_of(pfn: u64, order: u8) -> impl Iterator<Item = u64> {
    (0..1_u64 << order).map(move |offset| pfn.wrapping_add(offset))
}

fn chunk_of(frame: u64) -> u64 {
    frame / CHUNK as u64
}

fn index_in_chunk(frame: u64) -> usize {
    // The remainder is below `CHUNK`.
    usize::try_from(frame % CHUNK as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alloc(pairing: &mut Pairing, pfn: u64, order: u8) {
        pairing.alloc(0, pfn, order, Migrate::Movable, Zeroing::Untouched);
    }

    fn ops(pairing: &Pairing) -> Vec<(u32, u8, bool)> {
        pairing.events.iter().map(|event| (event.slot, event.order, event.op == Op::Free)).collect()
    }

    #[test]
    fn a_frame_keeps_its_slot() {
        let mut pairing = Pairing::default();
        for _ in 0..2 {
            alloc(&mut pairing, 7, 0);
            pairing.free(1, 7, 0);
        }
        assert_eq!(ops(&pairing), [(0, 0, false), (0, 0, true), (0, 0, false), (0, 0, true)]);
        assert_eq!(pairing.pfns, [7]);
        assert_eq!(
            (pairing.account.allocs, pairing.account.frees, pairing.account.peak_live_frames),
            (2, 2, 1)
        );
        assert_eq!(pairing.events[1].cpu, 1);
    }

    #[test]
    fn a_block_freed_in_pieces_is_freed_with_its_last_piece() {
        let mut pairing = Pairing::default();
        alloc(&mut pairing, 8, 2);
        pairing.free(0, 10, 1);
        pairing.free(0, 9, 0);
        assert_eq!(pairing.account.frees, 0);
        assert_eq!(pairing.account.live_frames_at_end, 4);
        pairing.free(0, 8, 0);
        assert_eq!(ops(&pairing), [(0, 2, false), (0, 2, true)]);
        assert_eq!((pairing.account.partial_frees, pairing.account.unmatched_frees), (3, 0));
        assert_eq!(pairing.account.live_frames_at_end, 0);
    }

    #[test]
    fn a_larger_free_takes_every_block_that_it_covers() {
        let mut pairing = Pairing::default();
        alloc(&mut pairing, 8, 0);
        alloc(&mut pairing, 10, 1);
        pairing.free(0, 8, 2);
        assert_eq!(ops(&pairing)[2..], [(0, 0, true), (1, 1, true)]);
        assert_eq!((pairing.account.merged_frees, pairing.account.partial_frees), (1, 0));
    }

    #[test]
    fn a_free_of_frames_never_seen_is_unmatched() {
        let mut pairing = Pairing::default();
        pairing.free(0, 8, 0);
        alloc(&mut pairing, 8, 0);
        pairing.free(0, 8, 0);
        pairing.free(0, 8, 0);
        assert_eq!((pairing.account.frees, pairing.account.unmatched_frees), (1, 2));
    }

    #[test]
    fn an_allocation_of_a_live_frame_frees_it_first() {
        let mut pairing = Pairing::default();
        alloc(&mut pairing, 8, 0);
        alloc(&mut pairing, 9, 0);
        alloc(&mut pairing, 8, 1);
        assert_eq!(ops(&pairing)[2..], [(0, 0, true), (1, 0, true), (0, 1, false)]);
        assert_eq!((pairing.account.implicit_frees, pairing.account.peak_live_frames), (2, 2));
    }

    #[test]
    fn a_frame_taken_from_a_live_block_gets_another_slot() {
        let mut pairing = Pairing::default();
        alloc(&mut pairing, 8, 1);
        pairing.free(0, 8, 0);
        alloc(&mut pairing, 8, 0);
        assert_eq!(ops(&pairing), [(0, 1, false), (1, 0, false)]);
        pairing.free(0, 8, 1);
        assert_eq!(ops(&pairing)[2..], [(1, 0, true), (0, 1, true)]);
        assert_eq!(pairing.pfns, [8, 8]);
        assert_eq!(pairing.account.live_frames_at_end, 0);
    }
}
