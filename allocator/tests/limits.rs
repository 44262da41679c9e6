//! The smallest, the largest, and one more than that: each works, or is refused with the rule.

mod common;

use common::{assert_all_free, snapshot::Snapshot};
use gfp::{
    Allocator, Builder, Gfp, Maintain, MemPolicy, Nid, NodeMask, Order, Pages, Pfn, Spread,
    error::{BuildError, FailReason, RangeProblem},
    frame::NODES_MAX,
    platform::{NodeId, Topology},
    zone::PAGEBLOCK_FRAMES,
};

/// How long a child may take, on a busy machine.
const SECONDS: u32 = 300;

const TIB: usize = 1 << 40;

/// What an allocator's number has room for: 14 bits, without 0.
const ALLOCATORS: usize = (1 << 14) - 1;

fn builder(bytes: usize) -> Builder {
    Allocator::builder(bytes).dma(0).min_free_kbytes(0).maintain(Maintain::ByHand)
}

/// Runs `f` in a child and tells how it ended.
fn in_own_process(f: impl FnOnce()) -> Result<i32, i32> {
    // From its first allocator on, a process's forks wait for what other threads have begun.
    drop(builder(4096).build().expect("one frame"));
    common::in_child(SECONDS, f)
}

/// Returns what a builder that must refuse says.
#[track_caller]
fn refused(builder: Builder) -> String {
    builder.build().expect_err("it makes no sense").to_string()
}

#[test]
fn an_arena_has_whole_frames_one_at_least_and_16_tib_at_most() {
    let ended = in_own_process(|| {
        drop(builder(4096).build());
        let before = Snapshot::take();
        for (bytes, rule) in [
            (0, "at least one frame of 4096 bytes"),
            (1, "at least one frame of 4096 bytes"),
            (4095, "at least one frame of 4096 bytes"),
            (4097, "multiple of 4096 bytes"),
            ((64 << 20) + 1, "multiple of 4096 bytes"),
            (16 * TIB + 4096, "16 TiB"),
            (64 * TIB, "16 TiB"),
            (usize::MAX, "multiple of 4096 bytes"),
            (usize::MAX - 4095, "16 TiB"),
            (1 << 63, "16 TiB"),
        ] {
            // With every zone, and with none but the ordinary ones.
            for builder in [builder(bytes), Allocator::builder(bytes).highmem(1 << 20).movable(1 << 20)] {
                let text = refused(builder);
                let zones = bytes < 2 << 20 && text.contains("leave nothing");
                assert!(zones || text.contains(rule) && text.contains(&bytes.to_string()), "{bytes}: {text}");
            }
        }
        assert_eq!(Snapshot::take(), before);
    });
    assert_eq!(ended, Ok(0));
}

#[test]
fn sizes_of_parts_that_overflow_are_refused_by_the_option_s_name() {
    let all = || builder(64 << 20);
    for (name, builder) in [
        ("movable", all().movable(usize::MAX)),
        ("movable", all().highmem(usize::MAX)),
        ("movable", all().highmem(usize::MAX).movable(usize::MAX)),
        ("movable", all().movable(64 << 20)),
        ("cma", all().cma("area", usize::MAX)),
        ("cma", all().cma("area", usize::MAX - ((2 << 20) - 1))),
        ("cma", all().cma("area", 0)),
        ("maximum", all().maximum(usize::MAX)),
        ("maximum", all().maximum(0)),
        ("max_order", all().max_order(19)),
        ("max_order", all().max_order(8)),
        ("max_order", all().max_order(255)),
        ("watermark_scale_factor", all().watermark_scale_factor(u64::MAX)),
        ("percpu_pagelist_high_fraction", all().percpu_pagelist_high_fraction(7)),
        ("nodes", all().nodes(Spread::Nodes(vec![(NodeId(0), usize::MAX)]))),
        ("nodes", all().nodes(Spread::Nodes(vec![(NodeId(u32::MAX), 64 << 20)]))),
        ("nodes", all().nodes(Spread::Nodes(vec![(NodeId(0), usize::MAX), (NodeId(1), (64 << 20) + 1)]))),
    ] {
        let error = builder.build().expect_err("it makes no sense");
        assert!(matches!(error, BuildError::Option { name: named, .. } if named == name), "{name}: {error}");
    }
    let text = refused(all().maximum((usize::MAX >> 21) << 21));
    assert!(text.contains("16 TiB"), "{text}");
    // What cannot be too much is taken for all there is.
    let allocator = all().dma(usize::MAX).min_free_kbytes(u64::MAX).cpus(u32::MAX).build().expect("64 MiB");
    assert!(allocator.conservation().holds());
    let error = allocator.alloc_page(Gfp::KERNEL).expect_err("all is held back");
    assert_eq!(error.reason(), FailReason::NoMemory);
}

