//! Reclaim: getting memory back from those who offer it.
//!
//! Whoever keeps pages that it could do without implements [`Shrinker`] and registers it
//! ([`Allocator::register_shrinker`](crate::Allocator::register_shrinker)). When memory is short it is asked how many objects it has,
//! and is told to give up a share of them.
//!
//! ```
//! use gfp::{Allocator, Gfp, Nid};
//! use gfp::reclaim::{ObjectCount, ShrinkControl, Shrinker};
//!
//! /// Passes what it is asked on to another shrinker, but for little at a time, and not for requests that keep out of storage.
//! struct Gently<S>(S);
//!
//! impl<S: Shrinker> Shrinker for Gently<S> {
//!     fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
//!         if control.gfp().contains(Gfp::FS) { self.0.count_objects(control) } else { ObjectCount::Objects(0) }
//!     }
//!     fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
//!         assert!(control.nr_to_scan() <= self.batch());
//!         self.0.scan_objects(control)
//!     }
//!     fn seeks(&self) -> u32 {
//!         self.0.seeks()
//!     }
//!     fn batch(&self) -> u64 {
//!         self.0.batch().min(16)
//!     }
//!     fn numa_aware(&self) -> bool {
//!         self.0.numa_aware()
//!     }
//! }
//!
//! /// Has nothing on node 0 but hope.
//! struct Hope;
//!
//! impl Shrinker for Hope {
//!     fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
//!         if control.nid() == Nid::new(0) { ObjectCount::Objects(1000) } else { ObjectCount::Empty }
//!     }
//!     fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
//!         control.set_nr_scanned(control.nr_to_scan() / 2);
//!         Some(0)
//!     }
//! }
//!
//! let allocator = Allocator::builder(16 << 20).build()?;
//! let registered = allocator.register_shrinker("hope", Gently(Hope));
//! let mut pages = Vec::new();
//! while let Ok(page) = allocator.alloc_page(Gfp::KERNEL) {
//!     pages.push(page);
//! }
//! let report = registered.report();
//! assert!(report.scanned_objects >= 1000 && report.freed_frames == 0);
//! # Ok::<(), gfp::BuildError>(())
//! ```
//!
//! # What a shrinker may do
//!
//! Anything that the thread may do which asked for memory: its callbacks run there, or on a thread of the allocator's, with nothing
//! locked. In particular:
//!
//! - **It may allocate.** Inside a callback the thread is inside a [`MemallocScope`](crate::gfp::MemallocScope): its requests may
//!   use all reserves, and never reclaim again.
//! - **It may free, on this thread or another.** See below.
//! - **It may sleep.** Whoever asked for memory waits as long.
//! - **It may be registered or removed**, itself or another one, by any thread at any time. A thread that removes a shrinker waits until
//!   none of its callbacks runs, except inside a callback, its own or another's: then the shrinker goes when the last of its callbacks has
//!   returned.
//! - **It may panic.** The panic is caught and counted, the shrinker is not called again, and
//!   [the report](ShrinkerReport) says so. In a program that is built with `panic = "abort"` a panic ends it, here as anywhere.
//! - **It may be called by several threads at once.**
//!
//! It must not wait for a lock under which somebody asks for memory: that one may be who called it. Either it tries the lock, or the
//! request is made without [`Gfp::FS`](crate::Gfp::FS) and the shrinker, which sees [the mask](ShrinkControl::gfp), stays away.
//!
//! # What counts as freed
//!
//! A shrinker counts in objects, and may be wrong; whoever waits for memory relies on frames. So what a scan says is
//! believed only as far as it was seen:
//!
//! 1. Frames that the calling thread gave back during the scan, less those that it took, count, whatever the shrinker says.
//! 2. If there were none, but the shrinker says that it freed objects, the caches of the other threads are looked at: of each that gave
//!    back more than it took since the last look, the difference counts, and so does that of all frees and requests past the caches; but not more
//!    frames than the shrinker says objects. A thread that takes what another one gives back does not hide it. What others
//!    give back on their own account at that moment is not told apart: then memory has come back, too. Frames that
//!    are given back after the scan has returned are seen at the next scan, or by whoever asks next.
//!
//! A shrinker whose scans free nothing is asked again, as in the kernel, but not for ever: its turn ends after 1024 scans in a row
//! in which nothing came back, and what it was not asked for is put off. kswapd asks for no more than is missing, and a scan for no more objects than frames are wanted.
//! That, and that more than 2^61 objects count as 2^61, is all that differs from the kernel's arithmetic (`do_shrink_slab`, 6.x).
//!
//! # Who asks
//!
//! | file | idea |
//! |---|---|
//! | `shrinker` | those who offer it: caches of the application |
//! | `kswapd`, `balance` | the thread of each node, and how much it reclaims |
//! | `wish` | what it is asked for |
//! | `direct`, `throttle` | reclaim on the thread of a request, and when that waits for kswapd |
//! | `node_reclaim` | reclaim before a request goes to another node |
//! | `events`, `report` | what is counted and told |

