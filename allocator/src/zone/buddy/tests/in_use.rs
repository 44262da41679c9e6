//! What is in use, whatever block it is asked of as: so is found out who frees a block of which some is free already.

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::model::{BLOCK_FRAMES, Held};
use crate::{
    frame::{Mobility, Order, Pfn},
    gfp::MigrateType,
    zone::buddy::Buddy,
};

const FRAMES: u32 = 4096;
const MAX_ORDER: u8 = 10;
/// From this order on, blocks are of whole leaves, in which smaller ones are not told apart until they are split.
const LEAF: u8 = 8;
const KIND: MigrateType = MigrateType::Movable;

fn buddy(online: u32) -> Buddy {
    let [start, end, online] = [0, FRAMES, online].map(Pfn::new);
    Buddy::new(start, end, online, Order::new(MAX_ORDER)).expect("small")
}

/// Takes blocks of these orders, and frees those of them that are so marked; returns the order of the block in which each frame that is
/// in use was taken.
fn take_and_free(buddy: &mut Buddy, blocks: &[(u8, bool)]) -> Vec<Option<u8>> {
    let mut in_use = vec![None; FRAMES as usize];
    let taken: Vec<(Pfn, u8, bool)> = blocks
        .iter()
        .filter_map(|&(order, is_freed)| {
            let pfn = buddy.rmqueue_smallest(Order::new(order), KIND, Mobility::of(KIND))?;
            Some((pfn, order, is_freed))
        })
        .collect();
    for &(pfn, order, is_freed) in &taken {
        if is_freed {
            assert!(buddy.free(pfn, Order::new(order), Mobility::of(KIND)));
        } else {
            in_use[pfn.index()..pfn.index() + (1 << order)].fill(Some(order));
        }
    }
    in_use
}

/// Compares which frames are free and which blocks are in use with the order of the block in which each frame is held.
fn compare(buddy: &Buddy, in_use: &[Option<u8>]) -> TestCaseResult {
    for pfn in 0..FRAMES {
        prop_assert_eq!(buddy.is_free(Pfn::new(pfn)), in_use[pfn as usize].is_none(), "frame {}", pfn);
    }
    for order in 0..=MAX_ORDER {
        for pfn in (0..FRAMES).step_by(1 << order) {
            let frames = &in_use[pfn as usize..pfn as usize + (1 << order)];
            let expected = frames.iter().all(|held| held.is_some_and(|held| (held < LEAF) == (order < LEAF)));
            let found = buddy.is_used(Pfn::new(pfn), Order::new(order));
            prop_assert_eq!(found, expected, "order {} at {}", order, pfn);
        }
    }
    Ok(())
}

/// Compares the same with the blocks that are held, and what each pageblock has that is free or was taken for movable data.
fn compare_held(buddy: &Buddy, held: &[Held]) -> TestCaseResult {
    let mut frames = vec![None; FRAMES as usize];
    for &block in held {
        frames[block.pfn as usize..][..1 << block.order].fill(Some(block));
    }
    let orders: Vec<_> = frames.iter().map(|block| block.map(|block| block.order)).collect();
    compare(buddy, &orders)?;
    for first in (0..FRAMES).step_by(BLOCK_FRAMES as usize) {
        let inside = &frames[first as usize..][..BLOCK_FRAMES as usize];
        let blocks = || inside.iter().flatten();
        // Nobody asks this of a pageblock that is free, or in use, as one.
        if blocks().next().is_none() || blocks().any(|block| block.order > LEAF) {
            continue;
        }
        let movable = blocks().filter(|block| block.taken_for == Mobility::Movable).count();
        let (free, found) = buddy.pageblock_use(Pfn::new(first), KIND);
        prop_assert_eq!(free as usize, inside.len() - blocks().count(), "free in the pageblock at {}", first);
        prop_assert_eq!(found as usize, movable, "movable in the pageblock at {}", first);
    }
    Ok(())
}

