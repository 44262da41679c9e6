//! A team: the threads that run one workload on one allocator, pinned, asleep between samples.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::dispatch::{roles, serve};
use super::member::{Mailbox, Outcome, Shared, Task};
use super::seating::Seating;
use super::verify::{Exercise, Ledger};
use super::{Cpus, Fault, Plan};
use crate::rival::{Rival, RivalThread};
use crate::rivals::Visitor;

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

impl Team {
    /// Starts the threads, each pinned to a CPU, and waits until they are ready.
    pub fn start<R, B>(plan: Plan, cpus: &Cpus, rival: R) -> Self
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        let workers = plan.workers();
        let Seating { cpus, .. } = Seating::of(plan, cpus);
        let exercise = Exercise::of(plan);
        let shared = Arc::new(Shared {
            rival,
            plan,
            cpus,
            start: Barrier::new(workers),
            ledger: Ledger::new(exercise),
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

    /// Lets all threads allocate and free blocks, each other's too, in the way that the workload does, and checks that no two live
    /// ones overlap and that those which are to be zeroed are.
    ///
    /// # Errors
    /// One is not as it should be, or the allocator has too few blocks.
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
                Err(why) => fault = Some(explained(fault, why)),
            }
        }
        match (fault, span) {
            (None, Some((first_start, last_end))) => Ok(last_end - first_start),
            (fault, _) => Err(fault.unwrap_or(Fault::ThreadLost)),
        }
    }
}

