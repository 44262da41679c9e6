//! An allocator's threads, which wait between passes so that passes of several allocators can be interleaved.

use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

use super::{
    occupancy::Occupancy,
    pace::{Alone, Pace, Together},
    plan::Job,
    play::{Slots, ZeroFlag, play},
    verify::{LiveFrames, Verified, VerifyPart, dismiss, verify},
};
use crate::rival::{Rival, RivalThread};

/// A pass over the whole trace.
#[derive(Clone, Copy, Debug)]
enum Pass {
    Verify,
    Time(ZeroFlag),
}

/// What one thread says after a pass.
#[derive(Debug)]
struct Report {
    start: Instant,
    end: Instant,
    failed: u64,
    checked: VerifyPart,
    pinned: bool,
}

/// An allocator that replays a trace whenever it is told to.
#[derive(Debug)]
pub struct Contestant {
    pub(super) name: &'static str,
    /// The arena's base address, or 0 where blocks lie anywhere.
    base: usize,
    /// Whether a timeline is made of its placement, and what of its arena is used by others; nothing there of blocks that lie anywhere.
    pub(super) timeline: Option<Option<Occupancy>>,
    commands: Vec<Sender<Pass>>,
    reports: Receiver<Report>,
}

impl Contestant {
    /// Starts the allocator's threads, pinned; they end when the contestant is dropped.
    ///
    /// # Panics
    ///
    /// When the system refuses a thread.
    pub fn start<'scope, 'env, R: Rival>(
        scope: &'scope Scope<'scope, 'env>,
        rival: &'env R,
        job: &'env Job,
    ) -> Self {
        match job.workers.len() {
            1 => Self::spawn(scope, rival, job, Alone),
            workers => Self::spawn(scope, rival, job, Together::new(job.slots, workers)),
        }
    }

    fn spawn<'scope, 'env, R: Rival, P: Pace + Send + 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        rival: &'env R,
        job: &'env Job,
        pace: P,
    ) -> Self {
        let shared =
            Arc::new(Shared { slots: Slots::new(job.slots), pace, live: LiveFrames::new(rival.base()) });
        let (report, reports) = mpsc::channel();
        let commands = (0..job.workers.len())
            .map(|number| {
                let (command, commands) = mpsc::channel();
                let worker = Worker { rival, job, number, shared: Arc::clone(&shared) };
                let report = report.clone();
                scope.spawn(move || worker.run(&commands, &report));
                command
            })
            .collect();
        Self { name: rival.name(), base: rival.base().unwrap_or(0), timeline: None, commands, reports }
    }

    /// Asks for a timeline of the placement, in an arena of this many frames, if it has one, of which others use some all the time.
    #[must_use]
    pub fn with_timeline(mut self, arena_frames: u64, used: impl Iterator<Item = Range<u64>>) -> Self {
        let arena = (self.base != 0).then(|| {
            let mut arena = Occupancy::of_arena(arena_frames);
            used.for_each(|frames| arena.take(frames));
            arena
        });
        self.timeline = Some(arena);
        self
    }

    /// Runs a verify pass; returns what was found, and the first frame of each allocation by number of the event.
    pub(super) fn verify(&self, events: usize) -> (Verified, Vec<Option<u64>>) {
        let mut verified = Verified::default();
        let mut frames = vec![None; events];
        for Report { checked, .. } in self.pass(Pass::Verify) {
            verified.add(checked.verified);
            for (event, address) in checked.addresses {
                frames[event as usize] = Some(address.wrapping_sub(self.base) as u64 / 4096);
            }
        }
        (verified, frames)
    }

    /// Runs a time pass; returns the time from the first thread's start to the last one's end.
    pub(super) fn time(&self, zero_flag: ZeroFlag) -> Timed {
        let reports = self.pass(Pass::Time(zero_flag));
        let start = reports.iter().map(|report| report.start).min();
        let end = reports.iter().map(|report| report.end).max();
        Timed {
            elapsed: start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start),
            failed: reports.iter().map(|report| report.failed).sum(),
            pinned: reports.iter().all(|report| report.pinned),
        }
    }

    fn pass(&self, pass: Pass) -> Vec<Report> {
        for command in &self.commands {
            command.send(pass).expect("a replay thread panicked");
        }
        self.commands.iter().map(|_| self.reports.recv().expect("a replay thread panicked")).collect()
    }
}

/// What a time pass took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) elapsed: Duration,
    /// Allocations that failed.
    pub(super) failed: u64,
    /// Whether every thread ran where it should.
    pub(super) pinned: bool,
}

/// What the threads of a contestant share.
struct Shared<B, P> {
    slots: Slots<B>,
    pace: P,
    live: LiveFrames,
}

type BlockOf<'env, R> = <<R as Rival>::Thread<'env> as RivalThread>::Block;

struct Worker<'env, R: Rival, P> {
    rival: &'env R,
    job: &'env Job,
    number: usize,
    shared: Arc<Shared<BlockOf<'env, R>, P>>,
}

impl<'env, R: Rival, P: Pace> Worker<'env, R, P> {
    fn run(&self, commands: &Receiver<Pass>, reports: &Sender<Report>) {
        let pace = &self.shared.pace;
        let _abandon = AbandonOnPanic(pace);
        let pinned = self.job.cpus.pin(self.number);
        let mut thread = self.rival.thread();
        for pass in commands {
            let steps = &self.job.workers[self.number];
            pace.begin(self.number, steps);
            pace.barrier();
            let start = Instant::now();
            let (mut checked, mut failed) = (VerifyPart::default(), 0);
            let Shared { slots, live, .. } = &*self.shared;
            match pass {
                Pass::Verify => {
                    // SAFETY: the pace orders the events of each slot, or there is one thread.
                    checked = unsafe { verify(&mut thread, steps, slots, pace, self.number, live) };
                }
                Pass::Time(zero_flag) => {
                    // SAFETY: as above.
                    failed = unsafe { play(&mut thread, steps, slots, pace, self.number, zero_flag) };
                }
            }
            let end = Instant::now();
            pace.end(self.number);
            pace.barrier();
            if self.number == 0 {
                self.free_leftovers(&mut thread, pass, &mut checked.verified);
                pace.reset();
            }
            let report = Report { start, end, failed, checked, pinned };
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    /// Frees what is live at the end of the trace, after all threads have ended their pass.
    fn free_leftovers(&self, thread: &mut R::Thread<'env>, pass: Pass, found: &mut Verified) {
        for step in &self.job.leftovers {
            // SAFETY: the other threads are past the barrier and wait for the next command.
            let Some(block) = (unsafe { self.shared.slots.take(step.slot) }) else { continue };
            if let Pass::Verify = pass {
                // SAFETY: the block is live, and was stamped in the turn of this step.
                unsafe { dismiss(found, &self.shared.live, thread.address(&block), step, step.turn) };
            }
            thread.free(block, u32::from(step.order));
        }
    }
}

/// Releases the other threads when this one panics.
struct AbandonOnPanic<'a, P: Pace>(&'a P);

impl<P: Pace> Drop for AbandonOnPanic<'_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abandon();
        }
    }
}
