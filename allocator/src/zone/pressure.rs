//! What reclaim and a zone tell each other.

use super::{Zone, steady::Steady};

impl Zone {
    /// Says whether the background thread reclaims memory of the zone now (`ZONE_RECLAIM_ACTIVE`): caches hold less meanwhile.
    pub(crate) fn set_reclaim_active(&self, now: bool) {
        self.with_areas(|areas| {
            areas.reclaim_active = now;
            areas.steady = Steady::default();
        });
    }

    /// Tells, once, whether the background thread is to be woken because the marks were boosted (`ZONE_BOOSTED_WATERMARK`).
    pub(crate) fn take_boosted(&self) -> bool {
        self.mirror.take_boosted()
    }

    /// Returns how often a free, or a change of the marks, has lifted the zone above its high mark.
    pub(crate) fn rises(&self) -> u64 {
        self.mirror.rises()
    }
}
