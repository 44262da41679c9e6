//! Linux's physical page allocator over an mmap'd arena in user space.
//!
//! An [`Allocator`] owns one large reservation of memory, the arena, and hands out blocks of 2^order frames of 4 KiB as
//! the kernel's `alloc_pages` does: zones with watermarks and reserves, an exact buddy with migrate types, and a
//! cache for each thread that makes most requests a pop from an array. The behaviour is that of Linux 6.x;
//! where it differs, the item that differs says so.
//!
//! ```
//! use gfp::{Allocator, Gfp, Order};
//!
//! let allocator = Allocator::builder(64 << 20).build()?;
//! let mut pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(3))?;
//! pages.bytes_mut()[0].write(42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Design principles
//!
//! 1. **A hit costs nothing shared.** A block out of the thread's own cache takes no lock, executes no atomic
//!    read-modify-write and makes no system call; whoever wants to empty another thread's cache pays for both.
//! 2. **Never inside free memory.** What is free stands in the zone's maps, a quarter of a byte a frame. A block outside of
//!    them is [one word](frame::Block) with its holder; only while it is plain numbers its frame's
//!    [descriptor](frame::Descriptor) speaks for it. Zeroed metadata is the initial state, so an arena costs what is used
//!    of it.
//! 3. **Exact under the lock, readable without.** Counts of free blocks change only under the zone's lock; what
//!    others decide by is published there and read without it.
//! 4. **Misuse is an answer.** Where the compiler proves that a block has one owner, nothing is checked until its zone takes
//!    it back, and finds what is free already. Where it cannot, a double free, a wrong order, a foreign or stale block is
//!    found by one exchange of the frame's descriptor, and refused with a [typed error](FreeError). A request that fails
//!    says [which zones refused and why](AllocError).
//! 5. **Requests, frees and errors do not allocate.** The exceptions are a thread's first contact with an
//!    allocator, which makes its cache, and the first use of a list's memory.
//! 6. **Unsafe code has few homes.** It lives in [`sync`], [`platform`], [`frame`] and the owned block; the
//!    allocator's policy ([`zone`], [`node`], [`pcp`], [`alloc`]) is `deny(unsafe_code)`.
//! 7. **The kernel's words.** What the kernel has a name for has that name here, and older names are aliases that the search
//!    of these pages finds.
//!
//! # Map
//!
//! Each module uses only those above it.
//!
//! | module | idea |
//! |---|---|
//! | [`fault`] | names of the system calls, and the seam through which a test makes one fail |
//! | [`sync`] | the one door to atomics, cells, threads and locks; order of locks; the handshake of cache and drainer |
//! | [`gfp`] | request flags, and what follows from them: zone, migrate type, allocation flags |
//! | [`platform`] | memory, CPUs and topology: every system call |
//! | [`error`] | requests, frees and builds that failed |
//! | [`frame`] | numbers, descriptors and batches of frames |
//! | [`trace`] | USDT probes, named after the kernel's tracepoints |
//! | [`zone`] | a range of frames: buddy, pageblocks, fallback, watermarks, the highatomic reserve |
//! | [`node`] | which zones a request tries, in which order: zonelists, node masks, memory policies; what callers count of a node, dirty limits |
//! | [`pcp`] | the thread's cache: lists, sizes, refill, drain, ageing |
//! | [`alloc`] | a request and a free from the flags to the zone |
//! | [`stats`] | vmstat, buddyinfo, zoneinfo, pagetypeinfo, fragmentation and Mem-Info in the kernel's formats |
//! | `compact` | compaction, which moves nothing yet |
//! | [`reclaim`] | memory from those who offer it: [shrinkers](reclaim::Shrinker), kswapd, direct reclaim, node reclaim; what happens when it has run out |
//! | [`slowpath`] | the state machine of a request that found nothing at the low mark |
//! | `allocator` | the face: [`Allocator`], [`Builder`], [`Handle`], [`Pages`]; `allocator/debug/`: [`DebugModes`] |
//!
//! # One allocation
//!
//! | step | what happens | file |
//! |---|---|---|
//! | [`Handle::alloc_pages`] | the thread's cache is at hand | `allocator/handle.rs` |
//! | [`Allocator::alloc_pages`] | the cache that this thread used last, if it is of this allocator | `allocator/mod.rs`, `pcp/local.rs`, `sync/owner_slot.rs` |
//! | [`sync::Owner::enter`] | a drainer that has claimed the cache sends the request past it | `sync/owned.rs` |
//! | [`alloc::take_cached`] | flags and order become a list, computed at compile time if they are constant | `alloc/fast.rs` |
//! | [`pcp::ThreadCache::take`] | the lists of the zone that the request tries first | `pcp/cache.rs` |
//! | [`pcp::ZonePcp`] | the zone's [state word](zone::ZoneState) says "above low"; pops | `pcp/zone_pcp.rs`, `zone/state.rs`, `frame/stack.rs` |
//! | [`Pages`] | [one word](frame::Block): frame number, list, order, zone, allocator | `allocator/pages.rs`, `frame/block.rs` |
//!
//! That was a hit. On a miss:
//!
//! | step | what happens | file |
//! |---|---|---|
//! | `rmqueue_direct` | an order without a list in a cache, from the thread's first zone, if that stays above its low mark | `alloc/direct.rs`, `zone/direct.rs` |
//! | [`alloc::alloc_pages_nodemask`] | allowed mask and the thread's scopes narrow the flags | `alloc/freelist.rs`, `gfp/scope.rs` |
//! | [`alloc::prepare_alloc_pages`] | refuses senseless requests; resolves zone, migrate type, allocation flags | `alloc/prepare.rs` |
//! | [`alloc::get_page_from_freelist`] | asks each zone of the [zonelist](node::Zonelist), at the low mark first | `alloc/freelist.rs`, `node/zonelist.rs` |
//! | [`zone::Zone::watermark_ok`] | the watermark test, on what the zone has published | `zone/zone.rs`, `zone/watermark.rs` |
//! | [`pcp::Caches::rmqueue_pcplist`] | orders 0 to 3 and 9: fetches a batch, hands out one, caches the rest | `pcp/refill.rs`, `pcp/sizing/` |
//! | [`zone::Zone::rmqueue_bulk`], [`zone::Zone::rmqueue_buddy`] | takes the zone's lock | `zone/zone.rs`, `sync/spin.rs` |
//! | [`zone::buddy::Buddy::rmqueue`] | own type, else claims a pageblock, else steals a block | `zone/buddy/fallback.rs` |
//! | [`zone::buddy::Buddy::rmqueue_smallest`] | the lowest block of the smallest order that fits; splits it | `zone/buddy/` |
//! | [`zone::Zone::reserve_highatomic_pageblock`] | a high-order request that cannot wait was served: its pageblock is set aside for the next | `zone/highatomic.rs` |
//! | nothing found | the [slow path](slowpath): again at the minimum mark with the reserves of the flags; then, if the caller may block, reclaims, drains all caches and tries again as long as that may help; then asks the [application](Builder::on_oom) | `slowpath/`, `reclaim/` |
//!
//! A free is the way back: [`alloc::put_cached`] finds the list and pushes; what that leaves to be done,
//! [`alloc::free_unref_page`] does: overflow goes to [`zone::Zone::free_bulk`], an order without a list to
//! [`alloc::free_pages_ok`]. The README beside this crate
//! walks both ways in more detail and says why things are as they are.

