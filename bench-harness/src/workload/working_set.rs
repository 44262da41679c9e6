//! Working sets: how many live blocks fit a level of the memory hierarchy.
//!
//! What an allocator looks at must be in a cache, or it waits. Of a block that nobody writes to that is a line: its descriptor, its
//! entry in a list or its header, wherever the allocator keeps it. Of one that is written to, it is all of its lines. So a set is
//! counted in lines while blocks are untouched, and in blocks' bytes when they are touched:
//!
//! | set | bytes of a thread |
//! |---|---|
//! | `small` | half of the first-level data cache |
//! | `l2` | half of the second level, or of a thread's share of it where several of the threads share it |
//! | `l3` | half of the third level, or of a thread's share |
//! | `dram` | twice the third level, whatever the number of threads; all threads' blocks together an eighth of the memory at most |
//!
//! The number of blocks is the power of two that is not more, or for `dram` not less than twice the third level. The caches are those
//! of the first CPU. The allocators of a row have their blocks at the same time, and some write a header before each, to a page of its own.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use super::touch::{LINE_BYTES, Touch};
use crate::environment::parse_list;

/// What the live blocks fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkingSet {
    /// The first-level data cache.
    Small,
    /// The second-level cache.
    L2,
    /// The third-level cache.
    L3,
    /// No cache.
    Dram,
}

/// A working set and how many blocks of a thread it is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSize {
    /// What it fits into.
    pub set: WorkingSet,
    /// How many blocks of a thread are alive, a power of two.
    pub blocks: usize,
}

impl WorkingSet {
    /// All of them, the smallest first.
    pub const ALL: [Self; 4] = [Self::Small, Self::L2, Self::L3, Self::Dram];

    /// Returns the name that the command line and the records use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::Dram => "dram",
        }
    }

    /// Returns how many blocks of an order each of so many threads keeps alive, on a machine with so many bytes of memory.
    ///
    /// # Errors
    /// Not even two touched blocks of that order fit into the set.
    pub fn size(
        self,
        order: u32,
        touch: Touch,
        threads: usize,
        caches: &Caches,
        memory: usize,
    ) -> Result<SetSize> {
        let share = |cache: Cache| cache.bytes / cache.cpus.min(threads).max(1);
        let bytes = match self {
            Self::Small => caches.l1.bytes / 2,
            Self::L2 => share(caches.l2) / 2,
            Self::L3 => share(caches.l3) / 2,
            Self::Dram => 2 * caches.l3.bytes,
        };
        let of_a_block = match touch {
            Touch::Untouched => LINE_BYTES,
            Touch::Lines => 4096 << order,
        };
        let blocks = match self {
            Self::Dram => {
                let wanted = bytes.div_ceil(of_a_block).next_power_of_two();
                let fit = memory / 8 / threads.max(1) / (4096 << order);
                wanted.min(1 << fit.max(2).ilog2()).max(2)
            }
            _ => {
                let fit = bytes / of_a_block;
                ensure!(
                    fit >= 2,
                    "two blocks of order {order} do not fit into the set {self}, {} KiB of a thread: choose a larger --set or a \
                     smaller --order",
                    bytes >> 10
                );
                1 << fit.ilog2()
            }
        };
        Ok(SetSize { set: self, blocks })
    }
}

impl fmt::Display for WorkingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WorkingSet {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name).with_context(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no working set \"{name}\"; there are: {names}")
        })
    }
}

/// A cache of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its size in bytes.
    pub bytes: usize,
    /// How many CPUs share it, at least 1.
    pub cpus: usize,
}

/// The caches of a CPU that hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// The first level.
    pub l1: Cache,
    /// The second level.
    pub l2: Cache,
    /// The third level.
    pub l3: Cache,
}

impl Caches {
    /// What is assumed of a level that the system does not tell: 32 KiB, 1 MiB and 32 MiB, of one CPU each.
    pub const ASSUMED: Self = Self {
        l1: Cache { bytes: 32 << 10, cpus: 1 },
        l2: Cache { bytes: 1 << 20, cpus: 1 },
        l3: Cache { bytes: 32 << 20, cpus: 1 },
    };

    /// Reads the caches of this machine's first CPU from sysfs; a level that is not there is [assumed](Self::ASSUMED).
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::from_index(|index, file| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}")).ok()
        })
    }

    /// Reads the files of the folders `index0`, `index1`, …
    fn from_index(read: impl Fn(usize, &str) -> Option<String>) -> Self {
        let mut caches = Self::ASSUMED;
        for index in 0.. {
            let Some(level) = read(index, "level") else { return caches };
            if read(index, "type").is_none_or(|kind| kind.trim() == "Instruction") {
                continue;
            }
            let Some(bytes) = read(index, "size").and_then(|size| kibibytes(&size)) else { continue };
            let cpus = read(index, "shared_cpu_list").map_or(1, |list| parse_list(&list).len().max(1));
            match level.trim() {
                "1" => caches.l1 = Cache { bytes, cpus },
                "2" => caches.l2 = Cache { bytes, cpus },
                "3" => caches.l3 = Cache { bytes, cpus },
                _ => {}
            }
        }
        caches
    }
}

