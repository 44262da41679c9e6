//! Where the free blocks of a snapshot lie.
//!
//! A snapshot says how many free blocks there are, not where. Here each gets a place, at random, so that all are *maximal*: no two free
//! blocks are buddies of each other, and so none merges with another. A free block of order k stands in a **slot** of order
//! k + 1, of which it is one half; the other half keeps at least one frame that is in use. That half may have further slots inside it,
//! for smaller blocks: each of these has such a frame, too. So what is left of a slot is room for smaller free blocks, and when
//! the largest are placed first, everything fits that can fit at all: up to 511 of the 512 frames of a pageblock may be free.

use std::{iter, ops::Range};

use super::snapshot::{Counts, Snapshot, TYPES};
use crate::workload::Rng;

/// The order of two pageblocks side by side, which is the largest.
pub(super) const PAIR_ORDER: u32 = 10;
/// Their frames.
pub(super) const PAIR_FRAMES: u32 = 1 << PAIR_ORDER;
const PAGEBLOCK_ORDER: usize = 9;

/// Two pageblocks of one type, with what is free in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    /// Which of [`TYPES`].
    pub(super) kind: usize,
    /// The free frames, in maximal blocks.
    pub(super) free: Vec<Range<u32>>,
}

/// Lays out the free blocks of a snapshot. Each type gets its pageblocks, rounded up to pairs, or as many as its free blocks need: a kernel may have
/// free blocks of one type in pageblocks of another.
pub(super) fn lay_out(snapshot: &Snapshot, seed: u64) -> Vec<Pair> {
    let mut rng = Rng::new(seed);
    let mut pairs = Vec::new();
    for kind in 0..TYPES.len() {
        let first = pairs.len();
        add_pairs(&mut pairs, kind, &snapshot.free[kind], snapshot.pageblocks[kind], &mut rng);
        for pair in &mut pairs[first..] {
            pair.free.sort_by_key(|range| range.start);
        }
    }
    // Pageblocks of a type lie together no more than chance has it.
    for last in (1..pairs.len()).rev() {
        pairs.swap(last, rng.below(last + 1));
    }
    pairs
}

/// Adds the pairs of one type.
fn add_pairs(pairs: &mut Vec<Pair>, kind: usize, free: &Counts, pageblocks: u64, rng: &mut Rng) {
    let [whole, halves] = [free[PAGEBLOCK_ORDER + 1], free[PAGEBLOCK_ORDER]];
    let whole_pair = Pair { kind, free: iter::once(0..PAIR_FRAMES).collect() };
    pairs.extend((0..whole).map(|_| whole_pair.clone()));
    // Each free pageblock needs one beside it that is not.
    let mut rest = pageblocks.saturating_sub(2 * whole).div_ceil(2).max(halves);
    loop {
        let first = pairs.len();
        pairs.extend((0..rest).map(|_| Pair { kind, free: Vec::new() }));
        if place(&mut pairs[first..], free, rng).is_some() {
            return;
        }
        pairs.truncate(first);
        rest += rest / 8 + 1;
    }
}

/// Room for free blocks: a block of which one frame at least stays in use.
#[derive(Clone, Copy)]
struct Piece {
    pair: usize,
    start: u32,
    order: usize,
}

/// Places the free blocks of order 9 and below in pairs; `None` when they do not fit.
fn place(pairs: &mut [Pair], free: &Counts, rng: &mut Rng) -> Option<()> {
    let mut pieces: Vec<Piece> =
        (0..pairs.len()).map(|pair| Piece { pair, start: 0, order: PAGEBLOCK_ORDER + 1 }).collect();
    for order in (0..=PAGEBLOCK_ORDER).rev() {
        // What is left of this order's slots has room for smaller blocks only.
        let mut smaller = Vec::new();
        for _ in 0..free[order] {
            if pieces.is_empty() {
                return None;
            }
            let index = rng.below(pieces.len());
            let piece = pieces.swap_remove(index);
            let slot = carve(piece, order + 1, rng, &mut pieces);
            let (free, left) = halve(slot, rng);
            pairs[free.pair].free.push(free.start..free.start + (1 << order));
            smaller.push(left);
        }
        pieces.append(&mut smaller);
    }
    Some(())
}

/// Takes a slot out of a piece at random; what is left of it are pieces.
fn carve(mut piece: Piece, order: usize, rng: &mut Rng, pieces: &mut Vec<Piece>) -> Piece {
    while piece.order > order {
        let (taken, left) = halve(piece, rng);
        pieces.push(left);
        piece = taken;
    }
    piece
}

/// Divides a piece into its halves, in an order that chance decides.
fn halve(piece: Piece, rng: &mut Rng) -> (Piece, Piece) {
    let order = piece.order - 1;
    let [low, high] = [piece.start, piece.start + (1 << order)].map(|start| Piece { start, order, ..piece });
    if rng.below(2) == 0 { (low, high) } else { (high, low) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::snapshot::ORDERS, *};

    /// Counts the maximal free blocks of a pair from its frames alone.
    fn maximal_blocks(pair: &Pair) -> Counts {
        let mut is_free = vec![false; PAIR_FRAMES as usize];
        for range in &pair.free {
            for frame in range.clone() {
                assert!(!std::mem::replace(&mut is_free[frame as usize], true), "{frame} is free twice");
            }
        }
        let mut counts = Counts::default();
        let mut frame = 0;
        while frame < is_free.len() {
            let all_free = |order: usize| {
                frame.is_multiple_of(1 << order)
                    && is_free[frame..frame + (1 << order)].iter().all(|free| *free)
            };
            match (0..ORDERS).rev().find(|&order| all_free(order)) {
                Some(order) => {
                    counts[order] += 1;
                    frame += 1 << order;
                }
                None => frame += 1,
            }
        }
        counts
    }

    fn counts_of(pairs: &[Pair], kind: usize) -> Counts {
        let mut sum = Counts::default();
        for pair in pairs.iter().filter(|pair| pair.kind == kind) {
            for (sum, count) in sum.iter_mut().zip(maximal_blocks(pair)) {
                *sum += count;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn every_free_block_of_the_snapshot_is_there_and_maximal(
            free in prop::array::uniform3(prop::array::uniform11(0_u64..40)),
            pageblocks in prop::array::uniform3(0_u64..200),
            seed in any::<u64>(),
        ) {
            let snapshot = Snapshot { free, pageblocks };
            let pairs = lay_out(&snapshot, seed);
            for kind in 0..TYPES.len() {
                prop_assert_eq!(counts_of(&pairs, kind), free[kind]);
                let of_kind = pairs.iter().filter(|pair| pair.kind == kind).count() as u64;
                prop_assert!(2 * of_kind >= pageblocks[kind]);
            }
        }
    }

    #[test]
    fn a_pageblock_may_be_free_but_for_one_frame() {
        let mut free = [Counts::default(); 3];
        free[1][..PAGEBLOCK_ORDER + 1].fill(1);
        let pairs = lay_out(&Snapshot { free, pageblocks: [0, 2, 0] }, 1);
        assert_eq!(pairs.len(), 1);
        assert_eq!(counts_of(&pairs, 1), free[1]);
    }

    #[test]
    fn a_type_has_no_more_pageblocks_than_it_had_where_its_free_blocks_fit() {
        let mut free = [Counts::default(); 3];
        free[0][0] = 500;
        let pairs = lay_out(&Snapshot { free, pageblocks: [10, 6, 1] }, 1);
        assert_eq!([0, 1, 2].map(|kind| pairs.iter().filter(|pair| pair.kind == kind).count()), [5, 3, 1]);
    }
}
