//! Nodes of a real kernel: where frames lie is asked of the system (`move_pages(2)`).
//!
//! Needs a machine with several NUMA nodes, and pools of huge pages; without them most is left out. `make test-numa` runs it in
//! virtual ones.

use gfp::{
    Allocator, Gfp, Maintain, MemPolicy, Nid, NodeMask, Order, Pages, Spread,
    gfp::ZoneType,
    node::Reach,
    platform::{
        Arena, ArenaOptions, ArenaSource, Backing, Binding, Downgrade, HugePagePool, NodeId, Prefault,
        Topology, arena::NodeSpan, hugetlb::HugePageSize, pin,
    },
};

/// What each node gives to the arena.
const NODE_BYTES: usize = 64 << 20;

fn topology() -> Topology {
    Topology::load().expect("the system says what it is")
}

/// Returns an allocator over all nodes, or `None` on a machine with one.
fn all_nodes(binding: Binding) -> Option<Allocator> {
    let nodes = topology().nodes().len();
    if nodes < 2 {
        eprintln!("skipped: this machine has one node; make test-numa has more");
        return None;
    }
    let allocator = Allocator::builder(nodes * NODE_BYTES)
        .nodes(Spread::AllNodes)
        .bind(binding)
        .dma(0)
        .min_free_kbytes(0)
        .watermark_scale_factor(1)
        .maintain(Maintain::ByHand)
        .build()
        .expect("64 MiB of each node");
    assert_eq!(allocator.nodes().len(), nodes);
    Some(allocator)
}

fn nodes_of(allocator: &Allocator) -> Vec<Nid> {
    allocator.nodes().iter().map(|node| node.node).collect()
}

/// Touches blocks, and checks that the system has put each where the allocator says that it is.
fn check_where(allocator: &Allocator, blocks: &mut [Pages]) {
    for pages in &mut *blocks {
        pages.bytes_mut()[0].write(1);
    }
    let offsets: Vec<_> = blocks.iter().map(Pages::offset).collect();
    let found = allocator.arena().locate(&offsets).expect("the system says where pages lie");
    for (pages, found) in blocks.iter().zip(found) {
        let node = allocator.node_of(pages);
        let report = allocator.nodes().iter().find(|report| report.node == node).expect("one of its nodes");
        assert_eq!(found, Some(report.os_index), "{pages:?} of node {node}");
    }
}

fn spread(allocator: &Allocator, blocks: &[Pages], node: Nid) -> usize {
    blocks.iter().filter(|pages| allocator.node_of(pages) == node).count()
}

#[test]
fn a_thousand_frames_of_each_node_lie_there() {
    for binding in [Binding::Preferred, Binding::Strict] {
        let Some(allocator) = all_nodes(binding) else { return };
        for node in nodes_of(&allocator) {
            let one = |_| allocator.alloc_pages_node(Some(node), Gfp::KERNEL, Order::ZERO).expect("memory");
            let mut blocks: Vec<_> = (0..1000).map(one).collect();
            assert_eq!(spread(&allocator, &blocks, node), 1000);
            check_where(&allocator, &mut blocks);
        }
    }
}

#[test]
fn an_empty_node_turns_to_the_nearest_frame_by_frame() {
    let topology = topology();
    let Some(allocator) = all_nodes(Binding::Preferred) else { return };
    for node in nodes_of(&allocator) {
        let list = allocator.zonelists().node_zonelist(node, Reach::AllNodes);
        let order: Vec<_> = list.zones(ZoneType::Normal, NodeMask::ALL).map(|zone| zone.node).collect();
        let distance = |to: Nid| {
            let id = |node: Nid| NodeId(u32::from(u16::from(node)));
            topology.distance(id(node), id(to))
        };
        assert!(order.windows(2).all(|pair| distance(pair[0]) <= distance(pair[1])), "{order:?}");
        // An order that no cache holds, and nothing in caches: a drain would give a node something back.
        allocator.drain_all();
        let mut zones: Vec<_> =
            allocator.zone_stats().iter().map(|zone| (zone.node, zone.free, zone.marks)).collect();
        // Each zone has nothing but whole blocks: first down to its low mark, and when all are there to the minimum.
        let mut predict = || {
            let willing = |mark: fn(&gfp::zone::watermark::Watermarks) -> u64| {
                let fits = |node: &&Nid| {
                    let zone = zones.iter().find(|zone| zone.0 == u32::from(u16::from(**node)));
                    zone.is_some_and(|(_, free, marks)| *free > mark(marks) + 1023)
                };
                order.iter().find(fits).copied()
            };
            let node = willing(|marks| marks.low).or_else(|| willing(|marks| marks.min))?;
            let zone = zones.iter_mut().find(|zone| zone.0 == u32::from(u16::from(node)))?;
            zone.1 -= 1024;
            Some(node)
        };
        let mut blocks = Vec::new();
        while let Ok(pages) = allocator.alloc_pages_node(Some(node), Gfp::KERNEL, Order::new(10)) {
            assert_eq!(Some(allocator.node_of(&pages)), predict(), "block {}", blocks.len());
            blocks.push(pages);
        }
        assert_eq!(predict(), None);
        check_where(&allocator, &mut blocks);
        let only = Gfp::KERNEL | Gfp::THISNODE;
        drop(blocks.split_off(blocks.len() - 1));
        while let Ok(pages) = allocator.alloc_pages_node(Some(node), only, Order::ZERO) {
            assert_eq!(allocator.node_of(&pages), node, "THISNODE never falls back");
            blocks.push(pages);
        }
    }
}