/// Reads a size such as `1024K` in bytes.
fn kibibytes(size: &str) -> Option<usize> {
    let number: usize = size.trim().strip_suffix('K')?.parse().ok()?;
    number.checked_mul(1024).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHES: Caches = Caches {
        l1: Cache { bytes: 48 << 10, cpus: 2 },
        l2: Cache { bytes: 1 << 20, cpus: 2 },
        l3: Cache { bytes: 32 << 20, cpus: 16 },
    };

    fn blocks(set: WorkingSet, order: u32, touch: Touch, threads: usize) -> usize {
        blocks_of(set, order, touch, threads, 1 << 40)
    }

    fn blocks_of(set: WorkingSet, order: u32, touch: Touch, threads: usize, memory: usize) -> usize {
        set.size(order, touch, threads, &CACHES, memory).unwrap().blocks
    }

    #[test]
    fn what_fits_no_cache_is_an_eighth_of_the_memory_at_most() {
        let dram = |order, touch, threads, memory| blocks_of(WorkingSet::Dram, order, touch, threads, memory);
        let gib = 1 << 30;
        assert_eq!([1, 2].map(|threads| dram(0, Touch::Untouched, threads, 24 * gib)), [1 << 19, 1 << 18]);
        assert_eq!(dram(0, Touch::Untouched, 1, 31 * gib), 1 << 19);
        assert_eq!(dram(0, Touch::Untouched, 1, 32 * gib), 1 << 20);
        assert_eq!(dram(3, Touch::Untouched, 2, 24 * gib), 1 << 15);
        // What is written to is counted by its bytes anyway.
        assert_eq!(dram(0, Touch::Lines, 2, 24 * gib), 1 << 14);
        assert_eq!(dram(9, Touch::Untouched, 64, gib), 2, "no fewer");
    }

    #[test]
    fn untouched_blocks_count_by_the_line_and_touched_ones_by_the_byte() {
        let of = |touch| WorkingSet::ALL.map(|set| blocks(set, 0, touch, 1));
        assert_eq!(of(Touch::Untouched), [256, 1 << 13, 1 << 18, 1 << 20]);
        assert_eq!(of(Touch::Lines), [4, 1 << 7, 1 << 12, 1 << 14]);
        assert_eq!(blocks(WorkingSet::L3, 3, Touch::Lines, 1), 1 << 9);
    }

    #[test]
    fn threads_share_what_they_share_and_no_more_than_that() {
        assert_eq!(blocks(WorkingSet::L2, 0, Touch::Lines, 2), 1 << 6);
        assert_eq!(blocks(WorkingSet::L2, 0, Touch::Lines, 64), 1 << 6);
        assert_eq!(blocks(WorkingSet::L3, 0, Touch::Lines, 4), 1 << 10);
        assert_eq!(blocks(WorkingSet::Dram, 0, Touch::Lines, 4), 1 << 14);
    }

    #[test]
    fn a_block_that_is_larger_than_the_set_is_an_error_that_says_so() {
        let message = WorkingSet::Small.size(9, Touch::Lines, 1, &CACHES, 1 << 40).unwrap_err().to_string();
        assert!(message.contains("order 9") && message.contains("small, 24 KiB"), "{message}");
        assert_eq!(blocks(WorkingSet::Small, 9, Touch::Untouched, 1), 256);
    }

    #[test]
    fn the_systems_files_are_read_and_what_they_lack_is_assumed() {
        let file = |index, file: &str| {
            let [level, kind, size, list] = *[
                ["1", "Data", "48K", "0-1"],
                ["1", "Instruction", "64K", "0-1"],
                ["2", "Unified", "2048K", "0-1"],
            ]
            .get(index)?;
            let text = match file {
                "level" => level,
                "type" => kind,
                "size" => size,
                _ => list,
            };
            Some(format!("{text}\n"))
        };
        let caches = Caches::from_index(file);
        assert_eq!(caches.l1, Cache { bytes: 48 << 10, cpus: 2 });
        assert_eq!(caches.l2, Cache { bytes: 2 << 20, cpus: 2 });
        assert_eq!(caches.l3, Caches::ASSUMED.l3);
        assert_eq!(Caches::from_index(|_, _| None), Caches::ASSUMED);
    }

    #[test]
    fn a_set_is_found_by_its_name() {
        for set in WorkingSet::ALL {
            assert_eq!(set.name().parse::<WorkingSet>().unwrap(), set);
        }
        assert!("l4".parse::<WorkingSet>().unwrap_err().to_string().contains("small, l2, l3, dram"));
    }
}
