//! The mask of a request.

use crate::sync::atomic::{AtomicU32, Ordering};

/// A request's flags: where the memory may come from, and what may be done to get it.
///
/// One bit each, at the positions that Linux 6.x gives them, plus the masks that callers use in practice.
/// The kernel writes the bits `__GFP_X` and the masks `GFP_X`; here both are `Gfp::X`. Where the kernel has both
/// (`__GFP_DMA` and `GFP_DMA`) they are the same bit.
///
/// | mask | may block | wakes kswapd | reserves |
/// |---|---|---|---|
/// | [`KERNEL`](Self::KERNEL), [`KERNEL_ACCOUNT`](Self::KERNEL_ACCOUNT), [`USER`](Self::USER) | yes | yes | none |
/// | [`NOIO`](Self::NOIO), [`NOFS`](Self::NOFS) | yes, with fewer kinds of reclaim | yes | none |
/// | [`ATOMIC`](Self::ATOMIC) | no | yes | ⅝ of the minimum watermark, highatomic blocks |
/// | [`NOWAIT`](Self::NOWAIT) | no | yes | none |
/// | [`TRANSHUGE_LIGHT`](Self::TRANSHUGE_LIGHT) | no | no | never |
/// | [`TRANSHUGE`](Self::TRANSHUGE) | yes | no | never |
///
/// ```
/// use gfp::gfp::Gfp;
///
/// let mask = Gfp::KERNEL | Gfp::ZERO;
/// assert_eq!(mask.to_string(), "GFP_KERNEL|__GFP_ZERO");
/// assert_eq!(Gfp::parse("GFP_KERNEL|__GFP_ZERO"), Ok(mask));
/// ```
#[repr(transparent)]
#[derive(Copy, Clone, PartialEq, Eq, Hash)]
pub struct Gfp(u32);

