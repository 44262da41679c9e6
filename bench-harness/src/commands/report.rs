//! `gfp report`: records as a page to look at.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    record::Record,
    report::{Bias, excerpt, page, replace_results},
    terminal::print,
};

/// Makes a page of records: one HTML file that needs nothing else, and its plots as SVG files.
///
/// Where gfp loses comes first. What a record has not is named, with the command that measures it.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Records: folders of gfp bench --record, or single files of --json. Several are shown one below the other.
    #[arg(required = true, value_name = "DIR")]
    pub records: Vec<PathBuf>,

    /// Where report.html and plots/ are written. [default: the folder of the first record]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Instead of the page, a table and two plots: rewrites what stands between <!-- results:begin --> and
    /// <!-- results:end --> in this file, and writes the plots into the record's folder.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub readme: Option<PathBuf>,
}

/// Writes the page, or the excerpt, and says where.
///
/// # Errors
/// A record cannot be read, a plot cannot be drawn, or something cannot be written.
pub fn run(args: &ReportArgs, bias: &Bias<'_>) -> Result<()> {
    let records: Vec<Record> = args.records.iter().map(|path| Record::read(path)).collect::<Result<_>>()?;
    if let Some(readme) = &args.readme {
        let [record] = &records[..] else { bail!("--readme shows one record: name one folder") };
        return rewrite(readme, record);
    }
    let folder = args.out.clone().unwrap_or_else(|| folder_of(&args.records[0]));
    page(&records, bias)?.write(&folder)?;
    print(format_args!("{}\n", folder.join("report.html").display()))
}

/// Returns the folder of a record, which may be named by a file.
fn folder_of(record: &Path) -> PathBuf {
    if record.is_dir() {
        return record.to_owned();
    }
    match record.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn rewrite(readme: &Path, record: &Record) -> Result<()> {
    let folder = folder_of(&record.path);
    let link = link(readme, &folder)?;
    let excerpt = excerpt(record, &link)?;
    let text = fs::read_to_string(readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let text = replace_results(&text, &excerpt.markdown)
        .with_context(|| format!("cannot rewrite {}", readme.display()))?;
    let plots = excerpt.plots.into_iter().map(|(name, svg)| (folder.join(name), svg));
    for (path, text) in plots.chain([(readme.to_owned(), text)]) {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        print(format_args!("{}\n", path.display()))?;
    }
    Ok(())
}

/// Returns the path of a folder as seen from the folder of a file.
fn link(file: &Path, folder: &Path) -> Result<String> {
    let cannot_find = |path: &Path| format!("cannot find {}", path.display());
    let from = folder_of(file);
    let from = fs::canonicalize(&from).with_context(|| cannot_find(&from))?;
    let to = fs::canonicalize(folder).with_context(|| cannot_find(folder))?;
    let Ok(link) = to.strip_prefix(&from) else {
        bail!("{} is not below the folder of {}, which is to refer to it", folder.display(), file.display())
    };
    Ok(link.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2-cpu-vm");

    fn report(line: &str) -> Result<()> {
        run(&testing::parse(line).unwrap(), &|_| None)
    }

    #[test]
    fn a_page_and_its_plots_are_written() {
        let out = std::env::temp_dir().join(format!("report-out-{}", std::process::id()));
        report(&format!("{COMMITTED} {COMMITTED}/replay-1.jsonl --out {}", out.display())).unwrap();
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        let plots: Vec<_> =
            fs::read_dir(out.join("plots")).unwrap().map(|file| file.unwrap().file_name()).collect();
        fs::remove_dir_all(&out).unwrap();
        assert!(page.contains("Where gfp loses") && page.contains("AMD EPYC"));
        let (_, missing) = page.split_once("Not in this record").unwrap();
        assert!(missing.contains("gfp pressure --json") && missing.contains(COMMITTED), "{missing}");
        for name in ["1-times-1-thread.svg", "1-scaling.svg", "1-replay.svg", "2-replay.svg"] {
            assert!(plots.iter().any(|file| file == name), "{name} is not among {plots:?}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let message = format!("{:#}", report("/nowhere/at/all").unwrap_err());
        assert!(message.contains("/nowhere/at/all"), "{message}");
        let message = format!("{:#}", report(&format!("{COMMITTED} {COMMITTED} --readme x.md")).unwrap_err());
        assert!(message.contains("one record"), "{message}");
        // Wherever this checkout is, that folder is not above it.
        let elsewhere = std::env::temp_dir().join(format!("report-elsewhere-{}", std::process::id()));
        fs::create_dir_all(&elsewhere).unwrap();
        let line = format!("{COMMITTED} --readme {}/x.md", elsewhere.display());
        let message = format!("{:#}", report(&line).unwrap_err());
        fs::remove_dir_all(&elsewhere).unwrap();
        assert!(message.contains("is not below"), "{message}");
    }
}
