//! Zone types, and the one that a mask selects.

use core::fmt;

use super::Gfp;

/// How many zone types there are.
#[doc(alias = "MAX_NR_ZONES")]
pub const NR_ZONE_TYPES: usize = 5;

/// A class of addresses, lowest first.
///
/// A request names the highest type it can use and may be served from any lower one.
///
/// ```
/// use gfp::gfp::ZoneType;
///
/// for zone in ZoneType::ALL {
///     assert_eq!(ZoneType::from_index(zone.index()), Some(zone));
/// }
/// assert_eq!(ZoneType::Dma32.name(), "DMA32");
/// assert!(ZoneType::Normal.is_lowmem() && !ZoneType::Movable.is_lowmem());
/// ```
#[repr(u8)]
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ZoneType {
    /// The first 16 MiB of the arena.
    #[doc(alias = "ZONE_DMA")]
    #[cfg_attr(feature = "serde", serde(rename = "DMA"))]
    Dma = 0,
    /// Offsets below 4 GiB.
    #[doc(alias = "ZONE_DMA32")]
    #[cfg_attr(feature = "serde", serde(rename = "DMA32"))]
    Dma32 = 1,
    /// Everything else.
    #[doc(alias = "ZONE_NORMAL")]
    Normal = 2,
    /// Memory without a direct pointer; not configured by default.
    #[doc(alias = "ZONE_HIGHMEM")]
    HighMem = 3,
    /// Memory that holds only blocks behind movable handles.
    #[doc(alias = "ZONE_MOVABLE")]
    Movable = 4,
}

impl ZoneType {
    /// All types, lowest first.
    pub const ALL: [Self; NR_ZONE_TYPES] =
        [Self::Dma, Self::Dma32, Self::Normal, Self::HighMem, Self::Movable];

    /// Returns the type's place in arrays over types.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the type at place `index`, or nothing from [`NR_ZONE_TYPES`] on.
    #[inline]
    #[must_use]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < NR_ZONE_TYPES { Some(Self::ALL[index]) } else { None }
    }

    /// Returns the name that `/proc/zoneinfo` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
            Self::HighMem => "HighMem",
            Self::Movable => "Movable",
        }
    }

    /// Tells whether blocks of this zone must never be needed for the allocator's own working.
    ///
    /// HIGHMEM and MOVABLE take no part in the minimum reserve and have a small fixed one
    /// (kernel: `__setup_per_zone_wmarks`).
    #[inline]
    #[must_use]
    pub const fn is_lowmem(self) -> bool {
        !matches!(self, Self::HighMem | Self::Movable)
    }
}

impl fmt::Display for ZoneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A mask with more than one of DMA, DMA32 and HIGHMEM.
///
/// ```
/// use gfp::gfp::{Gfp, gfp_zone};
///
/// let both = Gfp::DMA | Gfp::HIGHMEM;
/// let refused = gfp_zone(both | Gfp::ZERO).expect_err("they exclude each other");
/// assert_eq!(refused.modifiers(), both);
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BadZoneModifiers(Gfp);

impl BadZoneModifiers {
    /// Returns the zone modifiers that exclude each other.
    #[must_use]
    pub const fn modifiers(self) -> Gfp {
        self.0
    }
}

impl fmt::Display for BadZoneModifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the zone modifiers {} exclude each other; keep one of DMA, DMA32 and HIGHMEM", self.0)
    }
}

impl std::error::Error for BadZoneModifiers {}

/// What each combination of the four zone modifiers means; `None` is one of the 8 that mean nothing.
const GFP_ZONE_TABLE: [Option<ZoneType>; 16] = {
    const DMA: usize = Gfp::DMA.bits() as usize;
    const HIGHMEM: usize = Gfp::HIGHMEM.bits() as usize;
    const DMA32: usize = Gfp::DMA32.bits() as usize;
    const MOVABLE: usize = Gfp::MOVABLE.bits() as usize;
    let mut table = [None; 16];
    table[0] = Some(ZoneType::Normal);
    table[DMA] = Some(ZoneType::Dma);
    table[HIGHMEM] = Some(ZoneType::HighMem);
    table[DMA32] = Some(ZoneType::Dma32);
    table[MOVABLE] = Some(ZoneType::Normal);
    table[MOVABLE | DMA] = Some(ZoneType::Dma);
    table[MOVABLE | HIGHMEM] = Some(ZoneType::Movable);
    table[MOVABLE | DMA32] = Some(ZoneType::Dma32);
    table
};

/// Returns the highest zone type that `gfp` may be served from (kernel: `gfp_zone`).
///
/// A type that is not configured falls to the next lower one when the zonelist is walked. MOVABLE alone does not
/// reach the MOVABLE zone: it needs HIGHMEM beside it.
///
/// # Errors
///
/// [`BadZoneModifiers`] when more than one of DMA, DMA32 and HIGHMEM is set. The kernel silently takes its lowest zone.
#[doc(alias = "high_zoneidx")]
#[doc(alias = "ac_classzone_idx")]
#[inline]
pub const fn gfp_zone(gfp: Gfp) -> Result<ZoneType, BadZoneModifiers> {
    match GFP_ZONE_TABLE[(gfp.bits() & Gfp::ZONEMASK.bits()) as usize] {
        Some(zone) => Ok(zone),
        None => Err(BadZoneModifiers(Gfp::from_bits_retain(gfp.bits() & Gfp::ZONEMASK.bits()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_combinations_select_a_zone_or_are_refused() {
        use ZoneType::{Dma, Dma32, HighMem, Movable, Normal};
        let expected = [
            Some(Normal),
            Some(Dma),
            Some(HighMem),
            None,
            Some(Dma32),
            None,
            None,
            None,
            Some(Normal),
            Some(Dma),
            Some(Movable),
            None,
            Some(Dma32),
            None,
            None,
            None,
        ];
        for (bits, zone) in (0..).zip(expected) {
            let gfp = Gfp::from_bits_retain(bits);
            assert_eq!(gfp_zone(gfp | Gfp::KERNEL).ok(), zone, "{bits:#x}");
            if zone.is_none() {
                assert_eq!(gfp_zone(gfp | Gfp::ZERO).map_err(BadZoneModifiers::modifiers), Err(gfp));
            }
        }
    }

    #[test]
    fn indices_and_types_are_inverse() {
        for (index, zone) in ZoneType::ALL.into_iter().enumerate() {
            assert_eq!((zone.index(), ZoneType::from_index(index)), (index, Some(zone)));
        }
        assert_eq!(ZoneType::from_index(NR_ZONE_TYPES), None);
    }
}
