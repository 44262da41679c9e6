//! `gfp replay`: a kernel's trace through allocators.

use std::{
    cell::Cell,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use gfp::platform::Backing;
use serde_json::Value;

use super::bench::parse_size;
use crate::{
    measure::Cpus,
    replay::{
        self, Contestant, Job, Measured, Outcome, Passes, kernel_placement, measure,
        prefill::{self, Prefilled, Snapshot},
    },
    rival::{Rival, RivalThread},
    rivals::{self, Memory, Visitor, with_rival},
    terminal::{Progress, print},
    trace::{self, Trace},
};

/// Replays a kernel's page-allocator trace.
///
/// Every allocator is first verified (each block is stamped and checked), then timed without touching its blocks. The
/// exit status says whether an allocation failed or a block was not as it should be.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The trace as text, plain or gzip: ftrace, trace-cmd report or perf script of kmem:mm_page_* or of gfp's own probes.
    pub trace: PathBuf,

    /// The layout of its lines.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,

    /// Allocators, comma-separated; several take turns. [an unknown name lists them]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "gfp")]
    pub allocator: Vec<String>,

    /// Threads: one for each CPU of the trace, or a single one.
    #[arg(long, value_enum, default_value_t = Threads::Trace)]
    pub threads: Threads,

    /// Size of the arena of those that have one, such as 4G or 512M. [default: 1.25 times the trace's peak]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub arena: Option<usize>,

    /// Samples both placements while the trace goes on: 2 MiB blocks in use, mixed ones, the largest free block.
    #[arg(long)]
    pub timeline: bool,

    /// Begins with an arena that is as fragmented as a machine's memory was, of gfp only: the text of /proc/pagetypeinfo, and
    /// of /proc/buddyinfo too, if there are many blocks. The arena is as large as that memory.
    #[arg(long, value_name = "FILE", conflicts_with = "arena")]
    pub prefill: Option<PathBuf>,

    /// Pages behind gfp's arena: 4k, thp, 2m or 1g (hugetlb, see gfp topo). Others have what the system gives them.
    #[arg(long, value_name = "PAGES", default_value_t)]
    pub backing: Backing,

    /// Writes one JSON object a line to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The layout of a trace's lines, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// That of the first event
    Auto,
    /// ftrace or trace-cmd report
    Ftrace,
    /// perf script
    Perf,
}

/// How many threads replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Threads {
    /// One for each CPU of the trace
    Trace,
    /// A single one
    #[value(name = "1")]
    One,
}

/// Replays the trace, prints the outcome, and emits one record for each allocator.
///
/// # Errors
///
/// When the trace cannot be read or has nothing to replay, when an allocator does not exist or cannot have its arena, and
/// when a record cannot be written. A replay in which something failed is no error: the exit code says so.
pub fn run(args: &ReplayArgs, cpus: Cpus, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    run_passes(args, cpus, Passes::default(), emit)
}

