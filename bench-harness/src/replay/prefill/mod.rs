//! An arena that is as fragmented as a machine's memory was, before a trace is replayed in it.
//!
//! Between the blocks that a trace names lie others that were allocated before it began: what a kernel could do with a request depends on
//! them. `/proc/pagetypeinfo`, read when the recording began, says how many free blocks of each order and type there were. [`fill`]
//! takes the whole arena and gives back what was free.
//!
//! | file | idea |
//! |---|---|
//! | `snapshot` | the texts of `/proc` |
//! | `layout` | where the free blocks lie, so that they are as many and as large as they were |

mod layout;
mod snapshot;

use std::{collections::VecDeque, ops::Range};

use anyhow::{Context, Result};
use gfp::{Allocator, Gfp, Order, Pages};
pub use snapshot::Snapshot;

use self::{
    layout::{PAIR_FRAMES, PAIR_ORDER, Pair, lay_out},
    snapshot::TYPES,
};
use crate::rivals::gfp_mask;

/// What the places of free blocks follow from, the same in every run.
const SEED: u64 = 1;

/// An arena as it was filled; the memory is in use as long as this lives.
#[derive(Debug)]
pub struct Prefilled {
    held: Vec<Pages>,
    /// Frames that were left free.
    pub free_frames: u64,
}

impl Prefilled {
    /// Returns how many frames are in use.
    pub fn used_frames(&self) -> u64 {
        self.used().map(|frames| frames.end - frames.start).sum()
    }

    /// Returns the frames in use, by their numbers in the arena.
    pub fn used(&self) -> impl Iterator<Item = Range<u64>> {
        self.held.iter().map(|pages| {
            let first = u64::from(pages.pfn().get());
            first..first + (1 << pages.order().get())
        })
    }
}

impl Snapshot {
    /// Returns the size of the arena that the snapshot fills, in bytes.
    pub fn arena_bytes(&self) -> usize {
        lay_out(self, SEED).len() * PAIR_FRAMES as usize * 4096
    }
}

/// Fills an arena of [`Snapshot::arena_bytes`] that nobody has used yet: afterwards it has the free blocks of the snapshot, by order and type.
///
/// # Errors
///
/// The arena has not that size, or was used.
pub fn fill(allocator: &Allocator, snapshot: &Snapshot) -> Result<Prefilled> {
    let mut waiting = [const { VecDeque::new() }; TYPES.len()];
    for pair in lay_out(snapshot, SEED) {
        waiting[pair.kind].push_back(pair);
    }
    // All of it is taken before anything is given back, which could be had again. Types take turns, so that
    // they do not lie in a row.
    let mut taken = Vec::new();
    while waiting.iter().any(|pairs| !pairs.is_empty()) {
        for pairs in &mut waiting {
            let Some(pair) = pairs.pop_front() else { continue };
            taken.push((take(allocator, &pair)?, pair));
        }
    }
    let mut filled = Prefilled { held: Vec::new(), free_frames: 0 };
    for (pages, pair) in taken {
        filled.give_back(pages, &pair);
    }
    // What was freed lies in this thread's cache yet.
    allocator.drain_all();
    Ok(filled)
}

/// Takes two pageblocks, which become of the pair's type.
fn take(allocator: &Allocator, pair: &Pair) -> Result<Pages> {
    let order = Order::try_new(PAIR_ORDER).context("no such order")?;
    // Down to the last frame: the reserves are in the snapshot's free blocks.
    allocator.alloc_pages(gfp_mask(TYPES[pair.kind]) | Gfp::MEMALLOC | Gfp::NOWARN, order).with_context(
        || {
            format!(
                "filling an arena of {} MiB: it must be as large as the snapshot's memory, and unused",
                allocator.arena().len() >> 20
            )
        },
    )
}

impl Prefilled {
    /// Frees the frames of a pair that are free, and keeps the others.
    fn give_back(&mut self, pages: Pages, pair: &Pair) {
        let free: u32 = pair.free.iter().map(|range| range.end - range.start).sum();
        self.free_frames += u64::from(free);
        match free {
            0 => self.held.push(pages),
            PAIR_FRAMES => drop(pages),
            _ => {
                let mut ranges = pair.free.iter().peekable();
                let mut frame = 0;
                pages.split_page(|page| {
                    ranges.next_if(|range| range.end <= frame);
                    if ranges.peek().is_none_or(|range| !range.contains(&frame)) {
                        self.held.push(page);
                    }
                    frame += 1;
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gfp::gfp::MigrateType;

    use super::{snapshot::ORDERS, *};

    #[test]
    fn an_arena_has_the_free_blocks_of_the_snapshot_by_order_and_type() {
        let snapshot = Snapshot {
            free: [
                [9, 4, 7, 0, 3, 1, 1, 0, 2, 1, 1],
                [40, 31, 25, 17, 8, 5, 3, 2, 1, 2, 4],
                [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0],
            ],
            pageblocks: [21, 40, 3],
        };
        let allocator = Allocator::builder(snapshot.arena_bytes()).build().unwrap();
        let filled = fill(&allocator, &snapshot).unwrap();
        let found = allocator.pagetypeinfo();
        for (kind, migratetype) in
            [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable].into_iter().enumerate()
        {
            let mut free = [0; ORDERS];
            let types = found.zones.iter().flat_map(|zone| &zone.types);
            for stat in types.filter(|stat| stat.migratetype == migratetype) {
                free.iter_mut().zip(&stat.nr_free).for_each(|(sum, count)| *sum += count);
            }
            assert_eq!(free, snapshot.free[kind], "{migratetype}");
        }
        let frames =
            |counts: &[u64; ORDERS]| counts.iter().zip(0..).map(|(count, order)| count << order).sum::<u64>();
        assert_eq!(filled.free_frames, snapshot.free.iter().map(frames).sum::<u64>());
        assert_eq!(filled.free_frames + filled.used_frames(), snapshot.arena_bytes() as u64 / 4096);
        drop(filled);
        allocator.drain_all();
        assert_eq!(
            allocator.conservation().zones.iter().map(|zone| zone.free).sum::<u64>() * 4096,
            snapshot.arena_bytes() as u64
        );
    }

    #[test]
    fn an_arena_that_is_too_small_or_in_use_is_refused() {
        let snapshot = Snapshot { pageblocks: [2, 30, 0], ..Default::default() };
        let allocator = Allocator::builder(16 << 20).build().unwrap();
        let message = fill(&allocator, &snapshot).unwrap_err().to_string();
        assert!(message.contains("16 MiB") && message.contains("unused"), "{message}");
    }
}
