//! Shrinkers that come and go while they are called.

use std::sync::mpsc;

use gfp::{
    Gfp,
    reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        thread,
    },
};

use crate::{
    common::{assert_all_free, in_child, is_mapped},
    rig::{Script, Spare, ask, of_objects, small, take_all},
};

/// Says whether it is being called and whether it has ended, and never calls back after that.
struct Watched<S> {
    scan: S,
    ended: Arc<AtomicBool>,
}

impl<S: Fn(&mut ShrinkControl) -> Option<u64> + Send + Sync> Shrinker for Watched<S> {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        assert!(!self.ended.load(Ordering::Relaxed));
        ObjectCount::Objects(1000)
    }
    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let scanned = (self.scan)(control);
        assert!(!self.ended.load(Ordering::Relaxed));
        scanned
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_shrinker_that_removes_itself_inside_its_scan_ends_behind_it() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let (itself, ended) =
        (Arc::new(Mutex::new(None::<RegisteredShrinker>)), Arc::new(AtomicBool::new(false)));
    let calls = Arc::new(AtomicU32::new(0));
    let scan = {
        let (itself, ended, spare) = (Arc::clone(&itself), Arc::clone(&ended), spare.clone());
        let calls = Arc::clone(&calls);
        move |control: &mut ShrinkControl| {
            let registered = itself.lock().take();
            drop(registered);
            assert!(!ended.load(Ordering::Relaxed), "not before the callback has returned");
            calls.fetch_add(1, Ordering::Relaxed);
            Some(spare.take(control.nr_to_scan()).len() as u64)
        }
    };
    let registered = allocator.register_shrinker("itself", Watched { scan, ended: Arc::clone(&ended) });
    *itself.lock() = Some(registered);
    assert!(ask(&allocator), "what it gave before it was removed can be had");
    assert!(ended.load(Ordering::Relaxed) && allocator.shrinkers().is_empty());
    let rest = take_all(&allocator);
    assert!(!ask(&allocator));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    drop(rest);
    spare.clear();
    assert_all_free(&allocator);
}

#[test]
fn two_shrinkers_that_remove_each_other_both_end() {
    let allocator = small();
    let all = take_all(&allocator);
    let both = Arc::new(Mutex::new([const { None::<RegisteredShrinker> }; 2]));
    let (objects, inside) = (Arc::new(()), Arc::new(AtomicU32::new(0)));
    for index in 0..2 {
        let (objects, taken) = (Arc::clone(&objects), AtomicBool::new(false));
        // One thread has this one, so that the next has the other.
        let count = move |_: &ShrinkControl| match taken.swap(true, Ordering::Relaxed) {
            false => ObjectCount::Objects(1_000_000 * Arc::strong_count(&objects) as u64),
            true => ObjectCount::Objects(0),
        };
        let (others, inside) = (Arc::clone(&both), Arc::clone(&inside));
        let scan = move |_: &mut ShrinkControl| {
            inside.fetch_add(1, Ordering::Relaxed);
            while inside.load(Ordering::Relaxed) != 2 {
                thread::yield_now();
            }
            let other = others.lock()[1 - index].take();
            drop(other);
            None
        };
        both.lock()[index] = Some(allocator.register_shrinker("one of two", Script { count, scan }));
    }
    let threads = [0; 2].map(|_| {
        let allocator = allocator.clone();
        thread::spawn(move || ask(&allocator))
    });
    threads.into_iter().for_each(|thread| assert!(!thread.join().expect("it does not panic")));
    assert_eq!(Arc::strong_count(&objects), 1, "both have ended");
    assert!(allocator.shrinkers().is_empty());
    drop(all);
}

/// A scan that is held up: it tells when it has begun, and ends with an answer when it is told to.
fn held_up(
    answer: Option<u64>,
) -> (impl Fn(&mut ShrinkControl) -> Option<u64> + Send + Sync, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel();
    let (entered, may_leave) = (Mutex::new(entered), Mutex::new(may_leave));
    let scan = move |_: &mut ShrinkControl| {
        entered.lock().send(()).expect("somebody waits");
        may_leave.lock().recv().expect("somebody sends");
        answer
    };
    (scan, has_entered, leave)
}

