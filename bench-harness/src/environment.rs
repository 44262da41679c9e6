//! The machine and the circumstances that figures were taken on.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, json};

/// What a record of measurements begins with. What cannot be found out is `unknown`, or absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Environment {
    /// CPU model as the kernel names it.
    pub cpu_model: String,
    /// Logical CPUs that are online.
    pub cpus: usize,
    /// Physical cores of these.
    pub cores: usize,
    /// Logical CPUs that this process may use.
    pub allowed_cpus: usize,
    /// NUMA nodes that are online.
    pub nodes: usize,
    /// Size of the memory, in kB.
    pub memory_kb: Option<u64>,
    /// Kernel release.
    pub kernel: String,
    /// The chosen word of the transparent huge page setting.
    pub thp: String,
    /// The frequency governor of the first CPU, where there is one.
    pub governor: Option<String>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// What `lscpu` says, where there is such a program.
    pub lscpu: Option<String>,
    /// What `numactl -H` says, where there is such a program: nodes, their CPUs, memory and distances.
    pub numactl: Option<String>,
    /// Revision of the working directory's checkout, and whether it was changed since.
    pub git_revision: String,
    /// Whether the checkout differs from the revision; `None` where there is no checkout.
    pub git_dirty: Option<bool>,
    /// The program and its arguments.
    pub command_line: Vec<String>,
    /// When the environment was read, in UTC.
    pub time: String,
}

impl Environment {
    /// Finds out what can be found out.
    pub fn read() -> Self {
        let cpu_info = read("/proc/cpuinfo").unwrap_or_default();
        let cpus = read("/sys/devices/system/cpu/online").map_or(0, |list| parse_list(&list).len());
        let git = |arguments: &[&str]| output("git", arguments);
        Self {
            cpu_model: cpu_model(&cpu_info).unwrap_or("unknown").to_owned(),
            cpus,
            cores: cores().unwrap_or(cpus),
            allowed_cpus: std::thread::available_parallelism().map_or(0, usize::from),
            nodes: read("/sys/devices/system/node/online").map_or(1, |list| parse_list(&list).len()),
            memory_kb: memory_kb(),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
            thp: read("/sys/kernel/mm/transparent_hugepage/enabled")
                .as_deref()
                .and_then(chosen_word)
                .unwrap_or("unknown")
                .to_owned(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            load: read("/proc/loadavg").as_deref().and_then(load_averages),
            lscpu: output("lscpu", &[]),
            numactl: output("numactl", &["-H"]),
            git_revision: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            git_dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            time: utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        }
    }

    /// Makes the record of `kind` `environment`.
    pub fn record(&self) -> Value {
        let mut record = json!({
            "kind": "environment",
            "cpu_model": self.cpu_model,
            "cpus": self.cpus,
            "cores": self.cores,
            "allowed_cpus": self.allowed_cpus,
            "nodes": self.nodes,
            "memory_kb": self.memory_kb,
            "kernel": self.kernel,
            "thp": self.thp,
        });
        if let Some(governor) = &self.governor {
            record["governor"] = json!(governor);
        }
        record["load"] = json!(self.load);
        record["lscpu"] = json!(self.lscpu);
        record["numactl"] = json!(self.numactl);
        record["git_revision"] = json!(self.git_revision);
        record["git_dirty"] = json!(self.git_dirty);
        record["command_line"] = json!(self.command_line);
        record["time"] = json!(self.time);
        record
    }
}

/// Reads a small file of the kernel, without white space at its ends.
fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Returns what a program prints, without white space at its ends; nothing where there is no such program, or it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    // In the language of the records' readers, whoever runs it.
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the size of the memory in kB, where the system tells.
pub(crate) fn memory_kb() -> Option<u64> {
    kilobytes(&read("/proc/meminfo")?, "MemTotal:")
}

/// Says whether the system gives transparent huge pages to those who ask.
pub(crate) fn has_thp() -> bool {
    let setting = read("/sys/kernel/mm/transparent_hugepage/enabled");
    setting.as_deref().and_then(chosen_word).is_some_and(|word| word != "never")
}

/// Finds the model in the text of `/proc/cpuinfo`; on aarch64 there are only numbers of implementer and part.
fn cpu_model(cpu_info: &str) -> Option<&str> {
    ["model name", "cpu model", "Model", "CPU part"].into_iter().find_map(|wanted| {
        cpu_info.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == wanted).then(|| value.trim())
        })
    })
}

/// Counts physical cores: sets of CPUs that share one.
fn cores() -> Option<usize> {
    let online = parse_list(&read("/sys/devices/system/cpu/online")?);
    let siblings: Option<BTreeSet<String>> = online
        .iter()
        .map(|cpu| {
            let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
            read(format!("{topology}/core_cpus_list"))
                .or_else(|| read(format!("{topology}/thread_siblings_list")))
        })
        .collect();
    siblings.map(|sets| sets.len())
}

/// Reads a list of numbers and ranges (`0-3,8`), the kernel's format for sets of CPUs and nodes.
pub(crate) fn parse_list(list: &str) -> Vec<usize> {
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// Returns the word in brackets of a setting such as `always [madvise] never`.
fn chosen_word(setting: &str) -> Option<&str> {
    setting.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

fn load_averages(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Finds a line such as `MemTotal:   123 kB` in a text of the kernel's, and returns the number.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Writes seconds since 1970 as a date and time of RFC 3339, in UTC.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin on the first of March, so that the day that is sometimes missing is the last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_every_field_that_a_reader_needs() {
        let record = Environment::read().record();
        assert_eq!(record["kind"], "environment");
        for field in
            ["cpu_model", "cores", "nodes", "kernel", "thp", "load", "git_revision", "command_line", "time"]
        {
            assert!(!record[field].is_null(), "{field}");
        }
    }

    #[test]
    fn a_program_that_is_missing_or_fails_says_nothing() {
        assert_eq!(output("echo", &["a", "b"]), Some("a b".to_owned()));
        assert_eq!(output("false", &[]), None);
        assert_eq!(output("no-such-program-anywhere", &[]), None);
    }

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(cpu_model("processor : 0\nmodel name\t: A CPU\n"), Some("A CPU"));
        assert_eq!(cpu_model("CPU part\t: 0xd0c\n"), Some("0xd0c"));
        assert_eq!(parse_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list(""), [] as [usize; 0]);
        assert_eq!(chosen_word("always [madvise] never"), Some("madvise"));
        assert_eq!(load_averages("0.50 1.25 2.00 1/100 77"), Some([0.5, 1.25, 2.0]));
        assert_eq!(kilobytes("MemTotal:       123 kB\nMemFree: 5 kB", "MemTotal:"), Some(123));
    }

    #[test]
    fn times_are_dates_of_the_gregorian_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
