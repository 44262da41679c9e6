//! Requests for pages that will be written to, on nodes some of which have too many that must be flushed.

use gfp::{
    AllocError, Allocator, Builder, Gfp, Maintain, Nid, Order, Pages, Spread,
    node::{NodeStatError, NodeStatItem},
    platform::{Binding, NodeId, Topology},
    stats::ZoneStat,
    zone::sizing::total_reserve,
};
use proptest::prelude::*;

const NODE_BYTES: usize = 32 << 20;
const NODE_FRAMES: u64 = NODE_BYTES as u64 / 4096;

/// Nodes at one distance from each other, each with memory and CPUs.
fn builder(nodes: usize) -> Builder {
    let topology = Topology::synthetic(&format!("numa:{nodes} core:2 pu:1")).expect("a machine");
    let parts = (0..).take(nodes).map(|node| (NodeId(node), NODE_BYTES)).collect();
    Allocator::builder(nodes * NODE_BYTES)
        .topology(topology)
        .nodes(Spread::Nodes(parts))
        .bind(Binding::Preferred)
        .dma(0)
        .maintain(Maintain::ByHand)
}

fn nodes(nodes: usize) -> Allocator {
    builder(nodes).build().expect("address space")
}

const WRITE: Gfp = Gfp::HIGHUSER_MOVABLE.union(Gfp::WRITE);

fn on(allocator: &Allocator, node: usize, gfp: Gfp) -> Result<Pages, AllocError> {
    allocator.alloc_pages_node(Some(Nid::new(node)), gfp, Order::ZERO)
}

fn node_of(allocator: &Allocator, request: Result<Pages, AllocError>) -> usize {
    allocator.node_of(&request.expect("much is free")).index()
}

/// Returns the frames of a node that could be dirty, from what its zones say.
fn dirtyable(zones: &[ZoneStat], node: usize) -> u64 {
    let here: Vec<_> = zones.iter().filter(|zone| zone.node as usize == node).collect();
    let free: u64 = here.iter().map(|zone| zone.free).sum();
    let reserve: u64 =
        here.iter().map(|zone| total_reserve(zone.managed, &zone.protection, &zone.marks)).sum();
    free.saturating_sub(reserve)
}

fn change(allocator: &Allocator, node: usize, item: NodeStatItem, delta: i64) {
    allocator.mod_node_page_state(Nid::new(node), item, delta).expect("it is in range");
}

#[test]
fn a_node_over_its_limit_is_passed_over_by_requests_that_write() {
    for count in [2, 4] {
        let allocator = nodes(count);
        let limit = dirtyable(&allocator.zone_stats(), 1) / 5;
        // Dirty pages and those that are being flushed count together; one more than the limit is too much.
        change(&allocator, 1, NodeStatItem::FileDirty, limit.cast_signed() - 10);
        change(&allocator, 1, NodeStatItem::Writeback, 10);
        assert_eq!(node_of(&allocator, on(&allocator, 1, WRITE)), 1, "it is at its limit");
        allocator.drain_all();
        change(&allocator, 1, NodeStatItem::Writeback, 1);
        assert_ne!(node_of(&allocator, on(&allocator, 1, WRITE)), 1);
        assert_eq!(node_of(&allocator, on(&allocator, 1, Gfp::HIGHUSER_MOVABLE)), 1, "it does not write");
        assert_eq!(node_of(&allocator, on(&allocator, 0, WRITE)), 0, "another node's limit");
        // Nor from the cache, where a frame of that node waits now.
        assert_ne!(node_of(&allocator, on(&allocator, 1, WRITE)), 1);
        change(&allocator, 1, NodeStatItem::FileDirty, -1);
        allocator.drain_all();
        assert_eq!(node_of(&allocator, on(&allocator, 1, WRITE)), 1, "it is at its limit again");
    }
}

#[test]
fn what_waits_in_a_cache_is_not_for_requests_that_write_either() {
    let allocator = nodes(2);
    let handle = allocator.handle().expect("a thread may have one");
    // Frames of the thread's node are freed, to be taken again at once.
    let pages = allocator.alloc_page(Gfp::HIGHUSER_MOVABLE).expect("much is free");
    let local = allocator.node_of(&pages).index();
    drop(pages);
    change(&allocator, local, NodeStatItem::FileDirty, NODE_FRAMES.cast_signed());
    for _ in 0..100 {
        assert_ne!(node_of(&allocator, allocator.alloc_page(WRITE)), local);
        assert_ne!(node_of(&allocator, handle.alloc_page(WRITE)), local);
    }
}

