//! Bags: caches of the caller's own that give their blocks back when memory is short.
//!
//! What a callback sees is written down, and judged where a request or an age has ended: inside, a panic would be caught.

use core::mem::take;
use std::thread::ThreadId;

use gfp::{
    Allocator, Gfp, Pages,
    reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker, ShrinkerReport},
    sync::{Arc, Mutex, thread},
};

use super::{Machine, frames_of};
use crate::{call::Manner, model::Zone};

/// How many bags there are at most.
const MOST_BAGS: usize = 3;

/// The names of their shrinkers, by manner.
const fn name(manner: Manner) -> &'static str {
    match manner {
        Manner::Willing => "willing",
        Manner::OfNode => "of a node",
        Manner::Boastful => "boastful",
        Manner::Reluctant => "reluctant",
        Manner::Leaving => "leaving",
    }
}

/// How many scans pass before a reluctant one gives anything, and a boastful one counts what it has: a request that hopes for more waits
/// a millisecond between its rounds.
const PATIENCE: u64 = 6;

/// By how many blocks a boastful one exaggerates at first.
const BOAST: u64 = 100;

/// A scan, as the shrinker saw it.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) thread: ThreadId,
    pub(super) gfp: Gfp,
    pub(super) node: usize,
    /// How many blocks were asked for.
    pub(super) wanted: u64,
    /// The frames of each block that was freed.
    pub(super) freed: Vec<core::ops::Range<usize>>,
    /// What the shrinker said: objects that it looked at, and that it freed.
    pub(super) said: (u64, u64),
}

#[derive(Debug, Default)]
struct Content {
    blocks: Vec<Pages>,
    scans: Vec<Scan>,
    asked: u64,
}

/// What a bag and its shrinker share.
struct Shared {
    manner: Manner,
    batch: u64,
    zones: Vec<Zone>,
    content: Mutex<Content>,
    registered: Mutex<Option<RegisteredShrinker>>,
}

impl Shared {
    /// Tells whether a block is one that a scan for a node is for.
    fn is_of(&self, pages: &Pages, node: usize) -> bool {
        let here = |zone: &&Zone| zone.span.contains(&pages.pfn().index());
        self.manner != Manner::OfNode || self.zones.iter().find(here).is_some_and(|zone| zone.node == node)
    }

    fn boast(&self, asked: u64) -> u64 {
        if self.manner == Manner::Boastful && asked < PATIENCE { BOAST } else { 0 }
    }
}

struct BagShrinker(Arc<Shared>);

impl Shrinker for BagShrinker {
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        let Content { blocks, asked, .. } = &*self.0.content.lock();
        let here = blocks.iter().filter(|pages| self.0.is_of(pages, control.nid().index()));
        match here.count() as u64 + self.0.boast(*asked) {
            0 => ObjectCount::Empty,
            objects => ObjectCount::Objects(objects),
        }
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let mut content = self.0.content.lock();
        let (node, wanted) = (control.nid().index(), control.nr_to_scan());
        let boast = self.0.boast(content.asked);
        content.asked += 1;
        let refuses = self.0.manner == Manner::Reluctant && content.asked <= PATIENCE;
        let mut freed = Vec::new();
        let mut at = 0;
        while !refuses && (freed.len() as u64) < wanted && at < content.blocks.len() {
            if self.0.is_of(&content.blocks[at], node) {
                let pages = content.blocks.swap_remove(at);
                freed.push(frames_of(&pages));
                drop(pages);
            } else {
                at += 1;
            }
        }
        let claimed = if boast > 0 { wanted } else { freed.len() as u64 };
        control.set_nr_scanned(claimed);
        let said = if refuses { (0, 0) } else { (claimed, claimed) };
        let (thread, gfp) = (thread::current().id(), control.gfp());
        content.scans.push(Scan { thread, gfp, node, wanted, freed, said });
        drop(content);
        if self.0.manner == Manner::Leaving {
            let registered = self.0.registered.lock().take();
            drop(registered);
        }
        (!refuses).then_some(claimed)
    }

    fn batch(&self) -> u64 {
        self.0.batch
    }

    fn numa_aware(&self) -> bool {
        self.0.manner == Manner::OfNode
    }
}

/// A cache of blocks, and the shrinker by which the allocator reaches it.
pub(super) struct Bag {
    shared: Arc<Shared>,
    /// What was known of the shrinker after the last look.
    seen: ShrinkerReport,
}

impl Bag {
    fn new(allocator: &Allocator, zones: &[Zone], manner: Manner, batch: u64) -> Self {
        let (content, registered) = Default::default();
        let shared = Arc::new(Shared { manner, batch, zones: zones.to_vec(), content, registered });
        let registered = allocator.register_shrinker(name(manner), BagShrinker(Arc::clone(&shared)));
        let seen = registered.report();
        *shared.registered.lock() = Some(registered);
        Self { shared, seen }
    }

