//! The phases: fill the arena, measure reclaim, let it settle, sample.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{
    Config, Rate, Summary,
    ground::{Ground, Live},
    levels::{Level, Place},
    requests::{Latencies, Outcomes},
    sampler::Sampler,
    snapshot::{KswapdState, Phase, Reclaimed, Snapshot, ZoneState},
    worker::{Done, Worker},
};

/// How long the arena is filled at most.
const FILL: Duration = Duration::from_secs(20);
/// How long reclaim at full speed is measured.
const MEASURE: Duration = Duration::from_secs(3);
/// How long reclaim has to settle at the rate of which samples are taken.
const SETTLE: Duration = Duration::from_secs(1);
/// How often it is told what is to be seen.
const TELL: Duration = Duration::from_millis(250);
/// How often it is looked whether a phase is over.
const LOOK: Duration = Duration::from_millis(10);

/// Puts memory under pressure until the time is over, or `interrupted` says so; tells what is to be seen a few times a second.
///
/// # Errors
/// The arena cannot be had, or a thread; reclaim freed nothing that could be halved. A broken rule is no error: the summary
/// has it.
pub fn run(
    config: &Config,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(&Snapshot) -> Result<()>,
) -> Result<Summary> {
    let mut ground = Ground::build(config)?;
    let sampler = Sampler::default();
    let sampled = thread::scope(|scope| {
        // However this ends, the threads end with it.
        let _stop = StopAtEnd(&ground);
        let workers = start(scope, &ground, &sampler)?;
        let mut director = Director {
            ground: &ground,
            sampler: &sampler,
            interrupted,
            tell,
            began: Instant::now(),
            phase: Phase::Fill,
            phase_began: Instant::now(),
            rate: None,
            told: Instant::now(),
        };
        let sampled = director.run()?;
        ground.stop();
        let mut sum = Done { outcomes: Outcomes::default(), latencies: Latencies::new() };
        for worker in workers {
            let done = worker.join().map_err(|_| anyhow!("a thread panicked"))?;
            sum.outcomes.add(&done.outcomes);
            sum.latencies.add(&done.latencies);
        }
        anyhow::Ok((sampled, sum))
    });
    let (Sampled { length, throughput, rate, ends }, Done { outcomes, latencies }) = sampled?;
    let conservation = ground.finish();
    Ok(Summary {
        sampled: length,
        throughput,
        rate,
        ends,
        outcomes,
        latencies,
        samples: sampler.samples(),
        conservation,
        broken: ground.rules.report(),
    })
}

struct StopAtEnd<'g>(&'g Ground);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Starts all threads; returns those that ask for pages.
fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    ground: &'env Ground,
    sampler: &'env Sampler,
) -> Result<Vec<ScopedJoinHandle<'scope, Done>>> {
    let named = |name: String| thread::Builder::new().name(name);
    named("sampler".into())
        .spawn_scoped(scope, || sampler.run(ground))
        .context("cannot start the thread that takes samples")?;
    let worker = |index| {
        named(format!("pressure-{index}"))
            .spawn_scoped(scope, move || Worker::new(ground, index).run())
            .with_context(|| format!("cannot start thread {index}"))
    };
    (0..ground.config.threads).map(worker).collect()
}

/// What the sampled phase was.
struct Sampled {
    length: Duration,
    throughput: Option<f64>,
    rate: Option<u64>,
    ends: [Snapshot; 2],
}

struct Director<'a> {
    ground: &'a Ground,
    sampler: &'a Sampler,
    interrupted: &'a AtomicBool,
    tell: &'a mut dyn FnMut(&Snapshot) -> Result<()>,
    began: Instant,
    phase: Phase,
    phase_began: Instant,
    rate: Option<u64>,
    told: Instant,
}

impl Director<'_> {
    fn run(&mut self) -> Result<Sampled> {
        let allocator = &self.ground.allocator;
        let full = || Place::of_all(&Level::of(&allocator.zone_stats())) != Place::Above;
        self.pass(Phase::Fill, FILL, full)?;
        let throughput = match self.ground.config.rate {
            Rate::Half => Some(self.measure()?),
            Rate::Unlimited | Rate::Pages(_) => None,
        };
        self.rate = match (self.ground.config.rate, throughput) {
            (Rate::Pages(pages), _) => Some(pages),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of pages a second"
            )]
            (_, Some(throughput)) => Some((throughput / 2.0) as u64),
            (_, None) => None,
        };
        self.ground.rate.set(self.rate);
        self.pass(Phase::Settle, SETTLE, || false)?;

        self.ground.begin_counting();
        self.sampler.begin();
        let first = self.snapshot();
        let begin = Instant::now();
        self.pass(Phase::Sample, self.ground.config.length, || false)?;
        let length = begin.elapsed();
        Ok(Sampled { length, throughput, rate: self.rate, ends: [first, self.snapshot()] })
    }

    /// Returns how many pages a second reclaim frees when threads ask for as many as they can.
    fn measure(&mut self) -> Result<f64> {
        let begin = (Instant::now(), Reclaimed::read(&self.ground.allocator));
        self.pass(Phase::Measure, MEASURE, || false)?;
        let pages = Reclaimed::read(&self.ground.allocator).since(&begin.1).pages();
        ensure!(
            pages >= 2 || self.is_interrupted(),
            "reclaim freed {pages} pages in {} s: too few to halve; try --rate with a number",
            MEASURE.as_secs()
        );
        #[expect(clippy::cast_precision_loss, reason = "a number of pages is far below 2^52")]
        Ok(pages as f64 / begin.0.elapsed().as_secs_f64())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Lets a phase pass: for so long, until `over` says so, or until it is interrupted.
    fn pass(&mut self, phase: Phase, length: Duration, over: impl Fn() -> bool) -> Result<()> {
        (self.phase, self.phase_began) = (phase, Instant::now());
        while self.phase_began.elapsed() < length && !over() && !self.is_interrupted() {
            thread::sleep(LOOK.min(length.saturating_sub(self.phase_began.elapsed())));
            if self.told.elapsed() >= TELL {
                self.told = Instant::now();
                let snapshot = self.snapshot();
                (self.tell)(&snapshot)?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let Ground { allocator, caches, live, .. } = self.ground;
        let sum = |counter: fn(&Live) -> &AtomicU64| {
            live.iter().map(|live| counter(live).load(Ordering::Relaxed)).sum()
        };
        let zones = allocator.zone_stats();
        Snapshot {
            at: self.began.elapsed(),
            phase: self.phase,
            sampled: if self.phase == Phase::Sample { self.phase_began.elapsed() } else { Duration::ZERO },
            rate: self.rate,
            zones: zones.iter().filter(|zone| zone.is_populated()).map(ZoneState::of).collect(),
            kswapds: allocator.kswapds().into_iter().map(KswapdState::from).collect(),
            reclaimed: Reclaimed::read(allocator),
            caches: caches.iter().map(|cache| cache.state()).collect(),
            requests: sum(|live| &live.requests),
            pages: sum(|live| &live.pages),
            failures: sum(|live| &live.failures),
            broken: self.ground.rules.report().count,
            samples: self.sampler.samples(),
        }
    }
}
