//! Reading a record.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use itertools::Itertools;
use serde::Deserialize;
use serde_json::Value;

use super::{Blocks, Cell, Figure, Fragmentation, Moment, Pressure, Replay, Timeline};
use crate::environment::Environment;

/// All that was read of a folder, or of a single file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The folder, as it was named.
    pub path: PathBuf,
    /// The runs that took the figures, in the order of the files' names.
    pub runs: Vec<Run>,
    /// What `gfp bench` measured, one a cell: of several in the files, the last.
    pub figures: Vec<Figure>,
    /// Fragmentation over time.
    pub fragmentation: Vec<Fragmentation>,
    /// Maps of arenas.
    pub blocks: Vec<Blocks>,
    /// Replays.
    pub replays: Vec<Replay>,
    /// Placements over the course of traces.
    pub timelines: Vec<Timeline>,
    /// Memory under pressure.
    pub pressure: Vec<Pressure>,
    /// Files whose last line an interrupt cut off; the line was left out.
    pub cut_off: Vec<PathBuf>,
}

/// A run of a command.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Run {
    /// The machine and the circumstances.
    #[serde(flatten)]
    pub environment: Environment,
    /// The fingerprint of the program, where a run can be resumed.
    #[serde(default)]
    pub program: Option<String>,
    /// What was asked for besides the rows, where a run can be resumed.
    #[serde(default)]
    pub settings: Value,
}

/// A line, by its kind.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Environment(Box<Run>),
    Bench(Box<Figure>),
    #[serde(rename = "series")]
    Fragmentation(Fragmentation),
    Blocks(Blocks),
    Replay(Box<Replay>),
    Timeline(Timeline),
    Pressure(Box<Pressure>),
    PressureMoment(Moment),
    #[serde(other)]
    Unknown,
}

/// The visits to each cell, in the order of the record.
#[derive(Default)]
struct Cells {
    places: HashMap<Cell, usize>,
    visits: Vec<Vec<Figure>>,
}

impl Cells {
    /// Adds a visit: behind those before it, in place of what came behind them. What has none before it begins anew.
    fn add(&mut self, figure: Figure) {
        let place = *self.places.entry(figure.cell.clone()).or_insert(self.visits.len());
        if place == self.visits.len() {
            self.visits.push(Vec::new());
        }
        let visits = &mut self.visits[place];
        visits.truncate(figure.visit);
        if visits.len() < figure.visit {
            visits.clear();
        }
        visits.push(figure);
    }
}

impl Record {
    /// Reads every `.jsonl` file of a folder, in the order of their names; or a single file.
    ///
    /// # Errors
    /// There is no such file, or a line is not what its kind should be; the message names the file and the line.
    pub fn read(path: &Path) -> Result<Self> {
        let mut record = Self { path: path.to_owned(), ..Self::default() };
        let mut cells = Cells::default();
        for file in files(path)? {
            record.read_file(&file, &mut cells)?;
        }
        record.figures = cells.visits.into_iter().filter_map(Figure::of_visits).collect();
        Ok(record)
    }

    fn read_file(&mut self, file: &Path, cells: &mut Cells) -> Result<()> {
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8_lossy(&text);
        let first_run = self.runs.len();
        let mut moments = Vec::new();
        for (index, text) in text.split_inclusive('\n').enumerate() {
            let line = match serde_json::from_str(text) {
                Ok(line) => line,
                // Only the last line of a file can lack its end.
                Err(_) if !text.ends_with('\n') => {
                    self.cut_off.push(file.to_owned());
                    break;
                }
                Err(error) => bail!("cannot read {}, line {}: {error}", file.display(), index + 1),
            };
            ensure!(
                self.runs.len() > first_run || matches!(line, Line::Environment(_)),
                "{} is no record: it does not begin with the environment",
                file.display()
            );
            self.take(line, &mut moments, cells);
        }
        Ok(())
    }

    fn take(&mut self, line: Line, moments: &mut Vec<Moment>, cells: &mut Cells) {
        match line {
            Line::Environment(run) => self.runs.push(*run),
            Line::Bench(mut figure) => {
                figure.run = self.runs.len() - 1;
                cells.add(*figure);
            }
            Line::Fragmentation(series) => self.fragmentation.push(series),
            Line::Blocks(blocks) => self.blocks.push(blocks),
            Line::Replay(replay) => self.replays.push(*replay),
            Line::Timeline(timeline) => self.timelines.push(timeline),
            Line::PressureMoment(moment) => moments.push(moment),
            Line::Pressure(mut pressure) => {
                pressure.moments = std::mem::take(moments);
                self.pressure.push(*pressure);
            }
            Line::Unknown => {}
        }
    }

