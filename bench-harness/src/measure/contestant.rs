//! An allocator under test beside its team: for what is measured after the samples.

use std::fmt;
use std::{sync::Arc, time::Duration};

use gfp::Allocator;

use super::{Cpus, Fault, Footprint, Locks, Plan, Quantiles, Resident, Team, latency};
use crate::rival::{Rival, RivalThread};
use crate::rivals::Visitor;

/// Starts a team on the allocator that it visits, and keeps the allocator.
#[derive(Clone, Copy, Debug)]
pub struct StartContestant<'a> {
    /// What the team does.
    pub plan: Plan,
    /// Where its threads are pinned.
    pub cpus: &'a Cpus,
}

impl Visitor for StartContestant<'_> {
    type Output = (Team, Contestant);

    fn visit<R, B>(self, rival: R) -> Self::Output
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        let Self { plan, cpus } = self;
        let rival = Arc::new(rival);
        let team = Team::start(plan, cpus, Arc::clone(&rival));
        let gfp = rival.as_gfp().cloned();
        let cpus = cpus.clone();
        let latency = move |sample| latency::measure(plan, &cpus, rival, sample);
        (team, Contestant { gfp, latency: Box::new(latency) })
    }
}

/// An allocator under test.
pub struct Contestant {
    gfp: Option<Allocator>,
    latency: Box<dyn FnOnce(Duration) -> Result<Quantiles, Fault>>,
}

impl Contestant {
    /// Returns what its locks went through so far, where it is gfp and counts it.
    #[must_use]
    pub fn locks(&self) -> Option<Locks> {
        self.gfp.as_ref().and_then(Locks::of)
    }

    /// Ends its team, gives back what memory it can, and says what it took. `grown` is what became resident while it was set up.
    #[must_use]
    pub fn footprint(&self, team: Team, grown: Option<u64>) -> Footprint {
        let in_use = Resident::read();
        drop(team);
        if let Some(gfp) = &self.gfp {
            // What the system refuses stays resident, and is counted as such.
            let _ = gfp.trim();
        }
        let given_back = in_use.since(Resident::read());
        Footprint {
            arena_bytes: self.gfp.as_ref().map(|gfp| gfp.arena().len() as u64),
            rss_bytes: grown,
            rss_after_trim_bytes: grown.zip(given_back).map(|(grown, back)| grown.saturating_sub(back)),
        }
    }

    /// Times single operations, for some samples of this length, with a team of their own; then the allocator is gone.
    ///
    /// # Errors
    /// The team cannot run the workload.
    pub fn latency(self, sample: Duration) -> Result<Quantiles, Fault> {
        (self.latency)(sample)
    }
}

impl fmt::Debug for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contestant").field("gfp", &self.gfp).finish_non_exhaustive()
    }
}
