//! What follows from a request alone, and from what it has been through: pure decisions.

use super::effects::Pause;
use crate::{
    frame::Order,
    gfp::{AllocFlags, Gfp, MigrateType, Scopes, ZoneType, gfp_to_alloc_flags, reserve_flags},
};

/// Requests above this order are not worth every effort (`PAGE_ALLOC_COSTLY_ORDER`).
pub(super) const COSTLY_ORDER: Order = Order::new(3);

/// How many compactions a request waits for; one of a costly order waits for a quarter of them (`MAX_COMPACT_RETRIES`).
const MAX_COMPACT_RETRIES: u32 = 16;

/// How often the application is asked to do something for one request that may fail. One that always says that it did, and did not, would let the
/// request wait for ever.
pub(super) const MAX_OOM_ROUNDS: u32 = 256;

/// How often a request that waits for nothing in particular only lets others go first, before it sleeps in between.
const YIELDS: u32 = 2;

/// What a request is to the slow path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The mask, narrowed by scopes.
    pub(super) gfp: Gfp,
    /// The order.
    pub(super) order: Order,
    /// The highest zone that may serve it.
    pub(super) highest_zone: ZoneType,
    /// The free lists that it is served from first.
    pub(super) migratetype: MigrateType,
    /// What the thread is inside of.
    pub(super) scopes: Scopes,
}

impl Wish {
    /// Tells whether it may reclaim, and so wait.
    pub(super) const fn may_reclaim(self) -> bool {
        self.gfp.allows_blocking()
    }

    /// Tells whether its order is not worth every effort.
    pub(super) fn is_costly(self) -> bool {
        self.order > COSTLY_ORDER
    }

    /// Tells whether compaction may help: it does I/O, to move what lies in the way.
    pub(super) const fn can_compact(self) -> bool {
        self.gfp.contains(Gfp::IO)
    }

    /// Tells whether the request may not fail.
    pub(super) const fn may_not_fail(self) -> bool {
        self.gfp.contains(Gfp::NOFAIL)
    }

    /// Returns the flags of the attempts at the minimum mark (`gfp_to_alloc_flags`).
    pub(super) const fn flags(self) -> AllocFlags {
        gfp_to_alloc_flags(self.gfp, self.order.get())
    }

    /// Returns the reserves that the request has a right to beyond its mask's (`__gfp_pfmemalloc_flags`).
    pub(super) fn reserves(self, is_victim: bool) -> AllocFlags {
        let victim = if is_victim { Scopes::OOM_VICTIM } else { Scopes::empty() };
        reserve_flags(self.gfp, self.scopes | victim)
    }

    /// Tells whether compaction comes before reclaim (S3): for blocks that are more likely short of neighbours than of memory. Movable ones find
    /// their neighbours by reclaim.
    pub(super) fn compacts_first(self, reserves: AllocFlags) -> bool {
        let unmovable = self.order > Order::ZERO && self.migratetype != MigrateType::Movable;
        self.may_reclaim() && self.can_compact() && (self.is_costly() || unmovable) && reserves.is_empty()
    }

    /// Tells whether the request ends after the first compaction that found nothing to do (S3).
    pub(super) fn ends_when_compaction_skips(self) -> bool {
        self.is_costly() && self.gfp.contains(Gfp::NORETRY)
    }

    /// Tells whether the request is not worth another round (S12).
    pub(super) fn ends_when_costly(self) -> bool {
        self.is_costly() && !(self.can_compact() && self.gfp.contains(Gfp::RETRY_MAYFAIL))
    }

    /// Returns how many compactions it waits for (`should_compact_retry`).
    pub(super) fn compact_retries(self) -> u32 {
        if self.is_costly() { MAX_COMPACT_RETRIES / 4 } else { MAX_COMPACT_RETRIES }
    }

    /// Tells whether memory has not run out only because this request is not served (`__alloc_pages_may_oom`): one that is large, that may fail
    /// or is bound to a node or to low zones. A NORETRY request does not come so far.
    pub(super) fn never_runs_out(self) -> bool {
        let modest = Gfp::NORETRY | Gfp::RETRY_MAYFAIL | Gfp::THISNODE;
        self.is_costly() || self.gfp.intersects(modest) || self.highest_zone < ZoneType::Normal
    }

    /// Tells whether the application may be asked to do something. Without FS it may not: it may hold what it would need for that. The
    /// kernel lets such a request wait for somebody else's; here it fails.
    pub(super) const fn may_ask_for_memory(self) -> bool {
        self.gfp.contains(Gfp::FS)
    }

    /// Tells whether a request that was chosen to come to an end has had all that it gets for that (S18).
    pub(super) fn is_done_as_victim(self, flags: AllocFlags) -> bool {
        flags.contains(AllocFlags::OOM) || self.gfp.contains(Gfp::NOMEMALLOC)
    }
}

/// Counts a round of reclaim for [`MAX_RECLAIM_RETRIES`]: one that freed something begins to count anew, except for costly orders,
/// which single frames do not help.
pub(super) fn count_round(no_progress: u32, progress: u64, costly: bool) -> u32 {
    if progress > 0 && !costly { 0 } else { no_progress.saturating_add(1) }
}

/// Says how to wait after so many rounds that came to nothing.
pub(super) const fn pause_after(rounds: u32) -> Pause {
    if rounds <= YIELDS { Pause::Yield } else { Pause::Tick }
}
