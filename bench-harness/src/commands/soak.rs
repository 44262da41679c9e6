//! `gfp soak`: all that gfp offers, at random, for as long as one likes, and everything checked.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::bench::{parse_count, parse_size};
use crate::{
    soak::{self, Config, FAULTS_AVAILABLE, Kind, Limit, Progress, Record, Summary},
    terminal::{self, Table, print},
};

/// Lets threads do at random all that gfp offers, and checks everything.
///
/// Blocks are stamped, every frame has a bit that says whether somebody owns it, and whenever all threads pause, what they hold
/// is compared with what the allocator counts. Threads end and others take their place, policies and nodes change, pageblocks
/// go offline, memory is always short: shrinkers come and go and give blocks back, requests have deadlines and are cancelled, free
/// memory goes to the system. Pageblocks are set aside for requests that cannot wait only in zones of 200 MiB and more: with
/// --arena 256M --nodes 1. What is wrong is written to a file with all that led there; the exit status says
/// whether anything was.
#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// How long, in minutes; 0.1 is six seconds. [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_minutes, conflicts_with = "ops")]
    pub minutes: Option<Duration>,

    /// How many operations, instead of a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub ops: Option<u64>,

    /// Threads.
    #[arg(long, value_name = "N", value_parser = parse_threads, default_value = "8")]
    pub threads: usize,

    /// What all random numbers follow from. [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Size of the arena, such as 48M: small, so that requests are refused.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "48M")]
    pub arena: usize,

    /// Nodes of the made-up machine that the arena lies on, 1 to 8.
    #[arg(long, value_name = "N", value_parser = parse_nodes, default_value = "3")]
    pub nodes: usize,

    /// Where a violation goes, to be replayed. [default: gfp-soak-SEED.txt]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Does again what such a file has, on one thread, and says whether the violation is seen again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "ops", "seed", "record", "spoil"])]
    pub replay: Option<PathBuf>,

    /// Makes what is known of one block wrong before the first thread's operation of this number: a violation, to see one.
    #[arg(long, value_name = "N")]
    pub spoil: Option<u64>,

    /// Writes one JSON object a line to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Soaks or replays, prints what was done, and emits a record.
///
/// # Errors
/// The arena or a thread cannot be had, or a file cannot be read or written. A violation is no error: the exit code says so.
pub fn run(args: &SoakArgs, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    match &args.replay {
        Some(path) => replay(path, emit),
        None => soak(args, emit),
    }
}

fn soak(args: &SoakArgs, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    let config = Config {
        seed: args.seed.unwrap_or_else(another_seed),
        threads: args.threads,
        nodes: args.nodes,
        arena_bytes: args.arena,
        faults: FAULTS_AVAILABLE,
        spoil: args.spoil,
    };
    let limit = match args.ops {
        Some(operations) => Limit::Operations(operations),
        None => Limit::Time(args.minutes.unwrap_or(Duration::from_secs(60))),
    };
    let Config { seed, threads, nodes, .. } = config;
    print(format_args!("seed {seed}: {threads} threads, {} MiB on {nodes} nodes\n", args.arena >> 20))?;
    if !FAULTS_AVAILABLE {
        print(format_args!(
            "no system call fails: that needs a command built with --features fault-injection\n"
        ))?;
    }
    let mut teller = Teller::new();
    let summary = soak::run(&config, limit, &mut |progress| teller.tell(progress))?;
    drop(teller);
    print(format_args!("{}", text(&summary)))?;
    emit(record(&config, &summary))?;
    let Some((violation, record)) = &summary.violation else { return Ok(ExitCode::SUCCESS) };
    let path = args.record.clone().unwrap_or_else(|| format!("gfp-soak-{seed}.txt").into());
    record.write(&path)?;
    let path = path.display();
    print(format_args!(
        "\nviolation: {violation}\nwritten to {path}; again with: gfp soak --replay {path}\n"
    ))?;
    Ok(ExitCode::FAILURE)
}

