//! How much a kswapd reclaims, and how hard it tries (`balance_pgdat`, 6.x).

use super::Shrunk;
use crate::{
    compact::compact_gap,
    frame::Order,
    gfp::{NR_ZONE_TYPES, ZoneType},
};

/// With which priority reclaim begins: a cache is asked for a 4096th of what it has.
pub(super) const DEF_PRIORITY: u8 = 12;

/// The priority that reclaim for a boost does not go beyond: a boost is not worth more than a 1024th of a cache at a time.
const BOOST_PRIORITY: u8 = DEF_PRIORITY - 2;

/// What the marks of a node's zones were boosted by, in frames by the type of the zone.
pub(super) type Boosts = [u64; NR_ZONE_TYPES];

/// A node, as far as reclaim decides by it. Zones are those that requests up to a type may use.
pub(super) trait Node {
    /// Tells whether some zone has more than its high mark and a block of the order, or there is no zone (`pgdat_balanced`).
    fn is_balanced(&self, order: Order, highest: ZoneType) -> bool;

    /// Returns the boosts of now.
    fn boosts(&self, highest: ZoneType) -> Boosts;

    /// Takes boosts back, as far as they are still there.
    fn end_boosts(&self, boosts: &Boosts);

    /// Says whether memory of the zones is being reclaimed now (`ZONE_RECLAIM_ACTIVE`).
    fn set_active(&self, highest: ZoneType, now: bool);

    /// Returns how many frames a round should look at: for each zone its high mark, 32 at least.
    fn target(&self, highest: ZoneType) -> u64;

    /// Asks caches for memory once: until the node is balanced, or for a `boost` as much as the priority says.
    fn shrink(&self, priority: u8, order: Order, highest: ZoneType, boost: u64) -> Shrunk;

    /// Lets those go on who wait for what was reclaimed.
    fn note_progress(&self);

    /// Tells whether to give up at once.
    fn must_stop(&self) -> bool;
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balanced {
    /// The order that was reclaimed for in the end: 0 after enough was reclaimed for a block of the order to come together.
    pub(super) order: Order,
    /// What was looked at and freed.
    pub(super) total: Shrunk,
    /// Whether nothing could be reclaimed for a node that needs it.
    pub(super) has_failed: bool,
}

/// Reclaims until the node is balanced, all priorities have been tried, or there is a reason to stop.
///
/// A boost of the marks is reclaimed for with less effort: as many frames as it has, as long as there is progress. If the node is
/// not balanced with it, the boost is forgotten for this run, which begins again in earnest. In the end the boosts of the
/// beginning are taken back in any case.
///
/// Unlike the kernel's, a run that finds nothing for a boost of a balanced node has not failed: an allocator may well have no cache
/// that gives memory back.
pub(super) fn balance_pgdat(node: &impl Node, order: Order, highest: ZoneType) -> Balanced {
    let boosts = node.boosts(highest);
    let mut for_boost: u64 = boosts.iter().sum();
    let mut done = Balanced { order, total: Shrunk::default(), has_failed: false };
    let mut priority = DEF_PRIORITY;
    node.set_active(highest, true);
    loop {
        let is_balanced = node.is_balanced(done.order, highest);
        if !is_balanced && for_boost > 0 {
            (for_boost, priority) = (0, DEF_PRIORITY);
        }
        if is_balanced && for_boost == 0 {
            break;
        }
        let target = node.target(highest);
        let round = node.shrink(priority, done.order, highest, for_boost);
        done.total.scanned += round.scanned;
        done.total.freed += round.freed;
        if done.total.freed >= compact_gap(done.order) {
            done.order = Order::ZERO;
        }
        node.note_progress();
        if node.must_stop() {
            break;
        }
        for_boost = for_boost.saturating_sub(round.freed);
        if for_boost > 0 && round.freed == 0 {
            break;
        }
        let is_enough = round.scanned >= target || (for_boost > 0 && priority == BOOST_PRIORITY);
        if !is_enough || round.freed == 0 {
            priority -= 1;
        }
        if priority == 0 {
            done.has_failed = done.total.freed == 0;
            break;
        }
    }
    node.set_active(highest, false);
    node.end_boosts(&boosts);
    done
}

#[cfg(test)]
mod tests;
