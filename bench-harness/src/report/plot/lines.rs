//! Curves.

use anyhow::Result;
use plotters::{
    chart::ChartBuilder,
    element::{Circle, PathElement},
    series::LineSeries,
    style::{Color, RGBColor},
};

use super::{
    Axis, Colour,
    canvas::{Canvas, draw_grid, pixels, text_width},
};

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Stroke {
    /// With a dot at each point.
    Dotted,
    /// Only the line.
    Plain,
    /// A thin line, for what others are compared with.
    Thin,
}

/// A curve.
#[derive(Clone, Debug)]
pub(in crate::report) struct Series {
    /// Its colour.
    pub(in crate::report) colour: Colour,
    /// How it is drawn.
    pub(in crate::report) stroke: Stroke,
    /// Its points, from left to right.
    pub(in crate::report) points: Vec<(f64, f64)>,
}

/// A plot of curves.
#[derive(Clone, Debug)]
pub(in crate::report) struct Lines {
    /// What it is about.
    pub(in crate::report) title: String,
    /// The axis from left to right.
    pub(in crate::report) x: Axis,
    /// The axis from bottom to top.
    pub(in crate::report) y: Axis,
    /// The curves; later ones lie above earlier ones.
    pub(in crate::report) series: Vec<Series>,
}

const TEXT: f64 = 11.0;
/// How many labels the axis from bottom to top has at the most.
const LABELS: usize = 6;

impl Lines {
    /// How high such a plot is.
    pub(super) const HEIGHT: u32 = 236;

    pub(super) fn draw(&self, canvas: &Canvas<'_>) -> Result<()> {
        // Room for the numbers, and for the label that stands upright beside them.
        let left = text_width(&self.y.longest_name(LABELS), TEXT) + 30;
        let width = pixels(canvas.dim_in_pixel().0) - left - 22;
        let mut chart = ChartBuilder::on(canvas)
            .margin_right(18)
            .margin_left(4)
            .margin_top(8)
            .x_label_area_size(42)
            .y_label_area_size(left)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let mut grid = chart.configure_mesh();
        grid.x_labels(usize::try_from(width / 48).unwrap_or(1))
            .y_labels(LABELS)
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str());
        draw_grid(&mut grid, TEXT)?;
        for series in &self.series {
            let colour = RGBColor::from(series.colour);
            let points = || series.points.iter().copied();
            let stroke = if series.stroke == Stroke::Thin { 1 } else { 2 };
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(stroke)))?;
            if series.stroke == Stroke::Dotted {
                chart.draw_series(points().map(|at| Circle::new(at, 3, colour.filled())))?;
            } else if let [only] = points().collect::<Vec<_>>()[..] {
                // A line of one point would not be seen.
                chart.draw_series([PathElement::new([only, only], colour.stroke_width(4))])?;
            }
        }
        Ok(())
    }
}