#[test]
fn an_arena_of_one_frame_has_one_block() {
    let allocator = builder(4096).build().expect("one frame");
    for _ in 0..3 {
        let mut page = allocator.alloc_page(Gfp::KERNEL).expect("the frame");
        page.bytes_mut()[4095].write(1);
        assert_eq!(page.pfn().get(), 0);
        for order in 0..=18 {
            assert!(allocator.alloc_pages(Gfp::ATOMIC, Order::new(order)).is_err(), "order {order}");
        }
        drop(page);
        assert!(allocator.alloc_pages(Gfp::KERNEL, Order::new(1)).is_err(), "it has no neighbour");
    }
    assert_all_free(&allocator);
}

#[test]
fn sixteen_tib_are_numbered_to_the_end_or_the_system_says_what_it_lacks() {
    let ended = in_own_process(|| {
        let allocator = match builder(16 * TIB).max_order(18).build() {
            Ok(allocator) => allocator,
            // A limit on address space, or on what may be promised.
            Err(error) => {
                let text = error.to_string();
                let told = ["mmap", "mprotect"].iter().any(|call| text.contains(call));
                return assert!(told && text.contains("overcommit_memory"), "{text}");
            }
        };
        assert_eq!(allocator.arena().len(), 16 * TIB);
        let conservation = allocator.conservation();
        assert!(conservation.holds(), "{conservation}");
        // What lies behind the last 2 MiB would have no number: they are nobody's.
        let end = u32::MAX - (PAGEBLOCK_FRAMES - 1);
        assert_eq!(conservation.managed(), u64::from(end));
        for start in [0, end - PAGEBLOCK_FRAMES] {
            let range = Pfn::new(start)..Pfn::new(start + PAGEBLOCK_FRAMES);
            let mut contig = allocator.alloc_contig_range(range.clone()).expect("all is free");
            contig[(2 << 20) - 1].write(1);
            drop(contig);
            allocator.offline_pages(range.clone()).expect("all is free");
            allocator.online_pages(range).expect("it is offline");
        }
        for range in [end - 1..end + 1, end..u32::MAX, 0..u32::MAX, u32::MAX - 1..u32::MAX] {
            let range = Pfn::new(range.start)..Pfn::new(range.end);
            let error = allocator.alloc_contig_range(range.clone()).expect_err("some of it is nobody's");
            assert_eq!(error.problem, RangeProblem::OutOfRange, "{error}");
            allocator.start_isolate(range.clone()).expect_err("some of it is nobody's");
            allocator.online_pages(range).expect_err("some of it is nobody's");
        }
        let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(18)).expect("1 GiB");
        let middle = pages.len() / 2;
        pages.bytes_mut()[middle].write(1);
        drop(pages);
        allocator.drain_all();
        assert_eq!(allocator.conservation().free(), u64::from(end));
    });
    assert_eq!(ended, Ok(0));
}

fn nodes(count: usize) -> (Topology, Spread) {
    let topology = Topology::synthetic(&format!("numa:{count} core:1 pu:1")).expect("a machine");
    let parts = (0..).take(count).map(|node| (NodeId(node), 4 << 20)).collect();
    (topology, Spread::Nodes(parts))
}

