//! What the state machine does to the world, and what it asks it.

use super::Step;
use crate::{
    compact::{CompactPriority, CompactResult},
    error::FailReason,
    gfp::AllocFlags,
};

/// What asks a request to end although it might still be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It ends now, for this reason.
    Now(FailReason),
    /// It may use a part of the reserve, and ends if that does not serve it.
    Victim,
}

/// How a request waits before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It lets others have the CPU.
    Yield,
    /// It sleeps for a tick, a millisecond.
    Tick,
}

/// The world of a request. The machine decides; this acts, and says what it sees.
pub(super) trait Effects {
    /// What a request gets.
    type Found;

    /// Counts a step that begins now.
    fn enter(&mut self, step: Step);

    /// Takes the cookies and the allowed nodes as they are now, and finds the zone to try first; false if no zone may serve the request.
    fn begin(&mut self) -> bool;

    /// Tells whether the allowed nodes or the zones have changed since the request began.
    fn cookies_changed(&self) -> bool;

    /// Tells whether something asks the request to end.
    fn stopped(&self) -> Option<Stopped>;

    /// Wakes the kswapds of the nodes that may serve the request (`wake_all_kswapds`).
    fn wake_kswapds(&mut self);

    /// Asks the zones; and again if that found nothing while free memory was with the system, when that is back.
    fn attempt(&mut self, flags: AllocFlags) -> Option<Self::Found>;

    /// Asks the zones at the high mark, without reclaiming any of them on the way: more than anybody leaves who is short of memory.
    fn attempt_before_oom(&mut self) -> Option<Self::Found>;

    /// Forgets which nodes the request may use.
    fn lift_nodemask(&mut self);

    /// Reclaims, and returns the frames that were freed.
    fn reclaim(&mut self) -> u64;

    /// Gives a pageblock of the highatomic reserve back to all requests, with `force` also the last one; tells whether it did.
    fn unreserve_highatomic(&mut self, force: bool) -> bool;

    /// Drains the caches of all threads.
    fn drain_all(&mut self);

    /// Compacts the zones that may serve the request.
    fn compact(&mut self, priority: CompactPriority) -> CompactResult;

    /// Tells whether some zone would pass its minimum mark if all that can be reclaimed of its node were free.
    fn could_pass(&self, flags: AllocFlags) -> bool;

    /// Tells whether some zone could be compacted if as much as is worth trying were free (`compaction_zonelist_suitable`).
    fn could_be_compacted(&self) -> bool;

    /// Runs `f` alone among all that find memory run out; `None` if somebody else is at it.
    fn with_oom_lock<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> Option<R>;

    /// Asks the application to do something, for the `round`th time for this request; tells whether it did (`out_of_memory`).
    fn out_of_memory(&mut self, round: u32) -> bool;

    /// Waits before the next attempt.
    fn pause(&mut self, pause: Pause);
}