#[test]
fn policies_hold_where_the_system_looks() {
    let Some(allocator) = all_nodes(Binding::Preferred) else { return };
    let nodes = nodes_of(&allocator);
    let count = nodes.len() * 300;
    let many = || -> Vec<Pages> {
        (0..count).map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("memory")).collect()
    };
    let turns = allocator.mempolicy(MemPolicy::Interleave(nodes.iter().copied().collect())).expect("nodes");
    let mut blocks = many();
    assert!(nodes.iter().all(|&node| spread(&allocator, &blocks, node) == 300));
    check_where(&allocator, &mut blocks);
    drop((turns, blocks));
    let last = *nodes.last().expect("several");
    let bound = allocator.mempolicy(MemPolicy::Bind(NodeMask::of(last))).expect("a node");
    let mut blocks = many();
    assert_eq!(spread(&allocator, &blocks, last), count);
    check_where(&allocator, &mut blocks);
    drop(bound);
    let mut weights = [0; 64];
    for (weight, node) in (1..).zip(&nodes) {
        weights[node.index()] = weight;
    }
    let sum: u32 = weights.iter().copied().map(u32::from).sum();
    let weighted = allocator.mempolicy(MemPolicy::WeightedInterleave(weights)).expect("nodes");
    let rounds = 100 * sum as usize;
    let mut blocks: Vec<_> =
        (0..rounds).map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("memory")).collect();
    assert!(
        nodes
            .iter()
            .all(|&node| { spread(&allocator, &blocks, node) == 100 * usize::from(weights[node.index()]) })
    );
    check_where(&allocator, &mut blocks);
    drop(weighted);
}

#[test]
fn a_thread_that_moves_allocates_where_it_is() {
    let topology = topology();
    let Some(allocator) = all_nodes(Binding::Preferred) else { return };
    let homes: Vec<_> = topology.cpus().iter().filter_map(|cpu| Some((cpu.os_index, cpu.node?))).collect();
    for (cpu, home) in homes {
        pin::pin_current(cpu).expect("an allowed CPU");
        let home = Nid::new(home.0 as usize);
        assert_eq!(allocator.numa_mem_id(), home);
        // The first may come from where the thread was: until its list is empty.
        let mut blocks: Vec<_> =
            (0..4096).map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("memory")).collect();
        let there = blocks.iter().position(|pages| allocator.node_of(pages) == home);
        let moved = there.expect("it allocates at home after a refill");
        let mut at_home = blocks.split_off(moved);
        assert_eq!(spread(&allocator, &at_home, home), at_home.len(), "and only there");
        check_where(&allocator, &mut at_home);
    }
}

const HUGE: usize = 2 << 20;

/// Returns how many pages of 2 MiB a node has free.
fn free_huge_pages(os_node: u32) -> usize {
    let pools = HugePagePool::all().expect("the system says what it has");
    let pool = pools.iter().find(|pool| (pool.size, pool.os_node) == (HugePageSize::Mib2, Some(os_node)));
    usize::try_from(pool.map_or(0, |pool| pool.free)).expect("few")
}

/// An allocator in pages of 2 MiB, tied strictly to its nodes, that says where they lie.
fn in_huge_pages(parts: &[(NodeId, usize)], downgrade: Downgrade) -> gfp::Builder {
    Allocator::builder(parts.iter().map(|(_, bytes)| bytes).sum())
        .nodes(Spread::Nodes(parts.to_vec()))
        .backing(Backing::Huge2M)
        .downgrade(downgrade)
        .bind(Binding::Strict)
        .verify_binding(true)
        .dma(0)
        .maintain(Maintain::ByHand)
}

