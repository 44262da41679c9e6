//! Memory under pressure.

use serde::Deserialize;
use serde_json::Value;

/// What `gfp pressure` came to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pressure {
    /// Threads that asked for pages.
    pub threads: usize,
    /// Size of the arena.
    pub arena_bytes: u64,
    /// For how long samples were taken.
    pub seconds: f64,
    /// What the requests were held to: null for as fast as they can, or a number of pages a second, or `half`.
    #[serde(default)]
    pub rate_asked: Value,
    /// Pages a second that they had.
    pub pages_per_s: f64,
    /// Pages that kswapd reclaimed.
    pub reclaimed_kswapd: u64,
    /// Pages that requests reclaimed themselves.
    pub reclaimed_direct: u64,
    /// How often a request had to.
    pub allocstall: u64,
    /// How long requests took that may wait, in nanoseconds.
    pub latency_ns: Requests,
    /// How long those took that reclaimed directly, in nanoseconds.
    pub direct_stall_ns: Requests,
    /// Where free memory was when it was looked at.
    pub samples: Samples,
    /// What became of all frames.
    pub conservation: Conservation,
    /// Rules that were broken.
    pub broken: Broken,
    /// The moments that led to it.
    #[serde(skip)]
    pub moments: Vec<Moment>,
}

/// How long requests took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Requests {
    /// How many there were.
    pub number: u64,
    /// The median.
    pub p50: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// 99.9 % took no longer.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

/// Where free memory was when it was looked at: counts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Samples {
    /// Between the min and the high mark.
    pub inside: u64,
    /// Below the min mark.
    pub below_min: u64,
    /// Above the high mark.
    pub above_high: u64,
}

/// What became of all frames.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Conservation {
    /// Whether none is missing.
    pub holds: bool,
}

/// Rules that were broken.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Broken {
    /// How often.
    pub count: u64,
    /// What happened, the first of them.
    pub sentences: Vec<String>,
}

/// A moment of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Moment {
    /// Seconds since its begin.
    pub at_s: f64,
    /// What was done then: `fill`, `settle`, `sample`, …
    pub phase: String,
    /// The zones.
    pub zones: Vec<Zone>,
}

/// A zone at one moment; numbers of frames.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Zone {
    /// Its node.
    pub node: usize,
    /// Its name.
    pub zone: String,
    /// Free frames.
    pub free: u64,
    /// The min mark.
    pub min: u64,
    /// The low mark.
    pub low: u64,
    /// The high mark.
    pub high: u64,
    /// What the marks are raised by.
    #[serde(default)]
    pub boost: u64,
}
