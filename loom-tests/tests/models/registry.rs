//! The registry: threads come and go while others visit all of them.

use gfp::sync::{Arc, NotEntered, OwnedCell, OwnedCounter, Owner, Registry, SeededBug, fence_claims, thread};
use loom_tests::Model;
use std::time::Duration;

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "registration_and_drain_all",
        property: "a cell is drained by the closer of its registry, or learns that it is closed",
        bound: "a thread that registers and enters, a closer",
        preemptions: None,
        program: registration_and_drain_all,
        bugs: &[(SeededBug::RegisterSkipsClosed, "an open cell in a closed allocator")],
    },
    Model {
        name: "counter_fold_on_exit",
        property: "a reader counts a thread that ends once, listed or folded",
        bound: "a thread that ends, a reader that looks twice",
        preemptions: None,
        program: counter_fold_on_exit,
        bugs: &[(SeededBug::FoldOutsideLock, "counted twice or missed")],
    },
];

fn registration_and_drain_all() {
    let registry = Arc::new(Registry::<OwnedCell<u32>>::new());
    let closer = thread::spawn({
        let registry = Arc::clone(&registry);
        move || {
            registry.close(|cells| {
                let claims: Vec<_> = cells.iter().filter_map(|cell| cell.try_claim()).collect();
                let fence = fence_claims();
                let claimed = claims.into_iter().filter_map(|claim| claim.wait(&fence, Duration::MAX));
                claimed
                    .map(|mut claimed| {
                        let taken = std::mem::take(&mut *claimed);
                        claimed.keep();
                        taken
                    })
                    .sum::<u32>()
            })
        }
    });
    let owner = Owner::new(0);
    let mut put_in = 0;
    let registered = registry.register(Arc::clone(owner.cell())).is_ok();
    if registered && let Ok(mut inside) = owner.enter() {
        *inside += 1;
        put_in = 1;
    }
    let taken = closer.join().unwrap();
    let entered = registered && owner.enter().err() != Some(NotEntered::Claimed);
    assert!(!entered, "an open cell in a closed allocator");
    assert_eq!(put_in, taken, "nothing stays in a cell that was drained");
}

fn counter_fold_on_exit() {
    struct Shared {
        registry: Registry<OwnedCounter>,
        /// Written under the registry's lock.
        total: OwnedCounter,
    }
    let shared = Arc::new(Shared { registry: Registry::new(), total: OwnedCounter::new() });
    let counter = Arc::new(OwnedCounter::new());
    counter.add(3);
    shared.registry.register(Arc::clone(&counter)).expect("the registry is open");
    let exiting = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            shared
                .registry
                .unregister(&counter, |counter| counter.fold_into(&shared.total))
                .expect("it was listed");
        }
    });
    let sum = || {
        shared.registry.with_entries(|counters| {
            counters.iter().map(|counter| counter.get()).sum::<u64>() + shared.total.get()
        })
    };
    assert_eq!(sum(), 3, "counted twice or missed");
    exiting.join().unwrap();
    assert_eq!(sum(), 3, "counted twice or missed");
}
