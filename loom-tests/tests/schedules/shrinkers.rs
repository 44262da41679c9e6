//! Shrinkers that come and go while threads ask for more memory than there is.

use gfp::reclaim::{ObjectCount, ShrinkControl, Shrinker};
use gfp::sync::{Arc, Mutex, SeededBug, atomic::AtomicBool, atomic::Ordering, thread};
use gfp::{Allocator, Gfp, Maintain, Order, Pages};
use loom_tests::Model;

use crate::scenarios::STUCK;

pub(crate) const MODEL: Model = Model {
    name: "shrinkers",
    property: "a shrinker is not called once it was removed; what it freed can be had; nothing is lost",
    bound: "4 threads that ask for all there is and keep it in a cache, 3 that add and remove shrinkers",
    schedules: 500,
    program: shrinkers,
    bugs: &[(SeededBug::RevokerNotWoken, STUCK)],
};

const BLOCKS: usize = 4;
/// Blocks of a quarter of the arena, so that there are few.
const ORDER: Order = Order::new(7);

type Cache = Arc<Mutex<Vec<Pages>>>;

/// Gives up what a cache has, and knows whether it was removed.
struct Gives {
    cache: Cache,
    gone: Arc<AtomicBool>,
}

impl Gives {
    fn is_there(&self) {
        assert!(!self.gone.load(Ordering::Relaxed), "a callback of a shrinker that is gone");
    }
}

impl Shrinker for Gives {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        self.is_there();
        ObjectCount::Objects(1 + self.cache.lock().len() as u64)
    }
    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        self.is_there();
        let given = self.cache.lock().pop();
        thread::yield_now();
        self.is_there();
        control.set_nr_scanned(u64::from(given.is_some()));
        Some(u64::from(given.is_some()))
    }
}

fn shrinkers() {
    let bytes = BLOCKS * (4096 << ORDER.get());
    let allocator = Allocator::builder(bytes).dma(0).cpus(2).min_free_kbytes(0).maintain(Maintain::ByHand);
    let allocator = allocator.build().expect("a small arena");
    let cache = Cache::default();
    let gives = |gone: &Arc<AtomicBool>| Gives { cache: Arc::clone(&cache), gone: Arc::clone(gone) };
    let never = Arc::new(AtomicBool::new(false));
    let all_the_time = allocator.register_shrinker("all the time", gives(&never));
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (allocator, cache) = (allocator.clone(), Arc::clone(&cache));
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                if let Ok(pages) = allocator.alloc_pages(Gfp::KERNEL, ORDER) {
                    cache.lock().push(pages);
                }
            }
        }));
    }
    for _ in 0..3 {
        let gone = Arc::new(AtomicBool::new(false));
        let (allocator, shrinker) = (allocator.clone(), gives(&gone));
        threads.push(thread::spawn(move || {
            let registered = allocator.register_shrinker("now and then", shrinker);
            // Somebody may find it, and be inside when it goes.
            (0..8).for_each(|_| thread::yield_now());
            drop(registered);
            gone.store(true, Ordering::Relaxed);
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert!(allocator.shrinkers().iter().all(|report| report.panics == 0), "a callback panicked");
    drop(all_the_time);
    cache.lock().clear();
    allocator.drain_all();
    let conservation = allocator.conservation();
    assert!(conservation.holds() && conservation.allocated() == 0, "{conservation}");
}
