//! Whether every frame is accounted for.

use core::fmt;

use crate::gfp::ZoneType;

/// Where the frames of one zone are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConservationZone {
    /// The zone's NUMA node.
    pub node: u32,
    /// The zone's type, which is its name.
    pub zone: ZoneType,
    /// Frames in the free areas.
    pub free: u64,
    /// Frames in caches.
    pub cached: u64,
    /// Frames that somebody owns, or that wait in a pending map.
    pub allocated: u64,
    /// Frames that nobody holds, but that are out of circulation.
    pub isolated: u64,
    /// Frames of the zone that are not offline.
    pub managed: u64,
}

/// Where all frames are: free + cached + allocated + isolated = managed, in every zone.
///
/// Exact when no other thread allocates or frees meanwhile.
///
/// ```
/// use gfp::{Allocator, Gfp, Maintain, Order};
///
/// let allocator = Allocator::builder(64 << 20).maintain(Maintain::ByHand).build()?;
/// let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(3))?;
/// let frames = allocator.conservation();
/// assert!(frames.holds());
/// assert_eq!((frames.managed(), frames.allocated(), frames.isolated()), (16384, 8, 0));
/// assert_eq!(frames.free() + frames.cached(), 16384 - 8);
/// # drop(pages);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Conservation {
    /// Each zone.
    pub zones: Vec<ConservationZone>,
}

impl Conservation {
    /// Tells whether every frame is accounted for once.
    pub fn holds(&self) -> bool {
        self.zones.iter().all(|zone| zone.free + zone.cached + zone.allocated + zone.isolated == zone.managed)
    }

    /// Returns the frames that somebody owns.
    pub fn allocated(&self) -> u64 {
        self.zones.iter().map(|zone| zone.allocated).sum()
    }

    /// Returns the frames that nobody holds, but that are out of circulation.
    pub fn isolated(&self) -> u64 {
        self.zones.iter().map(|zone| zone.isolated).sum()
    }

    /// Returns the frames that are not offline.
    pub fn managed(&self) -> u64 {
        self.zones.iter().map(|zone| zone.managed).sum()
    }

    /// Returns the frames in caches.
    pub fn cached(&self) -> u64 {
        self.zones.iter().map(|zone| zone.cached).sum()
    }

    /// Returns the frames in the free areas.
    pub fn free(&self) -> u64 {
        self.zones.iter().map(|zone| zone.free).sum()
    }
}

impl fmt::Display for Conservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in &self.zones {
            let ConservationZone { node, zone, free, cached, allocated, isolated, managed } = zone;
            write!(f, "Node {node}, zone {zone:>8}: {free} free + {cached} cached + {allocated} allocated")?;
            writeln!(f, " + {isolated} isolated = {managed}")?;
        }
        Ok(())
    }
}
