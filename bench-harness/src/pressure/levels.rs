//! Free memory against the marks.

use gfp::{gfp::ZoneType, stats::ZoneStat};

/// The zones of a node together, in frames.
///
/// Free memory is judged by node, as kswapd is one for each: between the sum of the zones' min marks and the sum of their high
/// marks and boosts. To the upper end comes what zones keep from requests that could use a higher zone, as such requests
/// leave that much in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The node.
    pub node: u32,
    /// Free frames, without those that are set aside for high-order requests that cannot wait: no mark counts them.
    pub free: u64,
    /// The min marks.
    pub min: u64,
    /// The high marks, the boosts, and what is kept from `GFP_KERNEL`.
    pub upper: u64,
}

/// Where free memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below min.
    Below,
    /// Between min and high + boost.
    Inside,
    /// Above high + boost.
    Above,
}

impl Level {
    /// Adds up the zones of each node.
    #[must_use]
    pub fn of(zones: &[ZoneStat]) -> Vec<Self> {
        let mut levels: Vec<Self> = Vec::new();
        for zone in zones.iter().filter(|zone| zone.is_populated()) {
            let at = levels.iter().position(|level| level.node == zone.node).unwrap_or_else(|| {
                levels.push(Self { node: zone.node, ..Self::default() });
                levels.len() - 1
            });
            let level = &mut levels[at];
            level.free += zone.free - zone.free_highatomic;
            level.min += zone.marks.min;
            level.upper += zone.marks.high + zone.marks.boost + zone.protection[ZoneType::Normal.index()];
        }
        levels
    }

    /// Tells where the node's free memory is.
    #[must_use]
    pub const fn place(&self) -> Place {
        if self.free < self.min {
            Place::Below
        } else if self.free > self.upper {
            Place::Above
        } else {
            Place::Inside
        }
    }
}

impl Place {
    /// Tells where the free memory of all nodes is: below if one is below, above if none is below and one above.
    #[must_use]
    pub fn of_all(levels: &[Level]) -> Self {
        let any = |place| levels.iter().any(|level| level.place() == place);
        match (any(Self::Below), any(Self::Above)) {
            (true, _) => Self::Below,
            (false, true) => Self::Above,
            (false, false) => Self::Inside,
        }
    }
}

#[cfg(test)]
mod tests {
    use gfp::Allocator;

    use super::*;

    #[test]
    fn zones_of_a_node_are_one_level_and_keep_what_they_keep() {
        let allocator = Allocator::builder(64 << 20).dma(8 << 20).build().unwrap();
        let zones = allocator.zone_stats();
        let populated: Vec<_> = zones.iter().filter(|zone| zone.is_populated()).collect();
        assert_eq!(populated.len(), 2);
        let kept: u64 = populated.iter().map(|zone| zone.protection[ZoneType::Normal.index()]).sum();
        assert!(kept > 0, "the DMA zone keeps some");
        let marks = |get: fn(&ZoneStat) -> u64| populated.iter().map(|zone| get(zone)).sum::<u64>();
        let levels = Level::of(&zones);
        let level = Level {
            node: 0,
            free: marks(|zone| zone.free),
            min: marks(|zone| zone.marks.min),
            upper: marks(|zone| zone.marks.high + zone.marks.boost) + kept,
        };
        assert_eq!(levels, [level]);
        assert_eq!(level.place(), Place::Above);
    }

    #[test]
    fn the_ends_belong_to_the_inside_and_the_lowest_node_counts() {
        let level = |free| Level { node: 0, free, min: 10, upper: 20 };
        let places = [9, 10, 20, 21].map(|free| level(free).place());
        assert_eq!(places, [Place::Below, Place::Inside, Place::Inside, Place::Above]);
        assert_eq!(Place::of_all(&[level(15), level(20)]), Place::Inside);
        assert_eq!(Place::of_all(&[level(15), level(21)]), Place::Above);
        assert_eq!(Place::of_all(&[level(30), level(9)]), Place::Below);
    }
}