#[test]
fn each_of_64_nodes_serves_its_requests_and_then_the_others() {
    let (topology, parts) = nodes(NODES_MAX);
    let allocator = builder(NODES_MAX * (4 << 20)).topology(topology).nodes(parts).build().expect("256 MiB");
    assert_eq!(allocator.nodes().len(), NODES_MAX);
    let on = |node, order| {
        let pages = allocator.alloc_pages_node(Some(Nid::new(node)), Gfp::KERNEL, Order::new(order));
        pages.expect("room")
    };
    for node in 0..NODES_MAX {
        for order in [0, 3, 9] {
            let pages = on(node, order);
            assert_eq!(allocator.node_of(&pages), Nid::new(node), "order {order}");
        }
    }
    allocator.drain_all();
    // The whole of each: a request for the first gets all, each node once.
    let blocks: Vec<Pages> = (0..NODES_MAX).map(|_| on(0, 10)).collect();
    let from: NodeMask = blocks.iter().map(|pages| allocator.node_of(pages)).collect();
    assert_eq!(from, (0..NODES_MAX).map(Nid::new).collect());
    assert_eq!(allocator.node_of(&blocks[0]), Nid::new(0), "its own comes first");
    let error = allocator.alloc_page(Gfp::KERNEL).expect_err("nothing is left");
    assert_eq!(error.reason(), FailReason::NoMemory);
    drop(blocks);
    // A policy that names the last node only.
    let last = Nid::new(NODES_MAX - 1);
    let scope = allocator.mempolicy(MemPolicy::Bind([last].into_iter().collect())).expect("a policy");
    assert_eq!(allocator.node_of(&allocator.alloc_page(Gfp::KERNEL).expect("room")), last);
    drop(scope);
    assert_all_free(&allocator);
}

#[test]
fn a_65th_node_is_refused_and_a_machine_that_has_one_can_do_without() {
    let (topology, parts) = nodes(NODES_MAX + 1);
    let all = builder((NODES_MAX + 1) * (4 << 20)).topology(topology.clone());
    for spread in [parts, Spread::AllNodes] {
        let error = builder((NODES_MAX + 1) * (4 << 20)).topology(topology.clone()).nodes(spread);
        let error = error.build().expect_err("one too many");
        assert!(matches!(error, BuildError::Option { name: "nodes", .. }), "{error}");
    }
    drop(all.nodes(Spread::OneNode).build().expect("all in one"));
}

#[test]
fn as_many_allocators_as_have_numbers_are_alive_and_one_more_is_told_so() {
    let ended = in_own_process(|| {
        // A number that is taken for nothing comes back.
        for _ in 0..=ALLOCATORS {
            assert!(builder(4096).max_order(40).build().is_err());
        }
        let topology = Topology::load().expect("this machine");
        let build = || builder(4096).topology(topology.clone()).build();
        let mut alive = Vec::new();
        let text = loop {
            match build() {
                Ok(allocator) => alive.push(allocator),
                Err(error) => break error.to_string(),
            }
        };
        // Those of the tests that ran when this process was copied have theirs here too.
        assert!((ALLOCATORS - 64..=ALLOCATORS).contains(&alive.len()), "{}", alive.len());
        for part in ["numbering it", "16383 allocators are alive", "drop one"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
        // A block keeps its allocator's number; the last one gives it back.
        let page = alive[7].alloc_page(Gfp::KERNEL).expect("its frame");
        drop(alive.swap_remove(7));
        assert!(build().is_err());
        drop(page);
        let again = build().expect("a number");
        drop(again.alloc_page(Gfp::KERNEL).expect("its frame"));
        for allocator in alive.iter().step_by(1000) {
            drop(allocator.alloc_page(Gfp::KERNEL).expect("its frame"));
        }
    });
    assert_eq!(ended, Ok(0));
}

#[test]
fn requests_beyond_every_size_are_refused_and_change_nothing() {
    let allocator = builder(64 << 20).build().expect("64 MiB");
    for order in 11..=18 {
        let error = allocator.alloc_pages(Gfp::KERNEL, Order::new(order)).expect_err("too large");
        assert!(error.to_string().contains("order"), "{error}");
    }
    for bytes in [(4 << 20) + 1, 64 << 20, (64 << 20) + 1, 1 << 62, usize::MAX - 4095, usize::MAX] {
        assert!(allocator.alloc_pages_exact(bytes, Gfp::KERNEL).is_err(), "{bytes}");
    }
    assert!(Order::try_new(19).is_none());
    assert_eq!(allocator.alloc_pages_bulk(Gfp::KERNEL, &mut []), 0);
    let one = allocator.alloc_pages_exact(0, Gfp::KERNEL).expect("a frame");
    assert_eq!(one.frames(), 1);
    drop(one);
    assert_all_free(&allocator);
}
