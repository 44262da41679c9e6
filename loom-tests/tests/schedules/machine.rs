//! An allocator, eight threads that use it, and what must hold when they have ended.

use gfp::{
    Allocator, Builder, DebugCounts, Maintain, Nid, NodeMask, Spread,
    platform::{NodeId, Topology},
    sync::thread,
};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::call::Call;
use crate::parts::Parts;
use crate::stamps::{Held, Stamps};
use crate::worker::Worker;

/// Threads beside the main one.
const THREADS: usize = 8;
/// A pageblock.
pub(crate) const PAGEBLOCK_BYTES: usize = 2 << 20;

/// What an allocator is made of and what is done with it.
pub(crate) struct Scenario {
    /// Pageblocks of each node.
    pub(crate) nodes: &'static [usize],
    /// More options.
    pub(crate) options: fn(Builder) -> Builder,
    /// What threads do, each as often as its weight among all.
    pub(crate) mix: &'static [(u32, Call)],
    /// How many calls each thread makes.
    pub(crate) calls: usize,
    /// Whether the allocator is dropped while threads use it.
    pub(crate) end: End,
    /// Whether there is always memory for those who ask.
    pub(crate) room: Room,
}

/// When the allocator is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// When all threads have ended.
    Last,
    /// Before.
    Early,
}

/// How much memory there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// More than the threads can ask for.
    Ample,
    /// Not always enough.
    Scarce,
}

/// What all threads of a schedule share.
pub(crate) struct Common {
    pub(crate) scenario: &'static Scenario,
    pub(crate) stamps: Arc<Stamps>,
    /// What is known to all.
    pub(crate) parts: Parts,
    /// What one thread left for another. Never locked over a scheduling point, and so out of the scheduler's sight.
    pub(crate) mailbox: Mutex<Vec<Held>>,
}

/// A machine on whose first node all threads run, whatever CPU that is: so that a schedule can be repeated.
fn topology() -> Topology {
    static TOPOLOGY: OnceLock<Topology> = OnceLock::new();
    TOPOLOGY.get_or_init(|| Topology::synthetic("numa:2 core:128 pu:1").expect("a description")).clone()
}

/// Builds the allocator, and returns what lives as long as its inside does.
fn build(scenario: &Scenario) -> (Allocator, Weak<()>) {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    let parts: Vec<_> =
        (0..).map(NodeId).zip(scenario.nodes.iter().map(|blocks| blocks * PAGEBLOCK_BYTES)).collect();
    let builder = Allocator::builder(scenario.nodes.iter().sum::<usize>() * PAGEBLOCK_BYTES)
        .topology(topology())
        .nodes(Spread::Nodes(parts))
        .dma(0)
        .cpus(2)
        .maintain(Maintain::ByHand)
        .on_misuse(Box::new(move |misuse| {
            let _alive = &alive;
            panic!("misuse: {misuse}")
        }))
        .on_finding(Box::new(|finding| panic!("finding: {finding}")));
    let allocator = (scenario.options)(builder).build().expect("a small arena");
    (allocator, weak)
}

/// Runs one schedule.
pub(crate) fn run(scenario: &'static Scenario) {
    let (allocator, alive) = build(scenario);
    let fresh = allocator.buddyinfo();
    let stamps = Stamps::new(allocator.arena().frames());
    let common = Arc::new(Common { scenario, stamps, parts: Parts::default(), mailbox: Mutex::default() });
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (allocator, common) = (allocator.clone(), Arc::clone(&common));
            thread::spawn(move || Worker::new(allocator, common).run())
        })
        .collect();
    let kept = (scenario.end == End::Last).then(|| allocator.clone());
    drop(allocator);
    for worker in workers {
        worker.join().expect("no panic");
    }
    let left = std::mem::take(&mut *common.mailbox.lock().expect("no panic"));
    assert!(left.is_empty() || alive.strong_count() > 0, "the allocator went before its last block");
    drop(left);
    if let Some(allocator) = kept {
        while common.parts.free_any(&allocator, |_| 0) {}
        settle(&allocator, scenario);
        assert_eq!(allocator.buddyinfo(), fresh, "free memory is as it was");
    }
    assert_eq!(common.stamps.held(), 0, "the threads have given all back");
    assert_eq!(alive.strong_count(), 0, "the allocator went with its last block");
}

/// Ends what the threads left in force, and checks that the arena is whole and free.
fn settle(allocator: &Allocator, scenario: &Scenario) {
    let frames = allocator.arena().frames();
    let all = gfp::Pfn::new(0)..gfp::Pfn::new(u32::try_from(frames).expect("a small arena"));
    for range in allocator.offline_ranges() {
        allocator.online_pages(range).expect("it is offline");
    }
    allocator.undo_isolate(all).expect("whole pageblocks");
    allocator.set_mems_allowed(NodeMask::ALL);
    (0..scenario.nodes.len()).for_each(|node| allocator.set_reclaiming(Nid::new(node), false));
    assert_eq!(allocator.drain_all().skipped, 0, "nobody is inside a cache");
    let conservation = allocator.conservation();
    assert!(conservation.holds(), "{conservation}");
    assert_eq!((conservation.allocated(), conservation.cached()), (0, 0), "{conservation}");
    assert_eq!(conservation.free(), frames, "{conservation}");
    assert_eq!(allocator.bad_pages(), 0);
    assert_eq!(allocator.debug_counts(), DebugCounts::default());
    assert!(allocator.page_owner().is_none_or(|report| report.blocks().is_empty()), "all blocks are back");
}
