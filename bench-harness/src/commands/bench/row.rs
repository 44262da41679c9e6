//! One visit to a row of the report: all allocators under one workload, in turns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BenchArgs, Schedule, progress::Watch};
use crate::measure::{
    Calibration, Contestant, Counters, Counts, Cpus, Fault, Footprint, LockUse, Locks, Plan, Quantiles,
    Resident, StartContestant, Summary, Team, summarize,
};
use crate::rivals;

/// Fewer samples of a row than these say nothing.
const FEWEST_SAMPLES: usize = 3;

/// One allocator's figure of a row.
#[derive(Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) ns_per_op: Summary,
    /// Nanoseconds an operation, a sample each, in the order of rounds.
    pub(super) samples_ns: Vec<f64>,
    pub(super) cycles: u64,
    pub(super) pinned: bool,
    pub(super) latency: Option<Quantiles>,
    pub(super) lock: Option<LockUse>,
    /// Only of the last visit, as what else comes after the samples.
    pub(super) memory: Option<Footprint>,
    pub(super) perf: Option<Counts>,
}

/// What earlier visits to a row have found out of an allocator.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    calibration: Option<Calibration>,
    /// Bytes that became resident while it was set up for the first time: its own, and those of the threads.
    grown: Option<u64>,
    /// Why it is out.
    fault: Option<Fault>,
}

/// What a visit to a row measures, and how.
#[derive(Clone, Copy)]
pub(super) struct VisitTo<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) plan: Plan,
    pub(super) cpus: &'a Cpus,
    pub(super) allocators: &'a [&'a str],
    pub(super) schedule: Schedule,
    pub(super) visit: usize,
}

/// An allocator on its way through a row.
struct Contender {
    team: Team,
    contestant: Contestant,
    calibration: Calibration,
    samples: Vec<f64>,
    /// What its locks went through before the first sample.
    locks: Option<Locks>,
}

impl VisitTo<'_> {
    /// Measures the row: all allocators are set up, checked and warmed up, and then take turns, sample by sample,
    /// so that whatever else the machine does hits them alike. What disturbs samples comes after them. Later visits check nothing
    /// again, and leave out what failed.
    pub(super) fn measure(
        self,
        known: &mut [Known],
        mut counters: Option<&mut Counters>,
        progress: &mut dyn Watch,
    ) -> anyhow::Result<Vec<Result<Figure, Fault>>> {
        let name = |allocator| format!("{} of order {}: {allocator}", self.plan.workload, self.plan.order);
        let mut contenders = Vec::new();
        for (allocator, known) in self.allocators.iter().zip(&mut *known) {
            progress.say(name(allocator));
            contenders.push(match known.fault {
                Some(fault) => Err(fault),
                None => self.set_up(allocator, known)?,
            });
            progress.step();
        }
        for round in 0..self.samples() {
            for contender in &mut contenders {
                progress.step();
                let Ok(ready) = contender else { continue };
                if let Err(fault) = ready.sample(round) {
                    *contender = Err(fault);
                }
            }
        }
        let mut figures = Vec::new();
        for ((allocator, contender), known) in self.allocators.iter().zip(contenders).zip(known) {
            progress.say(name(allocator));
            let figure =
                contender.and_then(|contender| self.figure(contender, known.grown, counters.as_deref_mut()));
            known.fault = figure.as_ref().err().copied();
            figures.push(figure);
            progress.step();
        }
        Ok(figures)
    }

    /// Returns how many samples the visit takes of each allocator.
    fn samples(self) -> usize {
        self.schedule.samples(self.visit)
    }

    fn sample_length(self) -> Duration {
        self.schedule.sample_length(self.args.sample_length())
    }

    fn set_up(self, allocator: &str, known: &mut Known) -> anyhow::Result<Result<Contender, Fault>> {
        let memory = self.args.memory(self.plan);
        let before = known.calibration.is_none().then(Resident::read);
        let start = StartContestant { plan: self.plan, cpus: self.cpus };
        let (mut team, contestant) = rivals::with_rival(allocator, memory, start)?;
        let calibration = known.calibration.map_or_else(|| self.calibrate(&mut team), Ok);
        let ready = calibration.and_then(|calibration| {
            // As long as the samples will take: many allocators are slower for a while.
            (0..calibration.samples).try_for_each(|_| team.sample(calibration.cycles).map(drop))?;
            known.calibration = Some(calibration);
            if let Some(before) = before {
                known.grown = Resident::read().since(before);
            }
            let samples = Vec::with_capacity(calibration.samples);
            let locks = contestant.locks();
            Ok(Contender { team, contestant, calibration, samples, locks })
        });
        Ok(ready)
    }

    /// Checks what an allocator does, and finds the size of its samples.
    fn calibrate(self, team: &mut Team) -> Result<Calibration, Fault> {
        team.verify()?;
        let samples = self.samples();
        let fewest = FEWEST_SAMPLES.div_ceil(self.schedule.visits()).min(samples);
        Calibration::of(team, self.sample_length(), fewest..=samples)
    }

    /// Makes the figure of an allocator that has all of its samples, with what is measured after them.
    fn figure(
        self,
        contender: Contender,
        grown: Option<u64>,
        counters: Option<&mut Counters>,
    ) -> Result<Figure, Fault> {
        let Contender { mut team, contestant, calibration, samples, locks } = contender;
        let ns_per_op = summarize(&samples).ok_or(Fault::ThreadLost)?;
        let cycles = calibration.cycles;
        let ops_per_sample = cycles * self.plan.cycle_ops() * self.plan.streams() as u64;
        let pinned = team.pinned();
        let lock = contestant
            .locks()
            .zip(locks)
            .map(|(after, before)| LockUse::between(before, after, ops_per_sample * samples.len() as u64));
        let mut figure = Figure {
            ns_per_op,
            samples_ns: samples,
            cycles,
            pinned,
            latency: None,
            lock,
            memory: None,
            perf: None,
        };
        if !self.schedule.is_last(self.visit) {
            return Ok(figure);
        }
        figure.perf = match counters {
            Some(counters) => {
                let (sampled, counts) = counters.count(|| team.sample(cycles));
                sampled?;
                Some(counts.per_operation(ops_per_sample))
            }
            None => None,
        };
        figure.memory = Some(contestant.footprint(team, grown));
        // Of many blocks a call none has a time of its own.
        figure.latency = match self.args.latency && self.plan.variant.batch.is_none() {
            true => Some(contestant.latency(self.sample_length())?),
            false => None,
        };
        Ok(figure)
    }
}

impl Contender {
    /// Takes the sample of a round, unless this allocator has all of its samples.
    fn sample(&mut self, round: usize) -> Result<(), Fault> {
        if round < self.calibration.samples {
            let wall = self.team.sample(self.calibration.cycles)?;
            self.samples.push(self.team.plan().ns_per_op(wall, self.calibration.cycles));
        }
        Ok(())
    }
}
