//! The calling thread's caches, found without a handle.

use core::num::NonZeroUsize;

use super::{Caches, NoCache, ThreadCache, caches::retire};
use crate::frame::Nid;
use crate::sync::{Arc, LastOwner, Owner, OwnerSlot, Visit};

crate::sync::thread_local! {
    /// The cache that this thread used last.
    static LAST: LastOwner<ThreadCache> = const { LastOwner::new() };
}

crate::sync::thread_local! {
    /// The caches of this thread, one for each allocator that it uses. When the thread ends, each is emptied.
    static CACHES: OwnerSlot<ThreadCache> = const { OwnerSlot::new(&LAST, |_, owner| retire(&owner)) };
}

/// Visits the cache of the thread, if the allocator is the one that was used last.
///
/// `key` is the allocator's number. `None` also when the thread is ending.
#[inline(always)]
pub fn with_last<V: Visit<ThreadCache>>(key: NonZeroUsize, visit: V) -> Option<V::Output> {
    LastOwner::enter(&LAST, key, visit)
}

/// Returns the thread's cache of an allocator, making one if it has none; the thread is on the node that `node` says.
///
/// # Errors
/// When the allocator is closed, there is no memory, or the thread is ending.
#[cold]
pub fn get_or_register(
    key: NonZeroUsize,
    caches: &Arc<Caches>,
    node: impl FnOnce() -> Nid,
) -> Result<Owner<ThreadCache>, NoCache> {
    CACHES
        .try_with(|local| {
            if let Some(owner) = local.find(key) {
                if !owner.cell().is_kept() {
                    return Ok(owner);
                }
                // Of an allocator that was closed, and whose number is in use again.
                local.remove(key);
            }
            let owner = Caches::register(caches, key, node())?;
            local.insert(owner.clone());
            Ok(owner)
        })
        .unwrap_or(Err(NoCache::ThreadEnds))
}

/// Returns the thread's cache of an allocator, if it has one.
#[cold]
pub fn find(key: NonZeroUsize) -> Option<Owner<ThreadCache>> {
    CACHES.try_with(|local| local.find(key)).ok().flatten()
}

/// Claims the caches of this thread for ever, in a child that a fork has made: nothing in them may be used there.
pub fn keep_all() {
    // A thread that is ending has none.
    let _: Result<(), _> = CACHES.try_with(|local| local.for_each(|owner| owner.cell().keep_by_owner()));
}