#[test]
fn huge_pages_come_from_the_pools_of_their_nodes() {
    const PAGES: usize = 16;
    let topology = topology();
    let os_nodes: Vec<_> = topology.nodes().iter().map(|node| node.os_index).collect();
    let free = || os_nodes.iter().map(|&node| free_huge_pages(node)).collect::<Vec<_>>();
    let before = free();
    let parts: Vec<_> = (0..).map(NodeId).zip(&os_nodes).map(|(id, _)| (id, PAGES * HUGE)).collect();
    for source in [ArenaSource::Anonymous, ArenaSource::Memfd] {
        let built = in_huge_pages(&parts, Downgrade::Forbidden).source(source).build();
        if before.iter().any(|&free| free < PAGES) {
            let error = built.map(|_| ()).expect_err("a pool is too small").to_string();
            assert!(error.contains("hugetlb pages of 2 MiB"), "{error}");
            let lesser =
                in_huge_pages(&parts, Downgrade::Allowed).source(source).build().expect("lesser pages");
            assert!(lesser.arena().obtained().backing_downgrade.is_some());
        } else {
            let allocator = built.expect("each pool has enough");
            assert_eq!(free(), before.iter().map(|free| free - PAGES).collect::<Vec<_>>());
            for report in allocator.nodes() {
                let placed = report.placement.expect("it was asked for");
                assert_eq!(
                    (placed.here, placed.elsewhere, placed.unknown),
                    (PAGES as u64, 0, 0),
                    "{report:?}"
                );
                let node = Some(report.node);
                let one = |_| allocator.alloc_pages_node(node, Gfp::KERNEL | Gfp::THISNODE, Order::ZERO);
                let mut blocks: Vec<_> = (0..1000).map(|n| one(n).expect("memory")).collect();
                check_where(&allocator, &mut blocks);
            }
        }
        assert_eq!(free(), before, "all come back");
    }
}

#[test]
fn a_pool_that_is_too_small_is_named_and_keeps_its_pages() {
    let topology = topology();
    let nodes = topology.nodes();
    let free = || nodes.iter().map(|node| free_huge_pages(node.os_index)).collect::<Vec<_>>();
    let before = free();
    if nodes.len() < 2 || before.contains(&0) {
        return eprintln!("skipped: this machine has no huge pages on several nodes; make test-numa has");
    }
    // The machine has so many, the node has one less.
    let last = NodeId(u32::try_from(nodes.len() - 1).expect("few"));
    let parts = [(last, (before[before.len() - 1] + 1) * HUGE)];
    let error =
        in_huge_pages(&parts, Downgrade::Forbidden).build().expect_err("the node has too few").to_string();
    let (asked, file) =
        (before[before.len() - 1] + 1, format!("node/node{}/", nodes[nodes.len() - 1].os_index));
    for part in [format!("{asked} hugetlb pages"), format!("{} are free", asked - 1), file] {
        assert!(error.contains(&part), "{part:?} missing in {error:?}");
    }
    assert_eq!(free(), before);
    let preferred = in_huge_pages(&parts, Downgrade::Forbidden).bind(Binding::Preferred).build();
    let allocator = preferred.expect("the other nodes have a page");
    let placed = allocator.nodes()[0].placement.expect("it was asked for");
    assert_eq!((placed.here, placed.elsewhere), (asked as u64 - 1, 1));
    drop(allocator);
    assert_eq!(free(), before);
}

#[test]
fn memory_that_lies_elsewhere_is_an_error_where_it_is_bound_strictly() {
    let topology = topology();
    let [first, second, ..] = topology.nodes() else {
        return eprintln!("skipped: this machine has one node; make test-numa has more");
    };
    let bytes = 8 << 20;
    let options = ArenaOptions { prefault: Prefault::All, ..ArenaOptions::new(bytes) };
    let span = NodeSpan { bytes, os_node: first.os_index, binding: Binding::Strict };
    let (lender, _) = Arena::on_nodes(&options, &[span]).expect("8 MiB of the first node");
    let lent = |node| {
        let builder = Allocator::builder(bytes).nodes(Spread::Nodes(vec![(NodeId(node), bytes)]));
        // SAFETY: the lender outlives the allocators, which are gone before the next one is built.
        let builder = unsafe { builder.from_raw(lender.base()) };
        builder.bind(Binding::Strict).verify_binding(true).build().map(|_| ())
    };
    assert!(lent(0).is_ok());
    let error = lent(1).expect_err("it lies on the first node").to_string();
    let text = format!("2048 of 2048 pages that are tied to node {}", second.os_index);
    assert!(error.contains(&text), "{error}");
}
