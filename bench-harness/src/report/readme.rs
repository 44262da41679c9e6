//! What a README shows of a record: a table and two plots, between two markers.

use std::{collections::BTreeSet, fmt::Write};

use anyhow::{Context, Result, ensure};
use itertools::Itertools;

use super::{
    judge::{JUDGED, judge},
    plot::Palette,
    scaling,
    section::View,
    times,
};
use crate::{
    figures::count,
    record::{Figure, Record},
    rivals::WITHOUT_HANDLE,
};

const BEGIN: &str = "<!-- results:begin -->";
const END: &str = "<!-- results:end -->";

/// What a README shows of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// The text between the markers.
    pub markdown: String,
    /// The plots that it refers to: names of files in the record's folder, and their text.
    pub plots: Vec<(String, String)>,
}

/// Makes the excerpt of a record that is found at `link` from the README.
///
/// # Errors
/// The record has no figures of `gfp bench`, or a plot cannot be drawn.
pub fn excerpt(record: &Record, link: &str) -> Result<Excerpt> {
    let rows = record.rows();
    ensure!(!rows.is_empty(), "{} has no figures of gfp bench", record.path.display());
    let threads: BTreeSet<usize> = rows.iter().map(|row| row[0].cell.row.threads).collect();
    let threads: Vec<usize> = threads.into_iter().take(2).collect();
    let palette = Palette::new(&record.allocators());
    let view = View { record, palette: &palette };

    let of_least: Vec<&[&Figure]> =
        rows.iter().filter(|row| row[0].cell.row.threads == threads[0]).map(Vec::as_slice).collect();
    let mut drawn = vec![times::times(&view, &of_least, threads[0])?];
    drawn.extend(scaling::plot(&view)?);

    let environment = record.runs.first().map(|run| &run.environment);
    let (model, cpus) =
        environment.map_or(("an unknown CPU", 0), |machine| (&machine.cpu_model, machine.cpus));
    let mut markdown = format!(
        "On {model} with {} ([{link}]({link})), ns for an allocation with its free, medians of one run; the best rival of that line in\nbrackets:\n\n",
        count(cpus, "CPU")
    );
    markdown += &table(&view, &rows, &threads);
    for plot in &drawn {
        _ = write!(markdown, "\n![{}]({link}/{}.svg)\n", plot.description, plot.name);
    }
    let plots = drawn.iter().map(|plot| (format!("{}.svg", plot.name), plot.file())).collect();
    Ok(Excerpt { markdown, plots })
}

/// Makes the table: a line for what is asked of an allocator, for each number of threads gfp with and without a handle and
/// the best rival.
fn table(view: &View<'_>, rows: &[Vec<&Figure>], threads: &[usize]) -> String {
    let mut head = "| workload, order |".to_owned();
    let mut rule = "|---|".to_owned();
    for &threads in threads {
        _ = write!(head, " {}: {JUDGED} | without a handle | best rival |", count(threads, "thread"));
        rule += "---|---|---|";
    }
    let tasks = rows.iter().map(|row| view.task(&row[0].cell.row)).unique();
    let mut text = format!("{head}\n{rule}\n");
    for task in tasks {
        let mut line = format!("| {task} |");
        for &threads in threads {
            let row = rows.iter().find(|row| {
                let key = &row[0].cell.row;
                key.threads == threads && view.task(key) == task
            });
            let row = row.map(Vec::as_slice).unwrap_or_default();
            let of = |allocator: &str| {
                let figure = row.iter().find(|figure| figure.cell.allocator == allocator);
                figure.map_or_else(|| "–".into(), |figure| times::reading(figure))
            };
            let best = judge(row).and_then(|verdict| verdict.best);
            let best = best
                .map_or_else(|| "–".into(), |(name, ns)| format!("{} ({name})", crate::figures::digits(ns)));
            _ = write!(line, " {} | {} | {best} |", of(JUDGED), of(WITHOUT_HANDLE));
        }
        text += &line;
        text.push('\n');
    }
    text
}

/// Puts the text between the markers of a README.
///
/// # Errors
/// It has not both markers, in their order.
pub fn replace_results(readme: &str, markdown: &str) -> Result<String> {
    let wanted =
        || format!("the file has no lines \"{BEGIN}\" and, below it, \"{END}\" to put the results between");
    let (before, rest) = readme.split_once(BEGIN).with_context(wanted)?;
    let (_, after) = rest.split_once(END).with_context(wanted)?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", markdown.trim_end()))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let readme = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace_results(&readme, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replace_results(&new, "new").unwrap(), new);
        for without in [format!("{BEGIN} only"), format!("{END}{BEGIN}")] {
            assert!(replace_results(&without, "x").unwrap_err().to_string().contains(END));
        }
    }

    #[test]
    fn the_readme_shows_what_the_committed_record_gives() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let link = "results/2-cpu-vm";
        let excerpt = excerpt(&Record::read(&root.join(link)).unwrap(), link).unwrap();
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let advice = "run: gfp report --readme README.md results/2-cpu-vm";
        assert!(
            replace_results(&readme, &excerpt.markdown).unwrap() == readme,
            "README.md is out of date; {advice}"
        );
        assert_eq!(excerpt.plots.len(), 2);
        for (name, svg) in &excerpt.plots {
            let file = root.join(link).join(name);
            assert!(
                fs::read_to_string(&file).unwrap() == *svg,
                "{} is out of date; {advice}",
                file.display()
            );
        }
    }
}
