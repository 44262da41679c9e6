//! Caches of pages: for each node a list from the hottest to the coldest.

use std::{
    array,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_utils::CachePadded;
use gfp::{Gfp, Nid, Order};
use lru::LruCache;

use super::{
    Types,
    page::{Stamped, Whose},
    rules::Rules,
};

/// What a cache is like.
#[derive(Debug)]
pub(super) struct CacheKind {
    pub(super) name: &'static str,
    /// What says where its pages belong, if caches are of different migrate types.
    mobility: Gfp,
    /// The largest order of its blocks; a quarter of its keys have more than one page.
    max_order: u8,
    /// What a block costs to have again, for the kernel's arithmetic.
    pub(super) seeks: u32,
    /// How many pages it is asked for at a time: few, as there are few from one mark of a small arena to the next.
    pub(super) batch: u64,
    /// How many of all lookups it gets, in sixteenths.
    pub(super) lookups: usize,
    /// How many keys it has, in percent of the arena's frames.
    keys_percent: u64,
}

/// The caches. Together they want about four times the arena.
pub(super) const KINDS: [CacheKind; 3] = [
    // As a file system's page cache.
    CacheKind {
        name: "data",
        mobility: Gfp::empty(),
        max_order: 0,
        seeks: 2,
        batch: 8,
        lookups: 9,
        keys_percent: 220,
    },
    // As inodes and directory entries: dear, therefore less of it is taken.
    CacheKind {
        name: "index",
        mobility: Gfp::RECLAIMABLE,
        max_order: 0,
        seeks: 4,
        batch: 8,
        lookups: 4,
        keys_percent: 80,
    },
    // As buffers of a few pages: cheap, therefore more of it is taken.
    CacheKind {
        name: "blobs",
        mobility: Gfp::MOVABLE,
        max_order: 3,
        seeks: 1,
        batch: 8,
        lookups: 3,
        keys_percent: 50,
    },
];

impl CacheKind {
    /// Returns how many keys the cache has in an arena of so many frames.
    pub(super) const fn keys(&self, arena_frames: u64) -> u64 {
        arena_frames * self.keys_percent / 100 + 1
    }

    /// Returns how its pages are asked for.
    pub(super) const fn gfp(&self, types: Types) -> Gfp {
        match types {
            Types::One => Gfp::KERNEL,
            Types::Mixed => Gfp::KERNEL.union(self.mobility),
        }
    }

    /// Returns the order of the block that belongs to a key.
    pub(super) const fn order(&self, key: u64) -> Order {
        let larger = key.is_multiple_of(4) && self.max_order > 0;
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below an order")]
        Order::new(if larger { 1 + (key / 4 % self.max_order as u64) as u8 } else { 0 })
    }
}

/// What a cache has, and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheState {
    /// Its name.
    pub name: &'static str,
    /// Pages that it has.
    pub frames: u64,
    /// Lookups that found what they wanted.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Pages that reclaim took.
    pub evicted: u64,
}

/// How many blocks leave a list at a time, so that nobody waits long for its lock.
const TAKEN: usize = 16;

