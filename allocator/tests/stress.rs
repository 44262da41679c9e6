//! Many threads at once: every frame has one owner at a time, and in the end all have come back.

mod common;

use common::{LiveMap, Random, order};
use gfp::{
    Allocator, Gfp, Maintain, Pages,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
        thread,
    },
};

/// Operations of all threads together; a second or two.
const OPERATIONS: u64 = 1_000_000;
/// How many operations a thread lives for.
const LIFE: u64 = 20_000;
const THREADS: u32 = 6;

const MASKS: [Gfp; 8] = [
    Gfp::KERNEL,
    Gfp::KERNEL,
    Gfp::HIGHUSER_MOVABLE,
    Gfp::HIGHUSER_MOVABLE,
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::ATOMIC,
    Gfp::NOWAIT,
    Gfp::KERNEL.union(Gfp::DMA),
];

/// What all threads share.
struct Shared {
    allocator: Allocator,
    live: LiveMap,
    /// Blocks on their way from one thread to another, with whom they are noted for.
    passed_on: Mutex<Vec<(Pages, u32)>>,
    next: AtomicU32,
    done: AtomicU64,
    served: AtomicU64,
}

impl Shared {
    /// Lives one thread's life.
    fn live(&self) {
        let whom = self.next.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::new(u64::from(whom));
        let handle = self.allocator.handle().expect("memory for a cache");
        let mut held: Vec<(Pages, u32)> = Vec::new();
        let mut served = 0;
        for _ in 0..LIFE {
            match random.below(1000) {
                0..480 => {
                    let (gfp, order) = (random.pick(&MASKS), order(&mut random));
                    let taken = if random.below(2) == 0 {
                        handle.alloc_pages(gfp, order)
                    } else {
                        self.allocator.alloc_pages(gfp, order)
                    };
                    if let Ok(mut pages) = taken {
                        self.live.take(&mut pages, whom);
                        held.push((pages, whom));
                        served += 1;
                    }
                }
                480..900 if !held.is_empty() => {
                    let at = random.below(held.len());
                    let (mut pages, noted) = held.swap_remove(at);
                    self.live.give(&mut pages, noted);
                    if random.below(2) == 0 { handle.free_pages(pages) } else { drop(pages) }
                }
                900..940 => {
                    if let Some(mine) = held.pop() {
                        self.passed_on.lock().push(mine);
                    }
                }
                940..990 => held.extend(self.passed_on.lock().pop()),
                990..992 => {
                    self.allocator.drain_all();
                }
                992 => self.allocator.age(),
                993 if held.len() > 50 => {
                    for (mut pages, noted) in held.drain(..) {
                        self.live.give(&mut pages, noted);
                        drop(pages);
                    }
                }
                _ => {}
            }
        }
        self.passed_on.lock().append(&mut held);
        self.done.fetch_add(LIFE, Ordering::Relaxed);
        self.served.fetch_add(served, Ordering::Relaxed);
    }
}

#[test]
fn no_frame_has_two_owners_and_none_is_lost() {
    let allocator = Allocator::builder(96 << 20).maintain(Maintain::EverySecond).build().expect("96 MiB");
    let shared = Arc::new(Shared {
        live: LiveMap::new(&allocator),
        allocator,
        passed_on: Mutex::new(Vec::new()),
        next: AtomicU32::new(1),
        done: AtomicU64::new(0),
        served: AtomicU64::new(0),
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                while shared.done.load(Ordering::Relaxed) < OPERATIONS {
                    let one = Arc::clone(&shared);
                    thread::spawn(move || one.live()).join().expect("no panic");
                    // Nobody's memory is used up by those who have ended.
                    let mut rest = shared.passed_on.lock();
                    let keep = rest.len().min(500);
                    for (mut pages, noted) in rest.drain(keep..) {
                        shared.live.give(&mut pages, noted);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let Shared { allocator, live, passed_on, served, .. } = &*shared;
    for (mut pages, noted) in passed_on.lock().drain(..) {
        live.give(&mut pages, noted);
    }
    assert!(served.load(Ordering::Relaxed) > OPERATIONS / 4, "most requests are served");
    common::assert_all_free(allocator);
}
