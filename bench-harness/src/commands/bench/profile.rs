//! `gfp bench --perf record`: the same command under `perf record`, and a flame graph of what it saw.

use std::env;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use inferno::collapse::{Collapse, perf::Folder};
use inferno::flamegraph;

use super::BenchArgs;
use crate::terminal::print;

/// Says in the environment that perf is watching already.
const UNDER_PERF: &str = "GFP_UNDER_PERF";
/// Samples a second and thread: not a round number, so as not to keep step with what happens at round ones.
const FREQUENCY: &str = "999";
const DATA_FILE: &str = "gfp-perf.data";
const GRAPH_FILE: &str = "gfp-perf.svg";

/// Tells whether this process was started under perf by [`run`].
#[must_use]
pub fn is_running() -> bool {
    env::var_os(UNDER_PERF).is_some()
}

/// Runs this process's command under `perf record`, then draws the flame graph. Both files are left in the record's folder, or
/// in the working directory without one.
///
/// # Errors
/// perf is not installed or not permitted; the flame graph cannot be drawn, which leaves the other file as it is.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let folder = args.record.clone().unwrap_or_default();
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let data = folder.join(DATA_FILE);
    let _ = std::fs::remove_file(&data);
    let status = Command::new("perf")
        .args(["record", "-F", FREQUENCY, "-g", "--call-graph", "fp", "-o"])
        .arg(&data)
        .arg("--")
        .arg(env::current_exe().context("cannot find this program's file")?)
        .args(env::args_os().skip(1))
        .env(UNDER_PERF, "1")
        .status()
        .map_err(missing)?;
    if std::fs::metadata(&data).is_ok_and(|data| data.len() > 0) {
        let graph = folder.join(GRAPH_FILE);
        let drawn = draw(&data, &graph);
        print(format_args!("\nsamples: {} (perf report -i {0})\n", data.display()))?;
        drawn.with_context(|| format!("cannot draw {}", graph.display()))?;
        print(format_args!("flame graph: {}\n", graph.display()))?;
    } else {
        bail!(
            "perf record took no samples ({status}): it may not be permitted; as root, \
             sysctl kernel.perf_event_paranoid=1 permits it to everybody"
        );
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn missing(error: io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "perf is not installed (Debian: linux-perf; Ubuntu: linux-tools-generic)",
        _ => "cannot run perf",
    };
    anyhow::Error::new(error).context(why)
}

/// Draws a flame graph from what `perf script` says of the samples.
fn draw(data: &Path, graph: &PathBuf) -> Result<()> {
    let mut script = Command::new("perf")
        .args(["script", "-i"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(missing)?;
    let output = script.stdout.take().context("perf script has no output")?;
    let folded = fold(BufReader::new(output));
    let status = script.wait().context("cannot wait for perf script")?;
    ensure!(status.success(), "perf script failed ({status})");
    let file = File::create(graph)?;
    flame_graph(&folded?, BufWriter::new(file))
}

/// Makes a line of each stack, with the number of its samples.
fn fold(script: impl io::BufRead) -> Result<String> {
    let mut folded = Vec::new();
    Folder::default().collapse(script, &mut folded).context("cannot read what perf script says")?;
    String::from_utf8(folded).context("perf script says something that is no text")
}

fn flame_graph(folded: &str, file: impl io::Write) -> Result<()> {
    ensure!(!folded.is_empty(), "perf script shows no call graphs");
    let mut options = flamegraph::Options::default();
    options.title = "gfp bench".to_owned();
    flamegraph::from_lines(&mut options, folded.lines(), file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
gfp  100 10.5:  1 cpu-clock:u:
\t    1000 rmqueue+0x10 (/gfp)
\t    2000 drive+0x20 (/gfp)

gfp  100 10.6:  1 cpu-clock:u:
\t    1000 rmqueue+0x14 (/gfp)
\t    2000 drive+0x24 (/gfp)

";

    #[test]
    fn samples_become_a_flame_graph() {
        let folded = fold(SCRIPT.as_bytes()).unwrap();
        assert_eq!(folded, "gfp;drive;rmqueue 2\n");
        let mut svg = Vec::new();
        flame_graph(&folded, &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.contains("<svg") && svg.contains("rmqueue (2 samples, 100.00%)"), "{svg}");
    }

    #[test]
    fn no_samples_are_an_error() {
        assert!(flame_graph("", Vec::new()).unwrap_err().to_string().contains("no call graphs"));
    }
}
