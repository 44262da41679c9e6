//! What `gfp bench` is asked for, and what is made of it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use gfp::platform::Backing;
use serde_json::{Value, json};

use super::{Schedule, Threads};
use crate::environment;
use crate::measure::{Counters, Cpus, Placement, Plan};
use crate::rivals::{self, Memory};
use crate::workload::{Caches, MOST_A_CALL, Touch, Variant, WorkingSet, Workload, fragmentation};

/// The largest order: gfp's largest maximum order, a block of 1 GiB.
const MAX_ORDER: u32 = 18;

/// What `--workload` names: a workload by the clock, or the series that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experiment {
    /// Rows of times.
    Timed(Workload),
    /// [`fragmentation`]
    Fragmentation,
}

impl FromStr for Experiment {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match name {
            fragmentation::NAME => Ok(Self::Fragmentation),
            _ => name.parse().map(Self::Timed),
        }
    }
}

/// Measures allocators under synthetic workloads, side by side.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Workloads, comma-separated: pair, batch, bulk, random, churn, handoff, contended, remote, larson, ring, bulk-api, fault,
    /// fault-thp (transparent huge pages behind gfp's arena), fragmentation (arenas over time, no clock). [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub workload: Vec<Experiment>,

    /// Orders of the blocks, comma-separated, 0 to 18. [default: 0; contended 4 and 10; fault 0 and 9; with --quick 0, 3 and 9 for
    /// pair]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_ORDER)))]
    pub order: Vec<u32>,

    /// How much batch, random and churn keep alive, comma-separated: small, l2, l3, dram, by this machine's caches. Untouched
    /// blocks count with a line each, touched ones with all their bytes. [default: as the workloads are defined]
    #[arg(long, value_name = "SET,…", value_delimiter = ',')]
    pub set: Vec<WorkingSet>,

    /// Lets batch, random and churn write to each line of a block when it is handed out.
    #[arg(long)]
    pub touch: bool,

    /// Blocks a call of bulk-api, comma-separated. [default: 1, 4, 16, 64 and 256]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = parse_batch)]
    pub batch: Vec<usize>,

    /// Allocators, comma-separated; so:PATH is a library with malloc's functions. [default: all but gfp-slow, which is gfp a tenth
    /// slower; an unknown name lists them]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub allocator: Vec<String>,

    /// Numbers of threads, comma-separated; also all (one for each CPU), scale (1, 2, 4 … all), and 1x to 64x (so many for each
    /// CPU, which they share). Handoff and remote round up to pairs. [default: 1 and 2]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub threads: Vec<Threads>,

    /// In which order threads take CPUs, to which they are pinned. Where HWLOC_SYNTHETIC or HWLOC_XMLFILE describes another machine
    /// the order is that machine's, and everything says simulated.
    #[arg(long, value_enum, value_name = "ORDER", default_value_t)]
    pub placement: Placement,

    /// Size of the arena of those that have one, such as 4G or 512M. [default: at least 4G, and 1.25 times
    /// what the workload keeps alive with a frame more a block; 256M for fragmentation]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub arena: Option<usize>,

    /// Pages behind gfp's arena: 4k, thp, 2m or 1g (hugetlb, see gfp topo). Others have what the system gives them.
    #[arg(long, value_name = "PAGES", default_value_t)]
    pub backing: Backing,

    /// Samples of each allocator; where more than 16384 blocks live, as in bulk, random and churn, a third as many.
    #[arg(long, value_name = "N", value_parser = parse_samples, default_value_t = 36)]
    pub samples: usize,

    /// How often each row is visited for its part of the samples, all rows in turn: what the machine does changes within minutes,
    /// and where memory happens to lie with each set-up. At most the number of samples; where many blocks live, a third as often,
    /// because setting up takes long there.
    #[arg(long, value_name = "N", value_parser = parse_samples, default_value_t = 12)]
    pub visits: usize,

    /// Length of a sample in milliseconds; where many blocks live, four times that. [default: 20; with --quick 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub sample_ms: Option<u64>,

    /// Times single operations too, after the samples, and shows how their times are distributed.
    #[arg(long)]
    pub latency: bool,

    /// Adds gfp-node: gfp with an allocator for each NUMA node, of which each thread uses its node's.
    #[arg(long)]
    pub per_node: bool,

    /// stat counts cycles, instructions and misses, after the samples; record profiles the whole run, and draws a flame graph.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub perf: Option<Perf>,

    /// Measures all that the report needs, in a few minutes.
    #[arg(long)]
    pub quick: bool,

    /// Measures everything in this process, as a debugger wants it. Otherwise rows are visited by a process for each turn: where a
    /// program happens to lie in memory changes its times by several percent, for as long as the process lives.
    #[arg(long)]
    pub one_process: bool,

    /// Takes a turn for the process that started this one.
    #[arg(long, hide = true)]
    pub take_turn: bool,

    /// Writes one JSON object a line to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Appends each row to the record in this folder as soon as it is measured, and leaves out rows that are there already: after
    /// Ctrl-C the same command goes on where it stopped.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// What the counters of the processor are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Perf {
    /// Counts an operation's cycles, instructions, cache and TLB misses, page faults and context switches
    Stat,
    /// Runs the command under perf record, with call graphs
    Record,
}

