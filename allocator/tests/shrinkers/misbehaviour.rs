//! Shrinkers that panic, sleep, allocate, say what is not so, or never give anything.

use std::time::Duration;

use gfp::{
    Allocator, Gfp, Order,
    gfp::{Scopes, current_scopes},
    reclaim::{ObjectCount, ShrinkControl, Shrinker},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    common::assert_all_free,
    rig::{Script, Spare, ask, of_objects, small, take_all},
};

#[test]
fn a_cache_gives_up_pages_and_the_request_succeeds() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    assert!(!ask(&allocator));
    let registered = allocator.register_shrinker("spare", spare.clone());
    assert!(ask(&allocator));
    let report = registered.report();
    assert!(report.freed_frames > 0 && report.freed_frames == report.claimed_objects, "{report:?}");
    assert_eq!(allocator.vmstat().slabs_scanned, report.scanned_objects);
    assert!(allocator.vmstat().to_string().contains("\nslabs_scanned "));
    spare.clear();
    assert_all_free(&allocator);
}

#[test]
fn requests_that_may_not_wait_run_no_shrinker() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let registered = allocator.register_shrinker("spare", spare.clone());
    for gfp in [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::KERNEL.without(Gfp::DIRECT_RECLAIM)] {
        let all_there_is: Vec<_> = std::iter::from_fn(|| allocator.alloc_page(gfp).ok()).collect();
        assert!(allocator.alloc_pages(gfp, Order::new(3)).is_err());
        drop(all_there_is);
    }
    assert_eq!((registered.report().counts, registered.report().scans), (0, 0));
}

/// Panics when it is dropped, once.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            std::panic::panic_any(Bomb(false));
        }
    }
}

/// Registers a shrinker that panics, beside one that gives pages up; checks that memory is had all the same, and that the first is
/// disabled after one call.
fn panics_once(make: impl FnOnce(&Spare) -> Box<dyn Shrinker>) {
    struct Boxed(Box<dyn Shrinker>);
    impl Shrinker for Boxed {
        fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
            self.0.count_objects(control)
        }
        fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
            self.0.scan_objects(control)
        }
    }
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let bad = allocator.register_shrinker("bad", Boxed(make(&spare)));
    let _good = allocator.register_shrinker("good", spare.clone());
    assert!(ask(&allocator), "the other one has enough");
    for _ in 0..3 {
        let _refill = take_all(&allocator);
        ask(&allocator);
    }
    let report = bad.report();
    assert_eq!((report.panics, report.disabled), (1, true), "{report:?}");
    assert!(report.counts >= 1 && report.scans <= 1, "{report:?}");
    assert_eq!(allocator.shrinkers()[0], report);
    drop(bad);
    spare.clear();
    assert_all_free(&allocator);
}

#[test]
fn a_shrinker_that_panics_is_caught_and_not_called_again() {
    let objects = |_: &ShrinkControl| ObjectCount::Objects(1000);
    panics_once(|_| {
        Box::new(Script {
            count: |_: &ShrinkControl| panic!("in count_objects"),
            scan: |_: &mut ShrinkControl| None,
        })
    });
    panics_once(|_| {
        Box::new(Script { count: objects, scan: |_: &mut ShrinkControl| panic!("in scan_objects") })
    });
    panics_once(|spare| {
        let spare = spare.clone();
        let scan = move |_: &mut ShrinkControl| {
            let _given = spare.take(3);
            panic!("while three pages are being dropped");
        };
        Box::new(Script { count: objects, scan })
    });
    panics_once(|_| {
        Box::new(Script { count: objects, scan: |_: &mut ShrinkControl| std::panic::panic_any(Bomb(true)) })
    });
}

#[test]
fn pages_that_were_given_before_a_panic_count() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let registered = allocator.register_shrinker(
        "panics late",
        of_objects(1000, {
            let spare = spare.clone();
            move |_: &mut ShrinkControl| {
                drop(spare.take(5));
                panic!("five pages are free");
            }
        }),
    );
    assert!(ask(&allocator));
    assert_eq!((registered.report().freed_frames, registered.report().claimed_objects), (5, 0));
}

/// Lets a shrinker have a turn where nothing else can be had, and checks that the request ends, without a page; returns what is
/// known of the shrinker.
fn has_a_turn_in_vain(shrinker: impl Shrinker + 'static) -> gfp::reclaim::ShrinkerReport {
    let allocator = small();
    let all = take_all(&allocator);
    let registered = allocator.register_shrinker("in vain", shrinker);
    assert!(!ask(&allocator));
    drop(all);
    assert_all_free(&allocator);
    let report = registered.report();
    assert_eq!((report.freed_frames, report.panics), (0, 0), "{report:?}");
    report
}