fn replay(path: &Path, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    let record = Record::read(path)?;
    let replayed = soak::replay(&record)?;
    let soak::Replayed { operations, different, violation } = &replayed;
    print(format_args!("recorded: {}\n", record.violation()))?;
    print(format_args!("{operations} operations on one thread, {different} with another outcome\n"))?;
    match violation {
        Some(violation) => print(format_args!("seen again: {violation}\n"))?,
        None => print(format_args!("not seen again on one thread: it needs several at the same moment\n"))?,
    }
    emit(json!({
        "kind": "soak_replay",
        "seed": record.config().seed,
        "operations": operations,
        "different": different,
        "recorded": record.violation(),
        "violation": violation,
    }))?;
    Ok(if violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says how far the soak is: on a terminal each second, in one place; elsewhere a line every ten.
struct Teller {
    line: Option<terminal::Progress>,
    next: Instant,
}

impl Teller {
    fn new() -> Self {
        let line = io::stderr().is_terminal().then(|| terminal::Progress::unknown("soaking"));
        Self { next: Instant::now() + Self::pause(line.is_some()), line }
    }

    const fn pause(terminal: bool) -> Duration {
        Duration::from_secs(if terminal { 1 } else { 10 })
    }

    fn tell(&mut self, progress: Progress) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Self::pause(self.line.is_some());
        let Progress { elapsed, operations, epoch } = progress;
        let text = format!(
            "{} s: {operations} operations, {:.0} a second, epoch {epoch}",
            elapsed.as_secs(),
            per_second(operations, elapsed)
        );
        match &self.line {
            Some(line) => line.say(text),
            None => eprintln!("{text}"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of operations is far below 2^52")]
fn per_second(operations: u64, elapsed: Duration) -> f64 {
    operations as f64 / elapsed.as_secs_f64().max(1e-9)
}

fn text(summary: &Summary) -> String {
    let mut table = Table::new(&["operation", "served", "refused"]);
    for kind in Kind::ALL {
        let [served, refused] = summary.tally.of(kind).map(|count| count.to_string());
        table.push(vec![kind.name().into(), served, refused]);
    }
    let operations = summary.tally.operations();
    let faults = summary.tally.faults();
    let mut text = format!(
        "{table}\n{operations} operations in {:.1} s, {:.0} a second; {} threads replaced; {} checkpoints, {} of an empty arena\n",
        summary.elapsed.as_secs_f64(),
        per_second(operations, summary.elapsed),
        summary.churned,
        summary.checkpoints,
        summary.epochs,
    );
    if summary.highatomic > 0 {
        text +=
            &format!("at most {} frames were set aside for requests that cannot wait\n", summary.highatomic);
    }
    if !faults.is_empty() {
        let calls: Vec<_> = faults.iter().map(|(call, struck)| format!("{call} {struck}")).collect();
        text += &format!("system calls that failed: {}\n", calls.join(", "));
    }
    text
}

fn record(config: &Config, summary: &Summary) -> Value {
    let calls = Kind::ALL.map(|kind| {
        let [served, refused] = summary.tally.of(kind);
        (kind.name().to_owned(), json!({ "served": served, "refused": refused }))
    });
    let operations = summary.tally.operations();
    json!({
        "kind": "soak",
        "seed": config.seed,
        "threads": config.threads,
        "nodes": config.nodes,
        "arena_bytes": config.arena_bytes,
        "faults_available": config.faults,
        "seconds": summary.elapsed.as_secs_f64(),
        "operations": operations,
        "ops_per_s": per_second(operations, summary.elapsed),
        "threads_replaced": summary.churned,
        "checkpoints": summary.checkpoints,
        "empty_arenas": summary.epochs,
        "highatomic_frames": summary.highatomic,
        "calls": calls.into_iter().collect::<serde_json::Map<_, _>>(),
        "faults": summary.tally.faults(),
        "violation": summary.violation.as_ref().map(|(violation, _)| violation),
    })
}

/// Returns a seed that nobody chose, short enough to be typed.
fn another_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs() & 0xffff_ffff
}

fn parse_minutes(text: &str) -> Result<Duration> {
    let minutes: f64 = text.parse().with_context(|| format!("\"{text}\" is not a number of minutes"))?;
    ensure!((0.001..=1e6).contains(&minutes), "from 0.001 to 1000000 minutes");
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

fn parse_threads(text: &str) -> Result<usize> {
    parse_count(text, 1024)
}

fn parse_nodes(text: &str) -> Result<usize> {
    parse_count(text, 8)
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn soak(line: &str) -> (Result<ExitCode>, Vec<Value>) {
        let args: SoakArgs = testing::parse(line).unwrap();
        testing::with_records(|emit| run(&args, emit))
    }

    #[test]
    fn a_violation_is_written_and_seen_again_by_the_replay() {
        let path = std::env::temp_dir().join(format!("gfp-soak-{}.txt", std::process::id()));
        let path = path.to_str().unwrap();
        let (result, records) =
            soak(&format!("--ops 30000 --threads 3 --seed 5 --spoil 3000 --record {path}"));
        assert_eq!(result.unwrap(), ExitCode::FAILURE);
        let record = &records[0];
        assert_eq!((&record["kind"], &record["seed"]), (&json!("soak"), &json!(5)));
        let violation = &record["violation"];
        assert!(violation["what"].as_str().unwrap().contains("instead of 0x"), "{violation}");
        assert!(violation["frame"].is_u64() && violation["thread"].is_u64(), "{violation}");

        let (result, records) = soak(&format!("--replay {path}"));
        std::fs::remove_file(path).unwrap();
        assert_eq!(result.unwrap(), ExitCode::FAILURE);
        assert_eq!(records[0]["recorded"], *violation);
        assert!(
            records[0]["violation"]["what"].as_str().unwrap().contains("instead of 0x"),
            "{}",
            records[0]
        );
    }

    #[test]
    fn bad_values_are_answered_with_what_would_do() {
        for (line, answer) in [
            ("--minutes 0", "from 0.001"),
            ("--minutes long", "number of minutes"),
            ("--nodes 9", "from 1 to 8"),
            ("--ops 0", "1.."),
            ("--replay file --seed 1", "cannot be used with"),
        ] {
            let message = testing::parse::<SoakArgs>(line).unwrap_err();
            assert!(message.contains(answer), "{line}: {message}");
        }
        let message = format!("{:#}", soak("--arena 4M --nodes 8 --ops 1").0.unwrap_err());
        assert!(message.contains("too few for 8 nodes"), "{message}");
        let message = format!("{:#}", soak("--replay /dev/null").0.unwrap_err());
        assert!(message.contains("/dev/null") && message.contains("empty"), "{message}");
    }
}
