//! A team: the threads that run one workload on one allocator, pinned, asleep between samples.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::verify::Ledger;
use super::{Cpus, Fault};
use crate::rival::{Rival, RivalThread};
use crate::rivals::Visitor;
use crate::workload::{
    Batch, BlockOrder, Bulk, Churn, Constant, Consume, Consumer, Pair, Produce, Producer, Random, Stop,
    Variable, Worker, Workload, queue,
};

/// What a team does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The workload.
    pub workload: Workload,
    /// The order of its blocks.
    pub order: u32,
    /// The number of threads that was asked for; see [`Workload::workers`].
    pub threads: usize,
}

impl Plan {
    /// Returns how many threads the team has.
    #[must_use]
    pub fn workers(self) -> usize {
        self.workload.workers(self.threads)
    }

    /// Returns how many of them complete operations of their own; see [`Workload::streams`].
    #[must_use]
    pub fn streams(self) -> usize {
        self.workload.streams(self.workers())
    }

    /// Returns the nanoseconds of one operation when every stream's cycles took so long.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of operations is far below 2^52")]
    pub fn ns_per_op(self, wall: Duration, cycles: u64) -> f64 {
        wall.as_secs_f64() * 1e9 / (cycles * self.workload.cycle_ops()) as f64
    }

    /// Returns the size in bytes of an arena that is large enough: 4 GiB, or 1.25 times what is alive at the
    /// most, rounded up to 2 MiB.
    #[must_use]
    pub fn arena_bytes(self) -> usize {
        let blocks = self.workload.live_blocks().max(2 * VERIFIED_BATCH);
        let live = blocks.saturating_mul(self.workers()).saturating_mul(4096 << self.order);
        live.saturating_add(live / 4).clamp(4 << 30, 1 << 46).next_multiple_of(2 << 20)
    }
}

/// How many blocks a thread allocates at a time while blocks are verified.
const VERIFIED_BATCH: usize = 64;

/// How long a sample may take before it is abandoned. Samples are calibrated to be far shorter: only a
/// single cycle of an allocator whose time grows with the number of its blocks takes so long.
const SAMPLE_LIMIT: Duration = Duration::from_secs(4);
/// How long a member frees what it holds in the end.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// What a member is told to do.
#[derive(Clone, Copy)]
enum Task {
    Verify,
    Sample { cycles: u64 },
}

/// When a member began and ended its part of a sample, or what is wrong.
type Outcome = Result<(Instant, Instant), Fault>;

/// The threads that run one workload on one allocator. Dropping it frees all blocks and ends the threads.
#[derive(Debug)]
pub struct Team {
    plan: Plan,
    tasks: Vec<Sender<Task>>,
    outcomes: Receiver<Outcome>,
    threads: Vec<JoinHandle<()>>,
    pinned: bool,
}

/// Starts a team on the allocator that it visits.
#[derive(Clone, Copy, Debug)]
pub struct StartTeam<'a> {
    /// What the team does.
    pub plan: Plan,
    /// Where its threads are pinned.
    pub cpus: &'a Cpus,
}

impl Visitor for StartTeam<'_> {
    type Output = Team;

    fn visit<R, B>(self, rival: R) -> Team
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        Team::start(self.plan, self.cpus, rival)
    }
}

/// What the members of a team share.
struct Shared<R, B> {
    rival: R,
    plan: Plan,
    cpus: Cpus,
    start: Barrier,
    ledger: Ledger<B>,
}

/// A member's side of the channels.
struct Mailbox {
    index: usize,
    tasks: Receiver<Task>,
    outcomes: Sender<Outcome>,
}

/// What distinguishes the members of a team.
enum Role<B> {
    Alone,
    Producer(Producer<B>),
    Consumer(Consumer<B>),
}

