//! All shrinkers of an allocator.

use core::{iter, ops::Range};

use super::{
    ObjectCount, RegisteredShrinker, ShrinkControl, ShrinkRound, Shrinker, ShrinkerReport, Shrunk,
    entry::Entry,
    turn::{Turn, do_shrink_slab},
};
use crate::{
    alloc::Domain,
    frame::Nid,
    gfp::Gfp,
    sync::{
        Arc, Registry, SharedCounter,
        atomic::{AtomicU64, Ordering},
    },
};

/// The registered shrinkers of an allocator.
///
/// Nothing is held while one of them is called: the list is walked by numbers, which grow in the order of registration, so that
/// shrinkers may come and go meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Shrinkers {
    registry: Arc<Registry<Entry>>,
    /// The number of the next one.
    next: AtomicU64,
    /// Objects that were looked at, as the shrinkers say (`slabs_scanned`).
    scanned: SharedCounter,
    /// The number that the next round begins with: where the last one had got what it wanted.
    begin: AtomicU64,
}

impl Shrinkers {
    /// Adds a shrinker, which is called from now on until what is returned is dropped (`shrinker_register`).
    ///
    /// In the child of a fork, and once the allocator is closed, nobody calls it.
    pub(crate) fn register(
        &self,
        name: &'static str,
        shrinker: Box<dyn Shrinker>,
        nodes: usize,
    ) -> RegisteredShrinker {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(number, name, shrinker, nodes));
        // One that is refused is as one that was removed already.
        let _: Result<_, _> = self.registry.register(Arc::clone(&entry));
        RegisteredShrinker::new(Arc::clone(&self.registry), entry)
    }

    /// Asks each shrinker for its share, on the calling thread (`shrink_slab`).
    ///
    /// Ends when no more is wanted; unlike in the kernel, where no round does, the next one then begins with the next shrinker, so that all
    /// give.
    ///
    /// Takes nothing from the heap. On a thread that is inside a callback of a shrinker, nothing is done.
    #[cold]
    pub(crate) fn shrink_slab(&self, domain: &Domain, round: ShrinkRound<'_>) -> Shrunk {
        let mut all = Shrunk::default();
        let begin = self.begin.load(Ordering::Relaxed);
        for entry in self.walk(begin..u64::MAX).chain(self.walk(0..begin)) {
            let Turn { shrunk, is_sated } = do_shrink_slab(&entry, domain, round);
            all.scanned = all.scanned.saturating_add(shrunk.scanned);
            all.freed += shrunk.freed;
            if is_sated {
                // Who was not asked for anything is the first the next time.
                self.begin.store(entry.number + u64::from(shrunk.scanned > 0), Ordering::Relaxed);
                break;
            }
        }
        self.scanned.add(all.scanned);
        all
    }

    /// Returns how many objects of a node all shrinkers say that they could free. One that does not tell nodes apart is counted for
    /// every node: its objects may be anywhere.
    #[cold]
    pub(crate) fn count(&self, node: Nid) -> u64 {
        let objects = self.walk(0..u64::MAX).map(|entry| {
            let control = ShrinkControl::new(Gfp::KERNEL, entry.nid(node));
            match entry.call(|shrinker| shrinker.count_objects(&control)) {
                Some(ObjectCount::Objects(objects)) => objects,
                Some(ObjectCount::Empty) | None => 0,
            }
        });
        objects.fold(0, u64::saturating_add)
    }

    /// Returns how many objects were looked at so far, as the shrinkers say.
    pub(crate) fn scanned(&self) -> u64 {
        self.scanned.get()
    }

    /// Says what is known of each, in the order of registration.
    pub(crate) fn reports(&self) -> Vec<ShrinkerReport> {
        self.walk(0..u64::MAX).map(|entry| entry.report()).collect()
    }

    /// Removes all shrinkers and lets go of their objects, of which each may hold pages; none is added any more. Waits for no callback: that
    /// of a background thread may take as long as it likes.
    pub(crate) fn close(&self) {
        self.registry.close(|_| ());
        for entry in self.walk(0..u64::MAX) {
            self.registry.unregister(&entry, |_| ());
            entry.remove_later();
        }
    }

    /// Calls and waits for nobody any more: for the child of a fork.
    pub(crate) fn orphan(&self) {
        self.registry.orphan();
    }

    /// Returns the shrinkers with some numbers that are there now, one after another, in the order of registration. Those that come meanwhile
    /// are left for the next walk: a shrinker that registers others must not make it endless.
    fn walk(&self, numbers: Range<u64>) -> impl Iterator<Item = Arc<Entry>> {
        let mut numbers = numbers.start..numbers.end.min(self.next.load(Ordering::Relaxed));
        iter::from_fn(move || {
            let entry = self.registry.with_entries(|entries| {
                let ahead = entries.iter().filter(|entry| numbers.contains(&entry.number));
                ahead.min_by_key(|entry| entry.number).map(Arc::clone)
            })?;
            numbers.start = entry.number + 1;
            Some(entry)
        })
    }
}
