//! Rounds of shrinkers over two nodes without memory behind their frames.

use core::cell::Cell;

use super::{ObjectCount, ShrinkControl, ShrinkRound, Shrinker, Shrinkers, Shrunk};
use crate::{
    alloc::{self, Domain},
    frame::Nid,
    gfp::{Gfp, MemallocScope, Scopes, current_scopes},
    sync::{Arc, Mutex},
};

const NODES: [Nid; 2] = [Nid::new(0), Nid::new(1)];

fn domain() -> Domain {
    alloc::tests::domain(&[1 << 12; NODES.len()], 0)
}

fn round(node: Nid, priority: u8) -> ShrinkRound<'static> {
    ShrinkRound { gfp: Gfp::NOFS, node, priority, wanted: &|| u64::MAX }
}

/// What a shrinker was asked: the node, and how many objects; 0 while they are counted.
type Asked = Arc<Mutex<Vec<(Nid, u64)>>>;

/// Writes down what it is asked.
struct Writes {
    asked: Asked,
    objects: u64,
    numa_aware: bool,
}

impl Writes {
    fn note(&self, control: &ShrinkControl) {
        assert_eq!(control.gfp(), Gfp::NOFS);
        assert!(current_scopes().contains(Scopes::MEMALLOC));
        self.asked.lock().push((control.nid(), control.nr_to_scan()));
    }
}

impl Shrinker for Writes {
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        self.note(control);
        ObjectCount::Objects(self.objects)
    }
    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        self.note(control);
        Some(0)
    }
    fn batch(&self) -> u64 {
        1000
    }
    fn numa_aware(&self) -> bool {
        self.numa_aware
    }
}

fn writes(objects: u64, numa_aware: bool) -> (Asked, Box<dyn Shrinker>) {
    let asked = Asked::default();
    (Arc::clone(&asked), Box::new(Writes { asked, objects, numa_aware }))
}

#[test]
fn who_tells_nodes_apart_is_asked_for_the_node_and_puts_off_by_node() {
    let (shrinkers, domain) = (Shrinkers::default(), domain());
    let (aware, shrinker) = writes(400, true);
    let aware_registered = shrinkers.register("aware", shrinker, NODES.len());
    let (unaware, shrinker) = writes(400, false);
    let unaware_registered = shrinkers.register("unaware", shrinker, NODES.len());

    // A quarter of 400, times 4 by 2 seeks, is 200 objects; less than a batch and less than all, so it is put off.
    for node in NODES {
        assert_eq!(shrinkers.shrink_slab(&domain, round(node, 2)), Shrunk::default());
    }
    assert_eq!(*aware.lock(), NODES.map(|node| (node, 0)));
    assert_eq!(*unaware.lock(), [(NODES[0], 0); 2], "once a round");
    assert_eq!(aware_registered.report().deferred_objects, 400, "200 on each node");
    assert_eq!(unaware_registered.report().deferred_objects, 400, "of both rounds together");

    // What was put off is asked for with the next share: 200 and 800 on node 1, 400 and 800 of all, but at most twice all.
    aware.lock().clear();
    unaware.lock().clear();
    assert_eq!(shrinkers.shrink_slab(&domain, round(NODES[1], 0)), Shrunk { scanned: 1600, freed: 0 });
    assert_eq!(*aware.lock(), [(NODES[1], 0), (NODES[1], 800)]);
    assert_eq!(*unaware.lock(), [(NODES[0], 0), (NODES[0], 800)]);
    assert_eq!(aware_registered.report().deferred_objects, 400, "200 on node 0, 200 left on node 1");
    assert_eq!(unaware_registered.report().deferred_objects, 400);
    assert_eq!(shrinkers.scanned(), 1600);
}

#[test]
fn objects_are_counted_by_node_where_they_can_be() {
    let shrinkers = Shrinkers::default();
    struct Many(u64);
    impl Shrinker for Many {
        fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
            match control.nid().index() {
                0 => ObjectCount::Objects(self.0),
                _ => ObjectCount::Empty,
            }
        }
        fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
            None
        }
        fn numa_aware(&self) -> bool {
            self.0 == 5
        }
    }
    let _aware = shrinkers.register("aware", Box::new(Many(5)), NODES.len());
    let unaware = shrinkers.register("unaware", Box::new(Many(7)), NODES.len());
    assert_eq!(NODES.map(|node| shrinkers.count(node)), [12, 7], "those of the other one may be anywhere");
    let liar = shrinkers.register("liar", Box::new(Many(u64::MAX)), NODES.len());
    assert_eq!(shrinkers.count(NODES[0]), u64::MAX);
    drop((unaware, liar));
    assert_eq!(NODES.map(|node| shrinkers.count(node)), [5, 0]);
}

