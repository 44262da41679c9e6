//! What an allocator in use says, read by the reader that also reads the kernel's files.

use crate::{
    Allocator, Gfp, Maintain, MemPolicy, Nid, Order, Pages, Spread,
    gfp::{MigrateType, ZoneType},
    platform::Topology,
    stats::{ExtfragIndex, UnusableIndex, ZoneStat, proc_text},
};

const NODES: usize = 2;

/// Two nodes of a made-up machine; the first has the DMA zone and DMA32, the second DMA32 alone.
fn two_nodes() -> Allocator {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a description of a machine");
    Allocator::builder(128 << 20)
        .topology(topology)
        .nodes(Spread::AllNodes)
        .maintain(Maintain::ByHand)
        .build()
        .expect("128 MiB")
}

/// Takes blocks of every type and many orders from both nodes, and frees every other one.
fn use_it(allocator: &Allocator) -> Vec<Pages> {
    let masks = [Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::KERNEL | Gfp::RECLAIMABLE];
    let mut kept = Vec::new();
    for round in 0..240 {
        let node = Nid::new(round / 8 % NODES);
        let order = Order::new([0, 0, 0, 1, 2, 3, 5, 9][round % 8]);
        let pages = allocator.alloc_pages_node(Some(node), masks[round % 3], order);
        kept.push(pages.expect("much is free"));
    }
    let mut place = 0;
    kept.retain(|_| {
        place += 1;
        place % 2 == 0
    });
    kept
}

/// Returns the frames that blocks have on each node.
fn frames_on_nodes(allocator: &Allocator, blocks: &[Pages]) -> [u64; NODES] {
    let mut frames = [0; NODES];
    for pages in blocks {
        frames[allocator.node_of(pages).index()] += u64::from(pages.order().frames());
    }
    frames
}

#[test]
fn the_reader_finds_in_every_text_what_the_structures_say() {
    let allocator = two_nodes();
    let kept = use_it(&allocator);
    let zoneinfo = allocator.zoneinfo();
    assert_eq!(proc_text::parse_zoneinfo(&zoneinfo.to_string()), Some(zoneinfo));
    let buddyinfo = allocator.buddyinfo();
    assert_eq!(proc_text::parse_buddyinfo(&buddyinfo.to_string()), Some(buddyinfo));
    let pagetypeinfo = allocator.pagetypeinfo();
    assert_eq!(proc_text::parse_pagetypeinfo(&pagetypeinfo.to_string()), Some(pagetypeinfo));
    let unusable = allocator.unusable_index();
    assert_eq!(proc_text::parse_indices(&unusable.to_string()), Some(unusable.zones));
    let extfrag = allocator.extfrag_index();
    assert_eq!(proc_text::parse_indices(&extfrag.to_string()), Some(extfrag.zones));
    drop(kept);
}

#[test]
fn the_texts_agree_with_each_other_and_with_the_zones() {
    let allocator = two_nodes();
    let kept = use_it(&allocator);
    let zoneinfo = proc_text::parse_zoneinfo(&allocator.zoneinfo().to_string()).expect("readable");
    let buddyinfo = proc_text::parse_buddyinfo(&allocator.buddyinfo().to_string()).expect("readable");
    let pagetypes = proc_text::parse_pagetypeinfo(&allocator.pagetypeinfo().to_string()).expect("readable");
    let places = [(0, ZoneType::Dma), (0, ZoneType::Dma32), (1, ZoneType::Dma32)];
    assert_eq!(zoneinfo.zones.iter().map(|zone| (zone.node, zone.zone)).collect::<Vec<_>>(), places);
    let frames = |nr_free: &[u64]| (0u32..).zip(nr_free).map(|(order, &n)| n << order).sum::<u64>();
    let zones = allocator.core().domain.zones();
    assert_eq!((buddyinfo.zones.len(), pagetypes.zones.len()), (zones.len(), zones.len()));
    for (place, zone) in zones.iter().enumerate() {
        let (stat, blocks, types) =
            (&zoneinfo.zones[place], &buddyinfo.zones[place], &pagetypes.zones[place].types);
        assert_eq!((blocks.node, blocks.zone), places[place]);
        assert_eq!((pagetypes.zones[place].node, pagetypes.zones[place].zone), places[place]);
        assert_eq!(frames(&blocks.nr_free), stat.free);
        for (order, &free) in blocks.nr_free.iter().enumerate() {
            assert_eq!(types.iter().map(|kind| kind.nr_free[order]).sum::<u64>(), free, "order {order}");
        }
        // Pageblock by pageblock, and the counts.
        let (start, end) = (zone.span().start.get(), zone.span().end.get());
        for (kind, stat) in MigrateType::ALL.into_iter().zip(types) {
            let heads = (start..end).step_by(512).map(crate::Pfn::new);
            let found = heads.filter(|&pfn| zone.pageblock_type(pfn) == kind).count();
            assert_eq!((stat.migratetype, stat.pageblocks), (kind, found as u64));
        }
    }
    assert!(
        pagetypes.zones.iter().skip(1).all(|zone| zone.types[..3].iter().all(|kind| kind.pageblocks > 0))
    );
    let unusable = proc_text::parse_indices(&allocator.unusable_index().to_string()).expect("readable");
    let extfrag = proc_text::parse_indices(&allocator.extfrag_index().to_string()).expect("readable");
    assert_eq!(UnusableIndex { zones: unusable }, buddyinfo.unusable_index());
    assert_eq!(ExtfragIndex { zones: extfrag }, buddyinfo.extfrag_index());
    drop(kept);
}

