//! What was done how often.

use std::collections::BTreeMap;

use super::mix::Kind;

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Served,
    /// The allocator refused it, or there was nothing that it could be done to.
    Refused,
}

impl Outcome {
    /// Tells it from a condition.
    pub(super) const fn of(served: bool) -> Self {
        if served { Self::Served } else { Self::Refused }
    }

    /// Returns its name in a record.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Refused => "refused",
        }
    }
}

/// Operations by kind, and system calls that were made to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    calls: [[u64; 2]; Kind::ALL.len()],
    faults: BTreeMap<&'static str, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { calls: [[0; 2]; Kind::ALL.len()], faults: BTreeMap::new() }
    }
}

impl Tally {
    pub(super) fn count(&mut self, kind: Kind, outcome: Outcome) {
        self.calls[kind as usize][usize::from(outcome == Outcome::Refused)] += 1;
    }

    pub(super) fn count_faults(&mut self, call: &'static str, struck: u64) {
        if struck > 0 {
            *self.faults.entry(call).or_default() += struck;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.calls.iter_mut().flatten().zip(other.calls.iter().flatten()) {
            *mine += theirs;
        }
        for (call, struck) in &other.faults {
            self.count_faults(call, *struck);
        }
    }

    /// Returns how many operations of a kind were served and refused.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> [u64; 2] {
        self.calls[kind as usize]
    }

    /// Returns how many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.calls.iter().flatten().sum()
    }

    /// Returns how often each system call was made to fail, by its name.
    #[must_use]
    pub const fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }
}