#[test]
fn a_thread_that_reclaims_is_served_and_one_inside_a_callback_is_not() {
    struct Nests {
        shrinkers: Arc<Shrinkers>,
        domain: Arc<Domain>,
    }
    impl Shrinker for Nests {
        fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
            assert_eq!(self.shrinkers.count(NODES[0]), 0);
            ObjectCount::Objects(10)
        }
        fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
            assert_eq!(self.shrinkers.shrink_slab(&self.domain, round(NODES[0], 0)), Shrunk::default());
            None
        }
    }
    let (shrinkers, domain) = (Arc::new(Shrinkers::default()), Arc::new(domain()));
    let (asked, shrinker) = writes(10, false);
    let _first = shrinkers.register("first", shrinker, NODES.len());
    let nests = Nests { shrinkers: Arc::clone(&shrinkers), domain: Arc::clone(&domain) };
    let second = shrinkers.register("nests", Box::new(nests), NODES.len());
    let _reclaims = MemallocScope::enter();
    assert_eq!(shrinkers.shrink_slab(&domain, round(NODES[0], 0)), Shrunk { scanned: 20, freed: 0 });
    assert_eq!(*asked.lock(), [(NODES[0], 0), (NODES[0], 20)], "once");
    assert_eq!((second.report().scans, second.report().panics), (1, 0));
}

#[test]
fn nobody_is_called_once_all_are_gone() {
    let (shrinkers, domain) = (Shrinkers::default(), domain());
    let (asked, shrinker) = writes(10, false);
    let registered = shrinkers.register("before", shrinker, NODES.len());
    shrinkers.close();
    assert_eq!(Arc::strong_count(&asked), 1, "its object is gone");
    let late = shrinkers.register("behind", writes(10, false).1, NODES.len());
    assert_eq!(shrinkers.shrink_slab(&domain, round(NODES[0], 0)), Shrunk::default());
    assert!(asked.lock().is_empty() && shrinkers.reports().is_empty());
    drop((registered, late));
}

/// Runs a round in which so much is wanted, once; returns what was scanned.
fn wanting(shrinkers: &Shrinkers, domain: &Domain, priority: u8, frames: u64) -> u64 {
    let left = Cell::new(frames);
    let wanted = || left.take();
    shrinkers.shrink_slab(domain, ShrinkRound { wanted: &wanted, ..round(NODES[0], priority) }).scanned
}

#[test]
fn a_round_ends_when_no_more_is_wanted_and_the_next_begins_with_another_shrinker() {
    let (shrinkers, domain) = (Shrinkers::default(), domain());
    let all: Vec<_> = (0..3)
        .map(|_| {
            let (asked, shrinker) = writes(400, false);
            (asked, shrinkers.register("one of three", shrinker, NODES.len()))
        })
        .collect();
    for turn in [0, 1, 2, 0, 1] {
        assert_eq!(wanting(&shrinkers, &domain, 0, 10), 10);
        let scans = all.iter().map(|(asked, _)| core::mem::take(&mut *asked.lock()));
        let scans: Vec<_> = scans.map(|asked| asked.iter().any(|&(_, objects)| objects == 10)).collect();
        assert_eq!(scans.iter().position(|&scanned| scanned), Some(turn), "{scans:?}");
        assert_eq!(scans.iter().filter(|&&scanned| scanned).count(), 1);
    }
    // Who is not asked for anything, because nothing is wanted from the beginning, is the first the next time.
    assert_eq!(wanting(&shrinkers, &domain, 0, 0), 0);
    all.iter().for_each(|(asked, _)| asked.lock().clear());
    assert_eq!(wanting(&shrinkers, &domain, 0, 10), 10);
    assert_eq!(*all[2].0.lock(), [(NODES[0], 0), (NODES[0], 10)]);
}

#[test]
fn what_is_wanted_is_asked_for_by_a_scan_and_not_used_up_before() {
    let (shrinkers, domain) = (Shrinkers::default(), domain());
    let (few, shrinker) = writes(400, false);
    let _few = shrinkers.register("too few for a batch", shrinker, NODES.len());
    let (many, shrinker) = writes(100_000, false);
    let _many = shrinkers.register("many", shrinker, NODES.len());
    assert_eq!(wanting(&shrinkers, &domain, 2, 16), 16);
    assert_eq!((few.lock().len(), many.lock().last().copied()), (1, Some((NODES[0], 16))));
}
