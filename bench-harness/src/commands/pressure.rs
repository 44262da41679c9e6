//! `gfp pressure`: caches and requests that want more than the arena has, and how reclaim copes.

mod screen;
mod summary;
mod view;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use self::{screen::Screen, view::View};
use super::bench::{parse_count, parse_size};
use crate::{
    pressure::{self, Config, Rate, Snapshot, Types},
    terminal::{interrupts, print},
};

/// Puts memory under pressure: caches that want four times the arena, and requests of all kinds.
///
/// Shows how reclaim copes: free memory against the watermarks, what kswapd frees and what requests must free themselves, how
/// long they take, and which fail. Everything is stamped and verified. The exit status says whether a rule was broken: a request of a single
/// page that may wait failed although caches had something to give, a page had not what was written to it, a frame was lost.
/// Ctrl-C ends it early, with the summary.
#[derive(Args, Clone, Debug)]
pub struct PressureArgs {
    /// Threads that ask for pages.
    #[arg(long, value_name = "N", value_parser = parse_threads, default_value = "8")]
    pub threads: usize,

    /// Size of the arena, such as 256M; at least 8M.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "256M")]
    pub arena: usize,

    /// How long samples are taken, in seconds, after the arena is full and reclaim has settled.
    #[arg(long, value_name = "N", value_parser = parse_seconds, default_value = "10")]
    pub seconds: Duration,

    /// Pages a second that all threads together ask for; or "half", of what reclaim frees a second, which is measured first.
    /// [default: as many as they can]
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub rate: Option<Rate>,

    /// Nodes of a made-up machine, 1 to 8. [default: this machine's]
    #[arg(long, value_name = "N", value_parser = parse_nodes)]
    pub nodes: Option<usize>,

    /// Caches of different migrate types: they take pageblocks from each other, and watermarks are boosted.
    #[arg(long)]
    pub mixed: bool,

    /// Writes one JSON object a line to this file: each second a moment, at the end the summary.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Puts memory under pressure, shows it, prints a summary, and emits records.
///
/// # Errors
/// The arena or a thread cannot be had, or something cannot be written. A broken rule is no error: the exit code says so.
pub fn run(args: &PressureArgs, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<ExitCode> {
    let config = Config {
        threads: args.threads,
        arena_bytes: args.arena,
        nodes: args.nodes,
        types: if args.mixed { Types::Mixed } else { Types::One },
        length: args.seconds,
        rate: args.rate.unwrap_or(Rate::Unlimited),
    };
    let mut shown = Shown { config: &config, screen: Screen::open(), drawn: None, second: None };
    let summary = pressure::run(&config, &*interrupts()?, &mut |snapshot| shown.show(snapshot, emit))?;
    drop(shown);
    print(format_args!("\n{}", summary::text(&summary)))?;
    emit(summary::record(&config, &summary))?;
    match summary::broken(&summary) {
        None => Ok(ExitCode::SUCCESS),
        Some(broken) => {
            print(format_args!("\n{broken}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Shows moments: on a terminal each, on a page; elsewhere one a second, in a line.
struct Shown<'a> {
    config: &'a Config,
    screen: Option<Screen>,
    /// The moment that was drawn last.
    drawn: Option<Snapshot>,
    /// The last moment of a second.
    second: Option<Snapshot>,
}

impl Shown<'_> {
    fn show(&mut self, now: &Snapshot, emit: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
        let config = self.config;
        if let Some(screen) = &mut self.screen {
            let before = self.drawn.as_ref().unwrap_or(now);
            let (columns, lines) = screen.size();
            screen.draw(&View { config, before, now }.page(columns, lines))?;
            self.drawn = Some(now.clone());
        }
        if self.second.as_ref().is_some_and(|before| now.at.as_secs() == before.at.as_secs()) {
            return Ok(());
        }
        if let (None, Some(before)) = (&self.screen, &self.second) {
            print(format_args!("{}\n", View { config, before, now }.line()))?;
        }
        self.second = Some(now.clone());
        emit(summary::moment(now))
    }
}

fn parse_threads(text: &str) -> Result<usize> {
    parse_count(text, 1024)
}

fn parse_nodes(text: &str) -> Result<usize> {
    parse_count(text, 8)
}

fn parse_seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().with_context(|| format!("\"{text}\" is not a number of seconds"))?;
    ensure!((0.1..=1e6).contains(&seconds), "from 0.1 to 1000000 seconds");
    Ok(Duration::from_secs_f64(seconds))
}

fn parse_rate(text: &str) -> Result<Rate> {
    if text == "half" {
        return Ok(Rate::Half);
    }
    let pages = text.parse().ok().filter(|pages| (1..=1_000_000_000).contains(pages));
    pages.map(Rate::Pages).with_context(|| {
        format!("\"{text}\" is neither \"half\" nor a number of pages a second from 1 to 1000000000")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::testing, *};

    fn pressure(line: &str) -> (Result<ExitCode>, Vec<Value>) {
        let args: PressureArgs = testing::parse(line).unwrap();
        testing::with_records(|emit| run(&args, emit))
    }

    #[test]
    fn a_short_run_breaks_no_rule() {
        let (result, records) = pressure("--arena 16M --threads 4 --seconds 1 --nodes 2 --mixed");
        let record = records.last().unwrap();
        assert_eq!(result.unwrap(), ExitCode::SUCCESS, "{record}");
        assert_eq!((&record["kind"], &record["threads"]), (&json!("pressure"), &json!(4)));
        assert_eq!((&record["broken"]["count"], &record["conservation"]["free"]), (&json!(0), &json!(4096)));
        assert_eq!(record["requests"]["fill"]["failed"], json!({}));
        assert!(
            record["samples"]["inside"].is_u64() && record["direct_stall_ns"]["p99_9"].is_u64(),
            "{record}"
        );
        let reclaimed = |key: &str| record[key].as_u64().unwrap();
        assert!(reclaimed("reclaimed_kswapd") + reclaimed("reclaimed_direct") > 0, "{record}");
        assert!(record["caches"][0]["evicted"].as_u64().unwrap() > 0, "{record}");
        assert!(records.iter().any(|record| record["kind"] == "pressure_moment"));
    }

    #[test]
    fn bad_values_are_answered_with_what_would_do() {
        for (line, answer) in [
            ("--threads 0", "from 1 to 1024"),
            ("--arena lots", "such as 4G"),
            ("--seconds 0", "from 0.1"),
            ("--seconds long", "number of seconds"),
            ("--rate 0", "neither \"half\" nor a number of pages"),
            ("--rate third", "neither \"half\" nor a number of pages"),
            ("--nodes 9", "from 1 to 8"),
        ] {
            let message = testing::parse::<PressureArgs>(line).unwrap_err();
            assert!(message.contains(answer), "{line}: {message}");
        }
        let message = format!("{:#}", pressure("--arena 4M").0.unwrap_err());
        assert!(message.contains("--arena 8M or more"), "{message}");
    }
}