fn run_passes(
    args: &ReplayArgs,
    cpus: Cpus,
    passes: Passes,
    emit: &mut dyn FnMut(Value) -> Result<()>,
) -> Result<ExitCode> {
    rivals::check_names(&args.allocator)?;
    let trace = read_trace(&args.trace, args.format)?;
    let threads = match args.threads {
        Threads::Trace => replay::Threads::Trace,
        Threads::One => replay::Threads::One,
    };
    let snapshot = args.snapshot()?;
    let arena_bytes = match (args.arena, &snapshot) {
        (Some(bytes), _) => bytes,
        (None, Some(snapshot)) => snapshot.arena_bytes(),
        (None, None) => default_arena_bytes(&trace)?.next_multiple_of(args.backing.page_bytes()),
    };
    let job = Job::new(&trace, threads, cpus);
    let memory = Memory { bytes: arena_bytes, backing: args.backing };
    let prefilled = Cell::new(None);
    let race = Race {
        trace: &trace,
        job: &job,
        memory,
        passes,
        snapshot: snapshot.as_ref(),
        prefilled: &prefilled,
        timeline: args.timeline,
    };
    let measured = race.with(&args.allocator, Vec::new())?;
    let outcome = Outcome {
        trace: &trace,
        trace_name: &args.trace.display().to_string(),
        job: &job,
        arena_bytes: arena_bytes as u64,
        prefilled: prefilled.get(),
        kernel: kernel_placement(&trace),
        measured,
    };
    print(format_args!("{}", outcome.text()))?;
    outcome.records().into_iter().try_for_each(emit)?;
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl ReplayArgs {
    /// Reads the snapshot, if one was given.
    fn snapshot(&self) -> Result<Option<Snapshot>> {
        self.prefill.as_deref().map(Snapshot::read).transpose()
    }
}

fn read_trace(path: &Path, format: Format) -> Result<Trace> {
    let format = match format {
        Format::Auto => None,
        Format::Ftrace => Some(trace::Format::Ftrace),
        Format::Perf => Some(trace::Format::Perf),
    };
    let cannot_read = || format!("cannot read the trace {}", path.display());
    let file = File::open(path).with_context(cannot_read)?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let progress = Progress::bytes(length, "reading");
    Trace::read(progress.reading(file), format).with_context(cannot_read)
}

/// Returns 1.25 times the memory in blocks at the trace's peak, in whole 2 MiB.
fn default_arena_bytes(trace: &Trace) -> Result<usize> {
    let peak = trace.account.peak_live_frames.saturating_mul(4096);
    let bytes = peak.saturating_add(peak / 4).next_multiple_of(2 << 20);
    usize::try_from(bytes).context("the trace's peak is larger than the address space")
}

/// What all allocators of a run replay.
#[derive(Clone, Copy)]
struct Race<'a> {
    trace: &'a Trace,
    job: &'a Job,
    memory: Memory,
    passes: Passes,
    snapshot: Option<&'a Snapshot>,
    /// How many frames the snapshot fills.
    prefilled: &'a Cell<Option<u64>>,
    timeline: bool,
}

impl Race<'_> {
    /// Starts the allocators called `names` beside those that already run, and measures all.
    ///
    /// The contestants are passed by value: when anything panics they go first, and their threads end.
    fn with(self, names: &[String], contestants: Vec<Contestant>) -> Result<Vec<Measured>> {
        let Some((name, rest)) = names.split_first() else {
            let progress = Progress::unknown("");
            let tell = |what: &str| progress.say(what.to_owned());
            return Ok(measure(self.trace, self.job, contestants, self.passes, tell));
        };
        with_rival(name, self.memory, Join { race: self, rest, contestants })?
    }
}

/// Lets one more allocator join the race.
struct Join<'a> {
    race: Race<'a>,
    rest: &'a [String],
    contestants: Vec<Contestant>,
}

