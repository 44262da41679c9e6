//! Fragmentation over time, and maps of arenas.

use serde::Deserialize;

/// How fragmented an arena was while a workload ran on it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Fragmentation {
    /// The allocator.
    pub allocator: String,
    /// What the workload's random numbers follow from.
    pub seed: u64,
    /// How many operations it had.
    pub operations: u64,
    /// The moments that were looked at.
    pub points: Vec<FragmentationPoint>,
}

/// An arena at one moment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct FragmentationPoint {
    /// Operations until then.
    pub operations: u64,
    /// Frames in use.
    pub live_frames: u64,
    /// The share of free memory that is of no use to a request, by its order; none where nothing is free.
    pub unusable_index: Vec<Option<f64>>,
    /// The order of the largest free block; none where nothing is free.
    pub largest_free_order: Option<u32>,
}

/// A map of an arena.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Blocks {
    /// The allocator.
    pub allocator: String,
    /// The moment that it shows.
    pub when: String,
    /// The arena's pageblocks in the order of their addresses.
    pub pageblocks: Vec<Pageblock>,
}

/// A pageblock of an arena.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pageblock {
    /// Its migrate type.
    #[serde(rename = "type")]
    pub migrate_type: String,
    /// Frames of it that are in use.
    pub used_frames: u64,
}
