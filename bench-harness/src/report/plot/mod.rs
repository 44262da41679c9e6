//! Plots, drawn as SVG at two widths.

mod axis;
mod canvas;
mod dots;
mod facets;
mod legend;
mod lines;
mod map;
mod palette;

pub(super) use axis::Axis;
pub(super) use canvas::{Plot, WIDE};
pub(super) use dots::{Dot, Dots, Mark};
pub(super) use facets::{Facet, facets};
pub(super) use lines::{Lines, Series, Stroke};
pub(super) use map::{Map, MapCell, map};
pub(super) use palette::{Colour, GRID, INK, MUTED, Palette, dark_rules, series};