impl BenchArgs {
    /// Returns the rows of the report on so many CPUs, in its order.
    ///
    /// # Errors
    /// A working set is too small for a block, or too large for this machine.
    pub(super) fn plans(&self, cpus: usize) -> anyhow::Result<Vec<Plan>> {
        let threads = self.thread_counts(cpus);
        let mut plans = Vec::new();
        for workload in self.workloads() {
            let default_orders: &[u32] =
                if self.quick && workload == Workload::Pair { &[0, 3, 9] } else { workload.orders() };
            for &order in or(&self.order, default_orders) {
                for &threads in &threads {
                    let variants = self.variants(workload, order, workload.workers(threads))?;
                    plans.extend(variants.into_iter().map(|variant| Plan {
                        workload,
                        order,
                        threads,
                        variant,
                    }));
                }
            }
        }
        Ok(plans)
    }

    /// Returns the numbers of threads on so many CPUs.
    fn thread_counts(&self, cpus: usize) -> Vec<usize> {
        Threads::numbers(or(&self.threads, &[Threads::Count(1), Threads::Count(2)]), cpus)
    }

    /// Returns the workloads by the clock. All of them are those that this system can run.
    fn workloads(&self) -> Vec<Workload> {
        if self.workload.is_empty() {
            let can_run = |workload: &Workload| *workload != Workload::FaultThp || environment::has_thp();
            return Workload::ALL.into_iter().filter(can_run).collect();
        }
        let timed = |experiment: &Experiment| match *experiment {
            Experiment::Timed(workload) => Some(workload),
            Experiment::Fragmentation => None,
        };
        self.workload.iter().filter_map(timed).collect()
    }

    /// Says whether the series over time are asked for.
    pub(super) fn wants_fragmentation(&self) -> bool {
        self.workload.is_empty() || self.workload.contains(&Experiment::Fragmentation)
    }

    /// Returns the variants of a workload that are asked for.
    fn variants(&self, workload: Workload, order: u32, workers: usize) -> anyhow::Result<Vec<Variant>> {
        let plain = Variant::default();
        if !workload.batches().is_empty() {
            let batches = or(&self.batch, workload.batches());
            return Ok(batches.iter().map(|&batch| Variant { batch: Some(batch), ..plain }).collect());
        }
        if !workload.has_sets() {
            return Ok(vec![plain]);
        }
        let touch = if self.touch { Touch::Lines } else { Touch::Untouched };
        if self.set.is_empty() {
            return Ok(vec![Variant { touch, ..plain }]);
        }
        let caches = Caches::of_this_machine();
        let of_set = |&set: &WorkingSet| {
            let memory = environment::memory_kb().map_or(u64::MAX, |kb| kb.saturating_mul(1024));
            let size =
                set.size(order, touch, workers, &caches, usize::try_from(memory).unwrap_or(usize::MAX))?;
            let live = size.blocks.saturating_mul(workers).saturating_mul(4096 << order) as u64;
            ensure!(
                live <= memory / 2,
                "the set {set} at order {order} on {workers} threads is {} MiB of blocks, more than half of the memory: choose fewer \
                 --threads or a smaller --order",
                live >> 20
            );
            Ok(Variant { set: Some(size), touch, ..plain })
        };
        self.set.iter().map(of_set).collect()
    }

    /// Returns the allocators to measure, in the order of the columns.
    ///
    /// # Errors
    /// One of them does not exist.
    pub(super) fn allocators(&self) -> anyhow::Result<Vec<&str>> {
        rivals::check_names(&self.allocator)?;
        let mut names = if self.allocator.is_empty() {
            rivals::NAMES.to_vec()
        } else {
            self.allocator.iter().map(String::as_str).collect()
        };
        if self.per_node && !names.contains(&rivals::PER_NODE) {
            let after_gfp = names.iter().rposition(|name| rivals::is_ours(name)).map_or(0, |last| last + 1);
            names.insert(after_gfp, rivals::PER_NODE);
        }
        Ok(names)
    }

