//! Replays of traces.

use serde::Deserialize;

/// What a replay of a trace by one allocator came to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Replay {
    /// The allocator.
    pub allocator: String,
    /// The trace's file.
    pub trace: String,
    /// `trace` for a thread a CPU of the trace, or `1`.
    pub threads: String,
    /// How many threads ran.
    pub workers: usize,
    /// Size of the arena of those that have one.
    pub arena_bytes: u64,
    /// Allocations and frees of the trace.
    pub events: u64,
    /// Allocations that failed.
    pub failed: u64,
    /// Nanoseconds an event, the median of the passes.
    pub ns_per_event: f64,
    /// The same with blocks zeroed where the trace asks for it.
    pub ns_per_event_zeroed: f64,
    /// The spread of the passes.
    #[serde(default)]
    pub passes: Option<Passes>,
    /// Blocks of 2 MiB with live memory in them.
    pub blocks_2m: Beside,
    /// Blocks of 2 MiB with both movable and other memory in them.
    pub mixed_blocks_2m: Beside,
    /// What one must know to compare the placements.
    #[serde(default)]
    pub bias: String,
}

/// The spread of the passes of a replay, in nanoseconds an event.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Passes {
    /// How many there were.
    pub count: usize,
    /// The fastest.
    pub min: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

/// A number in an allocator's placement and in the trace's.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Beside {
    /// The allocator's, where its blocks lie in an arena.
    pub ours: Option<MeanPeak>,
    /// The trace's.
    pub kernel: MeanPeak,
}

/// A number that changed with each event.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct MeanPeak {
    /// Its mean.
    pub mean: f64,
    /// Its largest value.
    pub peak: f64,
}

/// Placements over the course of a trace.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Timeline {
    /// The allocator.
    pub allocator: String,
    /// The trace's file.
    pub trace: String,
    /// The moments that were looked at.
    pub points: Vec<TimelinePoint>,
}

/// Both placements at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct TimelinePoint {
    /// Events until then.
    pub event: u64,
    /// The allocator's placement, where its blocks lie in an arena.
    pub ours: Option<Place>,
    /// The trace's.
    pub kernel: Place,
}

/// A placement at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Place {
    /// Blocks of 2 MiB with live memory in them.
    pub blocks_2m: u64,
    /// Blocks of 2 MiB with both movable and other memory in them.
    pub mixed_blocks_2m: u64,
    /// The order of the largest free block, where it is known.
    #[serde(default)]
    pub highest_free_order: Option<u32>,
}
