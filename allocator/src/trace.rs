//! USDT probes, named after the kernel's tracepoints: what perf, bpftrace, SystemTap and gdb can listen to in any program
//! that uses this crate.
//!
//! The provider is `gfp`. Frames are numbered within their allocator, and `allocator` is its number among those of the process.
//! Migrate types are the kernel's numbers ([`MigrateType`]), masks the bits of [`Gfp`].
//!
//! | probe | arguments | fires |
//! |---|---|---|
//! | `mm_page_alloc` | pfn, order, gfp, migratetype, allocator | when a request ends; a pfn of −1: it failed |
//! | `mm_page_free` | pfn, order, allocator | when an owner gives a block up, before anybody else can have it |
//! | `mm_page_alloc_zone_locked` | pfn, order, migratetype, percpu_refill | when a block leaves the free areas of its own type |
//! | `mm_page_pcpu_drain` | pfn, order, migratetype | when a cache's block is about to go back to its zone |
//! | `mm_page_alloc_extfrag` | pfn, alloc_order, fallback_order, alloc_migratetype, fallback_migratetype, change_ownership | when a request was served from another type's free areas |
//! | `boost_watermark` | zone's first pfn, boost in frames | when a claim below a pageblock raised a zone's marks |
//! | `drain_all_pages` | frames, skipped caches | when the caches of all threads have been drained |
//! | `slowpath_step` | step, order, gfp, allocator | before each [step](crate::slowpath::Step) of a request that found nothing at the low mark |
//! | `free_pending` | pfn, order | when the holder of a zone's lock frees a block that was left to it |
//! | `page_reporting` | pfn, frames, errno | when the system took free memory back; an errno that is not 0: it refused, −1: nobody asked it |
//! | `mm_vmscan_wakeup_kswapd` | nid, zid, order, gfp | when a request has woken a kswapd |
//! | `mm_vmscan_kswapd_wake` | nid, zid, order | when a kswapd begins to reclaim, up to a zone |
//! | `mm_vmscan_kswapd_sleep` | nid | when it goes to sleep for long |
//! | `mm_vmscan_direct_reclaim_begin` | order, gfp | when a request begins to reclaim on its own thread |
//! | `mm_vmscan_direct_reclaim_end` | frames | when it has done so |
//! | `mm_vmscan_node_reclaim_begin` | nid, order, gfp | when a node is reclaimed before a request goes to another |
//! | `mm_vmscan_node_reclaim_end` | frames | when that is done |
//! | `mm_shrink_slab_start` | name, name_length, nid, deferred, gfp, objects, delta, total_scan, priority | when a shrinker with something to give is asked for its share |
//! | `mm_shrink_slab_end` | name, name_length, nid, freed frames, deferred before, deferred after, total_scan | when it has been asked |
//!
//! The first two fire for hits too, and are there with the feature `usdt` only: they cost a hit three instructions each. The
//! others are always there, and lie on paths out of line: a `nop` where the arguments lie in registers anyway, elsewhere
//! a test of the probe's semaphore, a word that tracers raise. On systems other than Linux there are no probes.
//!
//! Unlike the kernel's, `mm_page_alloc` has the mask as the caller gave it, without what scopes took from it, and fires for each frame
//! of a bulk request. Requests that name no node of the allocator fail before it fires.
//!
//! ```
//! // A layer of one's own that stands in for one of these can fire them, too. Nobody listens here.
//! use gfp::{Gfp, Nid, Order, Pfn, frame::{AllocatorNumber, Block, Descriptor, PcpList, ZoneNumber}, gfp::MigrateType, trace};
//!
//! let (pfn, order, allocator) = (Pfn::new(8), Order::ZERO, AllocatorNumber::new(1).expect("not 0"));
//! let tag = Descriptor::of(PcpList::UNMOVABLE, ZoneNumber::new(0), order);
//! let block = Block::new(allocator, pfn, tag);
//! trace::mm_page_alloc(block, Gfp::KERNEL);
//! trace::mm_page_free(block);
//! trace::mm_page_alloc_failed(allocator, order, Gfp::KERNEL);
//!
//! // What takes a look at the zone is asked only if somebody listens.
//! trace::mm_page_alloc_zone_locked(&[8, 9], order, MigrateType::Unmovable);
//! trace::mm_page_pcpu_drain(&[8, 9], order, |_| unreachable!("nobody listens"));
//! let now = || unreachable!("nobody listens");
//! trace::mm_page_alloc_extfrag(pfn, order, 9, MigrateType::Unmovable, MigrateType::Movable, now);
//! trace::boost_watermark(Pfn::new(0), 512);
//! trace::drain_all_pages(100, 0);
//! trace::free_pending(pfn, order);
//! trace::page_reporting(pfn, 512, 0);
//! let (node, kind) = (gfp::Nid::new(0), gfp::gfp::ZoneType::Normal);
//! trace::mm_vmscan_wakeup_kswapd(node, kind, order, Gfp::KERNEL);
//! trace::mm_vmscan_kswapd_wake(node, kind, order);
//! trace::mm_vmscan_kswapd_sleep(node);
//! trace::mm_vmscan_direct_reclaim_begin(order, Gfp::KERNEL);
//! trace::mm_vmscan_direct_reclaim_end(32);
//! trace::mm_vmscan_node_reclaim_begin(node, order, Gfp::KERNEL);
//! trace::mm_vmscan_node_reclaim_end(32);
//!
//! let asked = trace::ShrinkSlab { name: "inodes", node: Nid::new(0), deferred: 0 };
//! trace::mm_shrink_slab_start(asked, Gfp::KERNEL, 1000, 500, 500, 2);
//! trace::mm_shrink_slab_end(asked, 384, 116, 116);
//! trace::slowpath_step(allocator, 9, order, Gfp::KERNEL);
//! ```

