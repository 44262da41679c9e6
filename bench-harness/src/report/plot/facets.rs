//! Several small plots in one, side by side where there is room, under a common legend.

use anyhow::Result;

use super::{
    Dots, INK, Lines, Plot, WIDE,
    canvas::{Anchor, Canvas, pixels, text_style, write},
    legend::{self, Legend},
};

/// A small plot.
#[derive(Clone, Debug)]
pub(in crate::report) enum Facet {
    /// Figures with their extremes, a line each.
    Dots(Dots),
    /// Curves.
    Lines(Lines),
}

/// How high a facet's title is.
const TITLE: u32 = 26;
const TEXT: f64 = 13.0;

/// Draws facets, `columns` side by side where there is room. The legend names series that are told apart by colour only.
pub(in crate::report) fn facets(
    name: &str,
    description: &str,
    facets: &[Facet],
    legend: &Legend,
    columns: usize,
) -> Result<Plot> {
    let columns_at = |width| if width == WIDE { columns.clamp(1, facets.len().max(1)) } else { 1 };
    let heights = |width: u32| -> Vec<u32> {
        let rows = facets.chunks(columns_at(width));
        rows.map(|row| row.iter().map(Facet::height).max().unwrap_or(0) + TITLE).collect()
    };
    let height = |width| legend::height(legend, width) + heights(width).iter().sum::<u32>();
    Plot::draw(name, description, height, |canvas, width| {
        let (top, mut rest) = canvas.split_vertically(pixels(legend::height(legend, width)));
        legend::draw(&top, legend, width)?;
        for (row, height) in facets.chunks(columns_at(width)).zip(heights(width)) {
            let (line, below) = rest.split_vertically(pixels(height));
            for (facet, area) in row.iter().zip(line.split_evenly((1, columns_at(width)))) {
                let (head, body) = area.split_vertically(pixels(TITLE));
                let style = text_style(TEXT, INK, Anchor::Left);
                write(&head, facet.title(), (4, pixels(TITLE) / 2), &style)?;
                let (body, _) = body.split_vertically(pixels(facet.height()));
                facet.draw(&body)?;
            }
            rest = below;
        }
        Ok(())
    })
}

impl Facet {
    fn title(&self) -> &str {
        match self {
            Self::Dots(dots) => &dots.title,
            Self::Lines(lines) => &lines.title,
        }
    }

    fn height(&self) -> u32 {
        match self {
            Self::Dots(dots) => dots.height(),
            Self::Lines(_) => Lines::HEIGHT,
        }
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<()> {
        match self {
            Self::Dots(dots) => dots.draw(canvas),
            Self::Lines(lines) => lines.draw(canvas),
        }
    }
}