bitflags::bitflags! {
    impl Gfp: u32 {
        /// The first 16 MiB of the arena.
        #[doc(alias = "__GFP_DMA")]
        #[doc(alias = "GFP_DMA")]
        const DMA = 0x1;
        /// Memory that needs no direct pointer; NORMAL where no HIGHMEM zone is configured.
        ///
        /// Together with [`MOVABLE`](Self::MOVABLE) it selects the MOVABLE zone.
        #[doc(alias = "__GFP_HIGHMEM")]
        const HIGHMEM = 0x2;
        /// Offsets below 4 GiB, so that 32 bits name any byte.
        #[doc(alias = "__GFP_DMA32")]
        #[doc(alias = "GFP_DMA32")]
        const DMA32 = 0x4;
        /// The caller accepts that the content moves: it holds a handle, not a pointer.
        #[doc(alias = "__GFP_MOVABLE")]
        const MOVABLE = 0x8;
        /// The content can be dropped through a shrinker.
        #[doc(alias = "__GFP_RECLAIMABLE")]
        const RECLAIMABLE = 0x10;
        /// High priority: half of the minimum watermark is usable.
        #[doc(alias = "__GFP_HIGH")]
        const HIGH = 0x20;
        /// Reclaim may start input or output; compaction needs it too.
        #[doc(alias = "__GFP_IO")]
        const IO = 0x40;
        /// Reclaim may re-enter the caller's storage layer.
        #[doc(alias = "__GFP_FS")]
        const FS = 0x80;
        /// The memory is zero when handed out.
        #[doc(alias = "__GFP_ZERO")]
        const ZERO = 0x100;
        /// The caller may block, and reclaim on its own thread.
        #[doc(alias = "__GFP_DIRECT_RECLAIM")]
        #[doc(alias = "__GFP_WAIT")]
        const DIRECT_RECLAIM = 0x400;
        /// The background thread may be woken.
        #[doc(alias = "__GFP_KSWAPD_RECLAIM")]
        const KSWAPD_RECLAIM = 0x800;
        /// The pages will become dirty: a node over its dirty limit is skipped.
        #[doc(alias = "__GFP_WRITE")]
        const WRITE = 0x1000;
        /// A failure is expected and not worth a report.
        #[doc(alias = "__GFP_NOWARN")]
        const NOWARN = 0x2000;
        /// Retries hard, may fail, and never reaches out-of-memory handling.
        #[doc(alias = "__GFP_RETRY_MAYFAIL")]
        #[doc(alias = "__GFP_REPEAT")]
        const RETRY_MAYFAIL = 0x4000;
        /// Loops until it succeeds; needs [`DIRECT_RECLAIM`](Self::DIRECT_RECLAIM).
        #[doc(alias = "__GFP_NOFAIL")]
        const NOFAIL = 0x8000;
        /// One pass of reclaim and compaction; wins over [`RETRY_MAYFAIL`](Self::RETRY_MAYFAIL).
        #[doc(alias = "__GFP_NORETRY")]
        const NORETRY = 0x1_0000;
        /// Ignores watermarks altogether: only for those who are freeing memory.
        #[doc(alias = "__GFP_MEMALLOC")]
        const MEMALLOC = 0x2_0000;
        /// The block carries its own size.
        #[doc(alias = "__GFP_COMP")]
        const COMP = 0x4_0000;
        /// Never touches the reserves; wins over [`MEMALLOC`](Self::MEMALLOC) and over its scope.
        #[doc(alias = "__GFP_NOMEMALLOC")]
        const NOMEMALLOC = 0x8_0000;
        /// Obeys the cpuset strictly.
        #[doc(alias = "__GFP_HARDWALL")]
        const HARDWALL = 0x10_0000;
        /// Uses the asked node only.
        #[doc(alias = "__GFP_THISNODE")]
        const THISNODE = 0x20_0000;
        /// Charged to the caller's quota; refused when the charge is.
        #[doc(alias = "__GFP_ACCOUNT")]
        const ACCOUNT = 0x40_0000;
        /// Zeroes memory tags along with the memory. There are none here: accepted, without effect.
        #[doc(alias = "__GFP_ZEROTAGS")]
        const ZEROTAGS = 0x80_0000;

        /// Both kinds of reclaim.
        #[doc(alias = "__GFP_RECLAIM")]
        const RECLAIM = Self::DIRECT_RECLAIM.0 | Self::KSWAPD_RECLAIM.0;
        /// The bits that choose the zone.
        #[doc(alias = "GFP_ZONEMASK")]
        const ZONEMASK = Self::DMA.0 | Self::HIGHMEM.0 | Self::DMA32.0 | Self::MOVABLE.0;

        /// Cannot wait and matters: part of the reserves is usable.
        #[doc(alias = "GFP_ATOMIC")]
        const ATOMIC = Self::HIGH.0 | Self::KSWAPD_RECLAIM.0;
        /// The ordinary request: may wait, may reclaim in every way.
        #[doc(alias = "GFP_KERNEL")]
        const KERNEL = Self::RECLAIM.0 | Self::IO.0 | Self::FS.0;
        /// [`KERNEL`](Self::KERNEL), charged to the caller.
        #[doc(alias = "GFP_KERNEL_ACCOUNT")]
        const KERNEL_ACCOUNT = Self::KERNEL.0 | Self::ACCOUNT.0;
        /// Cannot wait and has a fallback: no reserves, no report.
        #[doc(alias = "GFP_NOWAIT")]
        const NOWAIT = Self::KSWAPD_RECLAIM.0 | Self::NOWARN.0;
        /// May wait, but starts no input or output.
        #[doc(alias = "GFP_NOIO")]
        const NOIO = Self::RECLAIM.0;
        /// May wait, but does not re-enter the caller's storage layer.
        #[doc(alias = "GFP_NOFS")]
        const NOFS = Self::RECLAIM.0 | Self::IO.0;
        /// [`KERNEL`](Self::KERNEL) that obeys the cpuset strictly.
        #[doc(alias = "GFP_USER")]
        const USER = Self::KERNEL.0 | Self::HARDWALL.0;
        /// [`USER`](Self::USER) without need of a direct pointer.
        #[doc(alias = "GFP_HIGHUSER")]
        const HIGHUSER = Self::USER.0 | Self::HIGHMEM.0;
        /// [`HIGHUSER`](Self::HIGHUSER) that may be moved.
        #[doc(alias = "GFP_HIGHUSER_MOVABLE")]
        const HIGHUSER_MOVABLE = Self::HIGHUSER.0 | Self::MOVABLE.0;
        /// A huge page if one is at hand: neither waits nor wakes anybody.
        #[doc(alias = "GFP_TRANSHUGE_LIGHT")]
        const TRANSHUGE_LIGHT =
            (Self::HIGHUSER_MOVABLE.0 | Self::COMP.0 | Self::NOMEMALLOC.0 | Self::NOWARN.0) & !Self::RECLAIM.0;
        /// A huge page that is worth reclaim and compaction on the caller's thread.
        #[doc(alias = "GFP_TRANSHUGE")]
        const TRANSHUGE = Self::TRANSHUGE_LIGHT.0 | Self::DIRECT_RECLAIM.0;
    }
}

impl Gfp {
    /// Returns `self` with the bits of `other` cleared.
    ///
    /// ```
    /// use gfp::Gfp;
    ///
    /// assert_eq!(Gfp::KERNEL.without(Gfp::FS), Gfp::NOFS);
    /// ```
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Tells whether the caller may block.
    ///
    /// ```
    /// assert!(gfp::Gfp::KERNEL.allows_blocking() && !gfp::Gfp::ATOMIC.allows_blocking());
    /// ```
    #[doc(alias = "gfpflags_allow_blocking")]
    #[inline]
    #[must_use]
    pub const fn allows_blocking(self) -> bool {
        self.contains(Self::DIRECT_RECLAIM)
    }
}

#[cfg(not(loom))]
static GFP_ALLOWED_MASK: AtomicU32 = AtomicU32::new(u32::MAX);