#[test]
fn whoever_removes_a_shrinker_waits_for_its_callbacks() {
    let allocator = small();
    let all = take_all(&allocator);
    let ended = Arc::new(AtomicBool::new(false));
    let (scan, has_entered, leave) = held_up(Some(0));
    let registered = allocator.register_shrinker("slow", Watched { scan, ended: Arc::clone(&ended) });
    let requester = thread::spawn({
        let allocator = allocator.clone();
        move || ask(&allocator)
    });
    has_entered.recv().expect("the callback sends");
    let remover = thread::spawn(move || drop(registered));
    // It has been taken off the list before the wait begins.
    while !allocator.shrinkers().is_empty() {
        thread::yield_now();
    }
    assert!(!remover.is_finished() && !ended.load(Ordering::Relaxed), "its callback runs");
    leave.send(()).expect("the callback waits");
    remover.join().expect("it does not panic");
    assert!(ended.load(Ordering::Relaxed), "its object has ended with the removal");
    assert!(!requester.join().expect("it does not panic"));
    drop(all);
    assert_all_free(&allocator);
}

#[test]
fn two_threads_scan_the_same_shrinker_at_once() {
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let (inside, met) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let scan = {
        let (inside, met, spare) = (Arc::clone(&inside), Arc::clone(&met), spare.clone());
        move |control: &mut ShrinkControl| {
            inside.fetch_add(1, Ordering::Relaxed);
            while !met.load(Ordering::Relaxed) {
                if inside.load(Ordering::Relaxed) == 2 {
                    met.store(true, Ordering::Relaxed);
                }
                thread::yield_now();
            }
            inside.fetch_sub(1, Ordering::Relaxed);
            Some(spare.take(control.nr_to_scan()).len() as u64)
        }
    };
    let registered = allocator.register_shrinker("for two", of_objects(1000, scan));
    let threads = [0; 2].map(|_| {
        let allocator = allocator.clone();
        thread::spawn(move || ask(&allocator))
    });
    for thread in threads {
        assert!(thread.join().expect("it does not panic"));
    }
    let report = registered.report();
    assert!(met.load(Ordering::Relaxed) && report.freed_frames == report.claimed_objects, "{report:?}");
    spare.clear();
}

#[test]
fn shrinkers_come_and_go_while_memory_is_short() {
    const ROUNDS: u32 = 200;
    let allocator = small();
    let spare = Spare::of(take_all(&allocator));
    let _all_the_time = allocator.register_shrinker("all the time", spare.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let coming: Vec<_> = (0..2)
        .map(|_| {
            let (allocator, stop) = (allocator.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut came = 0_u32;
                while !stop.load(Ordering::Relaxed) || came < 10 {
                    let ended = Arc::new(AtomicBool::new(false));
                    let watched =
                        Watched { scan: |_: &mut ShrinkControl| Some(0), ended: Arc::clone(&ended) };
                    drop(allocator.register_shrinker("now and then", watched));
                    assert!(ended.load(Ordering::Relaxed));
                    came += 1;
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        let page = allocator.alloc_page(Gfp::KERNEL).expect("there are spare ones");
        spare.give(page);
        std::iter::from_fn(|| allocator.alloc_page(Gfp::NOWAIT).ok()).for_each(|page| spare.give(page));
    }
    stop.store(true, Ordering::Relaxed);
    coming.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    assert!(allocator.shrinkers().iter().all(|report| report.panics == 0));
    spare.clear();
    assert_all_free(&allocator);
}

#[test]
fn an_allocator_ends_with_its_shrinkers_although_they_hold_its_pages() {
    let allocator = small();
    let address = allocator.arena().base().addr().get();
    let spare = Spare::of(take_all(&allocator));
    let forgotten = allocator.register_shrinker("forgotten", spare.clone());
    let kept = allocator.register_shrinker("kept", Spare::default());
    core::mem::forget(forgotten);
    drop(allocator);
    assert!(is_mapped(address), "its pages are held");
    drop(spare);
    assert!(!is_mapped(address), "the shrinker that held them is gone");
    assert_eq!(kept.report().name, "kept");
    drop(kept);
}

#[test]
fn a_child_waits_for_no_callback_of_its_parent() {
    let allocator = small();
    let all = take_all(&allocator);
    let (scan, has_entered, leave) = held_up(None);
    let mut registered = Some(allocator.register_shrinker("the parent's", of_objects(1000, scan)));
    let requester = thread::spawn({
        let allocator = allocator.clone();
        move || ask(&allocator)
    });
    has_entered.recv().expect("the callback sends");
    let ended = in_child(10, || {
        assert!(allocator.shrinkers().is_empty());
        drop(allocator.register_shrinker("the child's", Spare::default()));
        drop(registered.take());
    });
    assert_eq!(ended, Ok(0));
    leave.send(()).expect("the callback waits");
    // It may be called more than once for a request.
    drop((leave, registered));
    assert!(!requester.join().expect("it does not panic"));
    drop(all);
    assert_all_free(&allocator);
}
