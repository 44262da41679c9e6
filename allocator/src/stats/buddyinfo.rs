//! `/proc/buddyinfo`: how fragmented free memory is.

use core::fmt;

use super::ZoneStat;

/// The free blocks of every populated zone by order, one line a zone.
///
/// All migrate types count; blocks in threads' caches do not.
#[derive(Copy, Clone, Debug)]
pub struct Buddyinfo<'a>(pub &'a [ZoneStat]);

impl fmt::Display for Buddyinfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in self.0.iter().filter(|zone| zone.is_populated()) {
            write!(f, "Node {}, zone {:>8} ", zone.node, zone.zone)?;
            for blocks in &zone.nr_free {
                write!(f, "{blocks:>6} ")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::proc_text::{self, sample};
    use super::*;

    #[test]
    fn one_line_a_populated_zone_with_a_trailing_space() {
        let mut empty = sample();
        empty.present = 0;
        let mut zone = sample();
        zone.nr_free = vec![1, 22, 1_234_567];
        assert_eq!(Buddyinfo(&[empty, zone]).to_string(), "Node 0, zone   Normal      1     22 1234567 \n");
    }

    #[test]
    fn the_running_kernels_text_is_reproduced() {
        let Ok(text) = std::fs::read_to_string("/proc/buddyinfo") else { return };
        let Some(zones) = proc_text::parse_buddyinfo(&text) else { return };
        assert_eq!(Buddyinfo(&zones).to_string(), text);
    }
}
