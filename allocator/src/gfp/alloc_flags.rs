//! The allocator's own flags: which watermark, which reserves.

use super::{Gfp, MigrateType, Scopes, gfp_migratetype};

/// One of the four levels of a zone's watermarks.
#[repr(u8)]
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WmarkIndex {
    /// Below it only requests with a right to reserves are served.
    #[doc(alias = "WMARK_MIN")]
    #[doc(alias = "ALLOC_WMARK_MIN")]
    Min = 0,
    /// Below it the background thread is woken.
    #[doc(alias = "WMARK_LOW")]
    #[doc(alias = "ALLOC_WMARK_LOW")]
    Low = 1,
    /// Above it the background thread sleeps.
    #[doc(alias = "WMARK_HIGH")]
    #[doc(alias = "ALLOC_WMARK_HIGH")]
    High = 2,
    /// Above it pages are promoted to this zone from slower memory.
    #[doc(alias = "WMARK_PROMO")]
    Promo = 3,
}

bitflags::bitflags! {
    /// Flags that steer one attempt at the freelists; derived from a [`Gfp`] mask, never given by a caller.
    ///
    /// The low two bits are a [`WmarkIndex`]; the rest have the values of Linux 6.x, two of which are equal to the
    /// request flag that they come from.
    #[repr(transparent)]
    #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
    pub struct AllocFlags: u16 {
        /// The bits of the watermark's index.
        #[doc(alias = "ALLOC_WMARK_MASK")]
        const WMARK_MASK = 0x3;
        /// A failed watermark test is ignored.
        #[doc(alias = "ALLOC_NO_WATERMARKS")]
        const NO_WATERMARKS = 0x4;
        /// The caller was chosen to give up its memory: half of what is left of the reserve is usable.
        #[doc(alias = "ALLOC_OOM")]
        const OOM = 0x8;
        /// The caller cannot block. Named HARDER before 6.3, when it alone lowered the mark.
        #[doc(alias = "ALLOC_NON_BLOCK")]
        #[doc(alias = "ALLOC_HARDER")]
        const NON_BLOCK = 0x10;
        /// Half of the minimum watermark is usable. Named HIGH before 6.3.
        #[doc(alias = "ALLOC_MIN_RESERVE")]
        #[doc(alias = "ALLOC_HIGH")]
        const MIN_RESERVE = 0x20;
        /// The caller's cpuset is obeyed.
        #[doc(alias = "ALLOC_CPUSET")]
        const CPUSET = 0x40;
        /// CMA pageblocks are usable.
        #[doc(alias = "ALLOC_CMA")]
        const CMA = 0x80;
        /// No pageblock may get a mix of types.
        #[doc(alias = "ALLOC_NOFRAGMENT")]
        const NOFRAGMENT = 0x100;
        /// Highatomic pageblocks are usable, and one is reserved on success.
        #[doc(alias = "ALLOC_HIGHATOMIC")]
        const HIGHATOMIC = 0x200;
        /// No lock is waited for.
        #[doc(alias = "ALLOC_TRYLOCK")]
        const TRYLOCK = 0x400;
        /// The background thread may be woken.
        #[doc(alias = "ALLOC_KSWAPD")]
        const KSWAPD = 0x800;

        /// The flags that give access to some reserve.
        #[doc(alias = "ALLOC_RESERVES")]
        const RESERVES =
            Self::NON_BLOCK.bits() | Self::MIN_RESERVE.bits() | Self::HIGHATOMIC.bits() | Self::OOM.bits();
    }
}

// Equal values let the compiler carry both over with one mask instead of two branches.
const _: () = assert!(AllocFlags::MIN_RESERVE.bits() as u32 == Gfp::HIGH.bits());
const _: () = assert!(AllocFlags::KSWAPD.bits() as u32 == Gfp::KSWAPD_RECLAIM.bits());

/// The watermark is a number among the bits:
///
/// ```
/// use gfp::gfp::{AllocFlags, Gfp, WmarkIndex};
///
/// let first = AllocFlags::fast_path(Gfp::KERNEL);
/// assert_eq!(first.wmark(), WmarkIndex::Low);
/// assert_eq!(first.with_wmark(WmarkIndex::Min).without(AllocFlags::KSWAPD), AllocFlags::from_wmark(WmarkIndex::Min));
/// ```
impl AllocFlags {
    /// Returns flags with the watermark `index` and nothing else.
    #[inline]
    #[must_use]
    pub const fn from_wmark(index: WmarkIndex) -> Self {
        Self::from_bits_retain(index as u16)
    }

