//! How memory looks while a trace goes on: ours and the kernel's, side by side.

use serde_json::{Value, json};

use super::{
    occupancy::Occupancy,
    placement::{Change, Spread, Watch, walk},
};
use crate::{terminal::Table, trace::Trace};

/// How many points a timeline has at the most.
const POINTS: usize = 200;
/// How many of them the table for people shows.
const ROWS: usize = 20;

/// The state of one side at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// 2 MiB blocks with a live frame of the trace.
    blocks_2m: u64,
    /// Those with live frames both movable and of another type.
    mixed_blocks_2m: u64,
    /// The largest order of which a block was free. `None` where none was, or where blocks lie anywhere.
    highest_free_order: Option<u32>,
}

/// States at equal intervals of events, of an allocator and of the kernel.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// How many events were over.
    events: Vec<usize>,
    ours: Vec<State>,
    kernel: Vec<State>,
}

/// Where blocks lay, from the first event to the last.
pub(super) struct Placed<'a> {
    /// The first frame of each allocation, by number of the event; `None` for one that failed.
    pub(super) first_frames: &'a [Option<u64>],
    /// What of the arena was in use before; nothing where there is no arena.
    pub(super) arena: Option<Occupancy>,
}

impl Timeline {
    pub(super) fn of(trace: &Trace, ours: Placed<'_>) -> Self {
        let pfn = |event: usize| trace.pfns[trace.events[event].slot as usize];
        let blocks = trace
            .events
            .iter()
            .enumerate()
            .map(|(number, event)| pfn(number)..pfn(number) + (1 << event.order));
        let kernel = sample(trace, |event| Some(pfn(event)), Some(Occupancy::around(blocks)));
        let ours = sample(trace, |event| ours.first_frames[event], ours.arena);
        Self { events: points(trace).collect(), ours, kernel }
    }

    /// Makes the record of `kind` `timeline`.
    pub fn record(&self, trace: &str, allocator: &str) -> Value {
        let state = |state: &State| {
            json!({
                "blocks_2m": state.blocks_2m,
                "mixed_blocks_2m": state.mixed_blocks_2m,
                "highest_free_order": state.highest_free_order,
            })
        };
        let points: Vec<Value> = self
            .events
            .iter()
            .zip(self.ours.iter().zip(&self.kernel))
            .map(|(event, (ours, kernel))| json!({"event": event, "ours": state(ours), "kernel": state(kernel)}))
            .collect();
        json!({"kind": "timeline", "trace": trace, "allocator": allocator, "points": points})
    }

    /// Makes the table for people.
    pub fn table(&self, allocator: &str) -> Table {
        let mut table = Table::new(&[
            "events",
            "2 MiB blocks",
            "recorded",
            "mixed",
            "recorded",
            "free order",
            "recorded",
        ]);
        let order =
            |state: &State| state.highest_free_order.map_or("-".to_owned(), |order| order.to_string());
        let every = self.events.len().div_ceil(ROWS).max(1);
        let last = self.events.len().saturating_sub(1);
        for number in (0..self.events.len()).filter(|number| (last - number).is_multiple_of(every)) {
            let (ours, kernel) = (&self.ours[number], &self.kernel[number]);
            table.push(vec![
                format!("{allocator} {}", self.events[number]),
                ours.blocks_2m.to_string(),
                kernel.blocks_2m.to_string(),
                ours.mixed_blocks_2m.to_string(),
                kernel.mixed_blocks_2m.to_string(),
                order(ours),
                order(kernel),
            ]);
        }
        table
    }
}

/// Returns after how many events a state is taken; after the last in any case.
fn points(trace: &Trace) -> impl Iterator<Item = usize> {
    let (events, count) = (trace.events.len(), POINTS.min(trace.events.len()));
    (1..=count).map(move |point| point * events / count)
}

fn sample(
    trace: &Trace,
    first_frame: impl Fn(usize) -> Option<u64>,
    occupancy: Option<Occupancy>,
) -> Vec<State> {
    let mut sampler = Sampler { points: points(trace), next: None, occupancy, states: Vec::new() };
    sampler.next = sampler.points.next();
    walk(trace, first_frame, &mut sampler);
    sampler.states
}

struct Sampler<P> {
    points: P,
    next: Option<usize>,
    occupancy: Option<Occupancy>,
    states: Vec<State>,
}

impl<P: Iterator<Item = usize>> Watch for Sampler<P> {
    fn change(&mut self, first_frame: u64, order: u8, change: Change) {
        let frames = first_frame..first_frame + (1 << order);
        match (&mut self.occupancy, change) {
            (Some(occupancy), Change::Allocated) => occupancy.take(frames),
            (Some(occupancy), Change::Freed) => occupancy.give(frames),
            (None, _) => (),
        }
    }

    fn after(&mut self, event: usize, spread: &Spread) {
        if self.next != Some(event + 1) {
            return;
        }
        self.next = self.points.next();
        self.states.push(State {
            blocks_2m: spread.used,
            mixed_blocks_2m: spread.mixed,
            highest_free_order: self.occupancy.as_ref().and_then(Occupancy::highest_free_order),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let line = |event: &str, pfn: u64, order: u8, kind: u8| {
            format!(
                "t-1 [000] ..... 1.0: mm_page_{event}: page=0f pfn={pfn} order={order} migratetype={kind} gfp_flags=none\n"
            )
        };
        let text = [
            line("alloc", 1024, 9, 1),
            line("alloc", 1536, 0, 1),
            line("alloc", 1537, 0, 0),
            line("free", 1024, 9, 0),
        ];
        Trace::read(text.concat().as_bytes(), None).unwrap()
    }

    #[test]
    fn both_sides_are_sampled_after_the_same_events() {
        let trace = trace();
        // Ours puts the two single frames into 2 MiB of their own each.
        let frames = [Some(0), Some(512), Some(1024), None];
        let arena = Some(Occupancy::of_arena(2048));
        let timeline = Timeline::of(&trace, Placed { first_frames: &frames, arena });
        let of = |states: &[State], value: fn(&State) -> u64| states.iter().map(value).collect::<Vec<_>>();
        assert_eq!(timeline.events, [1, 2, 3, 4]);
        assert_eq!(of(&timeline.ours, |state| state.blocks_2m), [1, 2, 3, 2]);
        assert_eq!(of(&timeline.kernel, |state| state.blocks_2m), [1, 2, 2, 1]);
        assert_eq!(of(&timeline.kernel, |state| state.mixed_blocks_2m), [0, 0, 1, 1]);
        let orders =
            |states: &[State]| states.iter().map(|state| state.highest_free_order).collect::<Vec<_>>();
        assert_eq!(orders(&timeline.ours), [10, 10, 9, 9].map(Some));
        assert_eq!(orders(&timeline.kernel), [9, 8, 8, 9].map(Some));
        let record = timeline.record("a trace", "gfp");
        assert_eq!(record["points"][3]["kernel"]["highest_free_order"], 9);
        assert_eq!(timeline.table("gfp").to_string().lines().count(), 2 + 4);
    }

    #[test]
    fn blocks_that_lie_anywhere_have_no_free_order() {
        let frames = [Some(7), Some(1 << 40), None, None];
        let timeline = Timeline::of(&trace(), Placed { first_frames: &frames, arena: None });
        assert!(timeline.ours.iter().all(|state| state.highest_free_order.is_none()));
        assert_eq!(timeline.ours[2].blocks_2m, 3);
    }
}