// loom's atomics cannot be made in a constant.
#[cfg(loom)]
loom::lazy_static! {
    static ref GFP_ALLOWED_MASK: AtomicU32 = AtomicU32::new(u32::MAX);
}

/// Returns the flags that every request of the process is narrowed to.
///
/// All bits are allowed until [`set_gfp_allowed_mask`] takes some away. The kernel uses this during boot and
/// suspend; a program can use it while its shrinkers are not ready to be called.
///
/// ```
/// use gfp::gfp::{Gfp, current_gfp_context, gfp_allowed_mask, set_gfp_allowed_mask};
///
/// let before = set_gfp_allowed_mask(gfp_allowed_mask().without(Gfp::RECLAIM));
/// assert!(!(Gfp::KERNEL & gfp_allowed_mask()).allows_blocking(), "nobody reclaims now");
/// set_gfp_allowed_mask(before);
/// assert_eq!(gfp_allowed_mask(), before);
/// ```
#[inline]
#[must_use]
pub fn gfp_allowed_mask() -> Gfp {
    Gfp(GFP_ALLOWED_MASK.load(Ordering::Relaxed))
}

/// Narrows every later request of the process to `mask`, and returns the mask that held before.
///
/// ```
/// use gfp::gfp::{Gfp, gfp_allowed_mask, set_gfp_allowed_mask};
///
/// let before = set_gfp_allowed_mask(Gfp::NOWAIT);
/// assert_eq!((set_gfp_allowed_mask(before), gfp_allowed_mask()), (Gfp::NOWAIT, before));
/// ```
pub fn set_gfp_allowed_mask(mask: Gfp) -> Gfp {
    Gfp(GFP_ALLOWED_MASK.swap(mask.0, Ordering::Relaxed))
}

/// Returns the mask for bookkeeping that an allocation with `gfp` needs on the side.
///
/// It keeps how the caller may wait, and gives up early and silently without touching the reserves
/// (kernel: `gfp_nested_mask`, 6.10).
///
/// ```
/// use gfp::gfp::{Gfp, gfp_nested_mask};
///
/// assert_eq!(
///     gfp_nested_mask(Gfp::KERNEL | Gfp::ZERO),
///     Gfp::KERNEL | Gfp::NORETRY | Gfp::NOMEMALLOC | Gfp::NOWARN
/// );
/// ```
#[must_use]
pub const fn gfp_nested_mask(gfp: Gfp) -> Gfp {
    const INHERITED: u32 = Gfp::KERNEL.0 | Gfp::ATOMIC.0;
    Gfp((gfp.0 & INHERITED) | Gfp::NORETRY.0 | Gfp::NOMEMALLOC.0 | Gfp::NOWARN.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compound_masks_have_the_values_of_linux_6() {
        let table = [
            (Gfp::ATOMIC, 0x820),
            (Gfp::KERNEL, 0xCC0),
            (Gfp::KERNEL_ACCOUNT, 0x40_0CC0),
            (Gfp::NOWAIT, 0x2800),
            (Gfp::NOIO, 0xC00),
            (Gfp::NOFS, 0xC40),
            (Gfp::USER, 0x10_0CC0),
            (Gfp::DMA, 0x1),
            (Gfp::DMA32, 0x4),
            (Gfp::HIGHUSER, 0x10_0CC2),
            (Gfp::HIGHUSER_MOVABLE, 0x10_0CCA),
            (Gfp::TRANSHUGE_LIGHT, 0x1C_20CA),
            (Gfp::TRANSHUGE, 0x1C_24CA),
            (Gfp::ZONEMASK, 0xF),
            (Gfp::RECLAIM, 0xC00),
        ];
        for (mask, value) in table {
            assert_eq!(mask.bits(), value, "{mask}");
        }
    }

    #[test]
    fn masks_are_usable_in_constants() {
        const MASK: Gfp = Gfp::KERNEL.union(Gfp::ZERO).without(Gfp::FS);
        const HAS_FS: bool = MASK.contains(Gfp::FS);
        const RECLAIMS: bool = MASK.intersects(Gfp::RECLAIM);
        assert_eq!((MASK, HAS_FS, RECLAIMS), (Gfp::NOFS | Gfp::ZERO, false, true));
    }

    #[test]
    fn nested_mask_keeps_only_how_the_caller_may_wait() {
        let silent = Gfp::NORETRY | Gfp::NOMEMALLOC | Gfp::NOWARN;
        assert_eq!(gfp_nested_mask(Gfp::HIGHUSER_MOVABLE | Gfp::ZERO), Gfp::KERNEL | silent);
        assert_eq!(gfp_nested_mask(Gfp::ATOMIC | Gfp::COMP), Gfp::ATOMIC | silent);
    }

    #[test]
    fn the_allowed_mask_lets_everything_pass_at_first() {
        assert_eq!(Gfp::all() & gfp_allowed_mask(), Gfp::all());
    }
}
