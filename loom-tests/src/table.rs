//! The README's table of a checker: written by a run, and what every other run is compared with.

use crate::{
    Model, Outcome,
    explore::{COMMAND, TABLE, schedules},
};
use std::path::PathBuf;
use std::{fs, io};

const HEAD: &str = "\
| model | what holds | bound | executions | seconds | planted bugs, and how the model fails with each |
|---|---|---|---:|---:|---|
";
/// The README in three parts: before the table, the table, behind it.
pub(crate) struct Readme {
    before: String,
    table: String,
    behind: String,
}

/// The two lines between which the file is written anew.
fn markers() -> [String; 2] {
    [format!("<!-- {TABLE}: written by {COMMAND} -->\n"), format!("<!-- end of {TABLE} -->\n")]
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The cells of a model's row that do not depend on a run: name, property, bound, and bugs.
fn words(model: &Model) -> [String; 4] {
    let bugs = model.bugs.iter().map(|(bug, message)| format!("`{bug:?}`: {}", message.replace('|', " or ")));
    [
        format!("`{}`", model.name),
        model.property.to_owned(),
        format!("{}; {}", model.bound, schedules(model)),
        bugs.collect::<Vec<_>>().join("<br>"),
    ]
}

impl Readme {
    /// Reads the file.
    ///
    /// # Errors
    /// When there is none, or none with a table.
    pub(crate) fn read() -> io::Result<Self> {
        let text = fs::read_to_string(path())?;
        let [begin, end] = markers();
        let parts = text.split_once(&begin).and_then(|(before, rest)| {
            let (table, behind) = rest.split_once(&end)?;
            Some(Self { before: before.to_owned(), table: table.to_owned(), behind: behind.to_owned() })
        });
        parts.ok_or_else(|| io::Error::other(format!("it has no table of {TABLE} between its two marks")))
    }

    /// Says where the table differs from the models that there are, figures apart.
    pub(crate) fn differences(&self, models: &[Model]) -> Vec<String> {
        let rows: Vec<Vec<&str>> = self
            .table
            .lines()
            .skip(HEAD.lines().count())
            .filter_map(|row| row.strip_prefix("| ")?.strip_suffix(" |"))
            .map(|cells| cells.split(" | ").collect())
            .collect();
        let has_row = |model: &&Model| {
            let [name, property, bound, bugs] = words(model);
            rows.iter().any(|row| matches!(**row, [a, b, c, _, _, d] if [a, b, c, d] == [&name, &property, &bound, &bugs]))
        };
        let is_there = |row: &&Vec<&str>| models.iter().any(|model| row[0] == words(model)[0]);
        let gone =
            rows.iter().filter(|row| !is_there(row)).map(|row| format!("{} is listed, but gone", row[0]));
        let changed = models.iter().filter(|model| !has_row(model));
        gone.chain(changed.map(|model| format!("`{}` is not listed as it is", model.name))).collect()
    }

    /// Writes the table of a run, which was of all models.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, rows: &[(Model, Outcome)]) -> io::Result<()> {
        let [begin, end] = markers();
        let row = |(model, outcome): &(Model, Outcome)| {
            let [name, property, bound, bugs] = words(model);
            let (executions, seconds) = (outcome.executions, outcome.elapsed.as_secs_f64());
            format!("| {name} | {property} | {bound} | {executions} | {seconds:.2} | {bugs} |\n")
        };
        let table: String = rows.iter().map(row).collect();
        fs::write(path(), [self.before.as_str(), &begin, HEAD, &table, &end, &self.behind].concat())
    }
}
