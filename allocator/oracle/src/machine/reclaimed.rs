//! What reclaim did: that shrinkers were called when they had to be and at no other time, and what they gave back.

use std::thread::ThreadId;

use gfp::{Gfp, gfp::Scopes, slowpath::Step, sync::thread};

use super::{
    Machine,
    bags::{Look, Scan},
    judge::Request,
    snapshot::Snapshot,
};
use crate::{call::Manner, shapes::NODES};

/// Priorities of a round of reclaim.
const PRIORITIES: u64 = 13;

/// What reclaim did for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reclaimed {
    /// How often the request reclaimed by itself.
    pub(super) rounds: u64,
    /// Frames that came back.
    pub(super) frames: u64,
    /// Whether there was a shrinker.
    has_bags: bool,
}

impl Reclaimed {
    /// Returns what came of it, for a request that reclaimed.
    pub(super) fn branch(self, served: bool) -> Option<&'static str> {
        match self {
            Self { rounds: 0, .. } => None,
            Self { has_bags: false, .. } => Some("no shrinker"),
            Self { frames: 0, .. } => Some("nothing came back"),
            _ if served => Some("served"),
            _ => Some("not enough"),
        }
    }
}

impl Machine {
    /// Notes what a request had shrinkers free, and checks that it was allowed to.
    pub(super) fn settle(&mut self, request: &Request) -> Reclaimed {
        let now = self.allocator.slowpath_report().steps.of(Step::DirectReclaim);
        let rounds = now - self.reclaims;
        self.reclaims = now;
        let thread = if request.worker { self.worker.thread() } else { thread::current().id() };
        if rounds > 0 {
            assert!(request.may_reclaim(), "{request:?} reclaimed");
            // It had tried in vain before.
            if let Some(before) = request.before.as_ref().filter(|_| !request.one_of_many) {
                let zone = request.zone_that_serves(before);
                assert_eq!(zone, None, "{request:?} reclaimed although a zone could serve it");
            }
        }
        let nodes = if rounds > 0 { self.reclaimed_nodes(request) } else { Vec::new() };
        let has_bags = !self.bags.is_empty();
        let expected = request.gfp_inside().without(Gfp::ZERO);
        let mut frames = 0;
        for (manner, Look { scans, counts }) in self.look_into_bags() {
            let place =
                |node: usize| if manner == Manner::OfNode { nodes.contains(&node) } else { node == 0 };
            for scan in &scans {
                assert!(place(scan.node) && !nodes.is_empty(), "{request:?} of {nodes:?}: {scan:?}");
                assert_eq!((scan.thread, scan.gfp.without(Gfp::ZERO)), (thread, expected), "{scan:?}");
            }
            let turns = rounds * nodes.len() as u64;
            let least = if request.one_of_many { 0 } else { turns };
            let possible = least..=turns * PRIORITIES;
            assert!(
                counts.is_none_or(|counts| possible.contains(&counts)),
                "{request:?}: {rounds} rounds over {nodes:?}, in which it was counted {counts:?} times"
            );
            frames += self.note_scans(manner, &scans);
        }
        Reclaimed { rounds, frames, has_bags }
    }

    /// Returns the nodes of which a request may reclaim memory. Of several that are made in one go, each may go elsewhere.
    fn reclaimed_nodes(&self, request: &Request) -> Vec<usize> {
        if request.one_of_many {
            return (0..NODES).filter(|node| self.model.mems_allowed >> node & 1 == 1).collect();
        }
        let listed = request.candidates.as_ref().map_or(&[][..], |candidates| &candidates.listed);
        let mut nodes: Vec<_> = listed.iter().map(|&zone| self.model.zones[zone].node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| self.model.mems_allowed >> node & 1 == 1);
        nodes
    }

    /// Notes what scans freed, and returns how many frames that were.
    fn note_scans(&mut self, manner: Manner, scans: &[Scan]) -> u64 {
        let mut frames = 0;
        for freed in scans.iter().flat_map(|scan| &scan.freed) {
            self.model.give(freed.clone());
            frames += freed.len() as u64;
        }
        if !scans.is_empty() {
            self.coverage.count("shrinker", format!("{manner:?}"));
        }
        frames
    }

