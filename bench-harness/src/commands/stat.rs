//! `gfp stat`: what an allocator in use says of itself.

mod example;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use gfp::Allocator;
use serde_json::{Value, json};

use self::example::Example;
use super::bench::{parse_count, parse_size};
use crate::terminal::print;

/// Prints an allocator's statistics in the kernel's formats, while threads use it.
#[derive(Args, Clone, Debug)]
pub struct StatArgs {
    /// Which of them, comma-separated. [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_enum)]
    pub what: Vec<What>,

    /// Size of the arena, such as 4G or 512M.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "256M")]
    pub arena: usize,

    /// Nodes of a made-up machine that the arena lies on, 1 to 64. [default: those of this machine]
    #[arg(long, value_name = "N", value_parser = parse_nodes)]
    pub nodes: Option<usize>,

    /// Threads that use the arena.
    #[arg(long, value_name = "N", value_parser = parse_threads, default_value = "2")]
    pub threads: usize,

    /// Writes one JSON object a line to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// One of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum What {
    /// Gauges and counts of events
    Vmstat,
    /// Free blocks by order
    Buddyinfo,
    /// Watermarks, sizes, counters and caches of each zone
    Zoneinfo,
    /// Free blocks and pageblocks by migrate type
    Pagetypeinfo,
    /// The share of free memory that is of no use to a request, by its order
    UnusableIndex,
    /// Whether a request would fail for lack of memory (0) or because it is in pieces (1)
    ExtfragIndex,
    /// Where all frames are: free, cached or allocated
    Conservation,
}

impl What {
    /// Returns the name that the command line and the records use, which is the kernel's if it has such a file.
    fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// Reads the statistic, as text and as data.
    fn read(self, allocator: &Allocator) -> Result<(String, Value)> {
        fn both<T: ToString + serde::Serialize>(read: &T) -> Result<(String, Value)> {
            Ok((read.to_string(), serde_json::to_value(read)?))
        }
        match self {
            Self::Vmstat => both(&allocator.vmstat()),
            Self::Buddyinfo => both(&allocator.buddyinfo()),
            Self::Zoneinfo => both(&allocator.zoneinfo()),
            Self::Pagetypeinfo => both(&allocator.pagetypeinfo()),
            Self::UnusableIndex => both(&allocator.unusable_index()),
            Self::ExtfragIndex => both(&allocator.extfrag_index()),
            Self::Conservation => both(&allocator.conservation()),
        }
    }
}

/// Lets threads use an arena, prints what was asked for while they hold their blocks, and emits one record for each.
///
/// One text alone is printed as it is, for programs that read the kernel's; several have their names above them.
///
/// # Errors
///
/// When the arena cannot be had, a thread cannot use it, or a record cannot be written.
pub fn run(args: &StatArgs, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
    let what: BTreeSet<What> = match &args.what[..] {
        [] => What::value_variants().iter().copied().collect(),
        chosen => chosen.iter().copied().collect(),
    };
    let example = Example::build(args.arena, args.nodes, args.threads)?;
    let read = example.run(|allocator| -> Result<Vec<_>> {
        what.iter().map(|&what| Ok((what.name(), what.read(allocator)?))).collect()
    })??;
    for (name, (text, value)) in read {
        match what.len() {
            1 => print(format_args!("{text}"))?,
            _ => print(format_args!("==> {name} <==\n{text}\n"))?,
        }
        emit(json!({ "kind": "stat", "what": name, "arena_bytes": args.arena, "value": value }))?;
    }
    Ok(())
}

fn parse_nodes(text: &str) -> Result<usize> {
    parse_count(text, 64)
}

fn parse_threads(text: &str) -> Result<usize> {
    parse_count(text, 1024)
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn stat(line: &str) -> (Result<()>, Vec<Value>) {
        let args: StatArgs = testing::parse(line).unwrap();
        testing::with_records(|emit| run(&args, emit))
    }

    fn sum(numbers: &Value) -> u64 {
        numbers.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).sum()
    }

    #[test]
    fn every_statistic_has_a_record_of_an_arena_in_use() {
        let (result, records) = stat("--arena 64M --nodes 2 --threads 3");
        result.unwrap();
        let names: Vec<_> = records.iter().map(|record| record["what"].as_str().unwrap()).collect();
        let all = [
            "vmstat",
            "buddyinfo",
            "zoneinfo",
            "pagetypeinfo",
            "unusable_index",
            "extfrag_index",
            "conservation",
        ];
        assert_eq!(names, all);
        assert!(records.iter().all(|record| record["kind"] == "stat" && record["arena_bytes"] == 64 << 20));
        let value = |what: &str| &records.iter().find(|record| record["what"] == what).unwrap()["value"];
        assert_eq!(value("zoneinfo")["nodes"].as_array().unwrap().len(), 2);
        // The threads are there, with their blocks.
        for zone in value("zoneinfo")["zones"].as_array().unwrap() {
            assert_eq!(zone["pagesets"].as_array().unwrap().len(), 3);
        }
        let mut frames = 0;
        for zone in value("conservation")["zones"].as_array().unwrap() {
            let [free, cached, allocated, managed] =
                ["free", "cached", "allocated", "managed"].map(|key| zone[key].as_u64().unwrap());
            assert_eq!(free + cached + allocated, managed);
            frames += allocated;
        }
        assert!((1..=1 << 12).contains(&frames), "a quarter of the arena at most: {frames}");
        let vmstat = value("vmstat");
        assert_eq!(sum(&vmstat["pgalloc"]) - vmstat["pgfree"].as_u64().unwrap(), frames);
    }

    #[test]
    fn only_what_is_asked_for_is_shown_and_once() {
        let (result, records) = stat("--what extfrag_index,buddyinfo,buddyinfo --arena 32M --threads 1");
        result.unwrap();
        let names: Vec<_> = records.iter().map(|record| record["what"].as_str().unwrap()).collect();
        assert_eq!(names, ["buddyinfo", "extfrag_index"]);
    }

    #[test]
    fn a_small_arena_that_many_threads_fill_is_no_error() {
        let (result, records) = stat("--what conservation --arena 4M --threads 8");
        result.unwrap();
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn bad_values_are_answered_with_what_would_do() {
        for (line, answer) in [
            ("--what meminfo", "buddyinfo, zoneinfo, pagetypeinfo, unusable_index"),
            ("--nodes 65", "from 1 to 64"),
            ("--threads 0", "from 1 to 1024"),
            ("--arena much", "such as 4G"),
        ] {
            let message = testing::parse::<StatArgs>(line).unwrap_err();
            assert!(message.contains(answer), "{line}: {message}");
        }
        let message = format!("{:#}", stat("--arena 4M --nodes 8").0.unwrap_err());
        assert!(message.contains("too few for 8 nodes"), "{message}");
    }
}
