//! `/proc/buddyinfo`: how fragmented free memory is.

use core::fmt;

use crate::gfp::ZoneType;

/// The free blocks of every populated zone by order, one line a zone.
///
/// All migrate types count; blocks in threads' caches do not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Buddyinfo {
    /// The zones that have memory.
    pub zones: Vec<BuddyinfoZone>,
}

/// The free blocks of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BuddyinfoZone {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// Free blocks in the zone's free areas, by order.
    pub nr_free: Vec<u64>,
}

impl fmt::Display for Buddyinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for BuddyinfoZone { node, zone, nr_free } in &self.zones {
            write!(f, "Node {node}, zone {zone:>8} ")?;
            for blocks in nr_free {
                write!(f, "{blocks:>6} ")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::proc_text;
    use super::*;

    #[test]
    fn one_line_a_zone_with_a_trailing_space() {
        let zone = BuddyinfoZone { node: 0, zone: ZoneType::Normal, nr_free: vec![1, 22, 1_234_567] };
        let text = Buddyinfo { zones: vec![zone] }.to_string();
        assert_eq!(text, "Node 0, zone   Normal      1     22 1234567 \n");
    }

    #[test]
    fn the_running_kernels_text_is_reproduced() {
        let Some(text) = proc_text::of_this_machine("/proc/buddyinfo") else { return };
        let read = proc_text::parse_buddyinfo(&text).expect("the reader knows the format");
        assert!(!read.zones.is_empty());
        assert_eq!(read.to_string(), text);
    }
}
