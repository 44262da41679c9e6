//! What a process holds of the system: mappings, threads and files.

use core::ops::Range;
use std::{collections::BTreeMap, fs};

use super::live_threads;

/// Mappings, threads and open files of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The addresses that are mapped, joined where they touch; without the heap, which grows for anybody.
    pub(crate) mapped: Vec<Range<usize>>,
    /// How many mappings have a name of gfp's.
    pub(crate) named: usize,
    /// The numbers of the threads.
    pub(crate) threads: Vec<u32>,
    /// What each file descriptor stands for.
    pub(crate) files: BTreeMap<String, String>,
}

impl Snapshot {
    /// Takes one.
    ///
    /// # Panics
    /// When /proc is not mounted.
    pub(crate) fn take() -> Self {
        let mut mapped: Vec<Range<usize>> = Vec::new();
        let mut named = 0;
        for (range, name) in mappings() {
            named += usize::from(name.contains("gfp:"));
            // malloc's heap of the first thread. Those of other threads are reserved whole, and only their protection changes.
            if name == "[heap]" {
                continue;
            }
            match mapped.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => mapped.push(range),
            }
        }
        let list = |directory: &str| fs::read_dir(directory).expect("/proc is mounted").flatten();
        let mut threads: Vec<u32> = live_threads().collect();
        threads.sort_unstable();
        // The folder that is being read has a descriptor too, which nobody can follow any more.
        let files = list("/proc/self/fd").filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
            (!target.ends_with("/fd")).then_some((entry.file_name().into_string().ok()?, target))
        });
        Self { mapped, named, threads, files: files.collect() }
    }
}

/// Returns the mappings of this process, ascending, with their names.
///
/// # Panics
/// When /proc is not mounted.
pub(crate) fn mappings() -> Vec<(Range<usize>, String)> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let mapping = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(start)?..number(end)?, fields.skip(4).collect::<Vec<_>>().join(" ")))
    };
    maps.lines().map(|line| mapping(line).expect("a range and its fields")).collect()
}
