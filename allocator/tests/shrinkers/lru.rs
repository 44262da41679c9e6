//! A page cache that several threads fill far beyond its arena.

use std::collections::{BTreeMap, HashMap};

use gfp::{
    Allocator, Gfp, Pages,
    reclaim::{ObjectCount, ShrinkControl, Shrinker},
    sync::{Arc, Mutex, thread},
};

use crate::{
    common::{Random, assert_all_free},
    rig::small,
};

const THREADS: u64 = 4;
const READS: u32 = 20_000;
/// How many times more pages there are to be read than fit into the arena.
const TOO_MANY: usize = 3;

/// The pages of a file, each with its number in it: those that were read last.
#[derive(Default)]
struct PageCache(Mutex<Lru>);

#[derive(Default)]
struct Lru {
    pages: HashMap<u64, (u64, Pages)>,
    /// By when they were read last, the numbers of the pages.
    by_age: BTreeMap<u64, u64>,
    now: u64,
}

impl Lru {
    /// Looks for a page, and checks what is in it; it is the youngest then.
    fn find(&mut self, number: u64) -> bool {
        self.now += 1;
        let Some((age, page)) = self.pages.get_mut(&number) else { return false };
        assert_eq!(written(page), number, "somebody wrote into a cached page");
        self.by_age.remove(age);
        *age = self.now;
        self.by_age.insert(self.now, number);
        true
    }

    fn insert(&mut self, number: u64, page: Pages) -> Option<Pages> {
        self.now += 1;
        let before = self.pages.insert(number, (self.now, page));
        self.by_age.insert(self.now, number);
        before.map(|(age, page)| {
            self.by_age.remove(&age);
            page
        })
    }

    fn remove_oldest(&mut self) -> Option<Pages> {
        let (_, number) = self.by_age.pop_first()?;
        let (_, page) = self.pages.remove(&number).expect("it has an age");
        assert_eq!(written(&page), number, "somebody wrote into a cached page");
        Some(page)
    }
}

/// Reads a page's number out of it.
fn written(page: &Pages) -> u64 {
    let bytes = page.bytes()[..8].iter();
    // SAFETY: they were written before the page was cached.
    bytes.rev().fold(0, |number, byte| number << 8 | u64::from(unsafe { byte.assume_init() }))
}

impl PageCache {
    /// Returns after the page is cached, which it may have been.
    fn read(&self, allocator: &Allocator, number: u64) {
        if self.0.lock().find(number) {
            return;
        }
        // Not under the lock: the request may come back here.
        let mut page = allocator.alloc_page(Gfp::KERNEL).expect("the cache gives older ones up");
        for (byte, value) in page.bytes_mut().iter_mut().zip(number.to_le_bytes()) {
            byte.write(value);
        }
        let before = self.0.lock().insert(number, page);
        // Another thread has read it meanwhile.
        drop(before);
    }
}

struct PageCacheShrinker(Arc<PageCache>);

impl Shrinker for PageCacheShrinker {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        ObjectCount::Objects(self.0.0.lock().pages.len() as u64)
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let oldest = |_| self.0.0.lock().remove_oldest();
        Some((0..control.nr_to_scan()).map_while(oldest).count() as u64)
    }
}

#[test]
fn a_page_cache_serves_many_more_pages_than_there_are() {
    let allocator = small();
    let frames = usize::try_from(allocator.arena().frames()).expect("small");
    let cache = Arc::new(PageCache::default());
    let registered = allocator.register_shrinker("page cache", PageCacheShrinker(Arc::clone(&cache)));
    let readers: Vec<_> = (0..THREADS)
        .map(|seed| {
            let (allocator, cache) = (allocator.clone(), Arc::clone(&cache));
            thread::spawn(move || {
                let mut random = Random::new(seed + 1);
                for _ in 0..READS {
                    // Some are read often.
                    let pages = random.pick(&[frames / 4, TOO_MANY * frames]);
                    cache.read(&allocator, random.below(pages) as u64);
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().expect("every request is served"));
    let report = registered.report();
    assert_eq!((report.panics, report.given_up), (0, 0), "{report:?}");
    assert!(report.freed_frames > frames as u64, "{report:?}");
    while cache.0.lock().remove_oldest().is_some() {}
    assert_all_free(&allocator);
}