impl Team {
    /// Starts the threads, each pinned to a CPU, and waits until they are ready.
    pub fn start<R, B>(plan: Plan, cpus: &Cpus, rival: R) -> Self
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        let workers = plan.workers();
        let shared = Arc::new(Shared {
            rival,
            plan,
            cpus: cpus.clone(),
            start: Barrier::new(workers),
            ledger: Ledger::new(VERIFIED_BATCH),
        });
        let (outcome_sender, outcomes) = mpsc::channel();
        let (ready_sender, ready) = mpsc::channel();
        let (tasks, threads) = roles(plan.workload, workers)
            .into_iter()
            .enumerate()
            .map(|(index, role)| {
                let (task_sender, tasks) = mpsc::channel();
                let mailbox = Mailbox { index, tasks, outcomes: outcome_sender.clone() };
                let (shared, ready) = (Arc::clone(&shared), ready_sender.clone());
                let thread = std::thread::spawn(move || {
                    // A receiver that is gone is a main thread that is gone.
                    _ = ready.send(shared.cpus.pin(index));
                    drop(ready);
                    serve(&shared, role, &mailbox);
                });
                (task_sender, thread)
            })
            .unzip();
        drop(ready_sender);
        let pinned = ready.iter().all(|pinned| pinned);
        Self { plan, tasks, outcomes, threads, pinned }
    }

    /// Says whether every thread was pinned to its CPU.
    #[must_use]
    pub fn pinned(&self) -> bool {
        self.pinned
    }

    /// Returns what the team does.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Lets all threads allocate and free blocks, each other's too, and checks that no two live ones overlap.
    ///
    /// # Errors
    /// Two do, or the allocator has too few blocks.
    pub fn verify(&mut self) -> Result<(), Fault> {
        self.perform(Task::Verify).map(|_| ())
    }

    /// Runs so many cycles on every thread and returns their wall time: last end minus first start.
    ///
    /// # Errors
    /// The allocator refused a request, or did not come to the end within 4 seconds.
    pub fn sample(&mut self, cycles: u64) -> Result<Duration, Fault> {
        self.perform(Task::Sample { cycles })
    }

    fn perform(&mut self, task: Task) -> Result<Duration, Fault> {
        for tasks in &self.tasks {
            tasks.send(task).map_err(|_| Fault::ThreadLost)?;
        }
        let mut span: Option<(Instant, Instant)> = None;
        let mut fault = None;
        for _ in &self.tasks {
            match self.outcomes.recv().map_err(|_| Fault::ThreadLost)? {
                Ok((start, end)) => {
                    span = Some(span.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
                }
                Err(why) => fault = Some(why),
            }
        }
        match (fault, span) {
            (None, Some((first_start, last_end))) => Ok(last_end - first_start),
            (fault, _) => Err(fault.unwrap_or(Fault::ThreadLost)),
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.tasks.clear();
        for thread in self.threads.drain(..) {
            // A panic was reported as a lost thread.
            _ = thread.join();
        }
    }
}

/// Deals the roles of a workload out: consumers follow their producers, and so sit next to them.
fn roles<B: Send>(workload: Workload, workers: usize) -> Vec<Role<B>> {
    match workload {
        Workload::Handoff => (0..workers / 2)
            .flat_map(|_| {
                let (producer, consumer) = queue();
                [Role::Producer(producer), Role::Consumer(consumer)]
            })
            .collect(),
        _ => (0..workers).map(|_| Role::Alone).collect(),
    }
}

/// Runs a member of the team with the worker that its role and the plan ask for.
fn serve<R, B>(shared: &Shared<R, B>, role: Role<B>, mailbox: &Mailbox)
where
    R: Rival,
    for<'a> R::Thread<'a>: RivalThread<Block = B>,
    R: 'static,
    B: Send,
{
    macro_rules! constant_order {
        ($($order:literal)+) => {
            match shared.plan.order {
                $($order => drive(shared, Pair::new(Constant::<$order>), mailbox),)+
                order => drive(shared, Pair::new(Variable(order)), mailbox),
            }
        };
    }
    match shared.plan.workload {
        Workload::Pair => constant_order!(0 1 2 3 4 5 6 7 8 9 10),
        _ if shared.plan.order == 0 => serve_order(shared, role, Constant::<0>, mailbox),
        _ => serve_order(shared, role, Variable(shared.plan.order), mailbox),
    }
}

/// Runs a member of the team for a workload of which one order is compiled: the others take theirs as it
/// comes.
fn serve_order<R, B, O>(shared: &Shared<R, B>, role: Role<B>, order: O, mailbox: &Mailbox)
where
    R: Rival + 'static,
    B: Send,
    O: BlockOrder,
    for<'a> R::Thread<'a>: RivalThread<Block = B>,
{
    let seed = mailbox.index as u64 + 1;
    match (shared.plan.workload, role) {
        (_, Role::Producer(queue)) => drive(shared, Produce::new(order, queue), mailbox),
        (_, Role::Consumer(queue)) => drive(shared, Consume::new(order, queue), mailbox),
        (Workload::Pair, _) => drive(shared, Pair::new(order), mailbox),
        (Workload::Batch, _) => drive(shared, Batch::new(order), mailbox),
        (Workload::Bulk, _) => drive(shared, Bulk::new(order), mailbox),
        (Workload::Random, _) => drive(shared, Random::new(order, seed), mailbox),
        (Workload::Churn, _) => drive(shared, Churn::new(order, seed), mailbox),
        (Workload::Handoff, Role::Alone) => unreachable!("handoff has producers and consumers only"),
    }
}

/// Performs tasks with a worker until there will be no more.
fn drive<'a, R, B, W>(shared: &'a Shared<R, B>, mut worker: W, mailbox: &Mailbox)
where
    R: Rival,
    R::Thread<'a>: RivalThread<Block = B>,
    W: Worker<R::Thread<'a>>,
{
    let mut thread = shared.rival.thread();
    while let Ok(task) = mailbox.tasks.recv() {
        let outcome = match task {
            Task::Verify => verify(shared, &mut thread, mailbox.index),
            Task::Sample { cycles } => {
                // Whoever cannot even begin comes to the barrier all the same: the others wait there.
                let prepared = worker.prepare(&mut thread, Instant::now() + SAMPLE_LIMIT);
                shared.start.wait();
                let start = Instant::now();
                let ran = prepared.and_then(|()| worker.run(&mut thread, cycles, start + SAMPLE_LIMIT));
                ran.map(|()| (start, Instant::now())).map_err(|stop| fault(stop, shared.plan, cycles))
            }
        };
        if mailbox.outcomes.send(outcome).is_err() {
            break;
        }
    }
    worker.finish(&mut thread, Instant::now() + FINISH_LIMIT);
}