    /// Returns the arena for a row.
    pub(super) fn memory(&self, plan: Plan) -> Memory {
        let backing = plan.workload.backing().unwrap_or(self.backing);
        let default = || plan.arena_bytes().next_multiple_of(backing.page_bytes());
        Memory { bytes: self.arena.unwrap_or_else(default), backing }
    }

    /// Returns what figures must have in common to stand beside each other in a record, besides the row.
    #[must_use]
    pub fn settings(&self) -> Value {
        json!({
            "samples": self.samples,
            "visits": self.visits,
            "sample_ms": u64::try_from(self.sample_length().as_millis()).unwrap_or(u64::MAX),
            "arena": self.arena,
            "backing": self.backing.to_string(),
            "latency": self.latency,
            "perf_stat": self.perf == Some(Perf::Stat),
            "one_process": self.one_process,
        })
    }

    /// Opens the counters that are asked for.
    pub(super) fn counters(&self) -> Option<Counters> {
        (self.perf == Some(Perf::Stat)).then(Counters::open)
    }

    /// Says when a row is visited.
    pub(super) fn schedule(&self, plan: Plan) -> Schedule {
        Schedule::new(self.samples, self.visits, plan.workload.live_blocks(plan.variant))
    }

    pub(super) fn sample_length(&self) -> Duration {
        Duration::from_millis(self.sample_ms.unwrap_or(if self.quick { 5 } else { 20 }))
    }

    /// Says what the reader must know about the threads, if anything.
    pub(super) fn remark(&self, cpus: &Cpus) -> Option<String> {
        let count = cpus.count();
        if cpus.is_simulated() {
            return Some(format!(
                "simulated: the {count} CPUs are of another machine; threads take turns on those of this one, and times say \
                 nothing about that one"
            ));
        }
        let threads = self.thread_counts(count);
        let workers = self
            .workloads()
            .into_iter()
            .flat_map(|workload| threads.iter().map(move |&threads| workload.workers(threads)));
        let workers = workers.max()?;
        (workers > count).then(|| {
            format!("up to {workers} threads on {count} CPUs: they are pinned round robin and take turns")
        })
    }
}

fn or<'a, T>(chosen: &'a [T], default: &'a [T]) -> &'a [T] {
    if chosen.is_empty() { default } else { chosen }
}

/// Parses a size: a number of bytes, or one with K, M, G or T (powers of 1024; "iB" or "B" may follow).
///
/// # Errors
/// It is no such size, or zero.
pub fn parse_size(text: &str) -> anyhow::Result<usize> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => anyhow::bail!("\"{text}\" is no size; write bytes, or a number with K, M, G or T, such as 4G"),
    };
    let number: usize = number.parse().with_context(|| format!("\"{text}\" does not begin with a number"))?;
    let bytes = number.checked_mul(1 << shift).with_context(|| format!("\"{text}\" is too large"))?;
    ensure!(bytes > 0, "a size must be more than 0");
    Ok(bytes)
}

fn parse_batch(text: &str) -> anyhow::Result<usize> {
    parse_count(text, MOST_A_CALL)
}

fn parse_samples(text: &str) -> anyhow::Result<usize> {
    parse_count(text, 1_000_000)
}