    /// Checks that a request which was refused had reclaimed if it could, and that the error says what came of it; and that caches did not
    /// keep what would have served it.
    pub(super) fn check_effort(&self, request: &Request, reclaimed: Reclaimed, after: &Snapshot) {
        let must = request.may_reclaim() && !request.ends_before_reclaim();
        assert_eq!(reclaimed.rounds > 0, must, "{request:?}: {reclaimed:?}");
        let gives = |manner| matches!(manner, Manner::Willing | Manner::OfNode);
        let all_give = self.bags.iter().all(|bag| gives(bag.manner()));
        let is_plain = request.order == 0 && !request.gfp.contains(Gfp::NORETRY) && !request.leaves_nodes();
        let Ok(candidates) = &request.candidates else { return };
        if !(must && all_give && is_plain) {
            return;
        }
        for &zone in &candidates.asked {
            let node = self.model.zones[zone].node;
            let more = self.bags.iter().map(|bag| bag.objects(node)).sum();
            assert!(
                !after.would_have_enough(zone, request, more),
                "{request:?} was refused, and caches keep {more} blocks for zone {zone}"
            );
        }
    }

    /// Has the allocator age, and checks that shrinkers were called for nodes where memory was short.
    pub(super) fn age(&mut self) {
        let is_running = self.allocator.kswapds().iter().map(|report| report.running).collect::<Vec<_>>();
        let before = self.allocator.vmstat();
        self.allocator.age();
        let now = self.allocator.kswapds();
        assert!(now.iter().all(|report| !report.running && !report.has_thread), "{now:?}");
        let mut frames = 0;
        let own: ThreadId = thread::current().id();
        let has_bags = !self.bags.is_empty();
        for (manner, Look { scans, counts }) in self.look_into_bags() {
            for scan in &scans {
                let short = if manner == Manner::OfNode { is_running[scan.node] } else { scan.node == 0 };
                assert!(short, "{is_running:?}: {scan:?}");
                assert_eq!((scan.thread, scan.gfp), (own, Gfp::KERNEL));
            }
            assert!(is_running.contains(&true) || counts == Some(0), "there was nothing to do");
            frames += self.note_scans(manner, &scans);
        }
        let after = self.allocator.vmstat();
        assert_eq!(after.pgsteal_kswapd - before.pgsteal_kswapd, frames);
        let branch = match frames {
            _ if !is_running.contains(&true) => "nothing to do",
            _ if !has_bags => "no shrinker",
            0 => "nothing came back",
            _ => "memory came back",
        };
        self.coverage.count("kswapd", branch);
    }

    /// Checks that no shrinker was called since the last look.
    pub(super) fn check_nobody_reclaimed(&mut self) {
        let now = self.allocator.slowpath_report().steps.of(Step::DirectReclaim);
        assert_eq!(now, self.reclaims, "it was no request");
        for (manner, Look { scans, counts }) in self.look_into_bags() {
            assert!(scans.is_empty() && counts == Some(0), "{manner:?}: {scans:?}");
        }
    }
}

impl Request {
    /// Tells whether the request may have caches give memory back.
    pub(super) fn may_reclaim(&self) -> bool {
        let candidates = self.candidates.as_ref();
        self.gfp.contains(Gfp::DIRECT_RECLAIM)
            && !self.scopes.contains(Scopes::MEMALLOC)
            && self.stop.is_none()
            && candidates.is_ok_and(|candidates| !candidates.in_vain)
    }

    /// Tells whether it goes on after a round of reclaim that did not help.
    pub(super) fn tries_again(&self) -> bool {
        let tries_hard = self.gfp.contains(Gfp::RETRY_MAYFAIL) && self.gfp_inside().contains(Gfp::IO);
        !self.gfp.contains(Gfp::NORETRY) && (self.order <= 3 || tries_hard)
    }

    /// Tells whether compaction, which finds nothing to do, ends the request: a large one that is not to try hard.
    fn ends_before_reclaim(&self) -> bool {
        self.order > 3
            && self.gfp.contains(Gfp::NORETRY)
            && self.gfp_inside().contains(Gfp::IO)
            && !self.ignores_watermarks()
    }
}
