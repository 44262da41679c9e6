//! What must be so, kept as plainly as possible.
//!
//! | file | idea |
//! |---|---|
//! | [`Model`] | who has which frame, and which pageblocks are set aside |
//! | `target` | where a request goes first, and in which order it asks zones |
//! | `dirty` | how many frames of a node may be dirty |
//! | `fragments` | pages for fragments, and the fragments of each |

mod dirty;
mod fragments;
mod target;

use core::ops::Range;

use gfp::{
    Allocator, Pfn,
    error::FailReason,
    gfp::{Scopes, ZoneType},
    stats::ZoneStat,
};

use crate::{
    call::Scope,
    shapes::{DirtyLimit, NODES},
};

use dirty::Counts;
pub(crate) use fragments::{Fragments, Page};
pub(crate) use target::{Candidates, PolicyModel, Refused, Target};

/// Frames of a pageblock.
pub(crate) const PAGEBLOCK: usize = 512;

/// All nodes as bits.
pub(crate) const ALL_NODES: u8 = (1 << NODES) - 1;

/// What a pageblock is besides its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    No,
    Isolated,
    Offline,
}

/// A zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) span: Range<usize>,
    pub(crate) node: usize,
    pub(crate) kind: ZoneType,
}

/// The arena as the caller knows it.
#[derive(Debug)]
pub(crate) struct Model {
    held: Vec<bool>,
    held_frames: u64,
    asides: Vec<Aside>,
    cma: Range<usize>,
    pub(crate) zones: Vec<Zone>,
    /// The node of the CPU that the program runs on.
    pub(crate) local: usize,
    pub(crate) policy: PolicyModel,
    /// Bits of the nodes that requests may use.
    pub(crate) mems_allowed: u8,
    /// Bits of the nodes of which memory is being reclaimed.
    pub(crate) reclaiming: u8,
    pub(crate) scopes: Vec<Scope>,
    /// Of each token whose scope the thread is inside, whether it was cancelled.
    pub(crate) tokens: Vec<bool>,
    counts: Counts,
    dirty_limit: DirtyLimit,
    pub(crate) fragments: Fragments,
}

impl Model {
    pub(crate) fn new(allocator: &Allocator, dirty_limit: DirtyLimit) -> Self {
        let stats = allocator.zone_stats();
        let size = |frames: u64| usize::try_from(frames).expect("small");
        let zone = |stat: &ZoneStat| Zone {
            span: size(stat.start_pfn)..size(stat.start_pfn + stat.spanned),
            node: stat.node as usize,
            kind: stat.zone,
        };
        let zones: Vec<_> = stats.iter().map(zone).collect();
        let frames = zones.iter().map(|zone| zone.span.end).max().expect("there is a zone");
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
            held_frames: 0,
            asides,
            cma,
            zones,
            local: allocator.numa_mem_id().index(),
            policy: PolicyModel::default(),
            mems_allowed: ALL_NODES,
            reclaiming: 0,
            scopes: Vec::new(),
            tokens: Vec::new(),
            counts: Counts::default(),
            dirty_limit,
            fragments: Fragments::default(),
        }
    }

    pub(crate) fn zone_of(&self, pfn: usize) -> usize {
        self.zones.iter().position(|zone| zone.span.contains(&pfn)).expect("it lies in the arena")
    }

    /// Notes that frames went to the caller.
    pub(crate) fn take(&mut self, frames: Range<usize>) {
        for frame in &mut self.held[frames.clone()] {
            assert!(!*frame, "a frame of {frames:?} went to two owners");
            *frame = true;
        }
        self.held_frames += frames.len() as u64;
        let blocks = frames.start / PAGEBLOCK..frames.end.div_ceil(PAGEBLOCK);
        assert!(self.asides[blocks].iter().all(|&aside| aside == Aside::No), "{frames:?} were set aside");
    }

    /// Notes that the caller gave frames back.
    pub(crate) fn give(&mut self, frames: Range<usize>) {
        self.held_frames -= frames.len() as u64;
        for frame in &mut self.held[frames] {
            assert!(*frame);
            *frame = false;
        }
    }

    pub(crate) fn touches_cma(&self, frames: &Range<usize>) -> bool {
        frames.start < self.cma.end && self.cma.start < frames.end
    }

    pub(crate) fn cma(&self) -> Range<usize> {
        self.cma.clone()
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

    pub(crate) fn is_held(&self, frame: usize) -> bool {
        self.held[frame]
    }

    pub(crate) fn held_in(&self, range: &Range<Pfn>) -> u64 {
        self.held[range.start.index()..range.end.index()].iter().filter(|&&held| held).count() as u64
    }

    pub(crate) const fn held(&self) -> u64 {
        self.held_frames
    }

    /// Returns the frames of a zone that somebody holds, those that are isolated and nobody holds, and those that are offline.
    pub(crate) fn census(&self, zone: &Zone) -> (u64, u64, u64) {
        let (mut held, mut idle, mut offline) = (0, 0, 0);
        for start in zone.span.clone().step_by(PAGEBLOCK) {
            let used = self.held[start..start + PAGEBLOCK].iter().filter(|&&held| held).count() as u64;
            held += used;
            match self.asides[start / PAGEBLOCK] {
                Aside::No => {}
                Aside::Isolated => idle += PAGEBLOCK as u64 - used,
                Aside::Offline => offline += PAGEBLOCK as u64,
            }
        }
        (held, idle, offline)
    }

    /// Returns how many pageblocks nobody has a frame of, and how many of those that are set aside.
    pub(crate) fn idle_pageblocks(&self) -> (u64, u64) {
        let (mut idle, mut aside) = (0, 0);
        for (frames, is) in self.held.chunks(PAGEBLOCK).zip(&self.asides) {
            match is {
                Aside::No => idle += u64::from(!frames.contains(&true)),
                Aside::Isolated | Aside::Offline => aside += 1,
            }
        }
        (idle, aside)
    }

    pub(crate) fn frames(&self) -> usize {
        self.held.len()
    }

    /// Returns what ends the thread's requests.
    pub(crate) fn stop(&self) -> Option<FailReason> {
        self.tokens.contains(&true).then_some(FailReason::Cancelled)
    }

    /// Returns the scopes that the thread is inside.
    pub(crate) fn scopes(&self) -> Scopes {
        let one = |scope: &Scope| match scope {
            Scope::NoIo => Scopes::NOIO,
            Scope::NoFs => Scopes::NOFS,
            Scope::Memalloc => Scopes::MEMALLOC,
        };
        self.scopes.iter().map(one).collect()
    }
}
