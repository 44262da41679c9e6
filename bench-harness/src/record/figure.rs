//! One allocator's figures in one row of `gfp bench`.

use std::fmt;

use serde::Deserialize;

use crate::{
    measure::{Footprint, LockUse, Quantiles, summarize},
    rivals::is_ours,
};

/// What figures that were measured beside each other have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Row {
    /// The workload's name.
    pub workload: String,
    /// The order of its blocks.
    pub order: u32,
    /// How many threads were asked for.
    pub threads: usize,
    /// How the threads were laid out: `core`, `cache`, `node`, `package` or `spread`.
    #[serde(default)]
    pub placement: Option<String>,
    /// The working set: `small`, `l2`, `l3` or `dram`; none where the number of live blocks is fixed.
    #[serde(default)]
    pub set: Option<String>,
    /// Whether blocks were written to when they were handed out: `untouched` or `lines`.
    #[serde(default)]
    pub touch: Option<String>,
    /// Blocks a call, where a call has several.
    #[serde(default)]
    pub batch: Option<u64>,
}

impl Row {
    /// Returns the row's name without its threads: what is asked of an allocator.
    #[must_use]
    pub fn task(&self) -> String {
        let mut text = format!("{}, order {}", self.workload, self.order);
        if let Some(batch) = self.batch {
            text += &format!(", {batch} a call");
        }
        if let Some(set) = &self.set {
            text += &format!(", {set}");
        }
        match self.touch.as_deref() {
            None | Some("untouched") => {}
            Some("lines") => text += ", touched",
            Some(other) => text += &format!(", {other}"),
        }
        text
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.threads == 1 { "" } else { "s" };
        write!(f, "{}, {} thread{plural}", self.task(), self.threads)?;
        self.placement.iter().try_for_each(|placement| write!(f, ", {placement}"))
    }
}

/// What a figure is about: an allocator in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Cell {
    /// The row.
    #[serde(flatten)]
    pub row: Row,
    /// The allocator's name.
    pub allocator: String,
}

impl Cell {
    /// Tells whether the allocator is gfp, in any form.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        is_ours(&self.allocator)
    }
}

/// The median and the extremes of a set of samples, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Spread {
    /// The smallest sample.
    pub min: f64,
    /// The middle sample.
    pub median: f64,
    /// The largest sample.
    pub max: f64,
}

/// What came of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// Nanoseconds an operation.
    Measured(Spread),
    /// It was not waited for: an operation takes more nanoseconds than this.
    Above(f64),
    /// It did not work, for this reason.
    Failed(&'a str),
}

/// One allocator's figures in one row.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Figure {
    /// What it is about.
    #[serde(flatten)]
    pub cell: Cell,
    /// The run that took it, or the last visit of it, an index into the record's.
    #[serde(skip)]
    pub run: usize,
    /// Which visit to the row took it; of several put together, the last.
    #[serde(default)]
    pub visit: usize,
    /// The runs of the visits before.
    #[serde(skip)]
    pub earlier_runs: Vec<usize>,
    /// How many threads ran.
    pub workers: usize,
    /// The CPU of each.
    #[serde(default)]
    pub cpus: Vec<usize>,
    /// Whether the machine has not all of these CPUs, or, of the workload remote, not several nodes.
    #[serde(default)]
    pub simulated: bool,
    #[serde(default)]
    ns_per_op: Option<Spread>,
    #[serde(default)]
    ns_per_op_above: Option<f64>,
    #[serde(default)]
    failed: Option<String>,
    /// Each sample, in nanoseconds an operation; those of equal index in a row were taken beside each other.
    #[serde(default)]
    pub samples_ns: Vec<f64>,
    /// How many of them each visit took, but for the last.
    #[serde(skip)]
    pub earlier_samples: Vec<usize>,
    /// Throughput of all threads together, in million operations a second.
    #[serde(default)]
    pub mops_per_s: Option<f64>,
    /// How long single operations took.
    #[serde(default)]
    pub latency_ns: Option<Quantiles>,
    /// What the zones' locks went through.
    #[serde(default)]
    pub lock: Option<LockUse>,
    /// What the allocator needs besides the blocks.
    #[serde(default)]
    pub memory: Option<Footprint>,
}

impl Figure {
    /// Puts the figures of the visits to a row together; none of no visit.
    pub(crate) fn of_visits(visits: Vec<Self>) -> Option<Self> {
        visits.into_iter().reduce(Self::add_visit)
    }

    fn add_visit(self, next: Self) -> Self {
        let mut all = next;
        all.earlier_runs = self.earlier_runs;
        all.earlier_runs.push(self.run);
        let (Some(before), Some(_)) = (self.ns_per_op, all.ns_per_op) else { return all };
        let before_last: usize = self.earlier_samples.iter().sum();
        all.earlier_samples = self.earlier_samples;
        all.earlier_samples.push(self.samples_ns.len() - before_last);
        all.samples_ns.splice(..0, self.samples_ns);
        if let Some(spread) = summarize(&all.samples_ns) {
            all.ns_per_op = Some(Spread { min: spread.min, median: spread.median, max: spread.max });
            all.mops_per_s = self.mops_per_s.map(|mops| mops * before.median / spread.median);
        }
        all.latency_ns = all.latency_ns.or(self.latency_ns);
        all.lock = all.lock.or(self.lock);
        all.memory = all.memory.or(self.memory);
        all
    }

    /// Returns the run of each visit.
    pub fn runs(&self) -> impl Iterator<Item = usize> {
        self.earlier_runs.iter().copied().chain([self.run])
    }

    /// Returns the samples of each visit.
    pub fn visits(&self) -> impl Iterator<Item = &[f64]> {
        let mut rest = &self.samples_ns[..];
        let counts = self.earlier_samples.iter().copied().map(Some).chain([None]);
        counts.map(move |count| {
            let (visit, behind) = rest.split_at(count.unwrap_or(rest.len()).min(rest.len()));
            rest = behind;
            visit
        })
    }

    /// Returns what came of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'_> {
        match (self.ns_per_op, self.ns_per_op_above, &self.failed) {
            (Some(spread), ..) => Outcome::Measured(spread),
            (None, Some(above), _) => Outcome::Above(above),
            (None, None, Some(reason)) => Outcome::Failed(reason),
            (None, None, None) => Outcome::Failed("the record does not say why"),
        }
    }

    /// Returns nanoseconds an operation, if it was measured.
    #[must_use]
    pub fn measured(&self) -> Option<Spread> {
        self.ns_per_op
    }

    /// Returns the median of nanoseconds an operation, if it was measured.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.ns_per_op.map(|spread| spread.median)
    }
}