#![deny(unsafe_code)]

mod balance;
mod bit_lock;
mod direct;
mod events;
mod kswapd;
mod mem_info;
mod node_reclaim;
mod oom;
mod report;
mod reporting;
mod shrinker;
mod throttle;
mod wish;

pub(crate) use kswapd::MAX_RECLAIM_RETRIES;
pub(crate) use node_reclaim::NodeReclaimMode;
pub(crate) use oom::{Oom, OomHook};
pub use oom::{OomAction, OomCounts, OomReport};
pub use report::{KswapdReport, Pinned};
pub use reporting::Trimmed;
pub(crate) use reporting::{Reporting, report_free};
pub use shrinker::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker, ShrinkerReport};
pub(crate) use shrinker::{ShrinkRound, Shrinkers, Shrunk};

use self::{balance::DEF_PRIORITY, bit_lock::BitLock, events::Events, kswapd::Kswapd, throttle::Throttled};
use crate::{alloc::Domain, frame::Nid, gfp::Gfp, stats::VmStat};

/// What an allocator knows of reclaim.
#[derive(Debug)]
pub(crate) struct Reclaim {
    pub(crate) shrinkers: Shrinkers,
    pub(crate) oom: Oom,
    pgdats: Box<[Pgdat]>,
    mode: NodeReclaimMode,
    events: Events,
}

/// What reclaim knows of a node (`struct pglist_data`).
#[derive(Debug, Default)]
struct Pgdat {
    kswapd: Kswapd,
    throttled: Throttled,
    /// Had by who reclaims memory of the node before a request goes to another.
    reclaiming: BitLock,
    /// Had by who does kswapd's work by hand.
    by_hand: BitLock,
}

impl Reclaim {
    /// Makes what an allocator of so many nodes needs.
    pub(crate) fn new(nodes: usize, mode: NodeReclaimMode, on_oom: Option<OomHook>) -> Self {
        Self {
            oom: Oom::new(on_oom),
            shrinkers: Shrinkers::default(),
            pgdats: (0..nodes).map(|_| Pgdat::default()).collect(),
            mode,
            events: Events::default(),
        }
    }

    fn pgdat(&self, node: Nid) -> &Pgdat {
        &self.pgdats[node.index()]
    }

    /// Returns the frames of a node that could be reclaimed (`zone_reclaimable_pages`).
    pub(crate) fn reclaimable_pages(&self, node: Nid) -> u64 {
        self.shrinkers.count(node)
    }

    /// Writes the counts of reclaim into the allocator's.
    pub(crate) fn fill(&self, vmstat: &mut VmStat) {
        self.events.fill(vmstat);
    }

    /// Asks the caches of a node once, with a priority (`shrink_node`). What they freed goes from the calling thread's cache to the
    /// zones, where all can see it.
    fn shrink_node(
        &self,
        domain: &Domain,
        node: Nid,
        gfp: Gfp,
        priority: u8,
        wanted: &dyn Fn() -> u64,
    ) -> Shrunk {
        let shrunk = self.shrinkers.shrink_slab(domain, ShrinkRound { gfp, node, priority, wanted });
        if shrunk.freed > 0 {
            drain_own_cache(domain);
            self.pgdat(node).kswapd.note_success();
        }
        shrunk
    }
}

/// Drains the calling thread's cache, if it has one.
fn drain_own_cache(domain: &Domain) {
    if let Some(owner) = domain.own_cache() {
        domain.caches().drain_own(&owner);
    }
}
