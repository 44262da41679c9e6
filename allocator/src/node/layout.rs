//! How an arena is divided into zones.

use crate::{
    frame::{Nid, Pfn, ZoneNumber},
    gfp::ZoneType,
    zone::{PAGEBLOCK_FRAMES, ZoneSpan},
};

/// Frames below 4 GiB, whose byte offsets fit 32 bits.
const DMA32_END: u64 = 1 << 20;

/// Frames that zones may have: the frame behind a pageblock must have a number too, so that of 16 TiB the last 2 MiB are nobody's.
const FRAMES_MAX: u64 = (1 << 32) - PAGEBLOCK_FRAMES as u64;

/// How much of the arena is a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFrames {
    /// The node.
    pub node: Nid,
    /// Its frames, all in one piece.
    pub frames: u64,
}

/// The sizes that an arena's division into zones follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZonePlan {
    /// The nodes' parts, in the order in which they lie in the arena; they are the arena.
    pub nodes: Vec<NodeFrames>,
    /// Frames of the DMA zone at the start, at most.
    pub dma_frames: u64,
    /// Frames of the HIGHMEM zone.
    pub highmem_frames: u64,
    /// Frames of the MOVABLE zone at the end.
    pub movable_frames: u64,
    /// Frames at the start that are not offline at first: whole pageblocks, or all.
    pub online_frames: u64,
}

/// Divides an arena: DMA from its start, DMA32 up to 4 GiB, NORMAL, then HIGHMEM and MOVABLE at its end; each of them once
/// more wherever a node ends, as a machine's memory is.
///
/// Zones without frames are left out, and the last 2 MiB of an arena of 16 TiB. An arena that is not larger than the DMA zone consists of it.
///
/// # Errors
/// When HIGHMEM and MOVABLE leave nothing for the others: the frames that were asked for them.
pub fn zone_spans(plan: &ZonePlan) -> Result<Vec<ZoneSpan>, u64> {
    let frames: u64 = plan.nodes.iter().map(|node| node.frames).sum();
    let set_aside = plan.highmem_frames.saturating_add(plan.movable_frames);
    if set_aside >= frames {
        return Err(set_aside);
    }
    let lowmem_end = frames - set_aside;
    let dma_end = plan.dma_frames.min(lowmem_end);
    let ends = [
        (ZoneType::Dma, dma_end),
        (ZoneType::Dma32, DMA32_END.clamp(dma_end, lowmem_end)),
        (ZoneType::Normal, lowmem_end),
        (ZoneType::HighMem, lowmem_end + plan.highmem_frames),
        (ZoneType::Movable, frames),
    ];
    let mut spans: Vec<ZoneSpan> = Vec::new();
    let (mut start, mut node_end) = (0, 0);
    for &NodeFrames { node, frames } in &plan.nodes {
        node_end += frames;
        for &(kind, end) in &ends {
            let end = end.min(node_end);
            if end > start {
                let number = ZoneNumber::new(spans.len());
                let online_end = pfn(plan.online_frames.clamp(start, end));
                spans.push(ZoneSpan { kind, node, number, start: pfn(start), end: pfn(end), online_end });
                start = end;
            }
        }
    }
    Ok(spans)
}

fn pfn(frame: u64) -> Pfn {
    Pfn::new(u32::try_from(frame.min(FRAMES_MAX)).unwrap_or(u32::MAX))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    #![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

    use super::*;
    use proptest::prelude::*;

    fn plan(frames: &[u64], dma_frames: u64, highmem_frames: u64, movable_frames: u64) -> ZonePlan {
        let nodes =
            frames.iter().enumerate().map(|(node, &frames)| NodeFrames { node: Nid::new(node), frames });
        ZonePlan {
            nodes: nodes.collect(),
            dma_frames,
            highmem_frames,
            movable_frames,
            online_frames: u64::MAX,
        }
    }

    #[test]
    fn a_node_has_the_zones_of_the_addresses_that_it_lies_at() {
        let spans = zone_spans(&plan(&[1 << 19, 1 << 20, 1 << 20], 4096, 0, 0)).expect("fits");
        let zones: Vec<_> = spans.iter().map(|span| (span.node.index(), span.kind, span.end.get())).collect();
        assert_eq!(
            zones,
            [
                (0, ZoneType::Dma, 4096),
                (0, ZoneType::Dma32, 1 << 19),
                (1, ZoneType::Dma32, 1 << 20),
                (1, ZoneType::Normal, 3 << 19),
                (2, ZoneType::Normal, 5 << 19),
            ]
        );
    }

    #[test]
    fn what_lies_behind_the_last_pageblock_has_a_number() {
        for frames in [1 << 32, (1 << 32) - 1, (1 << 32) - 511] {
            let spans = zone_spans(&plan(&[1 << 31, frames - (1 << 31)], 4096, 0, 0)).expect("fits");
            assert_eq!(spans.last().map(|span| span.end.get()), Some(u32::MAX - 511), "{frames}");
        }
    }

    #[test]
    fn the_classes_of_addresses_are_where_x86_has_them() {
        let spans = zone_spans(&plan(&[2 << 20], 4096, 0, 0)).expect("fits");
        let ends: Vec<_> = spans.iter().map(|span| (span.kind, span.start.get(), span.end.get())).collect();
        assert_eq!(
            ends,
            [
                (ZoneType::Dma, 0, 4096),
                (ZoneType::Dma32, 4096, 1 << 20),
                (ZoneType::Normal, 1 << 20, 2 << 20)
            ]
        );
    }

    /// What is asked for a zone at the end: often so little that there is as much, or more than there can be.
    fn set_aside() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..1 << 28, 0u64..1 << 33]
    }

    proptest! {
        #[test]
        fn zones_cover_the_arena_without_gap_or_overlap(
            nodes in prop::collection::vec(1u64..1 << 29, 1..8), dma in 0u64..1 << 13, high in set_aside(),
            movable in set_aside(),
        ) {
            let frames: u64 = nodes.iter().sum();
            match zone_spans(&plan(&nodes, dma, high, movable)) {
                Err(asked) => prop_assert!(asked >= frames),
                Ok(spans) => {
                    prop_assert_eq!(spans[0].start.get(), 0);
                    prop_assert_eq!(u64::from(spans[spans.len() - 1].end.get()), frames);
                    for pair in spans.windows(2) {
                        prop_assert_eq!(pair[0].end, pair[1].start);
                        prop_assert!((pair[0].node, pair[0].kind) < (pair[1].node, pair[1].kind));
                        prop_assert!(pair[0].kind <= pair[1].kind && pair[0].node <= pair[1].node);
                    }
                    for (kind, asked) in [(ZoneType::HighMem, high), (ZoneType::Movable, movable)] {
                        let such = spans.iter().filter(|span| span.kind == kind);
                        prop_assert_eq!(such.map(ZoneSpan::frames).sum::<u64>(), asked);
                    }
                    for (node, &frames) in nodes.iter().enumerate() {
                        let here = spans.iter().filter(|span| span.node == Nid::new(node));
                        prop_assert_eq!(here.map(ZoneSpan::frames).sum::<u64>(), frames);
                    }
                }
            }
        }
    }
}
