//! The list of all values of a kind, for whoever must visit them all.

use super::atomic::{AtomicBool, Ordering};
use super::rank::LockRank;
use super::seeded::{SeededBug, seeded};
use super::{Arc, Mutex};
use std::fmt;

/// The values of a kind that exist: the thread caches of an allocator, for example.
///
/// One lock (rank [`LockRank::Registry`]) protects the list and whether it is closed. Registration is ordered
/// with every visit: either the visit sees the new value, or the registration comes after the visit, and then
/// it sees everything that the visitor did before and inside it, in particular that the registry was closed.
///
/// In a child that a fork has made, the copy of the lock may be held by a thread that is not there; see [`orphan`](Self::orphan).
///
/// ```
/// use gfp::sync::{Arc, Registry, RegistryClosed};
///
/// let registry = Registry::new();
/// let (first, second) = (Arc::new(1), Arc::new(2));
/// assert_eq!(registry.register(Arc::clone(&first)), Ok(1));
/// assert_eq!(registry.register(Arc::clone(&second)), Ok(2));
///
/// let mut sum = 0;
/// registry.for_each(|value| sum += **value);
/// assert_eq!((sum, registry.with_entries(|all| all.len()), registry.len()), (3, 2, 2));
///
/// // What an entry leaves behind is folded under the same lock that takes it off the list.
/// assert_eq!(registry.unregister(&first, |value| value * 10), Some(10));
/// assert_eq!(registry.unregister(&first, |value| value * 10), None, "it is gone");
/// assert_eq!(registry.snapshot(), [second]);
///
/// assert_eq!(registry.close(|rest| rest.len()), 1);
/// assert!(registry.is_closed());
/// assert_eq!(registry.register(first), Err(RegistryClosed));
///
/// // In the child of a fork:
/// registry.orphan();
/// assert!(registry.is_orphaned() && registry.is_empty());
/// ```
pub struct Registry<T> {
    list: Mutex<List<T>>,
    orphaned: AtomicBool,
}

struct List<T> {
    entries: Vec<Arc<T>>,
    closed: bool,
}

/// The registry was closed: nothing is registered any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryClosed;

impl<T> Registry<T> {
    /// Makes an open, empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            list: Mutex::new(List { entries: Vec::new(), closed: false }),
            orphaned: AtomicBool::new(false),
        }
    }

    /// Adds `entry`, and returns how many there are then.
    ///
    /// # Errors
    ///
    /// When the registry was closed; the entry is not added.
    pub fn register(&self, entry: Arc<T>) -> Result<usize, RegistryClosed> {
        self.locked(|list| {
            if list.closed && !seeded(SeededBug::RegisterSkipsClosed) {
                return Err(RegistryClosed);
            }
            list.entries.push(entry);
            Ok(list.entries.len())
        })
    }

    /// Removes `entry` after calling `fold` with it, both under the lock; `None` when it is not listed.
    ///
    /// A visitor that adds up counters sees either the entry, or what `fold` made of it, never both nor
    /// neither.
    pub fn unregister<R>(&self, entry: &Arc<T>, fold: impl FnOnce(&T) -> R) -> Option<R> {
        if seeded(SeededBug::FoldOutsideLock) {
            let folded = fold(entry);
            return self.locked(|list| list.take(entry).map(|_| folded));
        }
        // The entry is handed out of the lock, so that a last reference is not dropped under it.
        self.locked(|list| list.take(entry).map(|entry| (fold(&entry), entry))).map(|(folded, _)| folded)
    }

    /// Calls `f` with every entry, under the lock: `f` may claim caches and take zone locks.
    pub fn for_each(&self, mut f: impl FnMut(&Arc<T>)) {
        self.with_entries(|entries| entries.iter().for_each(&mut f));
    }

    /// Calls `f` with all entries, under the lock; so that many can be claimed with one fence.
    pub fn with_entries<R>(&self, f: impl FnOnce(&[Arc<T>]) -> R) -> R {
        self.locked(|list| f(&list.entries))
    }

    /// Copies the list; allocates, so not for requests that look for memory.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<T>> {
        self.with_entries(<[Arc<T>]>::to_vec)
    }

    /// Refuses all later registrations and calls `f` with the entries that are there, under the lock.
    pub fn close<R>(&self, f: impl FnOnce(&[Arc<T>]) -> R) -> R {
        self.locked(|list| {
            list.closed = true;
            f(&list.entries)
        })
    }

    /// Answers whether the registry was closed.
    pub fn is_closed(&self) -> bool {
        self.locked(|list| list.closed)
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.locked(|list| list.entries.len())
    }

    /// Answers whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows itself as closed and empty from now on, and takes its lock no more. One store: for the child of a fork, where
    /// everything that is listed may be in the middle of a change for ever.
    pub fn orphan(&self) {
        self.orphaned.store(true, Ordering::Relaxed);
    }

    /// Answers whether this is the child of a fork, in which nothing is listed.
    pub fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    fn locked<R>(&self, f: impl FnOnce(&mut List<T>) -> R) -> R {
        if self.is_orphaned() {
            return f(&mut List { entries: Vec::new(), closed: true });
        }
        let _rank = LockRank::Registry.acquire();
        f(&mut self.list.lock())
    }
}

