//! Isolation against caches: while some of a zone is isolated, no cache keeps frames of it.

use gfp::sync::atomic::{AtomicU64, Ordering::Relaxed};
use gfp::sync::{Arc, OwnedCell, OwnedCounter, Owner, Registry, SeededBug, fence_claims, seeded, thread};
use loom_tests::Model;
use std::time::Duration;

const KEPT: &str = "a frame of an isolated zone stays in a cache";

pub(crate) const MODELS: &[Model] = &[Model {
    name: "isolation_and_a_new_cache",
    property: "once a zone is isolated and the caches were visited, none keeps a frame of it",
    bound: "one thread that isolates and visits; one that makes a cache and frees two frames into it",
    preemptions: None,
    program: isolation_and_a_new_cache,
    bugs: &[(SeededBug::IsolatedCountedLate, KEPT), (SeededBug::NewCacheKeepsLimits, KEPT)],
}];

/// A cache as far as its limit goes: it keeps so many frames and no more.
struct Cache {
    limit: u64,
    kept: u64,
}

struct Caches {
    isolated: OwnedCounter,
    registry: Registry<OwnedCell<Cache>>,
    /// Frames that went to their zone.
    freed: AtomicU64,
}

impl Caches {
    fn limit(&self) -> u64 {
        if self.isolated.get() == 0 { 2 } else { 0 }
    }

    /// Gives each cache its limit, and frees what is above it.
    fn visit(&self, cells: &[Arc<OwnedCell<Cache>>]) {
        let claims: Vec<_> = cells.iter().filter_map(|cell| cell.try_claim()).collect();
        let fence = fence_claims();
        for mut cache in claims.into_iter().filter_map(|claim| claim.wait(&fence, Duration::MAX)) {
            self.fit(&mut cache);
        }
    }

    fn fit(&self, cache: &mut Cache) {
        cache.limit = self.limit();
        let too_much = cache.kept.saturating_sub(cache.limit);
        cache.kept -= too_much;
        self.freed.fetch_add(too_much, Relaxed);
    }

    fn isolate(&self) {
        let late = seeded(SeededBug::IsolatedCountedLate);
        if !late {
            self.isolated.add(1);
        }
        self.registry.with_entries(|cells| self.visit(cells));
        if late {
            self.isolated.add(1);
        }
    }

    fn register(&self) -> Owner<Cache> {
        let owner = Owner::new(Cache { limit: self.limit(), kept: 0 });
        self.registry.register(Arc::clone(owner.cell())).expect("the registry is open");
        if !seeded(SeededBug::NewCacheKeepsLimits) {
            self.registry.with_entries(|_| self.visit(std::slice::from_ref(owner.cell())));
        }
        owner
    }

    /// Frees a frame into a cache, and what is too much then to the zone; past the cache while somebody has it.
    fn free(&self, owner: &Owner<Cache>) {
        let Ok(mut cache) = owner.enter() else {
            self.freed.fetch_add(1, Relaxed);
            return;
        };
        cache.kept += 1;
        if cache.kept > cache.limit {
            self.fit(&mut cache);
        }
    }
}

fn isolation_and_a_new_cache() {
    let caches = Arc::new(Caches {
        isolated: OwnedCounter::new(),
        registry: Registry::new(),
        freed: AtomicU64::new(0),
    });
    let isolator = thread::spawn({
        let caches = Arc::clone(&caches);
        move || caches.isolate()
    });
    let owner = caches.register();
    caches.free(&owner);
    isolator.join().unwrap();
    caches.free(&owner);
    let kept = owner.enter().expect("nobody visits any more").kept;
    assert_eq!((kept, caches.freed.load(Relaxed)), (0, 2), "a frame of an isolated zone stays in a cache");
}
