//! What counts as freed: what was seen to come back, on whichever thread.

use std::sync::mpsc::{self, Sender};

use gfp::{
    Allocator, Gfp, Order, Pages,
    reclaim::ShrinkControl,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        thread,
    },
};

use crate::{
    common::assert_all_free,
    rig::{Spare, ask, of_objects, small, take_all},
};

/// A thread that drops what it is sent, and says so.
struct Dropper {
    pages: Sender<(Vec<Pages>, Sender<()>)>,
    thread: thread::JoinHandle<()>,
}

impl Dropper {
    fn start() -> Self {
        let (pages, sent) = mpsc::channel::<(Vec<Pages>, Sender<()>)>();
        let thread = thread::spawn(move || {
            for (pages, done) in sent {
                drop(pages);
                done.send(()).expect("somebody waits");
            }
        });
        Self { pages, thread }
    }

    /// Makes a scan that has its pages dropped there.
    fn scan(&self, spare: &Spare) -> impl Fn(&mut ShrinkControl) -> Option<u64> + Send + Sync + use<> {
        let (pages, spare) = (Mutex::new(self.pages.clone()), spare.clone());
        move |control| {
            let given = spare.take(control.nr_to_scan());
            let (done, is_done) = mpsc::channel();
            let freed = given.len() as u64;
            pages.lock().send((given, done)).expect("it takes all");
            is_done.recv().expect("it says so");
            Some(freed)
        }
    }

    fn end(self) {
        drop(self.pages);
        self.thread.join().expect("it does not panic");
    }
}

#[test]
fn pages_that_another_thread_drops_count() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let dropper = Dropper::start();
    let registered = allocator.register_shrinker("elsewhere", of_objects(1000, dropper.scan(&spare)));
    assert!(ask(&allocator));
    let report = registered.report();
    assert_eq!(report.freed_frames, report.claimed_objects, "{report:?}");
    drop(registered);
    spare.clear();
    dropper.end();
    assert_all_free(&allocator);
}

#[test]
fn pages_that_a_thread_of_their_own_drops_count() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let scan = {
        let spare = spare.clone();
        move |control: &mut ShrinkControl| {
            let given = spare.take(control.nr_to_scan());
            let freed = given.len() as u64;
            thread::spawn(move || drop(given)).join().expect("it does not panic");
            Some(freed)
        }
    };
    let registered = allocator.register_shrinker("a thread each", of_objects(1000, scan));
    assert!(ask(&allocator));
    let report = registered.report();
    assert!(report.freed_frames > 0 && report.freed_frames == report.claimed_objects, "{report:?}");
}

#[test]
fn pages_that_others_take_at_once_count() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let (dropper, taken) = (Dropper::start(), Arc::new(Mutex::new(Vec::new())));
    // A third thread takes what the dropper gives back before the scan has returned.
    let (ask_thief, asked) = mpsc::channel::<(u64, Sender<()>)>();
    let thief = thread::spawn({
        let (allocator, taken) = (allocator.clone(), Arc::clone(&taken));
        move || {
            for (pages, done) in asked {
                allocator.drain_all();
                let found = (0..pages).map_while(|_| allocator.alloc_page(Gfp::NOWAIT).ok());
                taken.lock().extend(found);
                done.send(()).expect("somebody waits");
            }
        }
    });
    let scan = {
        let (drop_there, ask_thief) = (dropper.scan(&spare), Mutex::new(ask_thief));
        move |control: &mut ShrinkControl| {
            let freed = drop_there(control)?;
            let (done, is_done) = mpsc::channel();
            ask_thief.lock().send((freed, done)).expect("it takes all");
            is_done.recv().expect("it says so");
            Some(freed)
        }
    };
    let registered = allocator.register_shrinker("stolen", of_objects(1000, scan));
    ask(&allocator);
    let report = registered.report();
    assert!(report.claimed_objects > 0 && taken.lock().len() as u64 >= report.claimed_objects / 2);
    assert!(report.freed_frames >= report.claimed_objects / 2, "{report:?}");
    drop(registered);
    thief.join().expect("it does not panic");
    dropper.end();
}

#[test]
fn blocks_past_the_caches_count() {
    let allocator = small();
    let order = Order::new(5);
    let blocks = std::iter::from_fn(|| allocator.alloc_pages(Gfp::KERNEL, order).ok()).collect();
    let (spare, rest) = (Spare::of(blocks), take_all(&allocator));
    let dropper = Dropper::start();
    let here = {
        let spare = spare.clone();
        move |_: &mut ShrinkControl| Some(spare.take(1).len() as u64)
    };
    let registered = allocator.register_shrinker("here", of_objects(100, here));
    assert!(allocator.alloc_pages(Gfp::KERNEL, order).is_ok());
    let report = registered.report();
    assert_eq!(report.freed_frames, report.claimed_objects * 32, "{report:?}");
    drop((registered, take_all(&allocator)));

    let _all = take_all(&allocator);
    let registered = allocator.register_shrinker("elsewhere", of_objects(100, dropper.scan(&spare)));
    ask(&allocator);
    let report = registered.report();
    assert_eq!(
        report.freed_frames, report.claimed_objects,
        "an object is a frame as far as is known: {report:?}"
    );
    drop((registered, rest));
    dropper.end();
}

/// Runs threads that ask and free all the time, each as much as it frees, while `f` runs.
fn with_traffic(allocator: &Allocator, f: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (allocator, stop) = (allocator.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut held = allocator.alloc_page(Gfp::NOWAIT).ok();
                while !stop.load(Ordering::Relaxed) {
                    drop(held.take());
                    held = allocator.alloc_page(Gfp::NOWAIT).ok();
                }
            })
        })
        .collect();
    f();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

#[test]
fn what_others_take_and_give_back_hardly_looks_like_progress() {
    let allocator = small();
    let mut all = take_all(&allocator);
    all.truncate(all.len() - 64);
    let registered = allocator.register_shrinker("says so", of_objects(10_000, |_| Some(128)));
    with_traffic(&allocator, || {
        // Nothing of order 10 comes back.
        assert!(allocator.alloc_pages(Gfp::KERNEL, Order::new(10)).is_err());
    });
    let report = registered.report();
    assert!(report.scans > 0 && report.freed_frames <= 4 * report.scans, "{report:?}");
    drop(all);
}
