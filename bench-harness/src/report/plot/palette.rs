//! Colours that a style sheet exchanges where the reader's screen is dark.
//!
//! A plot is drawn in the colours for light screens, as attributes, so that a program that knows no style sheets shows it,
//! too. A style sheet beats attributes: it has a rule for each colour. No two roles share a colour for light screens.

use std::fmt::Write;

use plotters::style::RGBColor;

use crate::rivals::EMPTY;

/// A colour on light screens, and the one for dark screens in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) struct Colour {
    light: u32,
    dark: u32,
}

const fn colour(light: u32, dark: u32) -> Colour {
    Colour { light, dark }
}

/// What plots are written with.
pub(in crate::report) const INK: Colour = colour(0x1b_1f24, 0xe6_e9ee);
/// What is less important.
pub(in crate::report) const MUTED: Colour = colour(0x59_636e, 0xa2_abb8);
/// Lines of a grid, and what is empty.
pub(in crate::report) const GRID: Colour = colour(0xd1_d9e0, 0x3a_424d);
/// gfp itself.
pub(in crate::report) const GFP: Colour = colour(0xc0_2a1d, 0xff_7b6b);
/// gfp without a handle, and other forms of gfp.
const GFP_TLS: Colour = colour(0xe0_7a5f, 0xe0_a08c);
/// The harness's own cost.
const NOTHING: Colour = colour(0x8c_959f, 0x7d_8590);

/// What is told apart by colour besides, in this order.
const SERIES: [Colour; 10] = [
    colour(0x0b_5cad, 0x6c_b6ff),
    colour(0x1a_7f37, 0x57_ca6a),
    colour(0x8b_3fc7, 0xc8_9bff),
    colour(0x9a_6700, 0xe3_b341),
    colour(0x00_7c89, 0x4f_cfdb),
    colour(0xb1_2a7b, 0xff_8cc8),
    colour(0x5b_6b00, 0xb4_c64b),
    colour(0x4b_4fc4, 0x9f_a3ff),
    colour(0x7a_4a2b, 0xd0_9f7c),
    colour(0x2f_6f5e, 0x7f_c9b4),
];

impl From<Colour> for RGBColor {
    fn from(colour: Colour) -> Self {
        let [_, red, green, blue] = colour.light.to_be_bytes();
        Self(red, green, blue)
    }
}

/// Returns the colour of the series of that number, again from the first where there are more than colours.
pub(in crate::report) fn series(number: usize) -> Colour {
    SERIES[number % SERIES.len()]
}

/// The colours of allocators: the same in every plot of a page.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Palette {
    rivals: Vec<String>,
}

impl Palette {
    /// Gives colours to these allocators.
    pub(in crate::report) fn new(allocators: &[&str]) -> Self {
        let mut palette = Self::default();
        for &name in allocators {
            if fixed(name).is_none() && !palette.rivals.iter().any(|rival| rival == name) {
                palette.rivals.push(name.to_owned());
            }
        }
        palette
    }

    /// Returns an allocator's colour.
    pub(in crate::report) fn of(&self, allocator: &str) -> Colour {
        fixed(allocator)
            .unwrap_or_else(|| self.rivals.iter().position(|rival| rival == allocator).map_or(MUTED, series))
    }
}

fn fixed(allocator: &str) -> Option<Colour> {
    match allocator {
        "gfp" => Some(GFP),
        EMPTY => Some(NOTHING),
        other => other.starts_with("gfp-").then_some(GFP_TLS),
    }
}

/// Returns every colour with its rule's names.
fn all() -> impl Iterator<Item = Colour> {
    [INK, MUTED, GRID, GFP, GFP_TLS, NOTHING].into_iter().chain(SERIES)
}

/// Makes the rules that exchange the colours of what `scope` selects, for dark screens.
pub(in crate::report) fn dark_rules(scope: &str) -> String {
    let mut rules = String::new();
    for Colour { light, dark } in all() {
        for property in ["fill", "stroke"] {
            // As the drawing writes it: in capitals.
            _ = writeln!(rules, "{scope}[{property}=\"#{light:06X}\"] {{ {property}: #{dark:06x}; }}");
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Returns the contrast of two colours as WCAG 2.2 defines it, 1 to 21.
    fn contrast(left: u32, right: u32) -> f64 {
        let luminance = |colour: u32| {
            let [_, channels @ ..] = colour.to_be_bytes();
            let linear = channels.map(|channel| {
                let share = f64::from(channel) / 255.0;
                if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        };
        let (left, right) = (luminance(left) + 0.05, luminance(right) + 0.05);
        (left / right).max(right / left)
    }

    #[test]
    fn every_colour_has_a_rule_of_its_own() {
        let distinct: HashSet<u32> = all().map(|colour| colour.light).collect();
        assert_eq!(distinct.len(), all().count());
        let rules = dark_rules(".plot ");
        assert_eq!(rules.lines().count(), 2 * distinct.len());
        assert!(rules.contains(".plot [stroke=\"#C02A1D\"] { stroke: #ff7b6b; }"), "{rules}");
    }

    #[test]
    fn lines_and_texts_stand_out_from_both_backgrounds() {
        for Colour { light, dark } in all().filter(|&colour| colour != GRID) {
            // 3 is what graphics need, 4.5 what texts need.
            let least = if [INK.light, MUTED.light].contains(&light) { 4.5 } else { 2.9 };
            assert!(contrast(light, 0xff_ffff) >= least, "#{light:06x} on white");
            assert!(contrast(dark, 0x12_161c) >= least, "#{dark:06x} on black");
        }
    }

    #[test]
    fn allocators_keep_their_colours() {
        let palette = Palette::new(&["empty", "gfp", "mimalloc", "jemalloc", "mimalloc"]);
        assert_eq!(palette.of("gfp"), GFP);
        assert_eq!((palette.of("mimalloc"), palette.of("jemalloc")), (SERIES[0], SERIES[1]));
        assert_eq!(palette.of("gfp-slow"), GFP_TLS);
        assert_eq!(palette.of("nobody"), MUTED);
    }
}
