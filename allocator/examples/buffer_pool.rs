//! A buffer pool for a storage engine: pages of a file, kept in memory until the allocator wants it back.
//!
//! The pool has no size: it grows until memory is short, and its shrinker drops what is not in use, the second time that the
//! clock's hand comes by. Run it with `cargo run --release -p gfp --example buffer_pool`.
#![expect(clippy::disallowed_types, reason = "locks and references as in any program that uses gfp")]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, RwLock, Weak, atomic::AtomicBool, atomic::Ordering::Relaxed};
use std::{error::Error, io, thread};

use gfp::reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker};
use gfp::{Allocator, Gfp, ZeroedPages};

/// A page in memory. It is pinned as long as somebody besides the pool has a reference to it.
struct Page {
    bytes: RwLock<ZeroedPages>,
    dirty: AtomicBool,
}

#[derive(Default)]
struct Frames {
    /// By page number: the page, and whether it was used since the hand came by.
    pages: HashMap<u64, (Arc<Page>, bool)>,
    /// Page numbers in the order in which the clock's hand comes by.
    clock: std::collections::VecDeque<u64>,
    reads: u64,
    writes: u64,
    evictions: u64,
}

struct Pool {
    allocator: Allocator,
    file: File,
    frames: Mutex<Frames>,
}

impl Pool {
    fn open(allocator: &Allocator, file: File) -> (Arc<Self>, RegisteredShrinker) {
        let pool = Arc::new(Self { allocator: allocator.clone(), file, frames: Mutex::default() });
        // The allocator keeps the shrinker: with a strong reference, neither pool nor allocator would ever end.
        let registered = allocator.register_shrinker("buffer pool", PoolShrinker(Arc::downgrade(&pool)));
        (pool, registered)
    }

    /// Returns a page, which stays in memory until all references are dropped.
    fn pin(&self, number: u64) -> Result<Arc<Page>, Box<dyn Error>> {
        if let Some((page, used)) = self.frames.lock().unwrap().pages.get_mut(&number) {
            *used = true;
            return Ok(Arc::clone(page));
        }
        // Without the lock: if memory is short, this very thread calls the shrinker, which takes it.
        let mut bytes = self.allocator.get_zeroed_page(Gfp::KERNEL)?;
        let frames = &mut *self.frames.lock().unwrap();
        if let Some((page, _)) = frames.pages.get(&number) {
            return Ok(Arc::clone(page)); // another thread was faster
        }
        self.file.read_exact_at(&mut bytes, number * 4096)?;
        let page = Arc::new(Page { bytes: RwLock::new(bytes), dirty: AtomicBool::new(false) });
        frames.pages.insert(number, (Arc::clone(&page), true));
        frames.clock.push_back(number);
        frames.reads += 1;
        Ok(page)
    }

    /// Writes a page to the file if it was changed.
    fn write_back(&self, frames: &mut Frames, number: u64, page: &Page) -> io::Result<()> {
        if page.dirty.swap(false, Relaxed) {
            let written = self.file.write_all_at(&page.bytes.read().unwrap(), number * 4096);
            page.dirty.fetch_or(written.is_err(), Relaxed);
            frames.writes += 1;
            return written;
        }
        Ok(())
    }

    /// Lets the hand come by so many pages; returns how many were dropped.
    fn advance(&self, frames: &mut Frames, steps: u64, may_write: bool) -> u64 {
        let mut dropped = 0;
        for _ in 0..steps {
            let Some(number) = frames.clock.pop_front() else { break };
            let (page, used) = frames.pages.get_mut(&number).expect("the clock has the pages that there are");
            let page = Arc::clone(page);
            let in_use = std::mem::replace(used, false) || Arc::strong_count(&page) > 2;
            let clean = !page.dirty.load(Relaxed) || may_write;
            if !in_use && clean && self.write_back(frames, number, &page).is_ok() {
                frames.pages.remove(&number);
                dropped += 1;
            } else {
                frames.clock.push_back(number);
            }
        }
        frames.evictions += dropped;
        dropped
    }
}

struct PoolShrinker(Weak<Pool>);

// Both wait for the pool's lock, which is safe as nobody allocates while holding it. A pool that does must use `try_lock`, and
// answer `None`: the thread that reclaims may be the one that has the lock.
impl Shrinker for PoolShrinker {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        match self.0.upgrade().map_or(0, |pool| pool.frames.lock().unwrap().pages.len()) {
            0 => ObjectCount::Empty,
            pages => ObjectCount::Objects(pages as u64),
        }
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        let pool = self.0.upgrade()?;
        let mut frames = pool.frames.lock().unwrap();
        // A request that may not start I/O gets clean pages only.
        Some(pool.advance(&mut frames, control.nr_to_scan(), control.gfp().contains(Gfp::IO)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const PAGES: u64 = 16 << 10; // 64 MiB in the file, 16 MiB in memory
    const THREADS: u64 = 4;
    const STEPS: u64 = 50_000;
    let path = std::env::temp_dir().join(format!("buffer-pool-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?; // it lives until it is closed
    file.set_len(PAGES * 4096)?;
    let allocator = Allocator::builder(16 << 20).build()?;
    let (pool, registered) = Pool::open(&allocator, file);

    // Each step adds one to the first byte-counter of some page.
    let step = |number: u64| {
        let page = pool.pin(number).expect("the pool gives pages back");
        let mut bytes = page.bytes.write().unwrap();
        let counter = u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 1;
        bytes[..8].copy_from_slice(&counter.to_le_bytes());
        page.dirty.store(true, Relaxed);
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || (0..STEPS).for_each(|i| step((i * i * 31 + thread * 977) % PAGES)));
        }
    });

    let count = |number| -> Result<u64, Box<dyn Error>> {
        Ok(u64::from_le_bytes(pool.pin(number)?.bytes.read().unwrap()[..8].try_into()?))
    };
    let found = (0..PAGES).map(count).sum::<Result<u64, _>>()?;
    assert_eq!(found, THREADS * STEPS, "what was written came back");
    let Frames { reads, writes, evictions, pages, .. } = &*pool.frames.lock().unwrap();
    println!("{found} updates found; {reads} pages read, {writes} written back, {evictions} dropped");
    println!("{} of {PAGES} pages are in memory; {:?}", pages.len(), registered.report());
    Ok(())
}
