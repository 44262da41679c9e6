//! Figures with their extremes: a line each, on a logarithmic axis.

use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    coord::ranged1d::Ranged,
    element::{Circle, PathElement, Rectangle},
    style::{Color, RGBColor},
};

use super::{
    Axis, Colour, INK, MUTED,
    canvas::{Anchor, Canvas, draw_grid, pixels, shorten, text_style, text_width, write},
};

/// What is shown of one allocator.
#[derive(Clone, Debug)]
pub(in crate::report) enum Mark {
    /// A figure between its extremes, and how it is written.
    Figure {
        /// The smallest, the middle and the largest.
        values: [f64; 3],
        /// The middle one in figures.
        text: String,
    },
    /// Something that is larger than this.
    Above(f64, String),
    /// Nothing, for a reason in a word.
    Nothing(String),
}

/// A line of the plot.
#[derive(Clone, Debug)]
pub(in crate::report) struct Dot {
    /// What it is about.
    pub(in crate::report) label: String,
    /// Its colour.
    pub(in crate::report) colour: Colour,
    /// What is shown.
    pub(in crate::report) mark: Mark,
}

/// A plot of figures.
#[derive(Clone, Debug)]
pub(in crate::report) struct Dots {
    /// What it is about.
    pub(in crate::report) title: String,
    /// The axis, from left to right.
    pub(in crate::report) axis: Axis,
    /// The lines, from top to bottom.
    pub(in crate::report) dots: Vec<Dot>,
}

/// How high a line is.
const LINE: u32 = 15;
/// How high the axis's labels are.
const AXIS: u32 = 40;
/// Room for half of the axis's last label.
const RIGHT: i32 = 14;
const TEXT: f64 = 11.0;
/// The longest name that is shown whole.
const NAME: usize = 14;

impl Dots {
    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.dots.len()).unwrap_or(u32::MAX / LINE) * LINE + AXIS + 12
    }

    pub(super) fn draw(&self, canvas: &Canvas<'_>) -> Result<()> {
        let names: Vec<String> = self.dots.iter().map(|dot| shorten(&dot.label, NAME)).collect();
        let left = names.iter().map(|name| text_width(name, TEXT)).max().unwrap_or(0) + 10;
        let width = pixels(canvas.dim_in_pixel().0) - left - RIGHT;
        let mut chart = ChartBuilder::on(canvas)
            .margin_right(RIGHT)
            .x_label_area_size(AXIS)
            .y_label_area_size(left)
            .build_cartesian_2d(self.axis.clone(), 0.0..1.0)?;
        let mut grid = chart.configure_mesh();
        grid.disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .x_labels(usize::try_from(width / 36).unwrap_or(1))
            .x_desc(self.axis.label.as_str());
        draw_grid(&mut grid, TEXT)?;
        let area = chart.plotting_area().strip_coord_spec();
        for (index, (dot, name)) in self.dots.iter().zip(&names).enumerate() {
            let y = pixels(LINE) * i32::try_from(index).unwrap_or(i32::MAX / 64) + pixels(LINE) / 2 + 6;
            let x = |value: f64| self.axis.map(&value, (0, width));
            write(canvas, name, (left - 6, y), &text_style(TEXT, INK, Anchor::Right))?;
            self.draw_mark(&area, dot, y, width, x)?;
        }
        Ok(())
    }

    fn draw_mark(
        &self,
        area: &Canvas<'_>,
        dot: &Dot,
        y: i32,
        width: i32,
        x: impl Fn(f64) -> i32,
    ) -> Result<()> {
        let colour = RGBColor::from(dot.colour);
        let (from, to, text) = match &dot.mark {
            Mark::Nothing(why) => {
                return write(area, why, (4, y), &text_style(TEXT - 1.0, MUTED, Anchor::Left));
            }
            Mark::Figure { values: [min, median, max], text } => {
                area.draw(&PathElement::new([(x(*min), y), (x(*max), y)], colour.stroke_width(2)))?;
                if dot.label == "gfp" {
                    let (left, top) = (x(*median) - 4, y - 4);
                    area.draw(&Rectangle::new([(left, top), (left + 8, top + 8)], colour.filled()))?;
                } else {
                    area.draw(&Circle::new((x(*median), y), 4, colour.filled()))?;
                }
                (x(*min), x(*max), text)
            }
            Mark::Above(value, text) => {
                let tip = x(*value);
                for wing in [-4, 4] {
                    let path = [(tip - 5, y + wing), (tip, y)];
                    area.draw(&PathElement::new(path, colour.stroke_width(2)))?;
                }
                (tip - 5, tip, text)
            }
        };
        // Beside the mark, where there is room for it.
        let needed = text_width(text, TEXT - 1.0);
        let (at, anchor) =
            if to + 8 + needed <= width + 12 { (to + 8, Anchor::Left) } else { (from - 8, Anchor::Right) };
        write(area, text, (at, y), &text_style(TEXT - 1.0, MUTED, anchor))
    }
}
