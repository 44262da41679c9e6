//! Random operations by several threads, one at a time, so that all that they change can be checked.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    coverage::Coverage,
    rig::{Rig, SHAPES, Shape},
};
use crate::sync::{Arc, Mutex, thread};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does what it is told, and ends when this is dropped.
struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    fn start() -> Self {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || receiver.into_iter().for_each(|job| job()));
        Self { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs `job` on the thread and waits for it; a panic comes back to the caller.
    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, answers) = mpsc::channel();
        let job = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(job));
            answer.send(result).expect("the other side waits");
        });
        self.jobs.as_ref().expect("it runs").send(job).expect("the thread runs");
        answers.recv().expect("a job answers").unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking());
    }
}

/// What one thread does until it is another one's turn.
#[derive(Clone, Debug)]
struct Turn {
    thread: usize,
    /// The thread ends afterwards, and a new one takes its place.
    ends: bool,
    steps: Vec<(u64, u64)>,
}

fn turn() -> impl Strategy<Value = Turn> {
    (any::<usize>(), prop::bool::weighted(0.02), prop::collection::vec(any::<(u64, u64)>(), 1..60))
        .prop_map(|(thread, ends, steps)| Turn { thread, ends, steps })
}

fn run(shape: Shape, turns: Vec<Turn>) {
    let mut workers: Vec<_> = (0..shape.threads).map(|_| Worker::start()).collect();
    let rig = Arc::new(Mutex::new(Rig::new(shape)));
    for turn in turns {
        let number = turn.thread % workers.len();
        let shared = Arc::clone(&rig);
        workers[number].run(move || {
            let mut rig = shared.lock();
            for words in turn.steps {
                rig.step(number, words);
            }
        });
        if turn.ends {
            let had_cache = {
                let rig = Arc::clone(&rig);
                workers[number].run(move || rig.lock().has_cache())
            };
            let caches = rig.lock().caches() - usize::from(had_cache);
            workers[number] = Worker::start();
            rig.lock().check_after_exit(caches);
        }
    }
    drop(workers);
    let mut rig = rig.lock();
    rig.finish();
    rig.coverage.add_to_total();
}

#[test]
fn blocks_counts_marks_and_errors_are_as_the_rules_say() {
    const CASES_A_SHAPE: u32 = 8;
    const TURNS: usize = 120;
    let config = ProptestConfig {
        cases: CASES_A_SHAPE,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    for shape in SHAPES {
        // Each as often as the others: what only one of them meets is met in every run.
        let turns = prop::collection::vec(turn(), TURNS..=TURNS);
        let result = TestRunner::new(config.clone()).run(&turns, |turns| {
            run(shape, turns);
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{shape:?}: {failure}");
        }
    }
    Coverage::total().check(600_000);
}
