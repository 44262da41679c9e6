//! How many 2 MiB blocks live memory is spread over.
//!
//! Every 2 MiB block that has no live frame can be given back or become a huge page: the fewer blocks hold the same
//! memory, and the fewer hold movable and other types together, the less fragmented it is. A block of memory counts from
//! its allocation to its free, with all its frames, for ours and the kernel's placement alike.

use std::collections::HashMap;

use crate::{
    rival::Migrate,
    trace::{Op, Trace},
};

/// Frames of a 2 MiB block.
const FRAMES_2M: u64 = 512;

/// A number that changes with each event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeanPeak {
    /// Mean of the values after each event.
    pub mean: f64,
    /// Largest value.
    pub peak: u64,
}

/// The spread of live memory over 2 MiB blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Placement {
    /// Blocks with a live frame.
    pub blocks: MeanPeak,
    /// Blocks with live frames both movable (type 1) and of another type.
    pub mixed: MeanPeak,
}

/// Computes the placement that the kernel chose.
pub fn kernel_placement(trace: &Trace) -> Placement {
    placement(trace, |event| Some(trace.pfns[trace.events[event].slot as usize]))
}

/// Computes a placement from the first frame of each allocation, given by number of the event; `None` for one
/// that failed.
pub(super) fn placement(trace: &Trace, first_frame: impl Fn(usize) -> Option<u64>) -> Placement {
    let mut placement = Averages::default();
    walk(trace, first_frame, &mut placement);
    Placement { blocks: placement.blocks.finish(), mixed: placement.mixed.finish() }
}

/// Looks on while blocks are placed.
pub(super) trait Watch {
    /// Sees a block that was allocated, or is freed.
    fn change(&mut self, _first_frame: u64, _order: u8, _change: Change) {}

    /// Sees what an event leaves behind.
    fn after(&mut self, event: usize, spread: &Spread);
}

/// What happened to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Allocated,
    Freed,
}

/// Goes through a trace with the first frame of each allocation, given by number of the event; `None` for one that failed.
pub(super) fn walk(trace: &Trace, first_frame: impl Fn(usize) -> Option<u64>, watch: &mut impl Watch) {
    let mut spread = Spread::default();
    let mut held: Vec<Option<(u64, Migrate)>> = vec![None; trace.pfns.len()];
    for (number, event) in trace.events.iter().enumerate() {
        let place = &mut held[event.slot as usize];
        match event.op {
            Op::Alloc(migrate, _) => {
                *place = first_frame(number).map(|frame| (frame, migrate));
                if let Some((frame, migrate)) = *place {
                    spread.change(frame, event.order, migrate, |count| *count += 1);
                    watch.change(frame, event.order, Change::Allocated);
                }
            }
            Op::Free => {
                if let Some((frame, migrate)) = place.take() {
                    spread.change(frame, event.order, migrate, |count| *count -= 1);
                    watch.change(frame, event.order, Change::Freed);
                }
            }
        }
        watch.after(number, &spread);
    }
}

#[derive(Default)]
struct Averages {
    blocks: Series,
    mixed: Series,
}

impl Watch for Averages {
    fn after(&mut self, _event: usize, spread: &Spread) {
        self.blocks.push(spread.used);
        self.mixed.push(spread.mixed);
    }
}

/// How many live blocks each 2 MiB holds: movable ones, others.
#[derive(Default)]
pub(super) struct Spread {
    counts: HashMap<u64, [u32; 2]>,
    /// 2 MiB blocks with a live frame.
    pub(super) used: u64,
    /// Those with live frames of several types.
    pub(super) mixed: u64,
}

impl Spread {
    fn change(&mut self, frame: u64, order: u8, migrate: Migrate, change: impl Fn(&mut u32)) {
        let kind = usize::from(migrate != Migrate::Movable);
        for block in frame / FRAMES_2M..=(frame + (1 << order) - 1) / FRAMES_2M {
            let counts = self.counts.entry(block).or_default();
            self.used -= u64::from(counts.iter().any(|&count| count > 0));
            self.mixed -= u64::from(counts.iter().all(|&count| count > 0));
            change(&mut counts[kind]);
            self.used += u64::from(counts.iter().any(|&count| count > 0));
            self.mixed += u64::from(counts.iter().all(|&count| count > 0));
        }
    }
}

#[derive(Default)]
struct Series {
    sum: u64,
    count: u64,
    peak: u64,
}

impl Series {
    fn push(&mut self, value: u64) {
        self.sum += value;
        self.count += 1;
        self.peak = self.peak.max(value);
    }

    fn finish(self) -> MeanPeak {
        MeanPeak { mean: self.sum as f64 / self.count.max(1) as f64, peak: self.peak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[(&str, u64, u8, u8)]) -> Trace {
        let text: String = lines
            .iter()
            .map(|(event, pfn, order, migratetype)| {
                format!(
                    "t-1 [000] ..... 1.0: mm_page_{event}: page=0f pfn={pfn} order={order} migratetype={migratetype} \
                     gfp_flags=none\n"
                )
            })
            .collect();
        Trace::read(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn blocks_and_mixed_blocks_are_averaged_over_events() {
        let trace = trace(&[
            ("alloc", 512, 0, 1),  // 1 block
            ("alloc", 513, 0, 2),  // 1, mixed
            ("alloc", 1024, 0, 0), // 2, 1 mixed
            ("free", 512, 0, 0),   // 2
            ("free", 513, 0, 0),   // 1
        ]);
        let kernel = kernel_placement(&trace);
        assert_eq!(kernel.blocks, MeanPeak { mean: 7.0 / 5.0, peak: 2 });
        assert_eq!(kernel.mixed, MeanPeak { mean: 2.0 / 5.0, peak: 1 });
    }

    #[test]
    fn a_block_larger_than_2_mib_counts_as_several() {
        let trace = trace(&[("alloc", 2048, 11, 0)]);
        assert_eq!(kernel_placement(&trace).blocks.peak, 4);
    }

    #[test]
    fn a_failed_allocation_takes_no_place() {
        let trace = trace(&[("alloc", 512, 0, 1), ("free", 512, 0, 0)]);
        assert_eq!(placement(&trace, |_| None), Placement::default());
    }
}
