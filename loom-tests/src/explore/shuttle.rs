//! Random schedules.
//!
//! | scheduler | chooses |
//! |---|---|
//! | random | any thread at each step |
//! | PCT | the runnable thread of the highest priority; priorities are random, and change at `DEPTH` − 1 random steps |
//!
//! PCT finds a bug that needs `DEPTH` orderings with a known probability (Burckhardt and others, ASPLOS 2010), and lets threads
//! run or rest for long, which a random choice at each step hardly ever does.
//!
//! The schedules follow from `SEED`, or `GFP_TEST_SEED`, and are the same from run to run. `GFP_TEST_SCALE` multiplies them.

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use std::{env, fs};

use crate::Model;

/// The name of the README's table.
pub(crate) const TABLE: &str = "schedules";
/// What writes it.
pub(crate) const COMMAND: &str = "cargo shuttle -- --table";

const SEED: u64 = 1;
/// Orderings that a bug may need for PCT to find it.
const DEPTH: usize = 4;
/// More than ten times what a schedule takes that gets anywhere.
const STEPS: usize = 200_000;
/// What a thread has at least: reports and batches live there.
const STACK_BYTES: usize = 256 << 10;

/// Reads a number from the environment.
fn variable(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn seed() -> u64 {
    variable("GFP_TEST_SEED", SEED)
}

fn scale() -> usize {
    usize::try_from(variable("GFP_TEST_SCALE", 1)).expect("64 bits")
}

/// Says from what the schedules follow.
pub(crate) fn describe() -> String {
    format!("random, then PCT of depth {DEPTH}; GFP_TEST_SEED={} GFP_TEST_SCALE={}", seed(), scale())
}

/// Says which schedules a model asks for.
pub(crate) fn schedules(model: &Model) -> String {
    let each = model.schedules;
    format!("{each} random schedules and {each} of PCT")
}

/// Runs `program` under random schedules, as many of each kind as the model asks for.
pub(crate) fn explore(model: &Model, program: impl Fn() + Send + Sync + Copy + 'static) {
    let (seed, schedules) = (seed(), model.schedules * scale());
    run(RandomScheduler::new_from_seed(seed, schedules), program);
    run(PctScheduler::new_from_seed(seed, DEPTH, schedules), program);
}

/// Runs `program` under one schedule, given as text or as a file with it.
pub(crate) fn replay(schedule: &str, program: fn()) {
    let schedule = fs::read_to_string(schedule).unwrap_or_else(|_| schedule.to_owned());
    run(ReplayScheduler::new_from_encoded(schedule.trim()), program);
}

fn run(scheduler: impl Scheduler + 'static, program: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(program);
}
