//! A value that is taken away while others use it: a shrinker that is removed while its cache is being scanned.

use gfp::sync::atomic::{AtomicBool, Ordering};
use gfp::sync::{Arc, Registry, Revocable, SeededBug, UnsafeCell, thread};
use loom_tests::Model;

/// The object is used while it ends.
const RACE: &str = "Causality violation";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "shrinker_removal_and_scan",
        property: "once a shrinker was removed, none of its callbacks runs, and its object is whole and the remover's",
        bound: "a thread that looks for a shrinker twice and scans it, one that removes it",
        preemptions: None,
        program: removal_and_scan,
        bugs: &[
            (SeededBug::RevokeSkipsUsers, RACE),
            (SeededBug::RevokedIsEntered, RACE),
            (SeededBug::AccessLeftRelaxed, RACE),
            (SeededBug::RevokerNotWoken, "deadlock"),
        ],
    },
    Model {
        name: "shrinker_that_removes_itself",
        property: "one that removes itself inside its scan ends once, after the last scan of any thread",
        bound: "a thread that scans and removes, one that scans",
        preemptions: None,
        program: removal_from_inside,
        bugs: &[(SeededBug::RevokedIsEntered, RACE), (SeededBug::AccessLeftRelaxed, RACE)],
    },
    Model {
        name: "shrinker_and_two_removers",
        property: "of those who remove a shrinker at the same time one gets its object, and none returns before the last scan",
        bound: "a thread that scans, two that remove",
        preemptions: Some(3),
        program: two_removers,
        bugs: &[
            (SeededBug::RevokedTakenTwice, RACE),
            (SeededBug::RevokeSkipsUsers, RACE),
            (SeededBug::RevokerNotWoken, "deadlock"),
        ],
    },
];

/// What a shrinker is about: scanned by one thread at a time in these models, so that loom sees every access.
struct Cache(UnsafeCell<u32>);

// SAFETY: one thread scans it, and whoever has removed it reads it; loom checks that.
unsafe impl Sync for Cache {}
// SAFETY: plain data.
unsafe impl Send for Cache {}

impl Cache {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn scan(&self) {
        // SAFETY: one thread scans.
        self.0.with_mut(|scans| unsafe { *scans += 1 });
    }

    fn scans(self) -> u32 {
        // SAFETY: nobody else has it.
        self.0.with(|scans| unsafe { *scans })
    }
}

fn removal_and_scan() {
    struct Entry {
        cache: Revocable<Cache>,
        running: AtomicBool,
    }
    let registry = Arc::new(Registry::new());
    let entry = Arc::new(Entry { cache: Revocable::new(Cache::new()), running: AtomicBool::new(false) });
    registry.register(Arc::clone(&entry)).expect("the registry is open");
    let reclaimer = thread::spawn({
        let registry = Arc::clone(&registry);
        move || {
            let mut scans = 0;
            for _ in 0..2 {
                let found: Option<Arc<Entry>> = registry.with_entries(|entries| entries.first().cloned());
                let Some(entry) = found else { continue };
                if let Some(cache) = entry.cache.try_access() {
                    entry.running.store(true, Ordering::Relaxed);
                    cache.scan();
                    scans += 1;
                    entry.running.store(false, Ordering::Relaxed);
                }
            }
            scans
        }
    });
    registry.unregister(&entry, |_| ()).expect("nobody else removes it");
    let cache = entry.cache.revoke().expect("nobody else removes it");
    assert!(!entry.running.load(Ordering::Relaxed), "a callback runs after the removal");
    let seen = cache.scans();
    assert_eq!(reclaimer.join().unwrap(), seen, "every scan came before the removal");
}

/// Counts how often it ends, and finds whoever uses it then.
struct Ends {
    used: [UnsafeCell<u32>; 2],
    ended: Arc<UnsafeCell<u32>>,
}

// SAFETY: each thread writes its own place, and whoever ends it reads both; loom checks that.
unsafe impl Sync for Ends {}
// SAFETY: plain data.
unsafe impl Send for Ends {}

impl Ends {
    fn scan(&self, thread: usize) {
        // SAFETY: the place is this thread's.
        self.used[thread].with_mut(|used| unsafe { *used += 1 });
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        for place in &self.used {
            // SAFETY: everybody is done with it.
            place.with(|used| unsafe { assert!(*used <= 1) });
        }
        // SAFETY: it ends once.
        self.ended.with_mut(|ended| unsafe { *ended += 1 });
    }
}

fn removal_from_inside() {
    let ended = Arc::new(UnsafeCell::new(0));
    let used = [UnsafeCell::new(0), UnsafeCell::new(0)];
    let cache = Arc::new(Revocable::new(Ends { used, ended: Arc::clone(&ended) }));
    let other = thread::spawn({
        let cache = Arc::clone(&cache);
        move || {
            if let Some(access) = cache.try_access() {
                access.scan(1);
            }
        }
    });
    let access = cache.try_access().expect("nobody else removes it");
    access.scan(0);
    assert!(cache.revoke().is_none());
    drop(access);
    other.join().unwrap();
    // SAFETY: both threads are done with it.
    ended.with(|ended| unsafe { assert_eq!(*ended, 1, "it ends once") });
}

fn two_removers() {
    let cache = Arc::new(Revocable::new(Cache::new()));
    let remove = |cache: Arc<Revocable<Cache>>| cache.revoke().map(Cache::scans);
    let other = thread::spawn({
        let cache = Arc::clone(&cache);
        move || remove(cache)
    });
    let scanner = thread::spawn({
        let cache = Arc::clone(&cache);
        move || {
            if let Some(cache) = cache.try_access() {
                cache.scan();
            }
        }
    });
    let mine = remove(Arc::clone(&cache));
    let theirs = other.join().unwrap();
    scanner.join().unwrap();
    assert!(mine.is_some() != theirs.is_some(), "one gets it");
}
