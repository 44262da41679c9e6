//! Migrate types, and the one that a mask selects.

use core::fmt;

use super::Gfp;

/// How many migrate types thread caches keep apart.
#[doc(alias = "MIGRATE_PCPTYPES")]
pub const PCPTYPES: usize = 3;

/// How many migrate types there are.
#[doc(alias = "MIGRATE_TYPES")]
pub const NR_MIGRATE_TYPES: usize = 6;

/// What a pageblock holds, so that what cannot move does not end up among what can.
///
/// ```
/// use gfp::gfp::MigrateType;
///
/// for migratetype in MigrateType::ALL {
///     assert_eq!(MigrateType::from_index(migratetype.index()), Some(migratetype));
/// }
/// assert_eq!(MigrateType::HighAtomic.name(), "HighAtomic");
/// assert!(MigrateType::Movable.is_mergeable() && !MigrateType::Cma.is_mergeable());
/// ```
#[repr(u8)]
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MigrateType {
    /// Blocks behind plain pointers.
    #[doc(alias = "MIGRATE_UNMOVABLE")]
    Unmovable = 0,
    /// Blocks whose content may be moved.
    #[doc(alias = "MIGRATE_MOVABLE")]
    Movable = 1,
    /// Blocks that a shrinker can empty.
    #[doc(alias = "MIGRATE_RECLAIMABLE")]
    Reclaimable = 2,
    /// Set aside for high-order requests that cannot wait.
    #[doc(alias = "MIGRATE_HIGHATOMIC")]
    HighAtomic = 3,
    /// Set aside for contiguous ranges, lent to movable requests.
    #[doc(alias = "MIGRATE_CMA")]
    #[cfg_attr(feature = "serde", serde(rename = "CMA"))]
    Cma = 4,
    /// Taken out of circulation.
    #[doc(alias = "MIGRATE_ISOLATE")]
    Isolate = 5,
}

impl MigrateType {
    /// All types in order.
    pub const ALL: [Self; NR_MIGRATE_TYPES] =
        [Self::Unmovable, Self::Movable, Self::Reclaimable, Self::HighAtomic, Self::Cma, Self::Isolate];

    /// The types that thread caches keep apart.
    pub const PCP: [Self; PCPTYPES] = [Self::Unmovable, Self::Movable, Self::Reclaimable];

    /// Returns the type's place in arrays over types.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the type at place `index`, or nothing from [`NR_MIGRATE_TYPES`] on.
    #[inline]
    #[must_use]
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < NR_MIGRATE_TYPES { Some(Self::ALL[index]) } else { None }
    }

    /// Returns the name that `/proc/pagetypeinfo` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmovable => "Unmovable",
            Self::Movable => "Movable",
            Self::Reclaimable => "Reclaimable",
            Self::HighAtomic => "HighAtomic",
            Self::Cma => "CMA",
            Self::Isolate => "Isolate",
        }
    }

    /// Tells whether free blocks of this type may merge with those of another type, above a pageblock.
    #[doc(alias = "migratetype_is_mergeable")]
    #[inline]
    #[must_use]
    pub const fn is_mergeable(self) -> bool {
        matches!(self, Self::Unmovable | Self::Movable | Self::Reclaimable)
    }
}

impl fmt::Display for MigrateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A mask with both MOVABLE and RECLAIMABLE.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct MovableAndReclaimable;

impl fmt::Display for MovableAndReclaimable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("__GFP_MOVABLE and __GFP_RECLAIMABLE exclude each other; keep one")
    }
}

impl std::error::Error for MovableAndReclaimable {}

/// Returns the type of pageblock that a request with `gfp` should come from (kernel: `gfp_migratetype`).
///
/// # Errors
///
/// [`MovableAndReclaimable`] when both are set, which the kernel would take for HIGHATOMIC.
#[doc(alias = "gfpflags_to_migratetype")]
#[doc(alias = "allocflags_to_migratetype")]
#[inline]
pub const fn gfp_migratetype(gfp: Gfp) -> Result<MigrateType, MovableAndReclaimable> {
    match (gfp.contains(Gfp::MOVABLE), gfp.contains(Gfp::RECLAIMABLE)) {
        (false, false) => Ok(MigrateType::Unmovable),
        (true, false) => Ok(MigrateType::Movable),
        (false, true) => Ok(MigrateType::Reclaimable),
        (true, true) => Err(MovableAndReclaimable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_selects_one_of_the_three_cached_types() {
        assert_eq!(gfp_migratetype(Gfp::KERNEL), Ok(MigrateType::Unmovable));
        assert_eq!(gfp_migratetype(Gfp::HIGHUSER_MOVABLE), Ok(MigrateType::Movable));
        assert_eq!(gfp_migratetype(Gfp::NOFS | Gfp::RECLAIMABLE), Ok(MigrateType::Reclaimable));
        assert_eq!(gfp_migratetype(Gfp::MOVABLE | Gfp::RECLAIMABLE), Err(MovableAndReclaimable));
    }

    #[test]
    fn indices_and_types_are_inverse() {
        for (index, migratetype) in MigrateType::ALL.into_iter().enumerate() {
            assert_eq!((migratetype.index(), MigrateType::from_index(index)), (index, Some(migratetype)));
        }
        assert_eq!(MigrateType::from_index(NR_MIGRATE_TYPES), None);
    }
}