/// A cache of pages.
///
/// Its locks are never held while anything is allocated or freed: a request that reclaims on its own thread comes back here, to
/// the shrinker, and would wait for itself. Therefore a block is allocated before [`insert`](Self::insert), and what is evicted is freed outside.
/// As nobody who has a lock can wait for memory, the shrinker may wait for a lock.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) kind: &'static CacheKind,
    number: usize,
    /// By node.
    shelves: Box<[CachePadded<Shelf>]>,
    hits: CachePadded<AtomicU64>,
    misses: CachePadded<AtomicU64>,
    evictions: AtomicU64,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Shelf {
    blocks: Mutex<LruCache<u64, Stamped>>,
    /// Pages of all its blocks.
    frames: AtomicU64,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, LruCache<u64, Stamped>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    pub(super) fn new(number: usize, nodes: usize, rules: Arc<Rules>) -> Self {
        let shelf = || Shelf { blocks: Mutex::new(LruCache::unbounded()), frames: AtomicU64::new(0) };
        Self {
            kind: &KINDS[number],
            number,
            shelves: (0..nodes).map(|_| CachePadded::new(shelf())).collect(),
            hits: CachePadded::default(),
            misses: CachePadded::default(),
            evictions: AtomicU64::new(0),
            rules,
        }
    }

    /// Returns what is written into the block of a key.
    pub(super) const fn whose(&self, key: u64) -> Whose {
        Whose::Cache(self.number, key)
    }

    /// Looks a block up and verifies it; tells whether it was there. It is the hottest one then.
    pub(super) fn hit(&self, key: u64) -> bool {
        let found = self.shelves.iter().find_map(|shelf| shelf.lock().get(&key).map(Stamped::verify));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(Err(sentence)) = &found {
            self.rules.broken(format!("looked up: {sentence}"));
        }
        found.is_some()
    }

    /// Takes a block of a node, as the hottest one.
    pub(super) fn insert(&self, key: u64, node: Nid, block: Stamped) {
        let shelf = &self.shelves[node.index()];
        shelf.frames.fetch_add(block.frames(), Ordering::Relaxed);
        // Another thread may have missed the same key.
        let other = shelf.lock().push(key, block);
        if let Some((_, other)) = other {
            shelf.frames.fetch_sub(other.frames(), Ordering::Relaxed);
            self.check(&other);
        }
    }

    /// Returns how many pages of a node it has.
    pub(super) fn frames_of(&self, node: Nid) -> u64 {
        self.shelves.get(node.index()).map_or(0, |shelf| shelf.frames.load(Ordering::Relaxed))
    }

    /// Returns how many pages it has.
    pub(super) fn frames(&self) -> u64 {
        self.shelves.iter().map(|shelf| shelf.frames.load(Ordering::Relaxed)).sum()
    }

    /// Verifies and frees the coldest blocks of a node until so many pages are free; returns how many there were.
    pub(super) fn evict(&self, node: Nid, wanted: u64) -> u64 {
        let Some(shelf) = self.shelves.get(node.index()) else { return 0 };
        let mut freed = 0;
        while freed < wanted {
            let taken = Self::take_coldest(shelf, wanted - freed);
            let before = freed;
            for block in taken.into_iter().flatten() {
                self.check(&block);
                freed += block.frames();
            }
            if freed == before {
                break;
            }
        }
        self.evictions.fetch_add(freed, Ordering::Relaxed);
        freed
    }

    /// Takes the coldest blocks off a list, until they have so many pages, or [`TAKEN`] of them.
    fn take_coldest(shelf: &Shelf, wanted: u64) -> [Option<Stamped>; TAKEN] {
        let mut frames = 0;
        let mut blocks = shelf.lock();
        let taken = array::from_fn(|_| {
            let (_, block) = (frames < wanted).then(|| blocks.pop_lru())??;
            frames += block.frames();
            Some(block)
        });
        drop(blocks);
        shelf.frames.fetch_sub(frames, Ordering::Relaxed);
        taken
    }

    fn check(&self, block: &Stamped) {
        if let Err(sentence) = block.verify() {
            self.rules.broken(format!("evicted: {sentence}"));
        }
    }

    /// Frees all blocks, which are not counted as evicted.
    pub(super) fn empty(&self) {
        for shelf in &self.shelves {
            while Self::take_coldest(shelf, u64::MAX).iter().flatten().map(|block| self.check(block)).count()
                > 0
            {}
        }
    }

    /// Returns what is to be seen of it.
    pub(super) fn state(&self) -> CacheState {
        CacheState {
            name: self.kind.name,
            frames: self.frames(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evicted: self.evictions.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use gfp::Allocator;

    use super::*;

    fn filled(allocator: &Allocator, rules: &Arc<Rules>, keys: u64) -> Cache {
        let cache = Cache::new(2, 1, Arc::clone(rules));
        for key in 0..keys {
            let pages = allocator.alloc_pages(cache.kind.gfp(Types::Mixed), cache.kind.order(key)).unwrap();
            cache.insert(key, Nid::new(0), Stamped::new(pages, cache.whose(key)));
        }
        cache
    }

    #[test]
    fn the_coldest_blocks_leave_first_and_what_is_looked_up_stays() {
        let allocator = Allocator::builder(16 << 20).build().unwrap();
        let rules = Arc::new(Rules::default());
        let cache = filled(&allocator, &rules, 40);
        let pages = cache.frames();
        assert_eq!(pages, (0..40).map(|key| u64::from(cache.kind.order(key).frames())).sum::<u64>());
        assert!(cache.hit(0) && !cache.hit(40));
        // Keys 1 to 3 have a page, key 4 four.
        assert_eq!(cache.evict(Nid::new(0), 4), 7);
        assert!(cache.hit(0) && (1..5).all(|key| !cache.hit(key)) && cache.hit(5));
        assert_eq!((cache.frames_of(Nid::new(0)), cache.frames_of(Nid::new(1))), (pages - 7, 0));
        assert_eq!(cache.evict(Nid::new(1), 4), 0);
        assert_eq!(cache.evict(Nid::new(0), u64::MAX), pages - 7);
        assert_eq!(
            cache.state(),
            CacheState { name: "blobs", frames: 0, hits: 3, misses: 5, evicted: pages }
        );
        assert_eq!((rules.report().count, allocator.conservation().allocated()), (0, 0));
    }

    #[test]
    fn a_spoiled_block_is_seen_when_it_is_looked_up_and_when_it_leaves() {
        let allocator = Allocator::builder(16 << 20).build().unwrap();
        let rules = Arc::new(Rules::default());
        let cache = filled(&allocator, &rules, 3);
        cache.shelves[0].lock().get_mut(&1).unwrap().spoil();
        assert!(cache.hit(1));
        cache.empty();
        let broken = rules.report();
        assert_eq!(broken.count, 2);
        assert!(broken.sentences[0].starts_with("looked up: page 1 of cache 2, frame"), "{broken:?}");
        assert!(broken.sentences[1].starts_with("evicted: page 1 of cache 2, frame"), "{broken:?}");
    }
}
