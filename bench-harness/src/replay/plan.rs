//! Which thread replays which event, and in which order.

use crate::{
    measure::Cpus,
    trace::{Op, Trace},
};

/// How many threads replay a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One for each CPU of the trace.
    Trace,
    /// One for all events.
    One,
}

impl Threads {
    /// Returns the name that the command line and the records use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::One => "1",
        }
    }
}

/// One event as its thread sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The event's number in the trace.
    pub(super) event: u32,
    /// Where the block is held.
    pub(super) slot: u32,
    /// How many earlier events the slot has: even for an allocation, odd for a free.
    pub(super) turn: u32,
    pub(super) order: u8,
    pub(super) op: Op,
}

/// What allocators are to replay.
#[derive(Debug)]
pub struct Job {
    pub(super) threads: Threads,
    /// The events of each thread, in the trace's order.
    pub(super) workers: Vec<Vec<Step>>,
    /// The allocations whose blocks are live when the trace ends.
    pub(super) leftovers: Vec<Step>,
    pub(super) slots: usize,
    pub(super) events: usize,
    pub(super) cpus: Cpus,
}

impl Job {
    /// Distributes the events of a trace over threads, which will be pinned to `cpus` in turn.
    pub fn new(trace: &Trace, threads: Threads, cpus: Cpus) -> Self {
        let count = match threads {
            Threads::Trace => trace.cpus.len(),
            Threads::One => 1,
        };
        let mut workers = vec![Vec::new(); count];
        let mut last: Vec<Option<Step>> = vec![None; trace.pfns.len()];
        for (number, event) in (0_u32..).zip(&trace.events) {
            let previous = last[event.slot as usize];
            let step = Step {
                event: number,
                slot: event.slot,
                turn: previous.map_or(0, |step| step.turn + 1),
                order: event.order,
                op: event.op,
            };
            last[event.slot as usize] = Some(step);
            let worker = match threads {
                Threads::Trace => trace.cpus.partition_point(|&cpu| cpu < event.cpu),
                Threads::One => 0,
            };
            workers[worker].push(step);
        }
        let leftovers = last.into_iter().flatten().filter(|step| step.op != Op::Free).collect();
        Self { threads, workers, leftovers, slots: trace.pfns.len(), events: trace.events.len(), cpus }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_goes_to_the_thread_of_its_cpu_with_its_turn() {
        let text = " t-1 [007] ..... 1.0: mm_page_alloc: page=0 pfn=1 order=0 migratetype=0 gfp_flags=none\n \
                     t-1 [002] ..... 1.0: mm_page_free: page=0 pfn=1 order=0\n \
                     t-1 [002] ..... 1.0: mm_page_alloc: page=0 pfn=1 order=0 migratetype=0 gfp_flags=none\n";
        let trace = Trace::read(text.as_bytes(), None).unwrap();
        let cpus = Cpus::allowed().unwrap();
        let job = Job::new(&trace, Threads::Trace, cpus.clone());
        let turns: Vec<Vec<(u32, u32)>> = job
            .workers
            .iter()
            .map(|steps| steps.iter().map(|step| (step.event, step.turn)).collect())
            .collect();
        assert_eq!(turns, [vec![(1, 1), (2, 2)], vec![(0, 0)]]);
        assert_eq!(job.leftovers.iter().map(|step| step.turn).collect::<Vec<_>>(), [2]);
        assert_eq!(Job::new(&trace, Threads::One, cpus).workers.len(), 1);
    }
}
