//! Any flags, of any order, from any node, by each way to ask.

use std::sync::LazyLock;

use gfp::{
    AllocError, Allocator, CancelToken, Gfp, Maintain, Nid, Order, Pages, Spread,
    error::FailReason,
    gfp::{ZoneType, check_request},
    platform::{NodeId, Topology},
};

use crate::input::Input;

const NODES: u32 = 3;
const MAX_ORDER: u8 = 10;
const FRAME_BYTES: usize = 4096;
/// Blocks held at most; beyond, the oldest is freed.
const HELD: usize = 64;

static TOPOLOGY: LazyLock<Topology> =
    LazyLock::new(|| Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine"));

/// Which call makes a request.
#[derive(Clone, Copy, Debug)]
enum Way {
    Allocator,
    Handle,
    Node,
    Zeroed,
    Nowhere,
}

/// Checks requests of eight bytes each: flags (4), order, node, way, and whether a block is freed before.
pub fn check(bytes: &[u8]) {
    let parts = (0..NODES).map(|node| (NodeId(node), 12 << 20)).collect();
    let allocator = Allocator::builder(36 << 20)
        .topology(TOPOLOGY.clone())
        .nodes(Spread::Nodes(parts))
        .dma(4 << 20)
        .maintain(Maintain::ByHand)
        .build()
        .expect("36 MiB");
    let handle = allocator.handle().expect("memory for a cache");
    let mut held = Vec::<Pages>::new();
    let mut input = Input::new(bytes);
    let cancelled = CancelToken::new();
    cancelled.cancel();
    while !input.is_empty() {
        let gfp = Gfp::from_bits_retain(input.u32());
        let (order, node) = (input.u8() % 20, input.u8() % 5);
        let way = input.pick(&[Way::Allocator, Way::Handle, Way::Node, Way::Zeroed, Way::Nowhere]);
        if held.len() == HELD || input.u8() % 2 == 1 && !held.is_empty() {
            drop(held.swap_remove(0));
        }
        check_flags(gfp, order);
        let Some(size) = Order::try_new(order.into()) else { continue };
        let nid = Nid::new(node.into());
        // It may wait for ever for what nobody else frees.
        let _given_up = gfp.contains(Gfp::NOFAIL).then(|| cancelled.enter());
        let result = match way {
            Way::Allocator => allocator.alloc_pages(gfp, size),
            Way::Handle => handle.alloc_pages(gfp, size),
            Way::Node => allocator.alloc_pages_node(Some(nid), gfp, size),
            Way::Zeroed => allocator.alloc_zeroed_pages(gfp, size).map(|mut zeroed| {
                let zero = zeroed.chunks_exact_mut(FRAME_BYTES).flat_map(looked_at).all(|byte| *byte == 0);
                assert!(zero, "{gfp} of order {order}");
                zeroed.into_pages()
            }),
            Way::Nowhere => allocator.alloc_pages_nodemask(None, gfp::NodeMask::of(nid), gfp, size),
        };
        let asked = match way {
            Way::Node if u32::from(node) < NODES => Some(node),
            _ => None,
        };
        match result {
            Ok(mut pages) => {
                served(&allocator, &mut pages, gfp, size, asked);
                for frame in pages.bytes_mut().chunks_exact_mut(FRAME_BYTES) {
                    looked_at(frame).for_each(|byte| _ = byte.write(0xa5));
                }
                held.push(pages);
            }
            Err(error) => refused(&error, gfp, order),
        }
    }
    held.clear();
    drop(handle);
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}

/// Says which requests mean nothing, from the rules and not from the code.
fn means_something(gfp: Gfp, order: u8) -> bool {
    let zones = [Gfp::DMA, Gfp::DMA32, Gfp::HIGHMEM];
    zones.iter().filter(|&&zone| gfp.contains(zone)).count() <= 1
        && !gfp.contains(Gfp::MOVABLE | Gfp::RECLAIMABLE)
        && (!gfp.contains(Gfp::NOFAIL) || gfp.contains(Gfp::DIRECT_RECLAIM))
        && order <= MAX_ORDER
}

/// Returns the highest zone that the flags allow, from the kernel's table.
fn highest_zone(gfp: Gfp) -> ZoneType {
    if gfp.contains(Gfp::DMA) {
        ZoneType::Dma
    } else if gfp.contains(Gfp::DMA32) {
        ZoneType::Dma32
    } else if gfp.contains(Gfp::HIGHMEM | Gfp::MOVABLE) {
        ZoneType::Movable
    } else if gfp.contains(Gfp::HIGHMEM) {
        ZoneType::HighMem
    } else {
        ZoneType::Normal
    }
}

fn check_flags(gfp: Gfp, order: u8) {
    let checked = check_request(gfp, order, MAX_ORDER);
    assert_eq!(checked.is_ok(), means_something(gfp, order), "{gfp} of order {order}: {checked:?}");
    assert_eq!(Gfp::parse(&gfp.to_string()), Ok(gfp), "{gfp}");
}

fn served(allocator: &Allocator, pages: &mut Pages, gfp: Gfp, order: Order, asked: Option<u8>) {
    assert!(means_something(gfp, order.get()), "{gfp} of {order:?} got {pages:?}");
    assert_eq!(pages.order(), order);
    assert!(pages.pfn().is_aligned(order), "{pages:?}");
    let pfn = u64::from(pages.pfn().get());
    let zones = allocator.zone_stats();
    let zone = zones.iter().find(|zone| (zone.start_pfn..zone.start_pfn + zone.spanned).contains(&pfn));
    let zone = zone.expect("each frame has a zone");
    assert!(zone.zone <= highest_zone(gfp), "{gfp} got a block of {}", zone.zone);
    assert_eq!(allocator.node_of(pages).index(), zone.node as usize);
    if let Some(node) = asked.filter(|_| gfp.contains(Gfp::THISNODE)) {
        assert_eq!(zone.node, u32::from(node), "{gfp}");
    }
    if gfp.contains(Gfp::ZERO) {
        let bytes = pages.bytes_mut().chunks_exact_mut(FRAME_BYTES).flat_map(looked_at);
        // SAFETY: the arena's memory comes from the system, so that every byte has a value.
        let zero = bytes.map(|byte| unsafe { byte.assume_init() }).all(|byte| byte == 0);
        assert!(zero, "{gfp}");
    }
}

/// Returns the bytes of a frame that are written and looked at: the first and the last few. All of them would be most of the work.
fn looked_at<T>(frame: &mut [T]) -> impl Iterator<Item = &mut T> {
    let (first, rest) = frame.split_at_mut(8);
    let end = rest.len() - 8;
    first.iter_mut().chain(&mut rest[end..])
}

fn refused(error: &AllocError, gfp: Gfp, order: u8) {
    match error.reason() {
        FailReason::BadRequest(_) => assert!(!means_something(gfp, order), "{error}"),
        FailReason::Cancelled => assert!(gfp.contains(Gfp::NOFAIL), "{error}"),
        FailReason::NoMemory | FailReason::NoZone | FailReason::NoNode => {}
        _ => panic!("one thread alone is refused: {error}"),
    }
    assert!(!error.to_string().is_empty());
}