/// Says what is wrong with an allocator whose worker stopped in a sample of so many cycles.
fn fault(stop: Stop, plan: Plan, cycles: u64) -> Fault {
    match stop {
        Stop::OutOfBlocks => Fault::OutOfBlocks,
        Stop::OutOfTime => Fault::TooSlow { above_ns_per_op: plan.ns_per_op(SAMPLE_LIMIT, cycles) },
    }
}

fn verify<R, B, T>(shared: &Shared<R, B>, thread: &mut T, index: usize) -> Outcome
where
    T: RivalThread<Block = B>,
{
    shared.start.wait();
    let start = Instant::now();
    let request = Variable(shared.plan.order).request();
    shared.ledger.exercise(thread, request, index as u64 + 1)?;
    Ok((start, Instant::now()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::rival::Request;
    use crate::rivals::{BuddyFrames, BuddyHeap, Global};

    /// An allocator whose live blocks are counted.
    struct Counted<R> {
        rival: R,
        live: Arc<AtomicI64>,
    }

    struct CountedThread<'a, T> {
        thread: T,
        live: &'a AtomicI64,
    }

    impl<R: Rival> Rival for Counted<R> {
        type Thread<'a>
            = CountedThread<'a, R::Thread<'a>>
        where
            R: 'a;

        fn name(&self) -> &'static str {
            self.rival.name()
        }

        fn thread(&self) -> Self::Thread<'_> {
            CountedThread { thread: self.rival.thread(), live: &self.live }
        }

        fn base(&self) -> Option<usize> {
            self.rival.base()
        }
    }

    impl<T: RivalThread> RivalThread for CountedThread<'_, T> {
        type Block = T::Block;

        fn alloc(&mut self, request: Request) -> Option<T::Block> {
            self.thread.alloc(request).inspect(|_| _ = self.live.fetch_add(1, Ordering::Relaxed))
        }

        fn free(&mut self, block: T::Block, order: u32) {
            self.live.fetch_sub(1, Ordering::Relaxed);
            self.thread.free(block, order);
        }

        fn address(&self, block: &T::Block) -> *mut u8 {
            self.thread.address(block)
        }
    }

    /// Verifies and runs every workload with 1 and 3 threads, and returns how many blocks were left.
    fn left_after_all_workloads<R, B>(order: u32, rival: impl Fn() -> R) -> i64
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        let cpus = Cpus::allowed().unwrap();
        let live = Arc::new(AtomicI64::new(0));
        for workload in Workload::ALL {
            // One cycle of these is thousands of blocks, which unoptimised buddy lists take long for.
            let (cycles, threads): (u64, &[usize]) = match workload {
                Workload::Bulk | Workload::Churn => (1, &[1]),
                _ => (50, &[1, 3]),
            };
            for &threads in threads {
                let plan = Plan { workload, order, threads };
                let mut team = Team::start(plan, &cpus, Counted { rival: rival(), live: Arc::clone(&live) });
                team.verify().unwrap();
                assert_eq!(live.load(Ordering::Relaxed), 0, "{workload} after the verification");
                assert!(team.sample(cycles).unwrap() > Duration::ZERO);
                team.sample(1).unwrap();
            }
        }
        live.load(Ordering::Relaxed)
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_the_system_allocator() {
        assert_eq!(left_after_all_workloads(0, || Global::new("system", std::alloc::System)), 0);
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_a_frame_allocator() {
        assert_eq!(left_after_all_workloads(1, || BuddyFrames::new(4 << 30).unwrap()), 0);
    }

    #[test]
    fn pairs_of_every_order_run() {
        for order in 0..=12 {
            let plan = Plan { workload: Workload::Pair, order, threads: 2 };
            let heap = BuddyHeap::new(16 << 30).unwrap();
            let mut team = Team::start(plan, &Cpus::allowed().unwrap(), heap);
            team.verify().unwrap();
            team.sample(10).unwrap();
        }
    }

    #[test]
    fn a_refusal_ends_handoff_on_both_sides() {
        let plan = Plan { workload: Workload::Handoff, order: 9, threads: 2 };
        let mut team = Team::start(plan, &Cpus::allowed().unwrap(), BuddyFrames::new(8 * (2 << 20)).unwrap());
        assert_eq!(team.sample(1000), Err(Fault::OutOfBlocks));
    }

    #[test]
    fn the_time_of_an_operation_is_per_thread() {
        let plan = |workload, threads| Plan { workload, order: 0, threads };
        let wall = Duration::from_nanos(6400);
        assert_eq!(plan(Workload::Batch, 2).ns_per_op(wall, 10), 10.0);
        assert_eq!(plan(Workload::Handoff, 2).ns_per_op(wall, 10), 10.0);
        assert_eq!(plan(Workload::Pair, 4).ns_per_op(wall, 64), 100.0);
    }
}
