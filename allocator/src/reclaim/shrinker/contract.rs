//! What a cache implements to be asked for memory.

use crate::{frame::Nid, gfp::Gfp};

/// How many objects a shrinker could free (what `count_objects` returns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectCount {
    /// There is none at all (`SHRINK_EMPTY`).
    Empty,
    /// So many; 0 when there are some but none can be freed now.
    Objects(u64),
}

/// What is asked of a shrinker (`struct shrink_control`).
///
/// Shown at [`Shrinker`].
#[derive(Clone, Copy, Debug)]
pub struct ShrinkControl {
    gfp: Gfp,
    nid: Nid,
    nr_to_scan: u64,
    nr_scanned: u64,
}

impl ShrinkControl {
    pub(super) const fn new(gfp: Gfp, nid: Nid) -> Self {
        Self { gfp, nid, nr_to_scan: 0, nr_scanned: 0 }
    }

    /// Asks for a scan; unless the shrinker says otherwise it scans what it is asked to.
    pub(super) const fn ask(&mut self, nr_to_scan: u64) {
        self.nr_to_scan = nr_to_scan;
        self.nr_scanned = nr_to_scan;
    }

    pub(super) const fn nr_scanned(&self) -> u64 {
        self.nr_scanned
    }

    /// Returns the mask of the request that memory is reclaimed for, so that a shrinker can refuse what it forbids: without
    /// [`Gfp::FS`] or [`Gfp::IO`] it must not go back into the storage layer.
    pub const fn gfp(&self) -> Gfp {
        self.gfp
    }

    /// Returns the node whose memory is wanted; node 0 for a shrinker that does not tell nodes apart.
    pub const fn nid(&self) -> Nid {
        self.nid
    }

    /// Returns how many objects a scan should look at; 0 while they are counted.
    pub const fn nr_to_scan(&self) -> u64 {
        self.nr_to_scan
    }

    /// Says how many objects a scan looked at, where it was not [as many as asked](Self::nr_to_scan).
    ///
    /// After 0 the turn of the shrinker ends: there was nothing to look at.
    pub const fn set_nr_scanned(&mut self, nr_scanned: u64) {
        self.nr_scanned = nr_scanned;
    }
}

/// A cache that can give memory back (`struct shrinker`).
///
/// Both callbacks may be called at any time until the shrinker has been removed, by several threads at once. What they may do, and
/// what counts as freed, is told at [`reclaim`](crate::reclaim).
///
/// A shrinker that holds an [`Allocator`](crate::Allocator) keeps it open, and the allocator keeps the shrinker: neither ever ends. A cache
/// that needs the allocator and is its shrinker has the two apart, as here: the shrinker only refers to the cache.
///
/// ```
/// use std::sync::{Arc, Mutex, Weak};
/// use gfp::{Allocator, Gfp, Maintain, Nid, Pages};
/// use gfp::reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker};
///
/// /// Pages that are read again if need be, the oldest first.
/// #[derive(Default)]
/// struct Cache(Mutex<Vec<Pages>>);
///
/// struct CacheShrinker(Weak<Cache>);
///
/// impl Shrinker for CacheShrinker {
///     fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
///         assert_eq!(control.nid(), Nid::new(0), "it does not tell nodes apart");
///         match self.0.upgrade() {
///             Some(cache) if !cache.0.lock().unwrap().is_empty() => {
///                 ObjectCount::Objects(cache.0.lock().unwrap().len() as u64)
///             }
///             _ => ObjectCount::Empty,
///         }
///     }
///
///     fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
///         if !control.gfp().contains(Gfp::FS) {
///             return None; // Not now.
///         }
///         let cache = self.0.upgrade()?;
///         // Not while somebody works with the cache: it may be who asks for memory.
///         let mut pages = cache.0.try_lock().ok()?;
///         let wanted = usize::try_from(control.nr_to_scan()).unwrap_or(usize::MAX).min(pages.len());
///         control.set_nr_scanned(wanted as u64);
///         Some(pages.drain(..wanted).count() as u64) // dropped: free
///     }
/// }
///
/// let allocator = Allocator::builder(16 << 20).maintain(Maintain::ByHand).build()?;
/// let cache = Arc::new(Cache::default());
/// let registered: RegisteredShrinker =
///     allocator.register_shrinker("example", CacheShrinker(Arc::downgrade(&cache)));
/// // Many more pages than there are: each request gets one, because the cache gives older ones up.
/// for _ in 0..3 * allocator.arena().frames() {
///     let page = allocator.alloc_page(Gfp::KERNEL)?;
///     cache.0.lock().unwrap().push(page);
/// }
/// assert!(registered.report().freed_frames > allocator.arena().frames());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "register_shrinker")]
#[doc(alias = "shrinker_register")]
pub trait Shrinker: Send + Sync {
    /// Says how many objects could be freed. Should be quick and need not be exact.
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount;

    /// Looks at [`nr_to_scan`](ShrinkControl::nr_to_scan) objects and frees those that nobody needs; returns how many those were.
    ///
    /// `None` (`SHRINK_STOP`) when no progress can be made now: for example because of a lock, or because the mask forbids what
    /// it would take. The turn of the shrinker ends then, and what was not scanned is put off to a later one.
    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64>;

    /// Returns what it costs to make an object again, by the kernel's measure: 2 (`DEFAULT_SEEKS`) for a read from a disk. An object that costs
    /// more is asked for less. 0 means that it costs nothing: half of the objects are asked for at any priority.
    ///
    /// Asked once, when the shrinker is registered.
    fn seeks(&self) -> u32 {
        2
    }

    /// Returns how many objects are asked for at a time (`SHRINK_BATCH`, 128); 0 means the same.
    ///
    /// Asked once, when the shrinker is registered.
    fn batch(&self) -> u64 {
        128
    }

    /// Tells whether the shrinker can count and scan the objects of one node (`SHRINKER_NUMA_AWARE`): [`nid`](ShrinkControl::nid) says
    /// which.
    ///
    /// Asked once, when the shrinker is registered.
    fn numa_aware(&self) -> bool {
        false
    }
}