/// Parses a number from 1 to `most`.
///
/// # Errors
/// It is no such number.
pub fn parse_count(text: &str, most: usize) -> anyhow::Result<usize> {
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.with_context(|| format!("\"{text}\" is not a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::{super::super::testing::parse as args, *};

    #[test]
    fn a_size_is_bytes_or_a_number_with_a_unit() {
        for (text, bytes) in [("4096", 4096), ("512M", 512 << 20), ("4GiB", 4 << 30), ("1tb", 1 << 40)] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "G", "0", "0G", "4X", "-4G", "1.5G", "99999999999999999999", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    fn plans(line: &str) -> Vec<Plan> {
        args::<BenchArgs>(line).unwrap().plans(2).unwrap()
    }

    #[test]
    fn the_default_is_every_workload_with_its_orders_on_1_and_2_threads() {
        let plans = plans("");
        for workload in Workload::ALL {
            let rows: Vec<&Plan> = plans.iter().filter(|plan| plan.workload == workload).collect();
            let expected = match workload {
                Workload::Contended | Workload::Fault => 4,
                Workload::BulkApi => 10,
                Workload::FaultThp if environment::has_thp() => 4,
                Workload::FaultThp => 0,
                _ => 2,
            };
            assert_eq!(rows.len(), expected, "{workload}");
            assert!(rows.iter().all(|plan| workload.orders().contains(&plan.order)));
        }
        assert!(args::<BenchArgs>("").unwrap().wants_fragmentation());
    }

    #[test]
    fn quick_adds_orders_3_and_9_to_pair_only() {
        let (quick, plain) = (plans("--quick"), plans(""));
        let orders: Vec<u32> =
            quick.iter().filter(|plan| plan.workload == Workload::Pair).map(|plan| plan.order).collect();
        assert_eq!(orders, [0, 0, 3, 3, 9, 9]);
        assert_eq!(quick.len(), plain.len() + 4);
    }

    #[test]
    fn arenas_by_node_stand_beside_gfp() {
        for (line, names) in [
            ("--allocator gfp,buddy-heap --per-node", &["gfp", "gfp-node", "buddy-heap"][..]),
            ("--allocator buddy-heap --per-node", &["gfp-node", "buddy-heap"]),
            ("--allocator gfp-node --per-node", &["gfp-node"]),
            ("--allocator gfp", &["gfp"]),
        ] {
            assert_eq!(args::<BenchArgs>(line).unwrap().allocators().unwrap(), names, "{line}");
        }
    }

    #[test]
    fn what_is_asked_for_wins_over_quick() {
        let args: BenchArgs = args("--quick --workload bulk --order 1,2 --threads 3 --samples 7").unwrap();
        let plan = |order| Plan::new(Workload::Bulk, order, 3);
        assert_eq!(args.plans(2).unwrap(), [plan(1), plan(2)]);
        assert_eq!(args.samples, 7);
    }

    #[test]
    fn sets_and_touching_are_for_the_workloads_that_have_them() {
        let plans = plans("--workload pair,random,bulk-api --threads 1 --set small,l3 --touch --batch 2,8");
        let chosen: Vec<_> = plans
            .iter()
            .map(|Plan { variant, .. }| (variant.set.map(|size| size.set), variant.touch, variant.batch))
            .collect();
        assert_eq!(
            chosen,
            [
                (None, Touch::Untouched, None),
                (Some(WorkingSet::Small), Touch::Lines, None),
                (Some(WorkingSet::L3), Touch::Lines, None),
                (None, Touch::Untouched, Some(2)),
                (None, Touch::Untouched, Some(8)),
            ]
        );
    }

    #[test]
    fn a_set_that_no_machine_can_hold_is_an_error_before_anything_is_measured() {
        for (line, answer) in [
            ("--workload random --set small --touch --order 9", "do not fit into the set small"),
            ("--workload churn --set dram --order 18 --threads 4096", "more than half of the memory"),
        ] {
            let message = args::<BenchArgs>(line).unwrap().plans(2).unwrap_err().to_string();
            assert!(message.contains(answer), "{message}");
        }
    }

    #[test]
    fn fragmentation_alone_has_no_rows() {
        let args: BenchArgs = args("--workload fragmentation").unwrap();
        assert!(args.plans(2).unwrap().is_empty() && args.wants_fragmentation());
        assert!(!self::args::<BenchArgs>("--workload pair").unwrap().wants_fragmentation());
    }

    #[test]
    fn the_arena_has_room_for_what_lives() {
        let default: BenchArgs = args("").unwrap();
        let plan = Plan::new(Workload::Bulk, 0, 1);
        assert_eq!(default.memory(plan).bytes, 4 << 30);
        // 512 MiB of blocks each, and a frame more for each block.
        let many = Plan { threads: 64, ..plan };
        assert_eq!(default.memory(many).bytes, 80 << 30);
        let chosen = args::<BenchArgs>("--arena 1G --backing 2m").unwrap().memory(many);
        assert_eq!((chosen.bytes, chosen.backing), (1 << 30, Backing::Huge2M));
        assert_eq!(default.memory(Plan::new(Workload::FaultThp, 0, 1)).backing, Backing::Thp);
    }

    #[test]
    fn bad_values_are_answered_with_what_would_do() {
        for (line, answer) in [
            ("--workload pare", "there are: pair, batch, bulk, random, churn, handoff, contended"),
            ("--set l4", "there are: small, l2, l3, dram"),
            ("--batch 0", "from 1 to 4096"),
            ("--threads 0", "from 1 to 4096"),
            ("--order 19", "0..=18"),
            ("--samples x", "from 1 to"),
            ("--sample-ms 0", "1..=60000"),
            ("--arena lots", "such as 4G"),
            ("--backing 2M", "4k, thp, 2m or 1g"),
        ] {
            let message = args::<BenchArgs>(line).unwrap_err();
            assert!(message.contains(answer), "{line}: {message}");
        }
    }

    #[test]
    fn an_unknown_allocator_is_answered_with_those_that_exist() {
        let args: BenchArgs = args("--allocator glibc,malloc").unwrap();
        let message = args.allocators().unwrap_err().to_string();
        assert!(message.contains("\"malloc\"") && message.contains("buddy-heap"), "{message}");
    }
}
