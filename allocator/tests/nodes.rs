//! Nodes, policies and allowed nodes, on a topology that this machine need not have.

use gfp::{
    AllocError, Allocator, Gfp, Maintain, MemPolicy, Nid, NodeMask, Order, Pages, Spread,
    error::FailReason,
    platform::{Binding, NodeId, Topology},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        thread,
    },
};

const NODES: usize = 4;
const NODE_BYTES: usize = 32 << 20;

/// Four nodes, each with a CPU or more, at one distance from each other; nothing is held back.
fn four_nodes() -> Allocator {
    let topology = Topology::synthetic("numa:4 core:2 pu:1").expect("a description of a machine");
    let parts = (0..).take(NODES).map(|node| (NodeId(node), NODE_BYTES)).collect();
    Allocator::builder(NODES * NODE_BYTES)
        .topology(topology)
        .nodes(Spread::Nodes(parts))
        .bind(Binding::Preferred)
        .dma(0)
        .min_free_kbytes(0)
        .watermark_scale_factor(1)
        .maintain(Maintain::ByHand)
        .build()
        .expect("128 MiB")
}

fn mask(nodes: &[usize]) -> NodeMask {
    nodes.iter().map(|&node| Nid::new(node)).collect()
}

fn on(allocator: &Allocator, node: usize, gfp: Gfp, order: u8) -> Result<Pages, AllocError> {
    allocator.alloc_pages_node(Some(Nid::new(node)), gfp, Order::new(order))
}

/// Returns how many blocks lie on each node.
fn spread(allocator: &Allocator, blocks: &[Pages]) -> [usize; NODES] {
    let mut counts = [0; NODES];
    for pages in blocks {
        counts[allocator.node_of(pages).index()] += 1;
    }
    counts
}

fn many(allocator: &Allocator, count: usize, order: u8) -> Vec<Pages> {
    let one = |_| allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect("there is memory");
    (0..count).map(one).collect()
}

/// Takes blocks of a node's request until it fails, and returns the nodes that they came from in the order of the first
/// of each.
fn exhaust(allocator: &Allocator, node: usize, gfp: Gfp, kept: &mut Vec<Pages>) -> Vec<usize> {
    let mut visited = Vec::new();
    while let Ok(pages) = on(allocator, node, gfp, 10) {
        let from = allocator.node_of(&pages).index();
        if visited.last() != Some(&from) {
            visited.push(from);
        }
        kept.push(pages);
    }
    visited
}