#[test]
fn counts_of_each_zone_say_where_requests_were_served() {
    let allocator = two_nodes();
    let local = allocator.numa_mem_id();
    let other = Nid::new(1 - local.index());
    let (before, nodes) = (totals(&allocator), [local.index(), other.index()]);
    let mut kept = Vec::new();
    let mut take = |node, order| {
        let pages = allocator.alloc_pages_node(node, Gfp::KERNEL, Order::new(order)).expect("much is free");
        kept.push(pages);
    };
    take(None, 4);
    take(Some(other), 5);
    let interleave = MemPolicy::Interleave([local, other].into_iter().collect());
    let scope = allocator.mempolicy(interleave).expect("both have memory");
    kept.extend((0..4).map(|_| allocator.alloc_pages(Gfp::KERNEL, Order::new(6)).expect("much is free")));
    drop(scope);
    let after = totals(&allocator);
    let grown = |node: usize| {
        let (after, before) = (after[nodes[node]].numa.rows(), before[nodes[node]].numa.rows());
        core::array::from_fn::<u64, 6, _>(|row| after[row].1 - before[row].1)
    };
    // hit, miss, foreign, interleave, local, other.
    assert_eq!(grown(0), [16 + 128, 0, 0, 128, 16 + 128, 0]);
    assert_eq!(grown(1), [32 + 128, 0, 0, 128, 0, 32 + 128]);
    let frames = frames_on_nodes(&allocator, &kept);
    assert_eq!(nodes.map(|node| frames[node]), [16 + 128, 32 + 128]);
}

/// Returns the counters of each node's DMA32 zone, as zoneinfo shows them.
fn totals(allocator: &Allocator) -> Vec<ZoneStat> {
    let read = proc_text::parse_zoneinfo(&allocator.zoneinfo().to_string()).expect("readable");
    read.zones.into_iter().filter(|zone| zone.zone == ZoneType::Dma32).collect()
}

#[test]
fn what_is_locked_is_unevictable_on_its_node_and_in_its_zone() {
    let allocator = two_nodes();
    let dma_frames = allocator.zone_stats()[0].managed;
    let locked = match allocator.arena().obtained().residency {
        crate::platform::arena::Residency::Locked { .. } => dma_frames,
        _ => 0,
    };
    let zoneinfo = proc_text::parse_zoneinfo(&allocator.zoneinfo().to_string()).expect("readable");
    let nodes: Vec<_> = zoneinfo.nodes.iter().map(|node| (node.node, node.unevictable)).collect();
    assert_eq!(nodes, [(0, locked), (1, 0)]);
    let zones: Vec<_> = zoneinfo.zones.iter().map(|zone| (zone.unevictable, zone.mlocked)).collect();
    assert_eq!(zones, [(locked, locked), (0, 0), (0, 0)]);
    assert_eq!((allocator.vmstat().nr_unevictable, allocator.vmstat().nr_mlock), (locked, locked));
}