#[test]
fn requests_that_write_are_spread_as_nodes_fill_up() {
    let allocator = nodes(4);
    let (mut held, mut counts) = (Vec::new(), [0_u64; 4]);
    // As much as nodes may have together, each frame dirty from then on.
    let most: u64 = (0..4).map(|node| dirtyable(&allocator.zone_stats(), node)).sum();
    while counts.iter().sum::<u64>() < most / 10 {
        let pages = on(&allocator, 2, WRITE).expect("much is free");
        let node = allocator.node_of(&pages);
        counts[node.index()] += 1;
        change(&allocator, node.index(), NodeStatItem::FileDirty, 1);
        held.push(pages);
    }
    // All of one node before the next; none has more than a fifth of what it could have.
    let full = counts.iter().filter(|&&count| count > NODE_FRAMES / 10).count();
    assert!((2..=3).contains(&full) && counts[2] > NODE_FRAMES / 10, "{counts:?}");
    assert!(counts.iter().all(|&count| count <= NODE_FRAMES / 5), "{counts:?}");
    assert_eq!(allocator.vmstat().nr_dirty, counts.iter().sum::<u64>());
}

#[test]
fn when_all_nodes_are_over_their_limits_a_request_is_served_all_the_same() {
    let allocator = builder(2).vm_dirty_ratio(0).build().expect("address space");
    for node in 0..2 {
        change(&allocator, node, NodeStatItem::FileDirty, 1);
    }
    assert_eq!(node_of(&allocator, on(&allocator, 1, WRITE)), 1, "by the node that was asked");
    assert_eq!(node_of(&allocator, on(&allocator, 0, Gfp::ATOMIC | Gfp::WRITE)), 0);
}

#[test]
fn a_wrong_delta_is_refused_and_changes_nothing() {
    let allocator = nodes(2);
    let item = NodeStatItem::ActiveFile;
    change(&allocator, 1, item, NODE_FRAMES.cast_signed());
    let node = Nid::new(1);
    for delta in [1, i64::MAX, i64::MIN, -NODE_FRAMES.cast_signed() - 1] {
        let refused = allocator.mod_node_page_state(node, item, delta);
        assert_eq!(refused, Err(NodeStatError::OutOfRange { node, item, count: NODE_FRAMES, delta }));
    }
    let missing = Nid::new(2);
    assert_eq!(allocator.mod_node_page_state(missing, item, 1), Err(NodeStatError::NoNode { node: missing }));
    assert_eq!(allocator.node_dirty_ok(missing), Err(NodeStatError::NoNode { node: missing }));
    assert_eq!((allocator.vmstat().nr_active_file, allocator.vmstat().nr_inactive_file), (NODE_FRAMES, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// The limit is the stated share of what is free above the reserves and of the pages of files, to the frame; of bytes, the
    /// node's part.
    #[test]
    fn the_limit_is_as_the_formula_says(
        percent in 0u8..=100, bytes in prop::option::of(0u64..(64 << 20)),
        taken in 0usize..3000, files in (0u64..4000, 0u64..4000), elsewhere in 0u64..4000,
    ) {
        let builder = builder(2);
        let builder = match bytes {
            None => builder.vm_dirty_ratio(percent),
            Some(bytes) => builder.vm_dirty_bytes(bytes),
        };
        let allocator = builder.build().expect("address space");
        let held: Vec<_> = (0..taken).map(|_| on(&allocator, 0, Gfp::KERNEL).expect("much is free")).collect();
        allocator.drain_all();
        change(&allocator, 0, NodeStatItem::ActiveFile, files.0.cast_signed());
        change(&allocator, 0, NodeStatItem::InactiveFile, files.1.cast_signed());
        change(&allocator, 1, NodeStatItem::InactiveFile, elsewhere.cast_signed());
        let zones = allocator.zone_stats();
        let could = [dirtyable(&zones, 0) + files.0 + files.1, dirtyable(&zones, 1) + elsewhere];
        let (limit, all) = match bytes {
            None => (could[0] * u64::from(percent) / 100, (could[0] + could[1]) * u64::from(percent) / 100),
            Some(bytes) => (bytes.div_ceil(4096) * could[0] / (could[0] + could[1]), bytes.div_ceil(4096)),
        };
        prop_assert_eq!(allocator.vmstat().nr_dirty_threshold, all);
        let limit = limit.min(NODE_FRAMES);
        change(&allocator, 0, NodeStatItem::Writeback, limit.cast_signed());
        prop_assert_eq!(allocator.node_dirty_ok(Nid::new(0)), Ok(true));
        if limit < NODE_FRAMES {
            change(&allocator, 0, NodeStatItem::Writeback, 1);
            prop_assert_eq!(allocator.node_dirty_ok(Nid::new(0)), Ok(false));
        }
        drop(held);
    }
}
