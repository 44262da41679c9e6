//! How an arena is divided into zones.

use crate::{
    frame::{Pfn, ZoneNumber},
    gfp::ZoneType,
    zone::ZoneSpan,
};

/// Frames below 4 GiB, whose byte offsets fit 32 bits.
const DMA32_END: u64 = 1 << 20;

/// The sizes of the zones that are not determined by the arena's size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonePlan {
    /// Frames of the arena.
    pub frames: u64,
    /// Frames of the DMA zone at the start, at most.
    pub dma_frames: u64,
    /// Frames of the HIGHMEM zone.
    pub highmem_frames: u64,
    /// Frames of the MOVABLE zone at the end.
    pub movable_frames: u64,
}

/// Divides an arena: DMA from its start, DMA32 up to 4 GiB, NORMAL, then HIGHMEM and MOVABLE at its end.
///
/// Zones without frames are left out. An arena that is not larger than the DMA zone consists of it.
///
/// # Errors
/// When HIGHMEM and MOVABLE leave nothing for the others: the frames that were asked for them.
pub fn zone_spans(plan: &ZonePlan) -> Result<Vec<ZoneSpan>, u64> {
    let set_aside = plan.highmem_frames.saturating_add(plan.movable_frames);
    if set_aside >= plan.frames {
        return Err(set_aside);
    }
    let lowmem_end = plan.frames - set_aside;
    let dma_end = plan.dma_frames.min(lowmem_end);
    let ends = [
        (ZoneType::Dma, dma_end),
        (ZoneType::Dma32, DMA32_END.clamp(dma_end, lowmem_end)),
        (ZoneType::Normal, lowmem_end),
        (ZoneType::HighMem, lowmem_end + plan.highmem_frames),
        (ZoneType::Movable, plan.frames),
    ];
    let mut spans: Vec<ZoneSpan> = Vec::new();
    let mut start = 0;
    for (kind, end) in ends {
        if end > start {
            spans.push(ZoneSpan {
                kind,
                number: ZoneNumber::new(spans.len()),
                start: pfn(start),
                end: pfn(end),
            });
            start = end;
        }
    }
    Ok(spans)
}

/// The frame behind the last of a 16 TiB arena has no number of its own: such an arena is one frame short.
fn pfn(frame: u64) -> Pfn {
    Pfn::new(u32::try_from(frame).unwrap_or(u32::MAX))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_classes_of_addresses_are_where_x86_has_them() {
        let plan = ZonePlan { frames: 2 << 20, dma_frames: 4096, highmem_frames: 0, movable_frames: 0 };
        let spans = zone_spans(&plan).expect("fits");
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

    proptest! {
        #[test]
        fn zones_cover_the_arena_without_gap_or_overlap(
            frames in 1u64..1 << 32, dma in 0u64..1 << 13, high in 0u64..1 << 33, movable in 0u64..1 << 33,
        ) {
            let plan = ZonePlan { frames, dma_frames: dma, highmem_frames: high, movable_frames: movable };
            match zone_spans(&plan) {
                Err(asked) => prop_assert!(asked >= frames),
                Ok(spans) => {
                    prop_assert_eq!(spans[0].start.get(), 0);
                    prop_assert_eq!(u64::from(spans[spans.len() - 1].end.get()), frames);
                    for pair in spans.windows(2) {
                        prop_assert_eq!(pair[0].end, pair[1].start);
                        prop_assert!(pair[0].kind < pair[1].kind);
                    }
                }
            }
        }
    }
}