#[test]
fn a_request_for_a_node_is_served_there_by_caches_and_zones() {
    let allocator = four_nodes();
    for node in 0..NODES {
        for order in [0, 1, 3, 5, 9] {
            let blocks: Vec<_> =
                (0..10).map(|_| on(&allocator, node, Gfp::KERNEL, order).expect("there is memory")).collect();
            assert_eq!(spread(&allocator, &blocks)[node], 10, "node {node}, order {order}");
        }
    }
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

#[test]
fn a_node_that_has_nothing_left_turns_to_the_others_in_its_zonelist_order() {
    for node in 0..NODES {
        let allocator = four_nodes();
        let list = allocator.zonelists().node_zonelist(Nid::new(node), gfp::node::Reach::AllNodes);
        let expected: Vec<_> =
            list.zones(gfp::gfp::ZoneType::Normal, NodeMask::ALL).map(|zone| zone.node.index()).collect();
        let mut kept = Vec::new();
        assert_eq!(exhaust(&allocator, node, Gfp::KERNEL, &mut kept), expected);
        assert_eq!(expected[0], node);
    }
}

#[test]
fn thisnode_never_falls_back_and_the_error_names_the_node() {
    let allocator = four_nodes();
    let mut kept = Vec::new();
    let only = Gfp::KERNEL | Gfp::THISNODE;
    assert_eq!(exhaust(&allocator, 2, only, &mut kept), [2]);
    let error = on(&allocator, 2, only, 10).expect_err("the node is full");
    assert!(error.tried().all(|zone| zone.node == 2) && error.tried().count() > 0, "{error}");
    let near = on(&allocator, 2, Gfp::KERNEL, 10).expect("others have memory");
    assert_ne!(allocator.node_of(&near).index(), 2);
}

#[test]
fn a_node_that_is_being_reclaimed_comes_last() {
    let allocator = four_nodes();
    let warm = allocator.alloc_page(Gfp::KERNEL).expect("there is memory");
    let home = allocator.node_of(&warm);
    drop(warm);
    allocator.set_reclaiming(home, true);
    // Though its cache has frames.
    let elsewhere = many(&allocator, 100, 0);
    assert_eq!(spread(&allocator, &elsewhere)[home.index()], 0);
    let only = on(&allocator, home.index(), Gfp::KERNEL | Gfp::THISNODE, 0).expect("avoided, not refused");
    assert_eq!(allocator.node_of(&only), home);
    let mut kept = Vec::new();
    let visited = exhaust(&allocator, home.index(), Gfp::KERNEL, &mut kept);
    assert_eq!(visited.last(), Some(&home.index()), "{visited:?}");
    drop((only, kept, elsewhere));
    allocator.set_reclaiming(home, false);
    let again = many(&allocator, 100, 0);
    assert_eq!(spread(&allocator, &again)[home.index()], 100);
}

#[test]
fn a_node_without_memory_has_nothing_of_its_own() {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a description of a machine");
    // This machine's CPUs are of node 0, which has no part of the arena.
    let parts = vec![(NodeId(1), NODE_BYTES)];
    let builder = Allocator::builder(NODE_BYTES).topology(topology).nodes(Spread::Nodes(parts)).dma(0);
    let allocator = builder.maintain(Maintain::ByHand).build().expect("32 MiB");
    let handle = allocator.handle().expect("memory for a cache");
    let pages = handle.alloc_page(Gfp::KERNEL).expect("the other node has memory");
    assert_eq!(allocator.node_of(&pages).index(), 1);
    if allocator.numa_mem_id().index() == 0 {
        drop(pages);
        let gfp = Gfp::KERNEL | Gfp::THISNODE;
        handle.alloc_page(gfp).expect_err("not from another node, cached or not");
        assert_eq!(handle.alloc_pages_bulk(gfp, &mut [const { None }; 2]), 0, "nor several in one go");
    }
    drop(on(&allocator, 1, Gfp::KERNEL | Gfp::THISNODE, 0).expect("it has memory"));
}

#[test]
fn a_node_that_does_not_exist_is_refused() {
    let allocator = four_nodes();
    let error = on(&allocator, 63, Gfp::KERNEL, 0).expect_err("there are four");
    assert_eq!(error.reason(), FailReason::NoNode);
}

#[test]
fn a_node_mask_is_never_left() {
    let allocator = four_nodes();
    let allowed = mask(&[1, 3]);
    let mut kept = Vec::new();
    while let Ok(pages) =
        allocator.alloc_pages_nodemask(Some(Nid::new(0)), allowed, Gfp::KERNEL, Order::new(9))
    {
        kept.push(pages);
    }
    let counts = spread(&allocator, &kept);
    assert!(counts[0] == 0 && counts[2] == 0 && counts[1] > 10 && counts[3] > 10, "{counts:?}");
}

#[test]
fn interleaved_requests_go_round_and_weighted_ones_by_weight() {
    let allocator = four_nodes();
    let interleaved =
        allocator.mempolicy(MemPolicy::Interleave(mask(&[0, 1, 3]))).expect("nodes with memory");
    assert_eq!(spread(&allocator, &many(&allocator, 3000, 0)), [1000, 1000, 0, 1000]);
    drop(interleaved);
    let mut weights = [0; 64];
    (weights[0], weights[2], weights[3]) = (5, 3, 2);
    let weighted = allocator.mempolicy(MemPolicy::WeightedInterleave(weights)).expect("nodes with memory");
    assert_eq!(spread(&allocator, &many(&allocator, 3000, 0)), [1500, 0, 900, 600]);
    drop(weighted);
    let local = allocator.numa_mem_id().index();
    assert_eq!(spread(&allocator, &many(&allocator, 100, 0))[local], 100, "the policy has ended");
}

#[test]
fn a_bound_thread_never_leaves_its_nodes_and_others_are_not_bound() {
    let allocator = four_nodes();
    let _bound = allocator.mempolicy(MemPolicy::Bind(mask(&[2, 3]))).expect("nodes with memory");
    let mut kept = Vec::new();
    while let Ok(pages) = allocator.alloc_pages(Gfp::KERNEL, Order::new(4)) {
        kept.push(pages);
    }
    let counts = spread(&allocator, &kept);
    assert!(counts[0] == 0 && counts[1] == 0 && counts[2] > 100 && counts[3] > 100, "{counts:?}");
    let elsewhere = allocator.clone();
    let node = thread::spawn(move || {
        let pages = elsewhere.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("two nodes are empty");
        elsewhere.node_of(&pages).index()
    });
    assert!(node.join().expect("no panic") < 2);
}

#[test]
fn a_bound_thread_stays_on_its_nodes_while_others_drain_its_cache() {
    let allocator = four_nodes();
    let _bound = allocator.mempolicy(MemPolicy::Bind(mask(&[2]))).expect("a node with memory");
    let done = Arc::new(AtomicBool::new(false));
    let drainer = {
        let (allocator, done) = (allocator.clone(), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                allocator.drain_all();
            }
        })
    };
    let left = (0..30_000).find(|_| {
        let page = allocator.alloc_page(Gfp::KERNEL).expect("there is memory");
        allocator.node_of(&page) != Nid::new(2)
    });
    done.store(true, Ordering::Relaxed);
    drainer.join().expect("no panic");
    assert_eq!(left, None, "a request was served by another node");
}

