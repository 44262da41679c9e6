//! Memory that an allocator takes from the system, as far as the process shows it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::environment::kilobytes;

/// What of the process is resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident(Option<u64>);

impl Resident {
    /// Asks the kernel. Without `/proc` nothing is known.
    #[must_use]
    pub fn read() -> Self {
        // Exact, where the count in statm may be off by what each thread has not added to it yet.
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok();
        let status = || fs::read_to_string("/proc/self/status").ok();
        Self(rollup.and_then(|text| bytes(&text, "Rss:")).or_else(|| bytes(&status()?, "VmRSS:")))
    }

    /// Returns how many bytes more are resident than earlier, if any.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<u64> {
        Some(self.0?.saturating_sub(earlier.0?))
    }
}

/// Finds a line of the kernel's that has a size, and returns that in bytes.
fn bytes(text: &str, name: &str) -> Option<u64> {
    kilobytes(text, name)?.checked_mul(1024)
}

/// What an allocator took, in bytes; what is not known is absent. In records, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Footprint {
    /// The arena of gfp: address space, of which only what was touched is resident.
    pub arena_bytes: Option<u64>,
    /// What became resident while it was set up and warmed up, with the stacks and lists of the threads that used it: `empty` shows
    /// these. The samples need no more, as all blocks that a workload holds are held by then.
    pub rss_bytes: Option<u64>,
    /// What of that was left after all blocks were freed, the threads had ended, and gfp had trimmed. Other allocators trim on
    /// their own, or not.
    pub rss_after_trim_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_to_becomes_resident() {
        const BYTES: usize = 64 << 20;
        let before = Resident::read();
        let memory = std::hint::black_box(vec![1_u8; BYTES]);
        let grown = Resident::read().since(before).unwrap();
        drop(memory);
        // Other tests run beside this one, and may free some.
        assert!(grown >= BYTES as u64 / 2, "{grown}");
        assert_eq!(before.since(Resident(None)), None);
    }

    #[test]
    fn the_kernels_lines_are_found() {
        assert_eq!(bytes("55-66 ---p\nRss:      12 kB\nPss: 7 kB\n", "Rss:"), Some(12 << 10));
        assert_eq!(bytes("VmHWM: 1 kB\n", "VmRSS:"), None);
    }
}