#[cfg(not(loom))]
pub mod alloc;
#[cfg(not(loom))]
mod allocator;
#[cfg(not(loom))]
mod compact;
pub mod error;
pub mod fault;
pub mod frame;
pub mod gfp;
pub mod node;
pub mod pcp;
#[cfg(not(loom))]
pub mod platform;
#[cfg(not(loom))]
pub mod reclaim;
#[cfg(not(loom))]
pub mod slowpath;
pub mod stats;
pub mod sync;
pub mod trace;
pub mod zone;

#[cfg(all(feature = "allocator-api2", not(loom)))]
pub use allocator::PageAlloc;
#[cfg(not(loom))]
pub use allocator::{
    Allocator, AllocatorId, Bound, Builder, CallerBlocks, CmaStat, ContigPages, DebugCounts, DebugModes,
    ExactPages, FindingHook, FreePageReporting, Handle, Maintain, MisuseHook, NodeReport, PageFrag,
    PageFragCache, PageOwner, PageOwnerReport, Pages, PolicyError, PolicyScope, RawParts, Request, Returned,
    SharedPages, SharedZeroedPages, Spread, ZeroedPages,
};
pub use error::{AllocError, BuildError, FreeError, RangeError};
pub use frame::{Nid, Order, Pfn};
pub use gfp::{CancelScope, CancelToken, Gfp};
pub use node::{MemPolicy, NodeMask, PolicyState};
#[cfg(not(loom))]
pub use reclaim::{KswapdReport, Pinned, Trimmed};
pub use stats::{Conservation, ConservationZone};

#[cfg(doctest)]
mod compile_fail;

/// Compiles and runs the example of the repository's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