#[test]
fn policies_nest_and_preferred_ones_fall_back() {
    let allocator = four_nodes();
    let outer = allocator.mempolicy(MemPolicy::Preferred(Nid::new(3))).expect("a node with memory");
    assert_eq!(spread(&allocator, &many(&allocator, 50, 0))[3], 50);
    let inner = allocator.mempolicy(MemPolicy::PreferredMany(mask(&[1, 2]))).expect("nodes with memory");
    // Larger than the two nodes: what they cannot hold comes from the others.
    let kept = many(&allocator, 3 * NODE_BYTES / (2 << 20), 9);
    let counts = spread(&allocator, &kept);
    let whole = NODE_BYTES / (2 << 20);
    assert!(counts[1] >= whole - 1 && counts[2] >= whole - 1 && counts[0] + counts[3] > 0, "{counts:?}");
    drop((kept, inner));
    assert_eq!(spread(&allocator, &many(&allocator, 50, 0))[3], 50);
    drop(outer);
    assert!(allocator.mempolicy(MemPolicy::Bind(NodeMask::EMPTY)).is_err());
}

#[test]
fn allowed_nodes_bind_all_but_urgent_requests() {
    let allocator = four_nodes();
    let handle = allocator.handle().expect("memory for a cache");
    drop(many(&allocator, 100, 0));
    let local = allocator.numa_mem_id().index();
    let other = (local + 1) % NODES;
    allocator.set_mems_allowed(mask(&[other]));
    assert_eq!(allocator.mems_allowed(), mask(&[other]));
    let blocks: Vec<_> =
        (0..200).map(|_| handle.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("there is memory")).collect();
    assert_eq!(spread(&allocator, &blocks)[other], 200, "the cache of another node is not served from");
    let mut kept = Vec::new();
    exhaust(&allocator, local, Gfp::KERNEL, &mut kept);
    kept.extend(std::iter::from_fn(|| on(&allocator, local, Gfp::KERNEL, 3).ok()));
    assert_eq!(spread(&allocator, &kept)[other], kept.len());
    on(&allocator, local, Gfp::KERNEL, 3).expect_err("the allowed node is full");
    let urgent = on(&allocator, local, Gfp::ATOMIC, 3).expect("an urgent request goes elsewhere");
    assert_eq!(allocator.node_of(&urgent).index(), local);
    allocator.set_mems_allowed(NodeMask::ALL);
    assert_eq!(spread(&allocator, &many(&allocator, 10, 0))[local], 10);
}

#[test]
fn what_was_served_elsewhere_is_counted() {
    let allocator = four_nodes();
    let mut kept = Vec::new();
    exhaust(&allocator, 1, Gfp::KERNEL | Gfp::THISNODE, &mut kept);
    let before = allocator.vmstat();
    let elsewhere = on(&allocator, 1, Gfp::KERNEL, 4).expect("others have memory");
    let after = allocator.vmstat();
    assert_ne!(allocator.node_of(&elsewhere).index(), 1);
    assert_eq!((after.numa.miss - before.numa.miss, after.numa.foreign - before.numa.foreign), (16, 16));
}

#[test]
fn all_nodes_of_a_machine_share_an_arena() {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a machine");
    let allocator =
        Allocator::builder(66 << 20).topology(topology).nodes(Spread::AllNodes).build().expect("66 MiB");
    let bytes: Vec<_> = allocator.nodes().iter().map(|node| node.bytes).collect();
    assert_eq!(bytes, [32 << 20, 34 << 20]);
    assert!(allocator.buddyinfo().to_string().contains("Node 1, zone"));
}

#[test]
fn parts_that_make_no_arena_are_refused() {
    let build = |parts: &[(u32, usize)]| {
        let topology = Topology::synthetic("numa:2 core:1 pu:1").expect("a machine");
        let parts = parts.iter().map(|&(node, bytes)| (NodeId(node), bytes)).collect();
        let builder = Allocator::builder(64 << 20).topology(topology).nodes(Spread::Nodes(parts));
        builder.build().map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(build(&[(0, 32 << 20)]).expect_err("too little").contains("add up"));
    assert!(build(&[(0, 32 << 20), (7, 32 << 20)]).expect_err("no such node").contains("no node 7"));
    assert!(build(&[(0, 32 << 20), (0, 32 << 20)]).expect_err("twice").contains("named once"));
    assert_eq!(build(&[(1, 32 << 20), (0, 32 << 20)]), Ok(()));
}
