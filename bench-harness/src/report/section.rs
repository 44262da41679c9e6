//! The parts of a page.

use itertools::Itertools;
use maud::{Markup, PreEscaped, html};

use super::{
    judge::JUDGED,
    plot::{Colour, Palette, Plot},
};
use crate::record::{Record, Row};

/// What a section is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The record.
    pub(super) record: &'a Record,
    /// The colours of allocators.
    pub(super) palette: &'a Palette,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// What it is about.
    pub(super) title: &'static str,
    /// The command that measures it; `DIR` is the record.
    pub(super) command: &'static str,
    /// What is shown; nothing where the record has none of it.
    pub(super) content: Option<Content>,
}

/// What a section shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The text and the tables above the plots.
    pub(super) text: Markup,
    /// The plots.
    pub(super) plots: Vec<Plot>,
    /// What comes below them.
    pub(super) more: Markup,
}

impl View<'_> {
    /// Returns what is asked of an allocator in a row; how threads lie only where a record has several ways.
    pub(super) fn task(&self, row: &Row) -> String {
        let figures = &self.record.figures;
        let several = figures.iter().any(|figure| figure.cell.row.placement != row.placement);
        match &row.placement {
            Some(placement) if several => format!("{} ({placement})", row.task()),
            _ => row.task(),
        }
    }

    /// Returns the legend of these allocators, each once, gfp first.
    pub(super) fn legend(&self, allocators: &[&str]) -> Vec<(String, Colour)> {
        let mut names: Vec<&str> = allocators.iter().copied().unique().collect();
        names.sort_by_key(|&name| name != JUDGED);
        names.into_iter().map(|name| (name.to_owned(), self.palette.of(name))).collect()
    }
}

/// Makes a plot's place on the page; of its two widths the style shows the one that fits.
pub(super) fn figure(plot: &Plot) -> Markup {
    html! {
        figure {
            div.plot.wide role="img" aria-label=(plot.description) { (PreEscaped(&plot.wide)) }
            div.plot.narrow role="img" aria-label=(plot.description) { (PreEscaped(&plot.narrow)) }
            figcaption { (plot.description) }
        }
    }
}

/// How many columns a telephone has room for.
const NARROW_COLUMNS: usize = 5;

/// Makes a table. The first column is text. One of many columns is shown line by line where there is no room for them.
pub(super) fn table(head: &[&str], rows: &[Vec<Markup>]) -> Markup {
    let class = if head.len() > NARROW_COLUMNS { "many" } else { "few" };
    html! {
        div.table tabindex="0" {
            table class=(class) {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr { @for (cell, name) in row.iter().zip(head) { td data-column=(name) { (cell) } } }
                    }
                }
            }
        }
    }
}

/// Escapes a text for a cell.
pub(super) fn cell(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}
