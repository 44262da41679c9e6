//! The spinlock: mutual exclusion, visibility, and no lost wake-up.

use gfp::sync::{Arc, LockRank, SeededBug, SpinLock, thread};
use loom_tests::Model;

/// Two holders at a time, or one does not see what the other did.
const RACE: &str = "Causality violation";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "spin_lock_two_threads",
        property: "one holder at a time, which sees what those before did; no sleeper is forgotten",
        bound: "two threads, one and two turns",
        preemptions: None,
        program: || lock_in_threads(2, 2),
        bugs: &[
            (SeededBug::SpinUnlockRelaxed, RACE),
            (SeededBug::SpinLostCas, RACE),
            (SeededBug::SpinLostWake, "deadlock"),
        ],
    },
    Model {
        name: "spin_lock_three_threads",
        property: "the same with two sleepers",
        bound: "three threads, a turn each",
        preemptions: Some(3),
        program: || lock_in_threads(3, 1),
        bugs: &[(SeededBug::SpinUnlockRelaxed, RACE), (SeededBug::SpinLostWake, "deadlock")],
    },
    Model {
        name: "spin_try_lock",
        property: "a lock that was tried is held like any other",
        bound: "a thread that waits, one that tries",
        preemptions: None,
        program: try_lock_beside_lock,
        bugs: &[(SeededBug::SpinLostCas, RACE), (SeededBug::SpinUnlockRelaxed, RACE)],
    },
];

/// The main thread takes the lock once, each other thread `turns` times.
fn lock_in_threads(threads: usize, turns: usize) {
    let lock = Arc::new(SpinLock::new(LockRank::Zone, 0));
    let add = move |lock: &SpinLock<usize>| (0..turns).for_each(|_| *lock.lock() += 1);
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || add(&lock))
        })
        .collect();
    *lock.lock() += 1;
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(*lock.lock(), 1 + (threads - 1) * turns, "each holder saw what the holders before it did");
}

fn try_lock_beside_lock() {
    let lock = Arc::new(SpinLock::new(LockRank::Zone, 0));
    let other = thread::spawn({
        let lock = Arc::clone(&lock);
        move || lock.try_lock().map(|mut value| *value += 1).is_some()
    });
    *lock.lock() += 1;
    let taken = other.join().unwrap();
    assert_eq!(*lock.lock(), 1 + u32::from(taken), "each holder saw what the holders before it did");
}