    /// Returns the figures row by row, each row at the place of its first figure.
    #[must_use]
    pub fn rows(&self) -> Vec<Vec<&Figure>> {
        let mut places = HashMap::new();
        let mut rows: Vec<Vec<&Figure>> = Vec::new();
        for figure in &self.figures {
            let place = *places.entry(&figure.cell.row).or_insert(rows.len());
            if place == rows.len() {
                rows.push(Vec::new());
            }
            rows[place].push(figure);
        }
        rows
    }

    /// Returns the allocators that the record has anything about, each once, in its order.
    #[must_use]
    pub fn allocators(&self) -> Vec<&str> {
        let figures = self.figures.iter().map(|figure| &figure.cell.allocator);
        let series = self.fragmentation.iter().map(|series| &series.allocator);
        let replays = self.replays.iter().map(|replay| &replay.allocator);
        let timelines = self.timelines.iter().map(|timeline| &timeline.allocator);
        figures.chain(series).chain(replays).chain(timelines).map(String::as_str).unique().collect()
    }
}

/// Returns the files of a record.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read the record {}", path.display());
    if fs::metadata(path).with_context(cannot_read)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot_read)? {
        let file = entry.with_context(cannot_read)?.path();
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "{} has no .jsonl file: gfp bench --record {0} makes one", path.display());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    fn read(name: &str, text: &str) -> Result<Record> {
        let file = std::env::temp_dir().join(format!("record-{name}-{}.jsonl", std::process::id()));
        fs::write(&file, text).unwrap();
        let record = Record::read(&file);
        fs::remove_file(&file).unwrap();
        record
    }

    const ENVIRONMENT: &str = "{\"kind\":\"environment\",\"cpu_model\":\"A CPU\",\"cpus\":2}\n";

    fn figure(allocator: &str, rest: &str) -> String {
        format!(
            "{{\"kind\":\"bench\",\"workload\":\"pair\",\"order\":3,\"threads\":2,\"workers\":2,\"allocator\":\"{allocator}\"{rest}}}\n"
        )
    }

    #[test]
    fn visits_to_a_row_are_one_figure_and_the_first_begins_anew() {
        let visit = |visit: usize, rest: &str| figure("gfp", &format!(",\"visit\":{visit},{rest}"));
        let samples = |low: u32, high: u32| {
            format!(
                "\"ns_per_op\":{{\"min\":{low},\"median\":{low},\"max\":{high}}},\"mops_per_s\":{},\"samples_ns\":[{low},{high}]",
                1000.0 / f64::from(low)
            )
        };
        let both = [visit(0, &samples(2, 10)), visit(1, &samples(4, 4))].concat();
        let whole = |text: &str| read("visits", &format!("{ENVIRONMENT}{text}")).unwrap().figures.remove(0);
        let figure = whole(&both);
        assert!(figure.visits().eq([[2.0, 10.0], [4.0, 4.0]].iter().map(|visit| &visit[..])));
        let spread = figure.measured().unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (2.0, 4.0, 10.0));
        assert_eq!(figure.mops_per_s, Some(250.0));
        assert!(figure.runs().eq([0, 0]));
        let anew = whole(&[both.clone(), visit(0, &samples(7, 8))].concat());
        assert_eq!((anew.samples_ns, anew.earlier_runs), (vec![7.0, 8.0], vec![]));
        let again = whole(&[both.clone(), visit(1, &samples(7, 8))].concat());
        assert!(again.visits().eq([[2.0, 10.0], [7.0, 8.0]].iter().map(|visit| &visit[..])));
        let alone = whole(&visit(1, &samples(7, 8)));
        assert!(alone.visits().eq([[7.0, 8.0]].iter().map(|visit| &visit[..])));
        let failed = whole(&[both, visit(2, "\"failed\":\"it broke\"")].concat());
        assert_eq!(failed.outcome(), Outcome::Failed("it broke"));
        assert!(failed.runs().eq([0, 0, 0]));
    }

    #[test]
    fn the_committed_record_is_read_whole() {
        let record =
            Record::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm"))).unwrap();
        assert_eq!(record.runs[0].environment.cpu_model, "AMD EPYC");
        assert!(record.runs[0].environment.command_line.contains(&"--quick".to_owned()));
        let rows = record.rows();
        assert_eq!((rows.len(), record.figures.len()), (44, 44 * 11));
        assert!(rows.iter().all(|row| row.len() == 11));
        assert_eq!(rows[0][1].cell.allocator, "gfp");
        assert!(rows.iter().flatten().all(|figure| figure.workers == figure.cpus.len()));
        assert!(rows.iter().flatten().any(|figure| matches!(figure.outcome(), Outcome::Above(_))));
        assert_eq!((record.replays.len(), record.timelines.len()), (9, 9));
        assert!(record.replays.iter().all(|replay| replay.blocks_2m.kernel.peak > 0.0));
        assert!(record.cut_off.is_empty());
    }

    #[test]
    fn unknown_kinds_and_fields_are_ignored_and_the_last_of_a_cell_counts() {
        let record = read(
            "unknown",
            &[
                ENVIRONMENT,
                "{\"kind\":\"from_the_future\",\"x\":[1]}\n",
                &figure("gfp", ",\"ns_per_op\":{\"min\":1,\"median\":2,\"max\":3},\"future\":1"),
                &figure("glibc", ",\"failed\":\"why\""),
                ENVIRONMENT,
                &figure("gfp", ",\"ns_per_op\":{\"min\":4,\"median\":5,\"max\":6},\"set\":null"),
            ]
            .concat(),
        )
        .unwrap();
        assert_eq!(record.figures.len(), 2);
        assert_eq!((record.figures[0].median(), record.figures[0].run), (Some(5.0), 1));
        assert_eq!(record.figures[1].outcome(), Outcome::Failed("why"));
    }

    #[test]
    fn the_moments_of_a_pressure_run_are_those_before_it() {
        let moment = "{\"kind\":\"pressure_moment\",\"at_s\":1.5,\"phase\":\"sample\",\"zones\":[]}\n";
        let times = "{\"number\":1,\"p50\":1,\"p99\":2,\"p99_9\":3,\"max\":4}";
        let run = format!(
            "{{\"kind\":\"pressure\",\"threads\":4,\"arena_bytes\":1,\"seconds\":1.0,\"pages_per_s\":2.0,\"reclaimed_kswapd\":1,\
             \"reclaimed_direct\":2,\"allocstall\":3,\"latency_ns\":{times},\"direct_stall_ns\":{times},\
             \"samples\":{{\"inside\":1,\"below_min\":0,\"above_high\":0}},\"conservation\":{{\"holds\":true}},\
             \"broken\":{{\"count\":0,\"sentences\":[]}}}}\n"
        );
        let record = read("pressure", &[ENVIRONMENT, moment, moment, &run, &run].concat()).unwrap();
        let moments: Vec<usize> = record.pressure.iter().map(|run| run.moments.len()).collect();
        assert_eq!(moments, [2, 0]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        let whole = figure("gfp", ",\"ns_per_op_above\":7");
        let cut = &figure("glibc", ",\"failed\":\"why\"")[..40];
        let record = read("cut", &[ENVIRONMENT, &whole, cut].concat()).unwrap();
        assert_eq!(record.figures.len(), 1);
        assert_eq!(record.figures[0].outcome(), Outcome::Above(7.0));
        assert_eq!(record.cut_off.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_file_and_line() {
        let error = |name: &str, text: &str| format!("{:#}", read(name, text).unwrap_err());
        let message = error("broken", &format!("{ENVIRONMENT}not json\n"));
        assert!(message.contains("record-broken") && message.contains("line 2"), "{message}");
        let message =
            error("lacking", &format!("{ENVIRONMENT}{{\"kind\":\"bench\",\"workload\":\"pair\"}}\n"));
        assert!(message.contains("line 2") && message.contains("missing field"), "{message}");
        let message = error("headless", &figure("gfp", ""));
        assert!(message.contains("does not begin with the environment"), "{message}");
        let nowhere = Record::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(format!("{nowhere:#}").contains("/nowhere/at/all"));
        let none = Record::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))).unwrap_err();
        assert!(format!("{none:#}").contains("gfp bench --record"), "{none:#}");
    }
}
