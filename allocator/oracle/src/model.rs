//! What must be so, kept as plainly as possible: who has which frame, and which pageblocks are set aside.

use core::ops::Range;

use gfp::{Allocator, Nid, NodeMask, Pfn, gfp::ZoneType, node::Reach, stats::ZoneStat};

use crate::call::{Policy, mask};

const PAGEBLOCK: usize = 512;

/// What a pageblock is besides its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    No,
    Isolated,
    Offline,
}

/// The arena as the caller knows it.
#[derive(Debug)]
pub(crate) struct Model {
    held: Vec<bool>,
    asides: Vec<Aside>,
    cma: Range<usize>,
    /// Start and end of each zone, and its node.
    zones: Vec<(Range<usize>, Nid)>,
    pub(crate) policy: Policy,
    pub(crate) mems_allowed: NodeMask,
}

/// Where a request may be served from.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Indices of zones.
    pub(crate) zones: Vec<usize>,
    /// Whether the zones stand in the order in which they are asked.
    pub(crate) ordered: bool,
}

impl Model {
    pub(crate) fn new(allocator: &Allocator) -> Self {
        let stats = allocator.zone_stats();
        let size = |frames: u64| usize::try_from(frames).expect("small");
        let span = |stat: &ZoneStat| size(stat.start_pfn)..size(stat.start_pfn + stat.spanned);
        let frames = stats.iter().map(|stat| span(stat).end).max().expect("there is a zone");
        let mut asides = vec![Aside::No; frames / PAGEBLOCK];
        for range in allocator.offline_ranges() {
            asides[range.start.index() / PAGEBLOCK..range.end.index() / PAGEBLOCK].fill(Aside::Offline);
        }
        let cma = allocator
            .cma_areas()
            .first()
            .map_or(0..0, |area| area.range.start.index()..area.range.end.index());
        Self {
            held: vec![false; frames],
            asides,
            cma,
            zones: stats.iter().map(|stat| (span(stat), Nid::new(stat.node as usize))).collect(),
            policy: Policy::None,
            mems_allowed: NodeMask::ALL,
        }
    }

    pub(crate) fn zone_of(&self, pfn: usize) -> usize {
        self.zones.iter().position(|(span, _)| span.contains(&pfn)).expect("it lies in the arena")
    }

    pub(crate) fn node_of(&self, zone: usize) -> Nid {
        self.zones[zone].1
    }

    /// Notes that frames went to the caller.
    pub(crate) fn take(&mut self, frames: Range<usize>) {
        for frame in &mut self.held[frames.clone()] {
            assert!(!*frame, "a frame of {frames:?} went to two owners");
            *frame = true;
        }
        let blocks = frames.start / PAGEBLOCK..frames.end.div_ceil(PAGEBLOCK);
        assert!(self.asides[blocks].iter().all(|&aside| aside == Aside::No), "{frames:?} were set aside");
    }

    pub(crate) fn give(&mut self, frames: Range<usize>) {
        for frame in &mut self.held[frames] {
            assert!(*frame);
            *frame = false;
        }
    }

    pub(crate) fn touches_cma(&self, frames: &Range<usize>) -> bool {
        frames.start < self.cma.end && self.cma.start < frames.end
    }

    pub(crate) fn is_cma_zone(&self, zone: usize) -> bool {
        !self.cma.is_empty() && self.zones[zone].0.contains(&self.cma.start)
    }

    /// Returns the frames of `count` pageblocks from one on, cut off at the arena's end.
    pub(crate) fn pageblocks(&self, at: u32, count: u32) -> Range<Pfn> {
        let at = at % u32::try_from(self.asides.len()).expect("few");
        let end = (at as usize + count as usize).min(self.asides.len());
        Pfn::new(at * 512)..Pfn::new(u32::try_from(end * PAGEBLOCK).expect("small"))
    }

    pub(crate) fn asides_of(&mut self, range: &Range<Pfn>) -> &mut [Aside] {
        &mut self.asides[range.start.index() / PAGEBLOCK..range.end.index() / PAGEBLOCK]
    }

    pub(crate) fn held_in(&self, range: &Range<Pfn>) -> u64 {
        self.held[range.start.index()..range.end.index()].iter().filter(|&&held| held).count() as u64
    }

    pub(crate) fn held(&self) -> u64 {
        self.held.iter().filter(|&&held| held).count() as u64
    }

    pub(crate) fn count(&self, aside: Aside) -> u64 {
        self.asides.iter().filter(|&&found| found == aside).count() as u64 * PAGEBLOCK as u64
    }

    /// Returns the frames that are isolated and that nobody holds.
    pub(crate) fn idle_isolated(&self) -> u64 {
        let frames =
            self.held.chunks(PAGEBLOCK).zip(&self.asides).filter(|(_, aside)| **aside == Aside::Isolated);
        frames.map(|(held, _)| held.iter().filter(|&&held| !held).count() as u64).sum()
    }

    /// Tells whether some pageblock of a zone is set aside, so that its lists do not tell what can be had.
    pub(crate) fn has_aside(&self, zone: usize) -> bool {
        let span = &self.zones[zone].0;
        self.asides[span.start / PAGEBLOCK..span.end / PAGEBLOCK].iter().any(|&aside| aside != Aside::No)
    }

    pub(crate) fn frames(&self) -> usize {
        self.held.len()
    }

    /// Returns the zones of a node's list that are of these nodes and allowed, in its order.
    fn list(&self, allocator: &Allocator, node: Nid, reach: Reach, nodes: NodeMask) -> Vec<usize> {
        let list = allocator.zonelists().node_zonelist(node, reach);
        let zones = list.zones(ZoneType::Normal, nodes).map(|zone| zone.number.index());
        zones.filter(|&zone| self.mems_allowed.contains(self.node_of(zone))).collect()
    }

    /// Returns the zones that a request which names a node, or the caller's, may be served from.
    pub(crate) fn of_node(
        &self,
        allocator: &Allocator,
        node: Option<usize>,
        reach: Reach,
        nodes: NodeMask,
    ) -> Candidates {
        let node = node.map_or_else(|| allocator.numa_mem_id(), Nid::new);
        Candidates { zones: self.list(allocator, node, reach, nodes), ordered: true }
    }

    /// Returns the zones that a request under the policy may be served from.
    pub(crate) fn of_policy(&self, allocator: &Allocator, policy: Policy) -> Candidates {
        let local = allocator.numa_mem_id();
        let all = |node| self.list(allocator, node, Reach::AllNodes, NodeMask::ALL);
        let within = |bits| self.list(allocator, local, Reach::AllNodes, mask(bits));
        match policy {
            Policy::None | Policy::Local => Candidates { zones: all(local), ordered: true },
            Policy::Preferred(node) => Candidates { zones: all(Nid::new(node)), ordered: true },
            // Of several nodes the nearest comes first, whose list decides what comes then.
            Policy::PreferredMany(_) | Policy::Interleave(_) | Policy::Weighted(_) => {
                Candidates { zones: all(local), ordered: false }
            }
            Policy::Bind(bits) => Candidates { zones: within(bits), ordered: mask(bits).contains(local) },
        }
    }
}
