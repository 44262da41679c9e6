//! A map of equal parts, each with a kind and a fill.

use anyhow::Result;
use plotters::{
    element::Rectangle,
    style::{Color, RGBColor},
};

use super::{
    Colour, GRID, MUTED, Plot, WIDE,
    canvas::{Anchor, pixels, text_style, write},
    legend,
};

/// A part.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct MapCell {
    /// The colour of its kind.
    pub(in crate::report) colour: Colour,
    /// How much of it is in use, 0 to 1.
    pub(in crate::report) fill: f64,
}

/// A map.
#[derive(Clone, Debug)]
pub(in crate::report) struct Map {
    /// The parts, line by line.
    pub(in crate::report) cells: Vec<MapCell>,
    /// What the numbers before the lines are.
    pub(in crate::report) numbered: String,
    /// The kinds.
    pub(in crate::report) legend: Vec<(String, Colour)>,
}

/// The distance of parts.
const PITCH: u32 = 20;
/// Room for the numbers of lines.
const LEFT: u32 = 52;
/// Room for the heading.
const TOP: u32 = 22;

/// Draws a map: a part's bar is as high as its fill.
pub(in crate::report) fn map(name: &str, description: &str, map: &Map) -> Result<Plot> {
    // Round numbers, so that one can count along.
    let columns = |width: u32| if width == WIDE { 40_usize } else { 15 };
    let height = |width| {
        let lines = map.cells.len().div_ceil(columns(width));
        legend::height(&map.legend, width) + TOP + u32::try_from(lines).unwrap_or(0) * PITCH + 4
    };
    Plot::draw(name, description, height, |canvas, width| {
        let (top, canvas) = canvas.split_vertically(pixels(legend::height(&map.legend, width)));
        legend::draw(&top, &map.legend, width)?;
        let heading = text_style(11.0, MUTED, Anchor::Left);
        write(&canvas, &map.numbered, (4, pixels(TOP) / 2), &heading)?;
        let pitch = pixels(PITCH);
        let mut y = pixels(TOP);
        for (line, cells) in map.cells.chunks(columns(width)).enumerate() {
            let number = (line * columns(width)).to_string();
            write(
                &canvas,
                &number,
                (pixels(LEFT) - 8, y + pitch / 2),
                &text_style(11.0, MUTED, Anchor::Right),
            )?;
            let mut x = pixels(LEFT);
            for cell in cells {
                let side = pitch - 3;
                let colour = RGBColor::from(cell.colour);
                #[expect(clippy::cast_possible_truncation, reason = "at most the side of a part")]
                let filled = (f64::from(side) * cell.fill.clamp(0.0, 1.0)).ceil() as i32;
                let corner = (x + side, y + side);
                canvas.draw(&Rectangle::new([(x, y), corner], RGBColor::from(GRID).mix(0.6).filled()))?;
                canvas.draw(&Rectangle::new([(x, y + side - filled), corner], colour.filled()))?;
                canvas.draw(&Rectangle::new([(x, y), corner], colour.stroke_width(1)))?;
                x += pitch;
            }
            y += pitch;
        }
        Ok(())
    })
}
