//! What `gfp bench` is asked for, and what is made of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use gfp::platform::Backing;
use serde_json::{Value, json};

use crate::measure::{Cpus, Plan};
use crate::rivals::{self, Memory};
use crate::workload::Workload;

/// The largest order: gfp's largest maximum order, a block of 1 GiB.
const MAX_ORDER: u32 = 18;

/// Measures allocators under synthetic workloads, side by side.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Workloads, comma-separated: pair, batch, bulk, random, churn, handoff. [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub workload: Vec<Workload>,

    /// Orders of the blocks, comma-separated, 0 to 18. [default: 0; with --quick 0, 3 and 9 for pair]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_ORDER)))]
    pub order: Vec<u32>,

    /// Allocators, comma-separated. [default: all; an unknown name lists them]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub allocator: Vec<String>,

    /// Numbers of threads, comma-separated; handoff rounds up to pairs. [default: 1 and 2]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = parse_threads)]
    pub threads: Vec<usize>,

    /// Size of the arena of those that have one, such as 4G or 512M. [default: at least 4G, and 1.25 times
    /// what the workload keeps alive]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub arena: Option<usize>,

    /// Pages behind gfp's arena: 4k, thp, 2m or 1g (hugetlb, see gfp topo). Others have what the system gives them.
    #[arg(long, value_name = "PAGES", default_value_t)]
    pub backing: Backing,

    /// Samples of each allocator. [default: 11; with --quick 5]
    #[arg(long, value_name = "N", value_parser = parse_samples)]
    pub samples: Option<usize>,

    /// Length of a sample in milliseconds. [default: 50; with --quick 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub sample_ms: Option<u64>,

    /// Measures all that the report needs, in a few minutes.
    #[arg(long)]
    pub quick: bool,

    /// Writes one JSON object a line to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Appends each row to the record in this folder as soon as it is measured, and leaves out rows that are there already: after
    /// Ctrl-C the same command goes on where it stopped.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

impl BenchArgs {
    /// Returns the rows of the report, in its order.
    pub(super) fn plans(&self) -> Vec<Plan> {
        let workloads = or(&self.workload, &Workload::ALL);
        let threads = or(&self.threads, &[1, 2]);
        let mut plans = Vec::new();
        for &workload in workloads {
            let default_orders: &[u32] =
                if self.quick && workload == Workload::Pair { &[0, 3, 9] } else { &[0] };
            for &order in or(&self.order, default_orders) {
                plans.extend(threads.iter().map(|&threads| Plan { workload, order, threads }));
            }
        }
        plans
    }

    /// Returns the allocators to measure, in the order of the columns.
    ///
    /// # Errors
    /// One of them does not exist.
    pub(super) fn allocators(&self) -> anyhow::Result<Vec<&str>> {
        rivals::check_names(&self.allocator)?;
        Ok(if self.allocator.is_empty() {
            rivals::NAMES.to_vec()
        } else {
            self.allocator.iter().map(String::as_str).collect()
        })
    }

    /// Returns the arena for a row.
    pub(super) fn memory(&self, plan: Plan) -> Memory {
        let backing = self.backing;
        let default = || plan.arena_bytes().next_multiple_of(backing.page_bytes());
        Memory { bytes: self.arena.unwrap_or_else(default), backing }
    }

    /// Returns what figures must have in common to stand beside each other in a record, besides the row.
    #[must_use]
    pub fn settings(&self) -> Value {
        json!({
            "samples": self.samples(),
            "sample_ms": u64::try_from(self.sample_length().as_millis()).unwrap_or(u64::MAX),
            "arena": self.arena,
            "backing": self.backing.to_string(),
        })
    }

    pub(super) fn samples(&self) -> usize {
        self.samples.unwrap_or(if self.quick { 5 } else { 11 })
    }

    pub(super) fn sample_length(&self) -> Duration {
        Duration::from_millis(self.sample_ms.unwrap_or(if self.quick { 20 } else { 50 }))
    }

    /// Says what the reader must know about the threads, if anything.
    pub(super) fn remark(&self, cpus: &Cpus) -> Option<String> {
        let workers = self.plans().into_iter().map(Plan::workers).max()?;
        (workers > cpus.count()).then(|| {
            format!(
                "up to {workers} threads on {} CPUs: they are pinned round robin and take turns",
                cpus.count()
            )
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

fn parse_threads(text: &str) -> anyhow::Result<usize> {
    parse_count(text, 4096)
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

    #[test]
    fn the_default_is_every_workload_at_order_0_on_1_and_2_threads() {
        let plans = args::<BenchArgs>("").unwrap().plans();
        assert_eq!(plans.len(), 2 * Workload::ALL.len());
        assert!(plans.iter().all(|plan| plan.order == 0));
    }

    #[test]
    fn quick_adds_orders_3_and_9_to_pair_only() {
        let plans = args::<BenchArgs>("--quick").unwrap().plans();
        let orders: Vec<u32> =
            plans.iter().filter(|plan| plan.workload == Workload::Pair).map(|plan| plan.order).collect();
        assert_eq!(orders, [0, 0, 3, 3, 9, 9]);
        assert_eq!(plans.len(), 6 + 2 * 5);
    }

    #[test]
    fn what_is_asked_for_wins_over_quick() {
        let args: BenchArgs = args("--quick --workload bulk --order 1,2 --threads 3 --samples 7").unwrap();
        let plan = |order| Plan { workload: Workload::Bulk, order, threads: 3 };
        assert_eq!(args.plans(), [plan(1), plan(2)]);
        assert_eq!(args.samples(), 7);
    }

    #[test]
    fn the_arena_has_room_for_what_lives() {
        let default: BenchArgs = args("").unwrap();
        let plan = Plan { workload: Workload::Bulk, order: 0, threads: 1 };
        assert_eq!(default.memory(plan).bytes, 4 << 30);
        let many = Plan { threads: 64, ..plan };
        assert_eq!(default.memory(many).bytes, 40 << 30);
        let chosen = args::<BenchArgs>("--arena 1G --backing 2m").unwrap().memory(many);
        assert_eq!((chosen.bytes, chosen.backing), (1 << 30, Backing::Huge2M));
    }

    #[test]
    fn bad_values_are_answered_with_what_would_do() {
        for (line, answer) in [
            ("--workload pare", "there are: pair, batch, bulk, random, churn, handoff"),
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
        let args: BenchArgs = args("--allocator system,malloc").unwrap();
        let message = args.allocators().unwrap_err().to_string();
        assert!(message.contains("\"malloc\"") && message.contains("buddy-heap"), "{message}");
    }
}
