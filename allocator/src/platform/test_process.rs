//! Tests that need a process of their own: for its mappings, files, environment or affinity.

use std::ops::Range;
use std::process::Command;
use std::{env, fs};

/// Names, to the child, the test that it was started for.
const CHILD: &str = "GFP_ISOLATED_TEST";

/// Runs `body`, the whole of the test called `name`, alone in a child process with more environment.
///
/// # Panics
///
/// Panics with the child's output if the test fails there.
pub(crate) fn isolated(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    if env::var_os(CHILD).is_some_and(|child| child == name) {
        return body();
    }
    let program = env::current_exe().expect("a test knows its own program");
    let output = Command::new(program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .envs(environment.iter().copied())
        .output()
        .expect("a test can start its own program");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{name} failed:\n{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns how many bytes of address space this process has mapped.
pub(crate) fn mapped_bytes() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().map(|line| range_of(line).len()).sum()
}

/// Returns the addresses of a mapping from its line in /proc/self/maps.
pub(crate) fn range_of(line: &str) -> Range<usize> {
    let address = |text: &str| usize::from_str_radix(text, 16).expect("an address is hexadecimal");
    let (range, _) = line.split_once(' ').expect("a line has several fields");
    let (start, end) = range.split_once('-').expect("a range has two ends");
    address(start)..address(end)
}

/// Returns how many files this process has open.
pub(crate) fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}