    /// Returns the watermark to test.
    #[inline]
    #[must_use]
    pub const fn wmark(self) -> WmarkIndex {
        match self.bits() & Self::WMARK_MASK.bits() {
            0 => WmarkIndex::Min,
            1 => WmarkIndex::Low,
            2 => WmarkIndex::High,
            _ => WmarkIndex::Promo,
        }
    }

    /// Returns `self` with the watermark `index` in place of its own.
    #[inline]
    #[must_use]
    pub const fn with_wmark(self, index: WmarkIndex) -> Self {
        self.without(Self::WMARK_MASK).union(Self::from_wmark(index))
    }

    /// Returns `self` with the bits of `other` cleared.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self::from_bits_retain(self.bits() & !other.bits())
    }

    /// Returns the flags of the first attempt that depend on the mask alone.
    ///
    /// The low watermark, CMA for movable requests, and whether kswapd may be woken. The caller adds
    /// [`CPUSET`](Self::CPUSET) and [`NOFRAGMENT`](Self::NOFRAGMENT), which depend on zones.
    #[inline]
    #[must_use]
    pub const fn fast_path(gfp: Gfp) -> Self {
        Self::from_wmark(WmarkIndex::Low).union(kswapd(gfp)).union(cma(gfp))
    }
}

/// Carries KSWAPD_RECLAIM over.
#[inline]
const fn kswapd(gfp: Gfp) -> AllocFlags {
    if gfp.contains(Gfp::KSWAPD_RECLAIM) { AllocFlags::KSWAPD } else { AllocFlags::empty() }
}

/// Lets movable requests use CMA pageblocks.
#[inline]
const fn cma(gfp: Gfp) -> AllocFlags {
    match gfp_migratetype(gfp) {
        Ok(MigrateType::Movable) => AllocFlags::CMA,
        _ => AllocFlags::empty(),
    }
}

/// Returns the flags of an attempt after the first one failed (kernel: `gfp_to_alloc_flags`, 6.x).
///
/// The minimum watermark and the cpuset; a request that cannot block gets what it is entitled to: HIGH gives half
/// of the minimum, NON_BLOCK and HIGHATOMIC follow unless NOMEMALLOC forbids reserves, and HIGH lifts the cpuset.
/// Real-time threads get no extra here, and [`NOFRAGMENT`](AllocFlags::NOFRAGMENT) is the caller's to add.
#[must_use]
pub const fn gfp_to_alloc_flags(gfp: Gfp, order: u8) -> AllocFlags {
    let mut flags = AllocFlags::from_wmark(WmarkIndex::Min).union(AllocFlags::CPUSET).union(kswapd(gfp));
    let high = gfp.contains(Gfp::HIGH);
    if high {
        flags = flags.union(AllocFlags::MIN_RESERVE);
    }
    if !gfp.contains(Gfp::DIRECT_RECLAIM) {
        if !gfp.contains(Gfp::NOMEMALLOC) {
            flags = flags.union(AllocFlags::NON_BLOCK);
            if order > 0 && high {
                flags = flags.union(AllocFlags::HIGHATOMIC);
            }
        }
        if high {
            flags = flags.without(AllocFlags::CPUSET);
        }
    }
    flags.union(cma(gfp))
}