impl<T> List<T> {
    fn take(&mut self, entry: &Arc<T>) -> Option<Arc<T>> {
        let position = self.entries.iter().position(|listed| Arc::ptr_eq(listed, entry))?;
        Some(self.entries.swap_remove(position))
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the entries: a debugger's look must not wait for a lock.
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::OwnedCounter;
    use std::thread;

    #[test]
    fn entries_come_and_go() {
        let registry = Registry::default();
        let (first, second) = (Arc::new(1), Arc::new(2));
        assert_eq!(registry.register(Arc::clone(&first)), Ok(1));
        assert_eq!(registry.register(Arc::clone(&second)), Ok(2));
        assert_eq!(registry.unregister(&first, |value| *value), Some(1));
        assert_eq!(registry.unregister(&first, |value| *value), None, "it is gone");
        assert_eq!(registry.unregister(&Arc::new(2), |value| *value), None, "equal is not the same");
        assert_eq!(registry.snapshot(), [second]);
        assert!(!registry.is_empty());
        let mut seen = Vec::new();
        registry.for_each(|entry| seen.push(**entry));
        assert_eq!(seen, [2]);
    }

    #[test]
    fn a_closed_registry_takes_nobody() {
        let registry = Registry::new();
        registry.register(Arc::new(1)).unwrap();
        assert_eq!(registry.close(<[_]>::len), 1);
        assert!(registry.is_closed());
        assert_eq!(registry.register(Arc::new(2)), Err(RegistryClosed));
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn an_orphaned_registry_is_closed_and_empty_whoever_holds_its_lock() {
        let registry = Registry::new();
        let entry = Arc::new(1);
        registry.register(Arc::clone(&entry)).unwrap();
        registry.with_entries(|_| {
            registry.orphan();
            assert!(registry.is_closed() && registry.is_empty());
            assert_eq!(registry.register(Arc::new(2)), Err(RegistryClosed));
            assert_eq!(registry.unregister(&entry, |value| *value), None);
            assert_eq!(format!("{registry:?}"), "Registry { .. }", "a look does not wait for the lock");
        });
    }

    #[test]
    fn a_reader_counts_each_thread_once() {
        const THREADS: u64 = 50;
        let (registry, total) = (Registry::<OwnedCounter>::new(), OwnedCounter::new());
        let sum = || {
            registry.with_entries(|counters| {
                counters.iter().map(|counter| counter.get()).sum::<u64>() + total.get()
            })
        };
        thread::scope(|scope| {
            let (registry, total) = (&registry, &total);
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(move || {
                        for _ in 0..THREADS {
                            let counter = Arc::new(OwnedCounter::new());
                            registry.register(Arc::clone(&counter)).unwrap();
                            (0..1000).for_each(|_| counter.add(1));
                            registry.unregister(&counter, |counter| counter.fold_into(total)).unwrap();
                        }
                    })
                })
                .collect();
            let mut last = 0;
            while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
                let now = sum();
                assert!(now >= last, "a thread was missed, or had been counted twice");
                last = now;
            }
        });
        assert_eq!(sum(), 2 * THREADS * 1000);
    }
}
