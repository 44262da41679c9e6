//! The threads of a soak, and whoever lets them work, pause, and take each other's places.

use std::{
    mem,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::{
    Config, Limit, Summary,
    grounds::Grounds,
    record::Record,
    tally::Tally,
    violation::{Place, Problem, caught},
    worker::{Pause, Worker},
};

/// Operations of each thread from one checkpoint to the next.
const STINT: u64 = 1 << 12;
/// Operations of each thread from one empty arena to the next.
const EPOCH: u64 = STINT * 8;
/// How often whoever waits for threads tells how far they are.
const TELL: Duration = Duration::from_millis(500);

/// How far a soak is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Time since its begin.
    pub elapsed: Duration,
    /// Operations that were begun.
    pub operations: u64,
    /// The epoch, from 0.
    pub epoch: u64,
}

/// Runs a soak until its limit or the first violation.
///
/// # Errors
/// The arena cannot be had, or a thread.
pub fn run(config: &Config, limit: Limit, tell: &mut dyn FnMut(Progress)) -> Result<Summary> {
    let grounds = Grounds::build(config)?;
    let summary = thread::scope(|scope| {
        let began = Instant::now();
        Soak {
            crew: Crew::hire(scope, &grounds)?,
            began,
            limit,
            epoch: 0,
            checkpoints: 0,
            pauses: Vec::new(),
            tell,
        }
        .run()
    })?;
    if summary.violation.is_some() {
        // What is wrong cannot be freed safely; it goes with the process.
        mem::forget(grounds);
    }
    Ok(summary)
}

struct Soak<'scope, 'env, 'tell> {
    crew: Crew<'scope, 'env>,
    began: Instant,
    limit: Limit,
    epoch: u64,
    checkpoints: u64,
    /// The places of this epoch's checkpoints in the order of all operations.
    pauses: Vec<u64>,
    tell: &'tell mut dyn FnMut(Progress),
}

impl Soak<'_, '_, '_> {
    fn run(mut self) -> Result<Summary> {
        let grounds = self.crew.grounds;
        let mut left = match self.limit {
            Limit::Time(_) => u64::MAX,
            Limit::Operations(operations) => operations.div_ceil(grounds.config.threads as u64),
        };
        while left > 0 && !self.is_over() && !grounds.watch.stops() {
            left -= self.epoch(left.min(EPOCH))?;
        }
        let (tally, churned) = (Tally::default(), self.crew.churned);
        let workers = self.crew.dismiss()?;
        let tally = workers.iter().fold(tally, |mut tally, worker| {
            tally.add(&worker.tally);
            tally
        });
        let violation = grounds.watch.first().map(|violation| {
            let record = Record::of(grounds, violation.clone(), &workers, &self.pauses);
            (violation, record)
        });
        if violation.is_some() {
            mem::forget(workers);
        }
        let (elapsed, epochs) = (self.began.elapsed(), self.epoch);
        let highatomic = grounds.highatomic();
        Ok(Summary { elapsed, tally, churned, highatomic, checkpoints: self.checkpoints, epochs, violation })
    }

    /// Runs an epoch of so many operations of each thread, or fewer when the time is over; returns how many.
    fn epoch(&mut self, operations: u64) -> Result<u64> {
        self.pauses.clear();
        self.everyone(Order::Begin(self.epoch))?;
        let mut number = 0;
        while number < operations && !(number > 0 && self.is_over()) {
            number = operations.min(number + STINT);
            self.everyone(Order::Advance(number))?;
            self.pauses.push(self.crew.grounds.ticket());
            if !self.check(number, Grounds::check) {
                return Ok(number);
            }
        }
        self.everyone(Order::Clear)?;
        if self.check(number, Grounds::check_empty) {
            self.epoch += 1;
        }
        Ok(number)
    }

    /// Checks what must be so while all threads pause; tells whether all is well.
    fn check(&mut self, number: u64, check: fn(&Grounds) -> Result<(), Problem>) -> bool {
        let grounds = self.crew.grounds;
        if grounds.watch.stops() {
            return false;
        }
        self.checkpoints += 1;
        let place = Place { seed: grounds.config.seed, epoch: self.epoch, thread: None, operation: number };
        place.enter();
        if let Err(problem) = caught(|| check(grounds)) {
            grounds.watch.report(problem.during(place));
        }
        !grounds.watch.stops()
    }

    fn everyone(&mut self, order: Order) -> Result<()> {
        let (began, epoch) = (self.began, self.epoch);
        let tell = &mut self.tell;
        self.crew
            .everyone(order, &mut |operations| tell(Progress { elapsed: began.elapsed(), operations, epoch }))
    }

    fn is_over(&self) -> bool {
        matches!(self.limit, Limit::Time(limit) if self.began.elapsed() >= limit)
    }
}