/// Frees blocks, each of them once.
fn give_back(buddy: &mut Buddy, blocks: &[Held]) -> TestCaseResult {
    for &block in blocks {
        let (pfn, order) = (Pfn::new(block.pfn), Order::new(block.order));
        prop_assert!(buddy.free(pfn, order, block.taken_for), "{:?}", block);
        prop_assert!(!buddy.free(pfn, order, block.taken_for), "{:?} is free already", block);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_block_is_in_use_if_none_of_it_is_free(
        blocks in proptest::collection::vec((0..=MAX_ORDER, any::<bool>()), 1..24),
    ) {
        let mut buddy = buddy(FRAMES);
        let in_use = take_and_free(&mut buddy, &blocks);
        compare(&buddy, &in_use)?;
    }

    #[test]
    fn a_block_that_is_split_comes_back_in_pieces(
        blocks in proptest::collection::vec(
            (0..=MAX_ORDER, any::<bool>(), proptest::option::of(0..LEAF)),
            1..24,
        ),
        comes_first in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let mut buddy = buddy(FRAMES);
        let mut held = Vec::new();
        for (order, is_movable, split_to) in blocks {
            let taken_for = if is_movable { Mobility::Movable } else { Mobility::Fixed };
            let Some(first) = buddy.rmqueue_smallest(Order::new(order), KIND, taken_for) else { continue };
            if split_to.is_some() {
                buddy.split_taken(first, Order::new(order), taken_for);
            }
            let piece = split_to.map_or(order, |to| to.min(order));
            let pieces = (first.get()..first.get() + (1 << order)).step_by(1 << piece);
            held.extend(pieces.map(|pfn| Held { pfn, order: piece, taken_for }));
        }
        compare_held(&buddy, &held)?;
        let mut comes_first = comes_first.into_iter().cycle();
        let (early, late): (Vec<Held>, Vec<Held>) =
            held.into_iter().partition(|_| comes_first.next() == Some(true));
        give_back(&mut buddy, &early)?;
        compare_held(&buddy, &late)?;
        give_back(&mut buddy, &late)?;
        prop_assert_eq!(buddy.nr_free(Order::new(MAX_ORDER), KIND), FRAMES >> MAX_ORDER, "all in one piece");
    }

    #[test]
    fn what_begins_offline_is_not_there_until_it_comes_online(online in 0..=8u32) {
        let online = online * 512;
        let mut buddy = buddy(online);
        for pfn in (0..FRAMES).step_by(512) {
            let (at, is_online) = (Pfn::new(pfn), pfn < online);
            prop_assert_eq!((buddy.is_free(at), buddy.is_offline(at)), (is_online, !is_online), "{}", pfn);
            let expected = if is_online { MigrateType::Movable } else { MigrateType::Isolate };
            prop_assert_eq!(buddy.pageblock_type(at), expected);
            prop_assert_eq!(buddy.bring_online(at), !is_online);
            prop_assert!(buddy.is_free(at) && buddy.pageblock_type(at) == MigrateType::Movable);
        }
        prop_assert_eq!(buddy.nr_free(Order::new(MAX_ORDER), KIND), FRAMES >> MAX_ORDER, "all in one piece");
    }

    #[test]
    fn a_range_that_is_free_is_taken_and_given_back_once(range in (0..FRAMES, 1..700u32)) {
        let mut buddy = buddy(FRAMES);
        let (start, end) = (Pfn::new(range.0), Pfn::new((range.0 + range.1).min(FRAMES)));
        prop_assert_eq!(buddy.take_range(start, end), Ok(()));
        prop_assert_eq!(buddy.free_frames(), u64::from(FRAMES - (end.get() - start.get())));
        prop_assert_eq!(buddy.take_range(start, end), Err(start));
        prop_assert!(buddy.free_range(start, end));
        prop_assert!(!buddy.free_range(start, end), "it is free already");
        prop_assert_eq!(buddy.nr_free(Order::new(MAX_ORDER), KIND), FRAMES >> MAX_ORDER, "all in one piece");
    }
}
