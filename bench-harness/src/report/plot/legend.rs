//! What the colours of a plot stand for.

use anyhow::Result;
use plotters::{
    element::Rectangle,
    style::{Color, RGBColor},
};

use super::{
    Colour, INK,
    canvas::{Anchor, Canvas, pixels, shorten, text_style, text_width, write},
};

/// Names of what is drawn, with their colours.
pub(in crate::report) type Legend = [(String, Colour)];

/// How high a line is.
const LINE: i32 = 20;
const TEXT: f64 = 12.0;

/// Returns how high a legend is in a plot of that width.
pub(super) fn height(legend: &Legend, width: u32) -> u32 {
    let lines = places(legend, pixels(width)).last().map_or(0, |&(_, line)| line + 1);
    u32::try_from(lines * LINE).unwrap_or(0)
}

/// Returns where the legend's entries begin, from the left, and in which line.
fn places(legend: &Legend, width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut line) = (4, 0);
    let mut places = Vec::new();
    for (label, _) in legend {
        let needed = 18 + text_width(&shorten(label, 40), TEXT) + 14;
        if x + needed > width && x > 4 {
            (x, line) = (4, line + 1);
        }
        places.push((x, line));
        x += needed;
    }
    places
}

/// Draws a legend.
pub(super) fn draw(canvas: &Canvas<'_>, legend: &Legend, width: u32) -> Result<()> {
    let style = text_style(TEXT, INK, Anchor::Left);
    for ((label, colour), (x, line)) in legend.iter().zip(places(legend, pixels(width))) {
        let y = line * LINE + LINE / 2;
        let colour = RGBColor::from(*colour);
        canvas.draw(&Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()))?;
        write(canvas, &shorten(label, 40), (x + 18, y), &style)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::series;

    #[test]
    fn a_legend_goes_on_in_the_next_line_before_it_is_cut() {
        let legend: Vec<_> = (0..12).map(|number| (format!("allocator-{number}"), series(number))).collect();
        let places = places(&legend, 368);
        for ((x, _), (label, _)) in places.iter().zip(&legend) {
            assert!(x + 18 + text_width(label, TEXT) <= 368);
        }
        assert!(places.last().unwrap().1 >= 2);
        assert!(places.windows(2).all(|pair| pair[0].1 < pair[1].1 || pair[0].0 < pair[1].0));
    }
}