use core::hint::cold_path;

use probe::{probe, probe_lazy};

use crate::{
    frame::{AllocatorNumber, Block, Nid, Order, PcpList, Pfn},
    gfp::{Gfp, MigrateType, ZoneType, gfp_migratetype},
};

/// Stands for the frame of a request that failed.
const NO_FRAME: isize = -1;

/// Returns the migrate type that a mask asks for, −1 where it contradicts itself.
fn migratetype_of(gfp: Gfp) -> isize {
    gfp_migratetype(gfp).map_or(-1, |migratetype| migratetype as isize)
}

/// A request has got a block.
#[inline(always)]
pub fn mm_page_alloc(block: Block, gfp: Gfp) {
    let (pfn, order, allocator) = (block.pfn(), block.order(), block.allocator());
    if cfg!(feature = "usdt")
        && probe_lazy!(
            gfp,
            mm_page_alloc,
            pfn.get(),
            order.get(),
            gfp.bits(),
            migratetype_of(gfp),
            allocator.get(),
        )
    {
        cold_path();
    }
}

/// A request of an allocator has failed.
pub fn mm_page_alloc_failed(allocator: AllocatorNumber, order: Order, gfp: Gfp) {
    if cfg!(feature = "usdt") {
        let (order, migratetype) = (order.get(), migratetype_of(gfp));
        probe!(gfp, mm_page_alloc, NO_FRAME, order, gfp.bits(), migratetype, allocator.get());
    }
}

/// An owner gives a block up.
#[inline(always)]
pub fn mm_page_free(block: Block) {
    let (pfn, order, allocator) = (block.pfn(), block.order(), block.allocator());
    if cfg!(feature = "usdt") && probe_lazy!(gfp, mm_page_free, pfn.get(), order.get(), allocator.get()) {
        cold_path();
    }
}

/// Blocks of one order have left the free areas of their own type; `pfns` are their first frames.
#[inline]
pub fn mm_page_alloc_zone_locked(pfns: &[u32], order: Order, migratetype: MigrateType) {
    for &pfn in pfns {
        let listening = probe_lazy!(
            gfp,
            mm_page_alloc_zone_locked,
            pfn,
            order.get(),
            migratetype as u8,
            PcpList::of(order, migratetype).is_listed() && MigrateType::PCP.contains(&migratetype),
        );
        if !listening {
            break;
        }
    }
}

/// Blocks of one order are about to go from a cache to their zone, each to the free areas of `migratetype`; `pfns` are their first frames.
#[inline]
pub fn mm_page_pcpu_drain(pfns: &[u32], order: Order, migratetype: impl Fn(Pfn) -> MigrateType) {
    for &pfn in pfns {
        let listening =
            probe_lazy!(gfp, mm_page_pcpu_drain, pfn, order.get(), migratetype(Pfn::new(pfn)) as u8);
        if !listening {
            break;
        }
    }
}

/// A request for `alloc_order` and `migratetype` was served from a free block of another order and type; `now` is the type of the
/// pageblock since.
#[inline]
pub fn mm_page_alloc_extfrag(
    pfn: Pfn,
    alloc_order: Order,
    fallback_order: u8,
    migratetype: MigrateType,
    fallback: MigrateType,
    now: impl Fn() -> MigrateType,
) {
    probe_lazy!(
        gfp,
        mm_page_alloc_extfrag,
        pfn.get(),
        alloc_order.get(),
        fallback_order,
        migratetype as u8,
        fallback as u8,
        now() == migratetype,
    );
}

