//! The page.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Bias, costs, fragmentation, latency, overview,
    plot::{Palette, dark_rules},
    pressure, replay, scaling,
    section::{Section, View, figure},
    times,
};
use crate::record::Record;

/// A page, and its plots.
#[derive(Clone, Debug)]
pub struct Page {
    html: String,
    plots: Vec<(String, String)>,
}

/// The folder of the plots, beside the page.
const PLOTS: &str = "plots";

impl Page {
    /// Returns the page.
    #[must_use]
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Writes the page as `report.html`, and each plot as an SVG file in `plots/`.
    ///
    /// # Errors
    /// Something cannot be written; the message names it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let plots = folder.join(PLOTS);
        fs::create_dir_all(&plots).with_context(|| format!("cannot make the folder {}", plots.display()))?;
        let files = self.plots.iter().map(|(name, svg)| (plots.join(format!("{name}.svg")), svg));
        for (path, text) in files.chain([(folder.join("report.html"), &self.html)]) {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Makes the page of one or several records; each has a part of its own, and no table or plot has figures of two.
///
/// # Errors
/// A plot cannot be drawn.
pub fn page(records: &[Record], bias: &Bias<'_>) -> Result<Page> {
    let mut plots = Vec::new();
    let mut parts = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let prefix = if records.len() > 1 { format!("{}-", number + 1) } else { String::new() };
        parts.push(part(record, &prefix, bias, &mut plots)?);
    }
    let names: Vec<String> = records.iter().map(|record| record.path.display().to_string()).collect();
    let title = format!("gfp: {}", names.join(", "));
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) (PreEscaped(dark_style())) }
            }
            body {
                header {
                    h1 { "gfp beside other allocators" }
                    p {
                        "Made by " code { "gfp report" } " from " (records.len()) (if records.len() == 1 { " record" } else { " records" })
                        ". Compare within a record only: its figures were taken beside each other."
                    }
                }
                main { @for part in &parts { (part) } }
            }
        }
    };
    Ok(Page { html: html.into_string(), plots })
}

fn dark_style() -> String {
    format!("@media (prefers-color-scheme: dark) {{\n{}}}\n", dark_rules(".plot "))
}

/// Makes a record's part of the page.
fn part(record: &Record, prefix: &str, bias: &Bias<'_>, files: &mut Vec<(String, String)>) -> Result<Markup> {
    let palette = Palette::new(&record.allocators());
    let view = View { record, palette: &palette };
    let sections = [
        times::section(&view)?,
        scaling::section(&view)?,
        latency::section(&view)?,
        costs::section(&view),
        fragmentation::section(&view)?,
        fragmentation::map_section(&view)?,
        replay::section(&view)?,
        pressure::section(&view)?,
    ];
    for plot in
        sections.iter().filter_map(|section| section.content.as_ref()).flat_map(|content| &content.plots)
    {
        files.push((format!("{prefix}{}", plot.name), plot.file()));
    }
    let missing: Vec<&Section> = sections.iter().filter(|section| section.content.is_none()).collect();
    Ok(html! {
        article {
            h2 { (record.path.display()) }
            (overview::losses(record))
            (overview::environment(record))
            @for section in &sections {
                @if let Some(content) = &section.content {
                    section {
                        h3 { (section.title) }
                        (content.text)
                        @for plot in &content.plots { (figure(plot)) }
                        (content.more)
                    }
                }
            }
            (overview::biases(&record.allocators(), bias))
            (overview::missing(record, &missing))
        }
    })
}