#[test]
fn a_shrinker_that_counts_too_many_and_frees_nothing_for_ever_ends() {
    let report = has_a_turn_in_vain(of_objects(u64::MAX, |_| Some(0)));
    assert!(report.given_up > 0 && report.scans >= 1024, "{report:?}");
    let report = has_a_turn_in_vain(of_objects(u64::MAX, |control| {
        control.set_nr_scanned(1);
        Some(0)
    }));
    assert!(report.given_up > 0, "{report:?}");
}

#[test]
fn a_shrinker_that_scans_nothing_or_more_than_there_is_ends() {
    let report = has_a_turn_in_vain(of_objects(u64::MAX, |control| {
        control.set_nr_scanned(0);
        Some(0)
    }));
    assert!(report.scans > 0 && report.scanned_objects == 0 && report.given_up == 0, "{report:?}");
    let report = has_a_turn_in_vain(of_objects(1000, |control| {
        control.set_nr_scanned(u64::MAX);
        Some(0)
    }));
    assert!(report.scans > 0, "{report:?}");
    let report = has_a_turn_in_vain(of_objects(u64::MAX, |_| None));
    assert!(report.scans > 0 && report.deferred_objects > 0, "what was stopped is put off: {report:?}");
}

#[test]
fn what_a_shrinker_says_that_it_freed_is_not_believed() {
    for claimed in [1, 128, u64::MAX] {
        let report = has_a_turn_in_vain(of_objects(10_000, move |_| Some(claimed)));
        assert!(report.claimed_objects >= claimed, "{report:?}");
    }
}

#[test]
fn a_shrinker_that_counts_none_is_left_alone() {
    let none = |count| Script {
        count: move |_: &ShrinkControl| count,
        scan: |_: &mut ShrinkControl| unreachable!("there is nothing to scan"),
    };
    for count in [ObjectCount::Empty, ObjectCount::Objects(0)] {
        assert!(has_a_turn_in_vain(none(count)).counts > 0);
    }
}

#[test]
fn a_shrinker_that_sleeps_delays_its_caller() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let slow = {
        let spare = spare.clone();
        move |control: &mut ShrinkControl| {
            gfp::sync::thread::sleep(Duration::from_millis(2));
            spare.scan_objects(control)
        }
    };
    let _registered = allocator.register_shrinker("slow", of_objects(300, slow));
    assert!(ask(&allocator));
    spare.clear();
}

/// Asks for memory inside of its scan as any code does.
fn asks_inside(allocator: &Allocator, depth: &AtomicU32) {
    assert_eq!(depth.fetch_add(1, Ordering::Relaxed), 0, "a callback led into another one");
    assert!(current_scopes().contains(Scopes::MEMALLOC));
    let mut got = Vec::new();
    for (gfp, order) in [(Gfp::KERNEL, 0), (Gfp::HIGHUSER_MOVABLE, 0), (Gfp::KERNEL, 4), (Gfp::KERNEL, 10)] {
        got.extend(allocator.alloc_pages(gfp, Order::new(order)));
    }
    allocator.drain_all();
    drop(got);
    depth.fetch_sub(1, Ordering::Relaxed);
}

#[test]
fn a_shrinker_that_allocates_does_not_reclaim_again() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let depth = Arc::new(AtomicU32::new(0));
    let inside = |spare: Spare| {
        let (allocator, depth) = (allocator.clone(), Arc::clone(&depth));
        move |control: &mut ShrinkControl| {
            asks_inside(&allocator, &depth);
            spare.scan_objects(control)
        }
    };
    let first = allocator.register_shrinker("first", of_objects(500, inside(Spare::default())));
    let second = allocator.register_shrinker("second", of_objects(500, inside(spare.clone())));
    assert!(ask(&allocator));
    assert!(first.report().scans > 0 && second.report().freed_frames > 0);
    assert_eq!((first.report().panics, second.report().panics), (0, 0));
    assert_eq!(first.report().freed_frames, 0, "what it took and gave back itself is nothing");
    spare.clear();
    assert_all_free(&allocator);
}

#[test]
fn a_shrinker_may_register_others_inside_its_scan() {
    let allocator = small();
    let all = take_all(&allocator);
    let registered = Arc::new(Mutex::new(Vec::new()));
    let more = {
        let (registered, allocator) = (Arc::clone(&registered), allocator.clone());
        move |_: &mut ShrinkControl| {
            let new = allocator.register_shrinker("new", of_objects(1, |_| Some(0)));
            let mut registered = registered.lock();
            registered.push(new);
            assert!(registered.len() < 10_000, "there is no end");
            None
        }
    };
    let first = allocator.register_shrinker("more", of_objects(200, more));
    assert!(!ask(&allocator));
    assert_eq!(first.report().panics, 0);
    let names: Vec<_> = allocator.shrinkers().iter().map(|report| report.name).collect();
    assert_eq!(names[..2], ["more", "new"]);
    registered.lock().clear();
    drop((first, all));
    assert!(allocator.shrinkers().is_empty());
}