/// The marks of the zone that begins at `start` are higher by `boost` frames now.
pub fn boost_watermark(start: Pfn, boost: u64) {
    probe!(gfp, boost_watermark, start.get(), boost);
}

/// The caches of all threads have been drained, except those that were skipped.
pub fn drain_all_pages(frames: u64, skipped: u32) {
    probe!(gfp, drain_all_pages, frames, skipped);
}

/// A block is freed by the holder of its zone's lock, to whom it was left.
pub fn free_pending(pfn: Pfn, order: Order) {
    probe!(gfp, free_pending, pfn.get(), order.get());
}

/// The system was asked to take the memory of so many free frames back.
pub fn page_reporting(pfn: Pfn, frames: u64, errno: i32) {
    probe!(gfp, page_reporting, pfn.get(), frames, errno);
}

/// A request for an order, in a zone of a type, has woken the kswapd of a node.
pub fn mm_vmscan_wakeup_kswapd(node: Nid, kind: ZoneType, order: Order, gfp: Gfp) {
    probe!(gfp, mm_vmscan_wakeup_kswapd, u16::from(node), kind as u8, order.get(), gfp.bits());
}

/// The kswapd of a node begins to reclaim for an order, up to the zone of a type.
pub fn mm_vmscan_kswapd_wake(node: Nid, highest: ZoneType, order: Order) {
    probe!(gfp, mm_vmscan_kswapd_wake, u16::from(node), highest as u8, order.get());
}

/// The kswapd of a node goes to sleep for long.
pub fn mm_vmscan_kswapd_sleep(node: Nid) {
    probe!(gfp, mm_vmscan_kswapd_sleep, u16::from(node));
}

/// A request begins to reclaim on its own thread.
pub fn mm_vmscan_direct_reclaim_begin(order: Order, gfp: Gfp) {
    probe!(gfp, mm_vmscan_direct_reclaim_begin, order.get(), gfp.bits());
}

/// A request has reclaimed so many frames on its own thread.
pub fn mm_vmscan_direct_reclaim_end(frames: u64) {
    probe!(gfp, mm_vmscan_direct_reclaim_end, frames);
}

/// A node's memory is about to be reclaimed before a request goes to another node.
pub fn mm_vmscan_node_reclaim_begin(node: Nid, order: Order, gfp: Gfp) {
    probe!(gfp, mm_vmscan_node_reclaim_begin, u16::from(node), order.get(), gfp.bits());
}

/// So many frames of a node were reclaimed before a request goes to another.
pub fn mm_vmscan_node_reclaim_end(frames: u64) {
    probe!(gfp, mm_vmscan_node_reclaim_end, frames);
}

/// A shrinker that is asked for its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkSlab {
    /// Its name.
    pub name: &'static str,
    /// The node whose memory is wanted.
    pub node: Nid,
    /// The work that had been put off.
    pub deferred: u64,
}

/// A shrinker that counts `objects` is asked for its share: `delta` of them for this round, `total` with what had been put off.
pub fn mm_shrink_slab_start(asked: ShrinkSlab, gfp: Gfp, objects: u64, delta: u64, total: u64, priority: u8) {
    let ShrinkSlab { name, node, deferred } = asked;
    let (text, length) = (name.as_ptr(), name.len());
    let (nid, gfp) = (node.index(), gfp.bits());
    probe!(gfp, mm_shrink_slab_start, text, length, nid, deferred, gfp, objects, delta, total, priority);
}

/// A shrinker was asked: `freed` frames came back, `left_over` objects are put off, `total` of this round were not scanned.
pub fn mm_shrink_slab_end(asked: ShrinkSlab, freed: u64, left_over: u64, total: u64) {
    let ShrinkSlab { name, node, deferred } = asked;
    let (text, length) = (name.as_ptr(), name.len());
    let nid = node.index();
    probe!(gfp, mm_shrink_slab_end, text, length, nid, freed, deferred, left_over, total);
}

/// A request of an allocator is at a step of the slow path; its number is that of [`Step`](crate::slowpath::Step).
pub fn slowpath_step(allocator: AllocatorNumber, step: u8, order: Order, gfp: Gfp) {
    probe!(gfp, slowpath_step, step, order.get(), gfp.bits(), allocator.get());
}
