//! Going on with a record where an earlier run stopped.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Cell, Figure, JsonLines, Record, Row, Run};
use crate::environment::Environment;

/// The file of a record that `gfp bench` appends to.
pub const BENCH_FILE: &str = "bench.jsonl";

/// What a run need not do because an earlier one did it, and whether it is to stop.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The figures that were taken under this run's settings.
    figures: HashMap<Cell, Figure>,
    interrupted: Arc<AtomicBool>,
}

impl Resume {
    /// Opens the record of a folder for a run with these settings, makes it where there is none, and appends the run's
    /// environment; `interrupted` is what Ctrl-C sets.
    ///
    /// Settings are what makes figures comparable that is no part of their cells: numbers and lengths of samples, the arena.
    ///
    /// # Errors
    /// The record cannot be read or written, or is from another machine or another build of the program: what was measured
    /// there does not belong beside what this run measures.
    pub fn open(
        folder: &Path,
        environment: &Environment,
        settings: &Value,
        interrupted: Arc<AtomicBool>,
    ) -> Result<(Self, JsonLines)> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let file = folder.join(BENCH_FILE);
        let program = fingerprint()?;
        let mut figures = HashMap::new();
        if fs::metadata(&file).is_ok_and(|metadata| metadata.len() > 0) {
            let record = Record::read(&file)?;
            for run in &record.runs {
                let other = difference(run, environment, &program);
                ensure!(
                    other.is_none(),
                    "{} was taken {}: choose another folder with --record, or remove that file",
                    file.display(),
                    other.unwrap_or_default()
                );
            }
            let same =
                record.figures.into_iter().filter(|figure| record.runs[figure.run].settings == *settings);
            figures.extend(same.map(|figure| (figure.cell.clone(), figure)));
        }
        let mut head = environment.record();
        head["program"] = json!(program);
        head["settings"] = settings.clone();
        Ok((Self { figures, interrupted }, JsonLines::append(&file, &head)?))
    }

    /// Tells whether the record has all that a visit to a row takes: a figure for each of the allocators, all of one run.
    #[must_use]
    pub fn has(&self, row: &Row, visit: usize, allocators: &[&str]) -> bool {
        let run = |allocator: &&str| self.figure(row, allocator)?.runs().nth(visit);
        let mut runs = allocators.iter().map(run);
        let first = runs.next().flatten();
        first.is_some() && runs.all(|run| run == first)
    }

    /// Returns the samples that the record has of so many visits of an allocator to a row.
    #[must_use]
    pub fn samples(&self, row: &Row, visits: usize, allocator: &str) -> Vec<f64> {
        let figure = self.figure(row, allocator).into_iter();
        figure.flat_map(|figure| figure.visits().take(visits)).flatten().copied().collect()
    }

    fn figure(&self, row: &Row, allocator: &str) -> Option<&Figure> {
        self.figures.get(&Cell { row: row.clone(), allocator: allocator.to_owned() })
    }

    /// Tells whether the run is to end before its next row.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// Says in what a run differs from one that is to be its continuation, if in anything that matters.
fn difference(run: &Run, here: &Environment, program: &str) -> Option<String> {
    let there = &run.environment;
    let machine = |environment: &Environment| {
        let Environment { cpu_model, cpus, nodes, kernel, thp, .. } = environment;
        format!("{cpu_model}, {cpus} CPUs, {nodes} nodes, Linux {kernel}, transparent huge pages: {thp}")
    };
    if machine(there) != machine(here) {
        return Some(format!("on another machine ({}; this one is {})", machine(there), machine(here)));
    }
    (run.program.as_deref() != Some(program)).then(|| {
        let revision = &there.git_revision;
        format!("by another build of gfp (at revision {revision}, {})", there.time)
    })
}

