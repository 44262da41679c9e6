//! What reclaim sees of a cache, and what a thread knows of reclaim that runs on it.

use std::{cell::Cell, sync::Weak};

use gfp::reclaim::{ObjectCount, ShrinkControl, Shrinker};

use super::cache::Cache;

thread_local! {
    /// How often reclaim asked caches on this thread.
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Returns how often reclaim has asked caches on this thread: if it grows during a request, that request reclaimed directly.
pub(super) fn asked_here() -> u64 {
    ASKED.get()
}

/// A cache's shrinker; its objects are pages. It keeps no cache alive.
#[derive(Debug)]
pub(super) struct CacheShrinker(pub(super) Weak<Cache>);

impl Shrinker for CacheShrinker {
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        ASKED.set(ASKED.get() + 1);
        match self.0.upgrade().map_or(0, |cache| cache.frames_of(control.nid())) {
            0 => ObjectCount::Empty,
            frames => ObjectCount::Objects(frames),
        }
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let freed = self.0.upgrade()?.evict(control.nid(), control.nr_to_scan());
        control.set_nr_scanned(freed);
        Some(freed)
    }

    fn seeks(&self) -> u32 {
        self.0.upgrade().map_or(2, |cache| cache.kind.seeks)
    }

    fn batch(&self) -> u64 {
        self.0.upgrade().map_or(128, |cache| cache.kind.batch)
    }

    fn numa_aware(&self) -> bool {
        true
    }
}
