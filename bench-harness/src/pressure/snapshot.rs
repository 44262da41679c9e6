//! All that is to be seen at one moment.

use std::time::Duration;

use gfp::{Allocator, KswapdReport, Nid, stats::ZoneStat};

use super::{cache::CacheState, sampler::Samples};

/// What happens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Caches grow until the arena is full.
    Fill,
    /// How much reclaim frees at full speed is measured.
    Measure,
    /// The rate is as it will be, and samples are not taken yet.
    Settle,
    /// Samples are taken.
    Sample,
}

impl Phase {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Measure => "measure",
            Self::Settle => "settle",
            Self::Sample => "sample",
        }
    }
}

/// A moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Time since the begin.
    pub at: Duration,
    /// What happens.
    pub phase: Phase,
    /// Time since samples are taken; 0 before.
    pub sampled: Duration,
    /// Pages a second that all threads may ask for; `None` for no limit.
    pub rate: Option<u64>,
    /// The zones that have memory.
    pub zones: Vec<ZoneState>,
    /// The nodes' background threads.
    pub kswapds: Vec<KswapdState>,
    /// What was reclaimed since the begin.
    pub reclaimed: Reclaimed,
    /// The caches.
    pub caches: Vec<CacheState>,
    /// Requests since the begin.
    pub requests: u64,
    /// Pages that were asked for since the begin.
    pub pages: u64,
    /// Requests that failed since the begin.
    pub failures: u64,
    /// Rules that were broken since the begin.
    pub broken: u64,
    /// Samples so far.
    pub samples: Samples,
}

impl Snapshot {
    /// Returns the nodes' free memory.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.zones.iter().map(|zone| zone.free).sum()
    }
}

/// A zone that has memory; amounts in frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneState {
    /// The zone's node.
    pub node: u32,
    /// The zone's name.
    pub name: &'static str,
    /// Free frames.
    pub free: u64,
    /// The min mark, the low one and the high one, with the boost.
    pub marks: [u64; 3],
    /// The boost.
    pub boost: u64,
    /// All frames.
    pub managed: u64,
}

impl ZoneState {
    pub(super) fn of(zone: &ZoneStat) -> Self {
        let marks = zone.marks;
        Self {
            node: zone.node,
            name: zone.zone.name(),
            free: zone.free,
            marks: [marks.min, marks.low, marks.high].map(|mark| mark + marks.boost),
            boost: marks.boost,
            managed: zone.managed,
        }
    }
}

/// A node's background thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KswapdState {
    /// The node.
    pub node: Nid,
    /// Whether it works now.
    pub running: bool,
    /// Whether it has given up.
    pub hopeless: bool,
    /// How often it was woken.
    pub wakeups: u64,
}

impl From<KswapdReport> for KswapdState {
    fn from(report: KswapdReport) -> Self {
        let KswapdReport { node, running, hopeless, wakeups, .. } = report;
        Self { node, running, hopeless, wakeups }
    }
}

/// What reclaim did, from the allocator's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Pages that kswapd freed (`pgsteal_kswapd`).
    pub kswapd: u64,
    /// Pages that requests freed on their own threads (`pgsteal_direct`).
    pub direct: u64,
    /// Requests that did so (`allocstall_*`).
    pub stalls: u64,
}

impl Reclaimed {
    pub(super) fn read(allocator: &Allocator) -> Self {
        let vmstat = allocator.vmstat();
        Self {
            kswapd: vmstat.pgsteal_kswapd,
            direct: vmstat.pgsteal_direct,
            stalls: vmstat.allocstall.iter().sum(),
        }
    }

    /// Returns all pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.kswapd + self.direct
    }

    /// Returns what came since an earlier moment.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            kswapd: self.kswapd.saturating_sub(earlier.kswapd),
            direct: self.direct.saturating_sub(earlier.direct),
            stalls: self.stalls.saturating_sub(earlier.stalls),
        }
    }

    /// Returns which share of the pages requests freed themselves, in percent; of none at all, 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52")]
    pub fn direct_percent(&self) -> f64 {
        self.direct as f64 * 100.0 / self.pages().max(1) as f64
    }
}