/// Returns what tells this program from other builds of it.
fn fingerprint() -> Result<String> {
    let program = std::env::current_exe().and_then(fs::read).context("cannot read the program itself")?;
    let mut hasher = DefaultHasher::new();
    program.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write, path::PathBuf};

    use super::*;

    /// A folder of its own for a test, removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("resume-{name}-{}", std::process::id())))
        }

        fn open(&self, settings: &Value) -> Result<(Resume, JsonLines)> {
            Resume::open(&self.0, &Environment::read(), settings, Arc::default())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn figure(workload: &str, allocator: &str) -> Value {
        json!({
            "kind": "bench", "workload": workload, "order": 0, "threads": 1, "workers": 1, "allocator": allocator,
            "ns_per_op": {"min": 1.0, "median": 2.0, "max": 3.0},
        })
    }

    fn row(workload: &str) -> Row {
        serde_json::from_value(figure(workload, "")).unwrap()
    }

    #[test]
    fn a_second_run_has_the_whole_rows_of_the_first_with_the_same_settings() {
        let folder = Folder::new("rows");
        let settings = json!({"samples": 5});
        let (nothing, mut lines) = folder.open(&settings).unwrap();
        assert!(!nothing.has(&row("pair"), 0, &["gfp"]) && !nothing.is_interrupted());
        for (workload, allocator) in [("pair", "gfp"), ("pair", "glibc"), ("bulk", "gfp")] {
            lines.write(&figure(workload, allocator)).unwrap();
        }
        let (resume, _) = folder.open(&settings).unwrap();
        assert!(resume.has(&row("pair"), 0, &["gfp", "glibc"]) && resume.has(&row("pair"), 0, &["glibc"]));
        assert!(!resume.has(&row("pair"), 0, &["gfp", "mimalloc"]));
        assert!(!resume.has(&row("bulk"), 0, &["gfp", "glibc"]) && !resume.has(&row("churn"), 0, &["gfp"]));
        let (other, _) = folder.open(&json!({"samples": 11})).unwrap();
        assert!(!other.has(&row("pair"), 0, &["gfp"]));
    }

    #[test]
    fn a_row_of_two_runs_is_not_whole() {
        let folder = Folder::new("two");
        for allocator in ["gfp", "glibc"] {
            folder.open(&Value::Null).unwrap().1.write(&figure("pair", allocator)).unwrap();
        }
        let (resume, _) = folder.open(&Value::Null).unwrap();
        assert!(resume.has(&row("pair"), 0, &["gfp"]) && resume.has(&row("pair"), 0, &["glibc"]));
        assert!(!resume.has(&row("pair"), 0, &["gfp", "glibc"]));
    }

    #[test]
    fn what_was_cut_off_is_removed_before_more_is_written() {
        let folder = Folder::new("cut");
        folder.open(&Value::Null).unwrap().1.write(&figure("pair", "gfp")).unwrap();
        let file = folder.0.join(BENCH_FILE);
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"kind\":\"ben").unwrap();
        folder.open(&Value::Null).unwrap().1.write(&figure("pair", "glibc")).unwrap();
        let record = Record::read(&folder.0).unwrap();
        assert_eq!((record.figures.len(), record.runs.len(), record.cut_off.len()), (2, 2, 0));
    }

    #[test]
    fn figures_of_another_build_or_machine_are_not_gone_on_with() {
        let folder = Folder::new("other");
        fs::create_dir_all(&folder.0).unwrap();
        let write = |program: &str, cpus: usize| {
            let mut head = Environment::read().record();
            head["program"] = json!(program);
            head["cpus"] = json!(cpus);
            fs::write(folder.0.join(BENCH_FILE), format!("{head}\n")).unwrap();
        };
        write("0000", Environment::read().cpus);
        let message = folder.open(&Value::Null).unwrap_err().to_string();
        assert!(message.contains("another build") && message.contains("--record"), "{message}");
        write(&fingerprint().unwrap(), 4711);
        let message = folder.open(&Value::Null).unwrap_err().to_string();
        assert!(message.contains("another machine") && message.contains("4711"), "{message}");
    }

    #[test]
    fn ctrl_c_is_seen() {
        let folder = Folder::new("interrupt");
        let interrupted = Arc::new(AtomicBool::new(false));
        let (resume, _) =
            Resume::open(&folder.0, &Environment::read(), &Value::Null, Arc::clone(&interrupted)).unwrap();
        assert!(!resume.is_interrupted());
        interrupted.store(true, Ordering::Relaxed);
        assert!(resume.is_interrupted());
    }
}
