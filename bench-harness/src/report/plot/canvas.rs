//! What plots are drawn on, and how they are written.

use anyhow::{Context, Result};
use plotters::{
    chart::MeshStyle,
    coord::{
        Shift,
        ranged1d::{Ranged, ValueFormatter},
    },
    drawing::{DrawingArea, IntoDrawingArea},
    element::{EmptyElement, Text},
    prelude::SVGBackend,
    style::{
        Color, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    GRID, MUTED,
    palette::{Colour, dark_rules},
};

/// The width of plots on screens that have room, in CSS pixels.
pub(in crate::report) const WIDE: u32 = 960;
/// The width of plots on telephones: 400 pixels without the page's margins.
pub(in crate::report) const NARROW: u32 = 368;

/// A drawing area, or a part of one.
pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot, drawn at both widths.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Plot {
    /// The stem of its file's name.
    pub(in crate::report) name: String,
    /// What it shows, for those who do not see it.
    pub(in crate::report) description: String,
    /// SVG of the width [`WIDE`].
    pub(in crate::report) wide: String,
    /// SVG of the width [`NARROW`].
    pub(in crate::report) narrow: String,
}

impl Plot {
    /// Draws a plot twice; `height` says how high it is at a width.
    pub(super) fn draw(
        name: &str,
        description: &str,
        height: impl Fn(u32) -> u32,
        draw: impl Fn(&Canvas<'_>, u32) -> Result<()>,
    ) -> Result<Self> {
        let at = |width| {
            let mut svg = String::new();
            {
                let canvas = SVGBackend::with_string(&mut svg, (width, height(width))).into_drawing_area();
                draw(&canvas, width).with_context(|| format!("cannot draw the plot {name}"))?;
                canvas.present()?;
            }
            Ok::<_, anyhow::Error>(svg)
        };
        Ok(Self {
            name: name.to_owned(),
            description: description.to_owned(),
            wide: at(WIDE)?,
            narrow: at(NARROW)?,
        })
    }

    /// Returns the plot as a file that stands alone, wide, with its colours for dark screens.
    pub(in crate::report) fn file(&self) -> String {
        // A background of its own: what shows it may be light where the reader's screen is dark.
        let style = format!(
            "<style>\nsvg {{ background: #ffffff; }}\n@media (prefers-color-scheme: dark) {{\nsvg {{ background: #12161c; }}\n{}}}\n</style>\n",
            dark_rules("")
        );
        match self.wide.split_once(">\n") {
            Some((tag, rest)) => format!("{tag}>\n{style}{rest}"),
            None => self.wide.clone(),
        }
    }
}

/// Where a text's given point is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// At the left end, half of its height.
    Left,
    /// In its middle.
    Middle,
    /// At the right end, half of its height.
    Right,
}

/// Returns a text style of that size in CSS pixels.
pub(super) fn text_style(pixels: f64, colour: Colour, anchor: Anchor) -> TextStyle<'static> {
    let horizontal = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    // The SVG writer divides sizes by 1.24.
    let font = ("sans-serif", pixels * 1.24).into_font();
    font.color(&RGBColor::from(colour).to_rgba()).pos(Pos::new(horizontal, VPos::Center))
}

/// Returns about how wide a text is, in a wide font: which one will show it is not known.
pub(super) fn text_width(text: &str, pixels: f64) -> i32 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | ' ' => 0.33,
        'f' | 't' | 'r' | '-' | '/' | '(' | ')' => 0.42,
        'm' | 'w' | 'M' | 'W' | '…' | '%' => 1.0,
        'A'..='Z' => 0.72,
        _ => 0.64,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a text is shorter than 2^31 pixels")]
    let width = (text.chars().map(em).sum::<f64>() * pixels).ceil() as i32;
    width
}

/// Writes a text.
pub(super) fn write(canvas: &Canvas<'_>, text: &str, at: (i32, i32), style: &TextStyle<'_>) -> Result<()> {
    Ok(canvas.draw(&(EmptyElement::at(at) + Text::new(text.to_owned(), (0, 0), style.clone())))?)
}

/// Draws a plot's grid with its labels, in the look that all have.
pub(super) fn draw_grid<X, Y>(grid: &mut MeshStyle<'_, '_, X, Y, SVGBackend<'_>>, text: f64) -> Result<()>
where
    X: Ranged<ValueType: Clone> + ValueFormatter<X::ValueType>,
    Y: Ranged<ValueType: Clone> + ValueFormatter<Y::ValueType>,
{
    let lines = RGBColor::from(GRID);
    Ok(grid
        .axis_desc_style(text_style(text, MUTED, Anchor::Middle))
        .label_style(text_style(text, MUTED, Anchor::Middle))
        .bold_line_style(lines)
        .light_line_style(lines.mix(0.0))
        .axis_style(lines)
        .draw()?)
}

/// Shortens a name that is longer than `most` characters.
pub(super) fn shorten(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    // The end tells libraries apart, not the path to them.
    let end: String = name.chars().skip(name.chars().count() + 1 - most).collect();
    format!("…{end}")
}

/// Returns a length in pixels as the drawing wants it.
pub(super) fn pixels(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::INK;

    #[test]
    fn a_file_has_its_style_within_and_texts_are_escaped() {
        let plot = Plot::draw(
            "x",
            "y",
            |width| width / 2,
            |canvas, _| write(canvas, "<script>&\"", (10, 10), &text_style(12.0, INK, Anchor::Left)),
        )
        .unwrap();
        assert!(plot.wide.starts_with("<svg width=\"960\" height=\"480\""), "{}", plot.wide);
        assert!(plot.narrow.starts_with("<svg width=\"368\" height=\"184\""));
        let file = plot.file();
        assert!(file.contains("xmlns=\"http://www.w3.org/2000/svg\">\n<style>\nsvg {"), "{file}");
        assert!(file.contains("&lt;script&gt;&amp;&quot;") && !file.contains("<script"), "{file}");
        assert!(file.contains("fill=\"#1B1F24\"") && file.contains("fill: #e6e9ee"), "{file}");
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shorten("so:/usr/lib/libtcmalloc.so", 14), "…ibtcmalloc.so");
        assert_eq!(shorten("gfp", 14), "gfp");
    }
}