/// What a worker is told to do.
#[derive(Clone, Copy)]
enum Order {
    Begin(u64),
    Advance(u64),
    Clear,
}

/// A worker on a thread.
struct Member<'scope> {
    orders: Sender<Order>,
    thread: ScopedJoinHandle<'scope, Worker>,
}

/// All workers.
struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    grounds: &'scope Grounds,
    members: Vec<Option<Member<'scope>>>,
    reports: Receiver<(usize, Pause)>,
    reporter: Sender<(usize, Pause)>,
    churned: u64,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    fn hire(scope: &'scope Scope<'scope, 'env>, grounds: &'scope Grounds) -> Result<Self> {
        let (reporter, reports) = mpsc::channel();
        let mut crew = Self { scope, grounds, members: Vec::new(), reports, reporter, churned: 0 };
        for index in 0..grounds.config.threads {
            let member = crew.start(Worker::new(index))?;
            crew.members.push(Some(member));
        }
        Ok(crew)
    }

    fn start(&self, worker: Worker) -> Result<Member<'scope>> {
        let (orders, received) = mpsc::channel();
        let (grounds, reporter) = (self.grounds, self.reporter.clone());
        let work = move || serve(grounds, worker, &received, &reporter);
        let thread =
            thread::Builder::new().spawn_scoped(self.scope, work).context("cannot start a thread")?;
        Ok(Member { orders, thread })
    }

    /// Lets all do something and waits until they have. Who leaves its thread meanwhile goes on with a new one.
    fn everyone(&mut self, order: Order, tell: &mut dyn FnMut(u64)) -> Result<()> {
        let members = self.members.iter().flatten();
        members.for_each(|member| member.send(order));
        let mut busy = self.members.len();
        while busy > 0 {
            tell(self.grounds.tickets());
            match self.reports.recv_timeout(TELL) {
                Ok((_, Pause::Arrived)) => busy -= 1,
                Ok((index, Pause::Departed)) => {
                    let worker = self.end(index)?;
                    let member = self.start(worker)?;
                    member.send(order);
                    self.members[index] = Some(member);
                    self.churned += 1;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("one of its senders is at hand"),
            }
        }
        Ok(())
    }

    /// Waits until a thread of the system is gone, with its cache, and returns its worker.
    fn end(&mut self, index: usize) -> Result<Worker> {
        let member = self.members[index].take().context("a thread ended twice")?;
        drop(member.orders);
        member.thread.join().map_err(|_| anyhow!("thread {index} panicked outside of its operations"))
    }

    fn dismiss(&mut self) -> Result<Vec<Worker>> {
        (0..self.members.len()).map(|index| self.end(index)).collect()
    }
}

impl Member<'_> {
    fn send(&self, order: Order) {
        // Who is gone has reported that, which the receiver of reports will find.
        _ = self.orders.send(order);
    }
}

/// Reports that a worker leaves its thread also when that thread panics.
struct Report<'a> {
    index: usize,
    reporter: &'a Sender<(usize, Pause)>,
}

impl Report<'_> {
    fn send(&self, pause: Pause) {
        // A receiver that is gone is a soak that has ended with an error.
        _ = self.reporter.send((self.index, pause));
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.send(Pause::Departed);
        }
    }
}

/// Does what a worker is told until its thread ends.
fn serve(
    grounds: &Grounds,
    mut worker: Worker,
    orders: &Receiver<Order>,
    reporter: &Sender<(usize, Pause)>,
) -> Worker {
    let report = Report { index: worker.index, reporter };
    let mut seat = worker.sit(grounds);
    for order in orders {
        let pause = match order {
            Order::Begin(epoch) => {
                worker.begin(epoch);
                Pause::Arrived
            }
            Order::Advance(until) => worker.advance(grounds, &mut seat, until),
            Order::Clear => {
                worker.clear(grounds, &mut seat);
                Pause::Arrived
            }
        };
        report.send(pause);
        if pause == Pause::Departed {
            break;
        }
    }
    worker
}
