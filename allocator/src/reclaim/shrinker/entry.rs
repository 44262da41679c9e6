//! One registered shrinker.

use core::fmt;

use super::{Shrinker, share::Cost};
use crate::{
    alloc::call_application,
    frame::Nid,
    sync::{
        Access, Revocable,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A registered shrinker, and what it did.
pub(crate) struct Entry {
    /// Its number in the order of registration.
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) cost: Cost,
    numa_aware: bool,
    object: Revocable<Box<dyn Shrinker>>,
    /// By node, the objects that were put off (`nr_deferred`).
    deferred: Box<[AtomicU64]>,
    disabled: AtomicBool,
    /// Whether its frames are to be looked for on other threads: at first, and while none are seen on the one that scans.
    pub(super) frees_elsewhere: AtomicBool,
    pub(super) counts: AtomicU64,
    scans: AtomicU64,
    scanned: AtomicU64,
    claimed: AtomicU64,
    freed: AtomicU64,
    pub(super) given_up: AtomicU64,
    panics: AtomicU64,
}

impl Entry {
    /// Makes a shrinker of its object, for an allocator of so many nodes.
    pub(super) fn new(number: u64, name: &'static str, shrinker: Box<dyn Shrinker>, nodes: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let numa_aware = shrinker.numa_aware();
        let nodes = if numa_aware { nodes } else { 1 };
        Self {
            number,
            name,
            cost: Cost { seeks: shrinker.seeks(), batch: shrinker.batch() },
            numa_aware,
            object: Revocable::new(shrinker),
            deferred: (0..nodes).map(|_| zero()).collect(),
            disabled: AtomicBool::new(false),
            frees_elsewhere: AtomicBool::new(true),
            counts: zero(),
            scans: zero(),
            scanned: zero(),
            claimed: zero(),
            freed: zero(),
            given_up: zero(),
            panics: zero(),
        }
    }

    /// Returns the node that the shrinker is asked for, when memory of `node` is wanted.
    pub(super) fn nid(&self, node: Nid) -> Nid {
        if self.numa_aware { node } else { Nid::new(0) }
    }

    /// Calls the shrinker back, with nothing held: as any code outside, but its requests do not reclaim.
    ///
    /// `None` when it was removed, when it panicked, now or earlier, or when the thread is inside a callback already.
    pub(super) fn call<R>(&self, callback: impl FnOnce(&dyn Shrinker) -> R) -> Option<R> {
        if self.disabled.load(Ordering::Relaxed) {
            return None;
        }
        let access = self.object.try_access()?;
        let result = self.caught(|| callback(&**access));
        // If it was removed meanwhile, its object may end here, which is its code, too.
        let left = self.caught(|| drop::<Access<'_, _>>(access));
        result.filter(|_| left.is_some())
    }

    /// Calls a piece of the shrinker's code; after a panic the shrinker is not called again.
    fn caught<R>(&self, code: impl FnOnce() -> R) -> Option<R> {
        let result = call_application(code);
        if result.is_none() {
            self.disabled.store(true, Ordering::Relaxed);
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Ends all callbacks, and then the object. Waits for those of other threads, unless this is inside of one.
    pub(super) fn remove(&self) {
        drop(self.object.revoke());
    }

    /// Lets no callback begin any more, and waits for none: the last to return drops the object.
    pub(super) fn remove_later(&self) {
        self.object.revoke_later();
    }

    /// Takes what was put off for a node (`xchg_nr_deferred`).
    pub(super) fn take_deferred(&self, nid: Nid) -> u64 {
        self.deferred.get(nid.index()).map_or(0, |deferred| deferred.swap(0, Ordering::Relaxed))
    }

    /// Puts off objects of a node (`add_nr_deferred`).
    pub(super) fn defer(&self, nid: Nid, objects: u64) {
        if let Some(deferred) = self.deferred.get(nid.index()) {
            add(deferred, objects);
        }
    }

    /// Notes a scan: what the shrinker says, and what was seen.
    pub(super) fn note_scan(&self, scanned: u64, claimed: u64, freed: u64) {
        for (counter, number) in
            [(&self.scans, 1), (&self.scanned, scanned), (&self.claimed, claimed), (&self.freed, freed)]
        {
            add(counter, number);
        }
    }

    /// Says what is known of it.
    pub(super) fn report(&self) -> ShrinkerReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShrinkerReport {
            name: self.name,
            numa_aware: self.numa_aware,
            counts: read(&self.counts),
            scans: read(&self.scans),
            scanned_objects: read(&self.scanned),
            claimed_objects: read(&self.claimed),
            freed_frames: read(&self.freed),
            deferred_objects: self.deferred.iter().map(read).fold(0, u64::saturating_add),
            given_up: read(&self.given_up),
            panics: read(&self.panics),
            disabled: self.disabled.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a number that stays at the largest: what shrinkers say knows no bounds.
fn add(number: &AtomicU64, more: u64) {
    let sum = |before: u64| Some(before.saturating_add(more));
    let _: Result<u64, u64> = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

/// What is known of a shrinker.
///
/// ```
/// use gfp::{Allocator, reclaim::{ObjectCount, ShrinkControl, Shrinker}};
///
/// struct Nothing;
/// impl Shrinker for Nothing {
///     fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
///         ObjectCount::Empty
///     }
///     fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
///         None
///     }
/// }
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let registered = allocator.register_shrinker("nothing", Nothing);
/// let report = registered.report();
/// assert_eq!((report.name, report.scans, report.disabled), ("nothing", 0, false));
/// # Ok::<(), gfp::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkerReport {
    /// The name that it was registered with.
    pub name: &'static str,
    /// Whether it tells nodes apart.
    pub numa_aware: bool,
    /// How often its objects were counted for a round.
    pub counts: u64,
    /// How often it was asked to scan.
    pub scans: u64,
    /// Objects that it says it scanned.
    pub scanned_objects: u64,
    /// Objects that it says it freed.
    pub claimed_objects: u64,
    /// Frames that were seen to come back in its scans; [`reclaim`](crate::reclaim) says what counts.
    pub freed_frames: u64,
    /// Objects that it was not asked for yet, on all nodes.
    pub deferred_objects: u64,
    /// Turns that were ended because nothing came back in 1024 scans.
    pub given_up: u64,
    /// Callbacks that panicked.
    pub panics: u64,
    /// Whether it is not called any more, because of a panic.
    pub disabled: bool,
}
