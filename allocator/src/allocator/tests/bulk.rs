//! Requests for many frames at a time, and frees, against what they say that they did.

#![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{Allocator, Gfp, Maintain, Pages, alloc::TakeManyCached, sync::Visit};

fn small() -> Allocator {
    Allocator::builder(16 << 20).dma(0).maintain(Maintain::ByHand).build().expect("16 MiB")
}

/// Returns the frames that are neither free nor in a cache.
fn used(allocator: &Allocator) -> u64 {
    let zones = allocator.mem_info().zones;
    zones.iter().map(|zone| zone.managed - zone.free - zone.free_pcp.expect("nobody is inside")).sum()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many places are filled, among them some that are full already.
    Fill { full: usize, empty: usize },
    /// So many places are emptied, full or not.
    Empty { places: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20_usize, prop_oneof![0..4_usize, 0..2500_usize]).prop_map(|(full, empty)| Step::Fill { full, empty }),
        2 => (0..2000_usize).prop_map(|places| Step::Empty { places }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn as_many_places_are_full_as_was_said_and_no_frame_is_in_two_or_lost(
        steps in prop::collection::vec((step(), any::<bool>(), any::<bool>()), 1..16)
    ) {
        let allocator = small();
        let handle = allocator.handle().expect("a cache");
        let before = used(&allocator);
        let mut held: Vec<Option<Pages>> = Vec::new();
        for (step, by_handle, zero) in steps {
            match step {
                Step::Fill { full, empty } => {
                    let mut slots: Vec<_> = held.drain(..full.min(held.len())).collect();
                    // Every other place is empty, as long as there are full ones.
                    for place in 0..empty {
                        slots.insert((2 * place).min(slots.len()), None);
                    }
                    let gfp = if zero { Gfp::NOWAIT | Gfp::ZERO } else { Gfp::NOWAIT };
                    let filled = if by_handle {
                        handle.alloc_pages_bulk(gfp, &mut slots)
                    } else {
                        allocator.alloc_pages_bulk(gfp, &mut slots)
                    };
                    prop_assert_eq!(filled, slots.iter().flatten().count());
                    prop_assert!(filled == slots.len() || allocator.alloc_page(gfp).is_err(), "there is more");
                    held.extend(slots);
                }
                Step::Empty { places } => {
                    let mut slots: Vec<_> = held.drain(..places.min(held.len())).collect();
                    if by_handle {
                        handle.free_pages_bulk(&mut slots);
                    } else {
                        allocator.free_pages_bulk(&mut slots);
                    }
                    prop_assert!(slots.iter().all(Option::is_none));
                }
            }
            let frames: BTreeSet<_> = held.iter().flatten().map(Pages::pfn).collect();
            prop_assert_eq!(frames.len(), held.iter().flatten().count());
            prop_assert_eq!(used(&allocator) - before, frames.len() as u64);
        }
    }

    #[test]
    fn one_entry_to_a_cache_takes_as_many_frames_as_there_are(count in 0..200_usize) {
        let allocator = small();
        let handle = allocator.handle().expect("a cache");
        drop(allocator.alloc_page(Gfp::NOWAIT).expect("room"));
        let cached: u64 = allocator.mem_info().zones.iter().filter_map(|zone| zone.free_pcp).sum();
        let mut got = Vec::new();
        let take = TakeManyCached { gfp: Gfp::NOWAIT, count, got: |block| got.push(Pages::new(block)) };
        let taken = take.visit(handle.owner().enter());
        let expected = count.min(usize::try_from(cached).expect("a batch"));
        prop_assert_eq!((taken, got.len()), (expected, expected));
    }
}
