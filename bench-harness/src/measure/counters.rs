//! Counters of the processor and the kernel (perf_event_open), for all threads together.

use std::borrow::Cow;

use perf_event::events::{Cache, CacheId, CacheOp, CacheResult, Event, Hardware, Software};
use perf_event::{Builder, Counter};
use serde::{Deserialize, Serialize};

/// What is counted, each where the machine and its settings allow it.
#[derive(Debug)]
pub struct Counters(Vec<(&'static str, Option<Counter>)>);

/// What was counted; nothing for what cannot be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts(Vec<(Cow<'static, str>, Option<f64>)>);

/// Whether what the kernel does for a thread counts as well.
#[derive(Clone, Copy)]
enum Kernel {
    Counted,
    Not,
}

impl Counters {
    /// Opens them, not counting yet. Threads that the calling thread starts from then on are counted with it, and their threads
    /// too: so this comes before any.
    #[must_use]
    pub fn open() -> Self {
        let dtlb = Cache { which: CacheId::DTLB, operation: CacheOp::READ, result: CacheResult::MISS };
        Self(vec![
            ("cycles", open(Hardware::CPU_CYCLES, Kernel::Not)),
            ("instructions", open(Hardware::INSTRUCTIONS, Kernel::Not)),
            ("cache_misses", open(Hardware::CACHE_MISSES, Kernel::Not)),
            ("dtlb_misses", open(dtlb, Kernel::Not)),
            ("branch_misses", open(Hardware::BRANCH_MISSES, Kernel::Not)),
            ("page_faults", open(Software::PAGE_FAULTS, Kernel::Not)),
            // Only the kernel switches.
            ("context_switches", open(Software::CONTEXT_SWITCHES, Kernel::Counted)),
        ])
    }

    /// Counts what happens during some work. A counter that fails on the way has counted nothing.
    pub fn count<R>(&mut self, work: impl FnOnce() -> R) -> (R, Counts) {
        let before: Vec<Option<f64>> = self.each(|counter| {
            let before = read(counter)?;
            counter.enable().ok()?;
            Some(before)
        });
        let result = work();
        let after = self.each(|counter| {
            counter.disable().ok()?;
            read(counter)
        });
        let difference = |(before, after): (Option<f64>, Option<f64>)| Some(after? - before?);
        let names = self.0.iter().map(|&(name, _)| Cow::Borrowed(name));
        (result, Counts(names.zip(before.into_iter().zip(after).map(difference)).collect()))
    }

    fn each(&mut self, work: impl Fn(&mut Counter) -> Option<f64>) -> Vec<Option<f64>> {
        self.0.iter_mut().map(|(_, counter)| counter.as_mut().and_then(&work)).collect()
    }
}

impl Counts {
    /// Divides by a number of operations.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn per_operation(self, operations: u64) -> Self {
        let operations = operations.max(1) as f64;
        Self(self.0.into_iter().map(|(name, count)| (name, count.map(|count| count / operations))).collect())
    }

    /// Lists what was counted by its name, in the order of the report.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        self.0.iter().map(|(name, count)| (&**name, *count))
    }
}

/// Opens a counter; none where the machine has none of its kind, or does not let this process.
fn open(event: impl Event, kernel: Kernel) -> Option<Counter> {
    let mut builder = Builder::new(event);
    builder.inherit(true);
    if matches!(kernel, Kernel::Counted) {
        builder.include_kernel();
    }
    builder.build().ok()
}

/// Reads a counter; more of them than the processor has take turns, and what each missed meanwhile is made up for.
fn read(counter: &mut Counter) -> Option<f64> {
    let read = counter.read_full().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = read.count() as f64;
    let (enabled, running) = (read.time_enabled()?.as_secs_f64(), read.time_running()?.as_secs_f64());
    match (count, running) {
        (0.0, _) => Some(0.0),
        (_, 0.0) => None,
        _ => Some(count * enabled / running),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_threads_that_were_started_since_are_counted_while_it_counts() {
        const PAGES: u32 = 1000;
        let touch = || {
            let worker = std::thread::spawn(|| {
                // So much memory is always new: no allocator has it in store.
                let mut memory = Vec::<u8>::with_capacity(256 << 20);
                for page in memory.spare_capacity_mut().chunks_mut(4096).take(PAGES as usize) {
                    page[0].write(1);
                }
                std::hint::black_box(&mut memory);
            });
            worker.join().unwrap();
        };
        let mut counters = Counters::open();
        touch();
        let ((), counts) = counters.count(touch);
        let faults = counts.iter().find(|&(name, _)| name == "page_faults").unwrap().1;
        // A machine may refuse counters, and huge pages may save faults; what there was before is not counted.
        assert!(faults.is_none_or(|faults| (1.0..2.0 * f64::from(PAGES)).contains(&faults)), "{faults:?}");
        let per_page = counts.clone().per_operation(PAGES.into());
        for ((_, all), (_, each)) in counts.iter().zip(per_page.iter()) {
            assert_eq!(all.map(|all| all / f64::from(PAGES)), each);
        }
        assert!(counts.iter().all(|(_, count)| count.is_none_or(|count| count >= 0.0)), "{counts:?}");
    }
}
