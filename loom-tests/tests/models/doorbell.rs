//! The bell of a thread that sleeps until there is work for it.

use gfp::sync::{
    Arc, Doorbell, Rung, SeededBug, Slept,
    atomic::{AtomicU32, Ordering},
    thread,
};
use loom_tests::Model;
use std::time::Duration;

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "bell_and_two_ringers",
        property: "no wake-up is lost: what the sleeper is rung for is done",
        bound: "a sleeper without a limit, two that add work and ring once",
        preemptions: Some(3),
        program: bell_and_two_ringers,
        bugs: &[
            (SeededBug::SleeperLooksEarly, "deadlock"),
            (SeededBug::SleeperSkipsFence, "deadlock"),
            (SeededBug::RingerLooksEarly, "deadlock"),
            (SeededBug::RingerSkipsFence, "deadlock"),
        ],
    },
    Model {
        name: "bell_and_a_nap",
        property: "a wish that comes while the sleeper naps is seen before it sleeps",
        bound: "a sleeper that naps and then sleeps without a limit, one that rings twice",
        preemptions: Some(3),
        program: bell_and_a_nap,
        bugs: &[(SeededBug::SleeperLooksEarly, "deadlock"), (SeededBug::RingerLooksEarly, "deadlock")],
    },
    Model {
        name: "bell_and_a_ringer_who_looks",
        property: "who lets the sleeper sleep has found nothing to do",
        bound: "a sleeper without a limit, one that adds work, and one that rings only if there is some",
        preemptions: None,
        program: bell_and_a_ringer_who_looks,
        bugs: &[(SeededBug::SleeperSkipsFence, "deadlock"), (SeededBug::RingerSkipsFence, "deadlock")],
    },
];

#[derive(Default)]
struct Shared {
    bell: Doorbell,
    work: AtomicU32,
}

impl Shared {
    fn has_work(&self) -> bool {
        self.work.load(Ordering::Relaxed) > 0
    }

    fn take_work(&self) -> u32 {
        self.work.swap(0, Ordering::Relaxed)
    }
}

fn bell_and_two_ringers() {
    let shared = Arc::new(Shared::default());
    let ringers = [(); 2].map(|()| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            shared.work.fetch_add(1, Ordering::Relaxed);
            shared.bell.ring(1, || true);
        })
    });
    let mut done = 0;
    while done < 2 {
        done += shared.take_work();
        if done < 2 {
            shared.bell.sleep(None, |_| !shared.has_work());
        }
    }
    ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
    assert_eq!(shared.take_work(), 0);
}

fn bell_and_a_nap() {
    let shared = Arc::new(Shared::default());
    let ringer = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            shared.bell.ring(1, || true);
            shared.bell.ring(2, || true);
        }
    });
    let mut seen = 0;
    while seen != 3 {
        seen |= shared.bell.take();
        let unseen = |wishes: u32| wishes & !seen != 0;
        let slept = shared.bell.sleep(Some(Duration::from_millis(100)), |wishes| !unseen(wishes));
        if slept == Slept::TimedOut && seen != 3 {
            shared.bell.sleep(None, |wishes| !unseen(wishes));
        }
    }
    ringer.join().unwrap();
}

fn bell_and_a_ringer_who_looks() {
    let shared = Arc::new(Shared::default());
    assert!(!shared.bell.rest(|_| false), "it begins awake");
    let ringer = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            shared.work.fetch_add(1, Ordering::Relaxed);
            let rung = shared.bell.ring(0, || shared.has_work());
            assert!(rung != Rung::LetSleep || !shared.has_work(), "work was there");
        }
    });
    let mut done = 0;
    while done == 0 {
        shared.bell.sleep(None, |_| !shared.has_work());
        done = shared.take_work();
    }
    ringer.join().unwrap();
}
