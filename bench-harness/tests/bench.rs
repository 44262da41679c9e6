//! The command `gfp bench`, as it is called: with a process for each turn.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn bench(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gfp"));
    command.arg("bench").args(line.split_whitespace());
    command
}

fn run(line: &str) -> Output {
    bench(line).output().unwrap()
}

/// A place of its own for a test, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("gfp-bench-{name}-{}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn figures(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.0.join("bench.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kind"] == "bench").collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits for a process, at most a minute, and returns its exit code; meanwhile does something again and again.
fn wait(process: &mut Child, mut meanwhile: impl FnMut(&Child)) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        meanwhile(process);
        std::thread::sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    panic!("gfp bench does not end");
}

/// Returns the processes that take turns for a process.
fn takers(parent: u32) -> Vec<u32> {
    let read = |file: String| fs::read_to_string(file).unwrap_or_default();
    let children = read(format!("/proc/{parent}/task/{parent}/children"));
    let ids = children.split_whitespace().map(|id| id.parse().unwrap());
    // Others ask for the environment.
    ids.filter(|id| read(format!("/proc/{id}/cmdline")).contains("--take-turn")).collect()
}

#[test]
fn each_turn_is_taken_by_a_process_of_its_own() {
    for (option, expected) in [("", 3), ("--one-process", 0)] {
        let place = Place::new(&format!("turns{option}"));
        let line =
            "--workload pair --allocator empty,glibc --threads 1,2 --samples 6 --visits 3 --sample-ms 20";
        let mut process = bench(line)
            .args(option.split_whitespace())
            .arg("--record")
            .arg(place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        let code = wait(&mut process, |process| {
            seen.extend(takers(process.id()));
            seen.dedup();
        });
        assert_eq!((code, seen.len()), (Some(0), expected), "{seen:?}");
        let figures = place.figures();
        let visited: Vec<u64> = figures.iter().map(|figure| figure["visit"].as_u64().unwrap()).collect();
        assert_eq!(visited, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        let cycles = |visit: usize| figures[4 * visit]["ops_per_sample"].as_u64();
        assert!(
            cycles(0) == cycles(1) && cycles(1) == cycles(2),
            "later processes know what the first found out"
        );
        assert!(figures[8..].iter().all(|figure| figure["memory"]["rss_bytes"].as_u64().is_some()));
    }
}

#[test]
fn what_cannot_be_measured_is_said_once_and_as_it_is() {
    let output = run("--workload pair --allocator gfp --threads 1 --arena 100T --samples 1 --sample-ms 1");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.lines().count() == 1 && message.starts_with("gfp: "), "{message}");
}

#[test]
fn who_failed_in_a_turn_has_failed_in_the_next_too_and_the_others_go_on() {
    let place = Place::new("failed");
    let line = "--workload random --allocator buddy-heap,glibc --arena 64M --threads 1 --samples 6 --visits 6 --sample-ms 1";
    let output = bench(line).arg("--record").arg(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let figures = place.figures();
    let failed: Vec<bool> = figures.iter().map(|figure| figure["failed"].is_string()).collect();
    assert_eq!(failed, [true, false, true, false]);
}

#[test]
fn an_interrupt_ends_the_turn_and_the_next_run_goes_on() {
    let place = Place::new("interrupt");
    let line =
        "--workload pair,batch --allocator empty,glibc --threads 1 --samples 6 --visits 2 --sample-ms 100";
    let command = || {
        let mut command = bench(line);
        command.arg("--record").arg(place.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut process = command().spawn().unwrap();
    let mut taker = Vec::new();
    let mut interrupted = false;
    let code = wait(&mut process, |process| {
        if !interrupted && place.figures().len() >= 2 {
            taker = takers(process.id());
            kill_process(Pid::from_child(process), Signal::INT).unwrap();
            interrupted = true;
        }
    });
    assert_eq!((code, interrupted), (Some(130), true));
    assert_eq!(taker.len(), 1);
    assert!(taker.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()), "{taker:?}");
    let first = place.figures().len();
    assert!((2..8).contains(&first), "{first}");
    assert_eq!(command().status().unwrap().code(), Some(0));
    assert_eq!(place.figures().len(), 8);
}
