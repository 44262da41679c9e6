//! Memory under pressure: caches that want several times the arena, and requests of all kinds, on several threads.
//!
//! | module | idea |
//! |---|---|
//! | `rules` | what must never happen, and what did |
//! | `page` | blocks with a word of their own in their memory |
//! | `cache`, `shrink` | caches of such blocks, the coldest of which reclaim takes |
//! | `requests` | kinds of requests, and what came of them |
//! | `pace` | as many pages a second as are wanted |
//! | `worker` | a thread: lookups, requests that live shortly and long |
//! | `levels`, `sampler` | free memory against the marks, every 10 ms |
//! | `snapshot` | all that is to be seen at one moment |
//! | `ground` | the arena with its caches, and what must be so at the end |
//! | `run` | the phases: fill, measure, settle, sample |

mod cache;
mod ground;
mod levels;
mod pace;
mod page;
mod requests;
mod rules;
mod run;
mod sampler;
mod shrink;
mod snapshot;
mod worker;

use std::time::Duration;

use gfp::Conservation;

pub use self::{
    cache::CacheState,
    levels::{Level, Place},
    requests::{Latencies, Outcomes, RequestKind},
    rules::Broken,
    run::run,
    sampler::Samples,
    snapshot::{KswapdState, Phase, Reclaimed, Snapshot, ZoneState},
};

/// What puts memory under pressure.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads that ask for pages, at least 1.
    pub threads: usize,
    /// Size of the arena in bytes.
    pub arena_bytes: usize,
    /// Nodes of a made-up machine, 1 to 8; `None` for those of this machine.
    pub nodes: Option<usize>,
    /// Of which migrate types caches are.
    pub types: Types,
    /// How long samples are taken, after the arena is full and reclaim has settled.
    pub length: Duration,
    /// How many pages all threads together ask for.
    pub rate: Rate,
}

/// Of which migrate types caches are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// All of the same: no request takes a block of another type, so that nothing raises the watermarks.
    One,
    /// Each of another: whenever one grows, it takes blocks of the others, and the zones' marks are boosted.
    Mixed,
}

/// How many pages a second all threads together ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As many as they can.
    Unlimited,
    /// So many.
    Pages(u64),
    /// Half of what reclaim frees in a second when they ask for as many as they can.
    Half,
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    /// How long samples were taken.
    pub sampled: Duration,
    /// Pages a second that reclaim freed at full speed, where that was measured.
    pub throughput: Option<f64>,
    /// Pages a second that the threads asked for at most while samples were taken; `None` for as many as they could.
    pub rate: Option<u64>,
    /// The first moment of which samples were taken, and the last.
    pub ends: [Snapshot; 2],
    /// Requests and their failures while samples were taken.
    pub outcomes: Outcomes,
    /// How long they took.
    pub latencies: Latencies,
    /// Free memory against the marks.
    pub samples: Samples,
    /// Where all frames were after the caches had been emptied.
    pub conservation: Conservation,
    /// What was wrong, at any time.
    pub broken: Broken,
}
