//! Reclaim on the thread of a request (`try_to_free_pages`).

use super::{DEF_PRIORITY, Reclaim, Shrunk, kswapd::SWAP_CLUSTER_MAX};
use crate::{
    alloc::{AllocContext, Domain},
    frame::Nid,
    gfp::{Gfp, Scopes, current_scopes},
    node::first_of_each_node,
    trace,
};

/// Reclaims with priorities from `first` down to 0 until `target` frames were freed.
pub(super) fn reclaim_until(target: u64, first: u8, mut round: impl FnMut(u8) -> u64) -> u64 {
    let mut reclaimed = 0;
    for priority in (0..=first).rev() {
        reclaimed += round(priority);
        if reclaimed >= target {
            break;
        }
    }
    reclaimed
}

impl Reclaim {
    /// Reclaims memory for a request on its own thread, and returns how many frames are known to have been freed
    /// (`try_to_free_pages`).
    ///
    /// Waits a while where the node's kswapd should do it. Then asks the caches of all nodes that may serve the request, harder each
    /// time, until 32 frames were freed. Does nothing on a thread that is reclaiming already. For requests that may block.
    pub(crate) fn try_to_free_pages(&self, domain: &Domain, context: &AllocContext<'_>) -> u64 {
        if current_scopes().contains(Scopes::MEMALLOC) {
            return 0;
        }
        self.throttle_direct_reclaim(domain, context);
        trace::mm_vmscan_direct_reclaim_begin(context.order, context.gfp);
        self.events.count_allocstall(context.highest_zone);
        let reclaimed = reclaim_until(SWAP_CLUSTER_MAX, DEF_PRIORITY, |priority| {
            self.shrink_zones(domain, context, priority)
        });
        trace::mm_vmscan_direct_reclaim_end(reclaimed);
        reclaimed
    }

    /// Asks the caches of each node that may serve a request once (`shrink_zones`); returns the frames that were freed.
    fn shrink_zones(&self, domain: &Domain, context: &AllocContext<'_>, priority: u8) -> u64 {
        first_of_each_node(context.zonelist.zones(context.highest_zone, context.nodemask))
            .filter(|zone| domain.cpuset().cpuset_zone_allowed(zone.node) && !domain.is_closed())
            .map(|zone| self.shrink_directly(domain, zone.node, context.gfp, priority))
            .sum()
    }

    /// Asks the caches of a node once, for a request; returns the frames that were freed.
    pub(super) fn shrink_directly(&self, domain: &Domain, node: Nid, gfp: Gfp, priority: u8) -> u64 {
        let Shrunk { scanned, freed } = self.shrink_node(domain, node, gfp, priority, &|| u64::MAX);
        self.events.pgscan_direct.add(scanned);
        self.events.pgsteal_direct.add(freed);
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reclaim_tries_harder_until_it_is_enough() {
        let mut priorities = Vec::new();
        let mut round = |priority: u8| {
            priorities.push(priority);
            1000 >> priority
        };
        assert_eq!(reclaim_until(32, 12, &mut round), 1 + 3 + 7 + 15 + 31);
        assert_eq!(priorities, [12, 11, 10, 9, 8, 7, 6, 5]);
        priorities.clear();
        assert_eq!(reclaim_until(u64::MAX, 4, |_| 0), 0);
    }

    proptest! {
        #[test]
        fn no_round_follows_the_one_that_was_enough(freed in prop::collection::vec(0_u64..40, 13), target in 1_u64..200) {
            let mut rounds = freed.iter();
            let reclaimed = reclaim_until(target, 12, |_| *rounds.next().expect("13 priorities"));
            let used = 13 - rounds.len();
            prop_assert_eq!(reclaimed, freed[..used].iter().sum::<u64>());
            prop_assert!(used == 13 || reclaimed >= target);
            prop_assert!(freed[..used - 1].iter().sum::<u64>() < target);
        }
    }
}
