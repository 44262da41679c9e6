//! A request's flags.

use gfp::{
    Gfp,
    gfp::{Scopes, ZoneType},
};
use serde::{Deserialize, Serialize};

/// A request's flags, in text as the kernel's tracepoints write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mask(pub Gfp);

impl TryFrom<String> for Mask {
    type Error = gfp::gfp::ParseGfpError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> Self {
        mask.0.to_string()
    }
}

/// The masks that callers use; the first more often than the last.
pub(super) const COMMON: [Gfp; 17] = [
    Gfp::KERNEL,
    Gfp::KERNEL.union(Gfp::MOVABLE),
    Gfp::HIGHUSER_MOVABLE,
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::KERNEL.union(Gfp::ZERO),
    Gfp::ATOMIC,
    Gfp::NOWAIT,
    Gfp::KERNEL.union(Gfp::DMA),
    Gfp::KERNEL.union(Gfp::DMA32),
    Gfp::HIGHUSER,
    Gfp::USER.union(Gfp::THISNODE),
    Gfp::NOIO.union(Gfp::MEMALLOC),
    Gfp::TRANSHUGE_LIGHT,
    Gfp::TRANSHUGE,
    Gfp::KERNEL_ACCOUNT,
    Gfp::NOFS,
    Gfp::HIGHUSER_MOVABLE.union(Gfp::WRITE),
];

/// Bits that are added to them now and then; some do not go together.
pub(super) const EXTRA: [Gfp; 18] = [
    Gfp::ZERO,
    Gfp::HIGH,
    Gfp::NOWARN,
    Gfp::MEMALLOC,
    Gfp::NOMEMALLOC,
    Gfp::THISNODE,
    Gfp::HARDWALL,
    Gfp::WRITE,
    Gfp::RETRY_MAYFAIL,
    Gfp::NORETRY,
    Gfp::NOFAIL,
    Gfp::COMP,
    Gfp::ZEROTAGS,
    Gfp::DMA,
    Gfp::DMA32,
    Gfp::HIGHMEM,
    Gfp::MOVABLE,
    Gfp::RECLAIMABLE,
];

impl Mask {
    /// Returns a request's mask, without NOFAIL where that means something: the request would wait for what nobody else frees.
    pub(super) fn new(gfp: Gfp) -> Self {
        let waits = gfp.contains(Gfp::NOFAIL | Gfp::DIRECT_RECLAIM);
        Self(if waits { gfp.without(Gfp::NOFAIL) } else { gfp })
    }

    /// Tells whether the flags contradict each other.
    pub(crate) fn is_senseless(self) -> bool {
        let zones = [Gfp::DMA, Gfp::DMA32, Gfp::HIGHMEM];
        zones.into_iter().filter(|&zone| self.0.contains(zone)).count() > 1
            || self.0.contains(Gfp::MOVABLE | Gfp::RECLAIMABLE)
            || self.0.contains(Gfp::NOFAIL) && !self.0.contains(Gfp::DIRECT_RECLAIM)
    }

    /// Returns the highest zone that may serve a request which is not senseless.
    pub(crate) fn highest_zone(self) -> ZoneType {
        match self.0 {
            gfp if gfp.contains(Gfp::DMA) => ZoneType::Dma,
            gfp if gfp.contains(Gfp::DMA32) => ZoneType::Dma32,
            gfp if gfp.contains(Gfp::HIGHMEM | Gfp::MOVABLE) => ZoneType::Movable,
            gfp if gfp.contains(Gfp::HIGHMEM) => ZoneType::HighMem,
            _ => ZoneType::Normal,
        }
    }

    /// Tells whether a request may go below every watermark.
    pub(crate) fn ignores_watermarks(self, scopes: Scopes) -> bool {
        !self.0.contains(Gfp::NOMEMALLOC)
            && (self.0.contains(Gfp::MEMALLOC) || scopes.contains(Scopes::MEMALLOC))
    }

    /// Tells whether a request has a high priority and may not wait.
    pub(crate) fn is_urgent(self) -> bool {
        self.0.contains(Gfp::HIGH) && !self.0.contains(Gfp::DIRECT_RECLAIM)
    }

    /// Tells whether a request may leave the allowed nodes, and those that it names, when it finds nothing in them.
    pub(crate) fn leaves_nodes(self, scopes: Scopes) -> bool {
        self.is_urgent() || self.ignores_watermarks(scopes)
    }

    /// Returns the mask as it is within scopes.
    pub(crate) fn within(self, scopes: Scopes) -> Gfp {
        match scopes {
            scopes if scopes.contains(Scopes::NOIO) => self.0.without(Gfp::IO | Gfp::FS),
            scopes if scopes.contains(Scopes::NOFS) => self.0.without(Gfp::FS),
            _ => self.0,
        }
    }
}