impl Visitor for Join<'_> {
    type Output = Result<Vec<Measured>>;

    fn visit<R, B>(mut self, rival: R) -> Self::Output
    where
        R: Rival + Send + 'static,
        B: Send + 'static,
        for<'a> R::Thread<'a>: RivalThread<Block = B>,
    {
        let fill = |snapshot| match rival.as_gfp() {
            Some(allocator) => prefill::fill(allocator, snapshot),
            None => bail!(
                "only gfp can be prefilled, not {}: leave out --prefill, or name {} or {}",
                rival.name(),
                rivals::GFP,
                rivals::WITHOUT_HANDLE
            ),
        };
        let filled = self.race.snapshot.map(fill).transpose()?;
        self.race.prefilled.set(filled.as_ref().map(Prefilled::used_frames));
        thread::scope(|scope| {
            let mut contestant = Contestant::start(scope, &rival, self.race.job);
            if self.race.timeline {
                let used = filled.iter().flat_map(Prefilled::used);
                contestant = contestant.with_timeline(self.race.memory.bytes as u64 / 4096, used);
            }
            self.contestants.push(contestant);
            self.race.with(self.rest, self.contestants)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn replay(line: &str) -> (Result<ExitCode>, Vec<Value>) {
        let words = line
            .replace("TRACE", concat!(env!("CARGO_MANIFEST_DIR"), "/traces/python-startup.ftrace.gz"))
            .replace("SNAPSHOT", concat!(env!("CARGO_MANIFEST_DIR"), "/traces/24-gib-vm.pagetypeinfo"));
        let args: ReplayArgs = testing::parse(&words).unwrap();
        let passes = Passes { least: 2, most: 2, ..Passes::default() };
        testing::with_records(|emit| run_passes(&args, Cpus::allowed().unwrap(), passes, emit))
    }

    #[test]
    fn every_allocator_has_a_record_of_the_agreed_form() {
        let (result, records) = replay("TRACE --allocator glibc,empty --threads 1");
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert_eq!(records.len(), 2);
        let record = &records[0];
        assert_eq!(record["kind"], "replay");
        assert_eq!(record["allocator"], "glibc");
        for (field, value) in [
            ("allocs", 31_636),
            ("unmatched_frees", 1_582),
            ("trace_failures", 0),
            ("failed", 0),
            ("overlaps", 0),
            ("peak_live_frames", 2_126),
        ] {
            assert_eq!(record[field], value, "{field}");
        }
        assert_eq!(record["arena_bytes"], 12 << 20);
        assert_eq!(record["lines"]["unparsable"], 0);
        let mean = |blocks: &str, whose: &str| record[blocks][whose]["mean"].as_f64().unwrap();
        assert!(
            mean("blocks_2m", "ours") >= 1.0
                && mean("blocks_2m", "kernel") >= mean("mixed_blocks_2m", "kernel")
        );
        assert!(record["ns_per_event"].as_f64().unwrap() > 0.0);
        assert!(record["ns_per_event_zeroed"].as_f64().unwrap() > 0.0);
        // Nobody may touch the blocks of `empty`, so it cannot be verified and has no placement.
        assert_eq!(records[1]["verified"], false);
        assert!(records[1]["blocks_2m"]["ours"].is_null());
    }

    #[test]
    fn the_committed_trace_is_replayed_in_both_thread_modes() {
        for threads in ["1", "trace"] {
            let (result, records) =
                replay(&format!("TRACE --allocator glibc,buddy-frames --threads {threads}"));
            assert_eq!(result.unwrap(), ExitCode::SUCCESS);
            for record in &records {
                assert_eq!(record["threads"], *threads);
                assert_eq!(record["workers"], if threads == "1" { 1 } else { 2 });
                assert_eq!(record["passes"]["count"], 2);
            }
        }
    }

    #[test]
    fn a_timeline_has_a_record_with_both_sides_from_the_first_event_to_the_last() {
        let (result, records) = replay("TRACE --allocator gfp,glibc --threads 1 --timeline");
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        let timelines: Vec<_> = records.iter().filter(|record| record["kind"] == "timeline").collect();
        assert_eq!(timelines.len(), 2);
        for (timeline, has_arena) in timelines.iter().zip([true, false]) {
            let points = timeline["points"].as_array().unwrap();
            assert_eq!(points.len(), 200);
            assert_eq!(points[199]["event"], records[0]["events"]);
            assert_eq!(points[100]["ours"]["highest_free_order"].is_number(), has_arena);
            assert!(points[100]["kernel"]["blocks_2m"].as_u64().unwrap() > 0);
        }
    }

    #[test]
    fn a_prefilled_arena_is_of_the_snapshots_size_and_serves_the_trace() {
        let (result, records) =
            replay("TRACE --allocator gfp,gfp-tls --threads 1 --timeline --prefill SNAPSHOT");
        assert_eq!(result.unwrap(), ExitCode::SUCCESS);
        assert!(records[0]["arena_bytes"].as_u64().unwrap() > 1 << 30);
        assert!(records[0]["prefilled_frames"].as_u64().unwrap() > 0);
        assert!(records[0]["bias"].as_str().unwrap().contains("as many free blocks"));
    }

    #[test]
    fn only_gfp_is_prefilled_and_only_without_an_arena_of_another_size() {
        let refused = replay("TRACE --allocator gfp,glibc --prefill SNAPSHOT").0;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("not glibc"), "{message}");
        let message =
            testing::parse::<ReplayArgs>("TRACE --prefill /dev/null --arena 1G").unwrap_err().to_string();
        assert!(message.contains("--arena"), "{message}");
    }

    #[test]
    fn an_arena_that_is_too_small_fails_the_run() {
        let (result, records) = replay("TRACE --allocator buddy-heap --threads trace --arena 4M");
        assert_eq!(result.unwrap(), ExitCode::FAILURE);
        assert!(records[0]["failed"].as_u64().unwrap() > 0);
    }

    #[test]
    fn a_wrong_file_is_an_error_that_names_it() {
        for (line, answer) in [
            ("/nowhere/trace.gz --allocator glibc", "/nowhere/trace.gz"),
            ("/dev/null --allocator glibc", "empty"),
            ("TRACE --allocator glibc --format perf", "no successful mm_page_alloc"),
            ("TRACE --allocator no-such", "no-such"),
        ] {
            let message = format!("{:#}", replay(line).0.unwrap_err());
            assert!(message.contains(answer), "{line}: {message}");
        }
    }
}