/// Returns the right to ignore watermarks, or to a part of the reserve, or no flags (kernel: `__gfp_pfmemalloc_flags`, 6.x).
///
/// NOMEMALLOC forbids both; otherwise MEMALLOC in the mask or in the thread's `scopes` grants the first, and OOM_VICTIM the second.
#[doc(alias = "__gfp_pfmemalloc_flags")]
#[doc(alias = "gfp_pfmemalloc_allowed")]
#[must_use]
pub const fn reserve_flags(gfp: Gfp, scopes: Scopes) -> AllocFlags {
    if gfp.contains(Gfp::NOMEMALLOC) {
        AllocFlags::empty()
    } else if gfp.contains(Gfp::MEMALLOC) || scopes.contains(Scopes::MEMALLOC) {
        AllocFlags::NO_WATERMARKS
    } else if scopes.contains(Scopes::OOM_VICTIM) {
        AllocFlags::OOM
    } else {
        AllocFlags::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: AllocFlags = AllocFlags::from_wmark(WmarkIndex::Min);

    #[test]
    fn atomic_requests_get_the_reserve_and_leave_the_cpuset() {
        let base = AllocFlags::MIN_RESERVE | AllocFlags::NON_BLOCK | AllocFlags::KSWAPD;
        assert_eq!(gfp_to_alloc_flags(Gfp::ATOMIC, 0), MIN | base);
        assert_eq!(gfp_to_alloc_flags(Gfp::ATOMIC, 3), MIN | base | AllocFlags::HIGHATOMIC);
    }

    #[test]
    fn nomemalloc_takes_nonblock_and_highatomic_but_not_the_lifted_cpuset() {
        let flags = gfp_to_alloc_flags(Gfp::ATOMIC | Gfp::NOMEMALLOC, 3);
        assert_eq!(flags, MIN | AllocFlags::MIN_RESERVE | AllocFlags::KSWAPD);
    }

    #[test]
    fn blocking_requests_obey_the_cpuset_and_get_no_reserve() {
        assert_eq!(gfp_to_alloc_flags(Gfp::KERNEL, 4), MIN | AllocFlags::CPUSET | AllocFlags::KSWAPD);
        let high = gfp_to_alloc_flags(Gfp::KERNEL | Gfp::HIGH, 4);
        assert_eq!(high, MIN | AllocFlags::CPUSET | AllocFlags::KSWAPD | AllocFlags::MIN_RESERVE);
    }

    #[test]
    fn nowait_is_nonblock_without_reserve() {
        let flags = gfp_to_alloc_flags(Gfp::NOWAIT, 2);
        assert_eq!(flags, MIN | AllocFlags::CPUSET | AllocFlags::KSWAPD | AllocFlags::NON_BLOCK);
    }

    #[test]
    fn movable_requests_may_use_cma() {
        let fast = AllocFlags::fast_path(Gfp::HIGHUSER_MOVABLE);
        assert_eq!(fast, AllocFlags::from_wmark(WmarkIndex::Low) | AllocFlags::CMA | AllocFlags::KSWAPD);
        assert!(gfp_to_alloc_flags(Gfp::HIGHUSER_MOVABLE, 0).contains(AllocFlags::CMA));
        assert_eq!(AllocFlags::fast_path(Gfp::TRANSHUGE_LIGHT).wmark(), WmarkIndex::Low);
        assert!(!AllocFlags::fast_path(Gfp::TRANSHUGE_LIGHT).contains(AllocFlags::KSWAPD));
    }

    #[test]
    fn nomemalloc_wins_over_memalloc_and_its_scope() {
        assert_eq!(reserve_flags(Gfp::KERNEL | Gfp::MEMALLOC, Scopes::empty()), AllocFlags::NO_WATERMARKS);
        assert_eq!(reserve_flags(Gfp::KERNEL, Scopes::MEMALLOC), AllocFlags::NO_WATERMARKS);
        assert_eq!(reserve_flags(Gfp::KERNEL, Scopes::NOIO), AllocFlags::empty());
        let refused = Gfp::KERNEL | Gfp::MEMALLOC | Gfp::NOMEMALLOC;
        assert_eq!(reserve_flags(refused, Scopes::MEMALLOC), AllocFlags::empty());
    }

    #[test]
    fn a_victim_gets_a_part_and_who_frees_memory_all() {
        assert_eq!(reserve_flags(Gfp::KERNEL, Scopes::OOM_VICTIM), AllocFlags::OOM);
        assert_eq!(reserve_flags(Gfp::KERNEL | Gfp::NOMEMALLOC, Scopes::OOM_VICTIM), AllocFlags::empty());
        let both = Scopes::OOM_VICTIM | Scopes::MEMALLOC;
        assert_eq!(reserve_flags(Gfp::KERNEL, both), AllocFlags::NO_WATERMARKS);
    }

    #[test]
    fn the_watermark_is_replaced_and_nothing_else() {
        let flags = AllocFlags::fast_path(Gfp::KERNEL);
        for mark in [WmarkIndex::Min, WmarkIndex::Low, WmarkIndex::High, WmarkIndex::Promo] {
            assert_eq!(flags.with_wmark(mark).wmark(), mark);
        }
        assert_eq!(flags.with_wmark(WmarkIndex::Promo).without(AllocFlags::WMARK_MASK), AllocFlags::KSWAPD);
    }
}