/// Says what is wrong with a team of which one more member has stopped.
fn explained(fault: Option<Fault>, next: Fault) -> Fault {
    match (fault, next) {
        // Whom another member has left alone, slow or at its limit, has no blocks to go on with.
        (Some(before), Fault::OutOfBlocks) if before.is_result() => before,
        _ => next,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::rival::Request;
    use crate::rivals::{
        BuddyFrames, BuddyHeap, Global, Memory, SystemCalls, TalcHeap, WithHandle, WithoutHandle,
    };
    use crate::workload::{SetSize, Touch, Variant, WorkingSet, Workload};

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

        fn alloc_bulk(&mut self, request: Request, places: &mut [Option<T::Block>]) -> usize {
            let got = self.thread.alloc_bulk(request, places);
            assert_eq!(places.iter().flatten().count(), got);
            self.live.fetch_add(got as i64, Ordering::Relaxed);
            got
        }

        fn free_bulk(&mut self, places: &mut [Option<T::Block>], order: u32) {
            self.live.fetch_sub(places.iter().flatten().count() as i64, Ordering::Relaxed);
            self.thread.free_bulk(places, order);
            assert!(places.iter().all(Option::is_none));
        }
    }

    #[test]
    fn whom_a_slow_member_left_alone_is_not_what_is_wrong() {
        let (slow, refused) = (Fault::TooSlow { above_ns_per_op: 1.0 }, Fault::OutOfBlocks);
        let (lost, limit) = (Fault::ThreadLost, Fault::SystemLimit);
        for (stopped, expected) in [
            ([slow, refused], slow),
            ([refused, slow], slow),
            ([slow, lost], lost),
            ([refused; 2], refused),
            ([limit, refused], limit),
            ([refused, limit], limit),
        ] {
            let found = stopped.into_iter().fold(None, |fault, next| Some(explained(fault, next)));
            assert_eq!(found, Some(expected), "{stopped:?}");
        }
    }

    /// The variants of a workload that are code of their own.
    fn variants(workload: Workload) -> Vec<Variant> {
        let plain = Variant::default();
        let set = Some(SetSize { set: WorkingSet::Small, blocks: 64 });
        match workload {
            Workload::BulkApi => [1, 100].map(|batch| Variant { batch: Some(batch), ..plain }).to_vec(),
            _ if workload.has_sets() => {
                vec![plain, Variant { set, ..plain }, Variant { set, touch: Touch::Lines, ..plain }]
            }
            _ => vec![plain],
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
                Workload::Larson => (2, &[1, 3]),
                _ => (50, &[1, 3]),
            };
            for (variant, &threads) in
                variants(workload).into_iter().flat_map(|v| threads.iter().map(move |t| (v, t)))
            {
                let plan = Plan { variant, ..Plan::new(workload, order, threads) };
                let mut team = Team::start(plan, &cpus, Counted { rival: rival(), live: Arc::clone(&live) });
                team.verify().unwrap();
                assert_eq!(live.load(Ordering::Relaxed), 0, "{} after the verification", plan.label());
                assert!(team.sample(cycles).unwrap() > Duration::ZERO);
                team.sample(1).unwrap();
                drop(team);
                assert_eq!(live.load(Ordering::Relaxed), 0, "{} in the end", plan.label());
            }
        }
        live.load(Ordering::Relaxed)
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_the_c_librarys_allocator() {
        assert_eq!(left_after_all_workloads(0, || Global::new("glibc", std::alloc::System)), 0);
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_a_frame_allocator() {
        assert_eq!(left_after_all_workloads(1, || BuddyFrames::new(4 << 30).unwrap()), 0);
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_gfp() {
        let memory = Memory::from(4 << 30);
        assert_eq!(left_after_all_workloads(0, || WithHandle::new(memory).unwrap()), 0);
        assert_eq!(left_after_all_workloads(1, || WithoutHandle::new(memory).unwrap()), 0);
    }

    #[test]
    fn every_workload_frees_all_that_it_allocates_on_mappings_and_on_talc() {
        assert_eq!(left_after_all_workloads(0, SystemCalls::default), 0);
        assert_eq!(left_after_all_workloads(0, || TalcHeap::new(4 << 30).unwrap()), 0);
    }

    #[test]
    fn pairs_of_every_order_run() {
        for order in 0..=12 {
            let plan = Plan::new(Workload::Pair, order, 2);
            let heap = BuddyHeap::new(16 << 30).unwrap();
            let mut team = Team::start(plan, &Cpus::allowed().unwrap(), heap);
            team.verify().unwrap();
            team.sample(10).unwrap();
        }
    }

    #[test]
    fn a_refusal_ends_handoff_on_both_sides() {
        let plan = Plan::new(Workload::Handoff, 9, 2);
        let mut team = Team::start(plan, &Cpus::allowed().unwrap(), BuddyFrames::new(8 * (2 << 20)).unwrap());
        assert_eq!(team.sample(1000), Err(Fault::OutOfBlocks));
    }

    /// Refuses requests of one of its threads once it has had so many.
    struct Limited {
        frames: BuddyFrames,
        threads: AtomicI64,
        limit: i64,
    }

    struct LimitedThread<'a> {
        thread: <BuddyFrames as Rival>::Thread<'a>,
        left: i64,
    }

    impl Rival for Limited {
        type Thread<'a> = LimitedThread<'a>;

        fn name(&self) -> &'static str {
            "limited"
        }

        fn thread(&self) -> LimitedThread<'_> {
            let first = self.threads.fetch_add(1, Ordering::Relaxed) == 0;
            LimitedThread { thread: self.frames.thread(), left: if first { self.limit } else { i64::MAX } }
        }

        fn base(&self) -> Option<usize> {
            self.frames.base()
        }
    }

    impl<'a> RivalThread for LimitedThread<'a> {
        type Block = <<BuddyFrames as Rival>::Thread<'a> as RivalThread>::Block;

        fn alloc(&mut self, request: Request) -> Option<Self::Block> {
            self.left -= 1;
            if self.left < 0 { None } else { self.thread.alloc(request) }
        }

        fn free(&mut self, block: Self::Block, order: u32) {
            self.thread.free(block, order);
        }

        fn address(&self, block: &Self::Block) -> *mut u8 {
            self.thread.address(block)
        }
    }

    #[test]
    fn a_refusal_of_one_thread_breaks_larsons_circle_and_no_block_is_lost() {
        // While it fills its set, and in the middle of a cycle.
        for limit in [100, 1024 + 10_000] {
            let live = Arc::new(AtomicI64::new(0));
            let limited =
                Limited { frames: BuddyFrames::new(256 << 20).unwrap(), threads: AtomicI64::new(0), limit };
            let rival = Counted { rival: limited, live: Arc::clone(&live) };
            let mut team = Team::start(Plan::new(Workload::Larson, 0, 3), &Cpus::allowed().unwrap(), rival);
            assert_eq!(team.sample(50), Err(Fault::OutOfBlocks));
            assert_eq!(team.sample(1), Err(Fault::OutOfBlocks));
            drop(team);
            assert_eq!(live.load(Ordering::Relaxed), 0);
        }
    }
}