    pub(super) fn manner(&self) -> Manner {
        self.shared.manner
    }

    /// Returns how many blocks of a node it would give if it were asked.
    pub(super) fn objects(&self, node: usize) -> u64 {
        let content = self.shared.content.lock();
        content.blocks.iter().filter(|pages| self.shared.is_of(pages, node)).count() as u64
    }

    /// Looks what happened to it since the last look: what its scans saw, in how many rounds it was counted, and whether its shrinker
    /// is still registered. What the allocator says of it must be the same.
    pub(super) fn look(&mut self) -> Look {
        let scans = take(&mut self.shared.content.lock().scans);
        let most = if self.shared.batch == 0 { 128 } else { self.shared.batch };
        assert!(scans.iter().all(|scan| (1..=most).contains(&scan.wanted)), "{scans:#?}");
        let Some(now) = self.shared.registered.lock().as_ref().map(RegisteredShrinker::report) else {
            assert!(self.manner() == Manner::Leaving && scans.len() == 1, "{scans:#?}");
            return Look { scans, counts: None };
        };
        assert!(self.manner() != Manner::Leaving || scans.is_empty(), "{scans:#?}");
        let frames = |scan: &Scan| scan.freed.iter().map(|freed| freed.len() as u64).sum::<u64>();
        let sum = |of: &dyn Fn(&Scan) -> u64| scans.iter().map(of).sum::<u64>();
        let before = self.seen;
        let expected = (
            before.scans + scans.len() as u64,
            before.scanned_objects + sum(&|scan| scan.said.0),
            before.claimed_objects + sum(&|scan| scan.said.1),
            before.freed_frames + sum(&frames),
        );
        assert_eq!((now.scans, now.scanned_objects, now.claimed_objects, now.freed_frames), expected);
        assert_eq!((now.panics, now.given_up, now.disabled), (0, 0, false), "{now:?}");
        self.seen = now;
        Look { scans, counts: Some(now.counts - before.counts) }
    }
}

impl Drop for Bag {
    fn drop(&mut self) {
        // The shrinker refers to what the two share, which has what is registered.
        let registered = self.shared.registered.lock().take();
        drop(registered);
    }
}

/// What happened to a bag.
pub(super) struct Look {
    pub(super) scans: Vec<Scan>,
    /// In how many rounds it was counted; `None` when it left.
    pub(super) counts: Option<u64>,
}

impl Machine {
    pub(super) fn new_bag(&mut self, manner: Manner, batch: u8) {
        if self.bags.len() == MOST_BAGS {
            self.drop_bag(0);
        }
        self.bags.push(Bag::new(&self.allocator, &self.model.zones, manner, batch.into()));
        self.check_bags();
    }

    /// Puts blocks into a bag.
    pub(super) fn fill_bag(&mut self, bag: usize, position: usize, times: u8) {
        if self.bags.is_empty() {
            return;
        }
        let bag = bag % self.bags.len();
        for _ in 0..times {
            if self.pages.is_empty() {
                break;
            }
            let pages = self.pages.swap_remove(position % self.pages.len());
            self.bags[bag].shared.content.lock().blocks.push(pages);
        }
    }

    /// Removes a shrinker; its blocks are the caller's again.
    pub(super) fn drop_bag(&mut self, bag: usize) {
        if self.bags.is_empty() {
            return;
        }
        self.take_bag_apart(bag % self.bags.len());
        self.check_bags();
    }

    fn take_bag_apart(&mut self, bag: usize) {
        let bag = self.bags.remove(bag);
        let content = take(&mut *bag.shared.content.lock());
        assert!(content.scans.is_empty());
        self.pages.extend(content.blocks);
        drop(bag);
    }

    /// Looks into all bags, and takes back the blocks of those whose shrinkers have left.
    pub(super) fn look_into_bags(&mut self) -> Vec<(Manner, Look)> {
        let looks: Vec<_> = self.bags.iter_mut().map(|bag| (bag.manner(), bag.look())).collect();
        let left = (0..looks.len()).rev().filter(|&bag| looks[bag].1.counts.is_none());
        left.for_each(|bag| self.take_bag_apart(bag));
        self.check_bags();
        looks
    }

    /// Checks that the allocator knows the bags that there are, and no others.
    pub(super) fn check_bags(&self) {
        let known = self.allocator.shrinkers();
        let known = known.iter().map(|report| (report.name, report.numa_aware));
        let bags = self.bags.iter().map(Bag::manner);
        assert!(known.eq(bags.map(|manner| (name(manner), manner == Manner::OfNode))));
    }
}
