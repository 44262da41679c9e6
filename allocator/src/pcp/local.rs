//! The calling thread's caches, found without a handle.
//!
//! ```
//! use core::num::NonZeroUsize;
//! use gfp::{Nid, Order, Pfn, frame::{AllocatorNumber, FrameTable, ZoneNumber}};
//! use gfp::{Gfp, alloc::TakeCached, gfp::ZoneType};
//! use gfp::pcp::{Caches, Handover, local, sizing::HighFraction};
//! use gfp::sync::Arc;
//! use gfp::zone::{FirstFor, Grouping, Zone, ZoneSpan, watermark::{WatermarkRule, Watermarks}};
//!
//! # let end = Pfn::new(1 << 16);
//! # let (kind, node, number) = (ZoneType::Normal, Nid::new(0), ZoneNumber::new(0));
//! # let span = ZoneSpan { kind, node, number, start: Pfn::new(0), end, online_end: end };
//! # let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), end.index())?;
//! # let first_for = FirstFor::collect(|highest| highest >= kind);
//! # let (rule, grouping) = (WatermarkRule::AnySuitable, Grouping::ByMobility);
//! # let zone = Zone::new(span, Order::new(10), rule, frames.clone(), first_for, grouping)?;
//! # zone.set_watermarks(Watermarks { min: 32, low: 64, high: 96, promo: 128, boost: 0 }, [0; 5]);
//! # let (hot_zones, fraction) = ([number].into(), HighFraction::AUTO);
//! # let caches = Caches::new(Arc::from([zone]), frames, hot_zones, 1, fraction, 0, Handover::Direct);
//! # let caches = Arc::new(caches);
//! // `caches` are those of one allocator, made as in the example of `pcp`.
//! let key = NonZeroUsize::MIN;
//! assert!(local::find(key).is_none());
//! let owner = local::get_or_register(key, &caches, || node)?;
//! assert!(local::find(key).is_some_and(|found| Arc::ptr_eq(found.cell(), owner.cell())));
//!
//! // The fast path finds it with one comparison. It is empty still.
//! let request = TakeCached { gfp: Gfp::KERNEL, order: Order::ZERO };
//! assert!(matches!(local::with_last(key, request), Some(None)));
//! assert!(local::with_last(NonZeroUsize::MAX, request).is_none(), "of another allocator");
//!
//! // In the child of a fork:
//! local::keep_all();
//! assert!(owner.enter().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::num::NonZeroUsize;

use super::{Caches, NoCache, ThreadCache, caches::retire};
use crate::frame::{AllocatorNumber, Nid};
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

/// Names an allocator among those that a thread uses.
#[inline(always)]
pub(crate) fn key_of(allocator: AllocatorNumber) -> NonZeroUsize {
    NonZeroUsize::from(allocator.non_zero())
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    #![expect(clippy::disallowed_types, reason = "the macros of proptest name std's Arc")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        pcp::{
            Handover,
            tests::{ZONES, caches},
        },
        sync::{Inside, NotEntered, thread},
    };

    /// Tells whose cache was entered: each allocator of the test is used on a node of its own.
    struct Whose;

    impl Visit<ThreadCache> for Whose {
        type Output = Result<Nid, NotEntered>;

        fn visit(self, entered: Result<Inside<'_, ThreadCache>, NotEntered>) -> Self::Output {
            entered.map(|cache| cache.node())
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(usize),
        Find(usize),
        Last(usize),
        Keep,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..ZONES).prop_map(Step::Ask),
            2 => (0..ZONES).prop_map(Step::Find),
            4 => (0..ZONES).prop_map(Step::Last),
            1 => Just(Step::Keep),
        ]
    }

    fn key(allocator: usize) -> NonZeroUsize {
        key_of(u16::try_from(allocator + 1).ok().and_then(AllocatorNumber::new).expect("a small number"))
    }

    /// Makes the steps on a thread that has no cache yet.
    fn make(steps: &[Step]) -> Result<(), TestCaseError> {
        let allocators = [(); ZONES].map(|()| caches(Handover::Direct));
        // What the thread should have: of each allocator a cache that can be entered, one that cannot, or none.
        let mut has: [Option<bool>; ZONES] = [None; ZONES];
        let mut last = None;
        for &step in steps {
            match step {
                Step::Ask(which) => {
                    let mut asked = false;
                    let node = || {
                        asked = true;
                        Nid::new(which)
                    };
                    let owner =
                        get_or_register(key(which), &allocators[which], node).expect("there is memory");
                    prop_assert_eq!(Whose.visit(owner.enter()), Ok(Nid::new(which)));
                    prop_assert_eq!(
                        asked,
                        has[which] != Some(true),
                        "a cache is made where there is none to be used"
                    );
                    (has[which], last) = (Some(true), Some(which));
                }
                Step::Find(which) => {
                    let found = find(key(which)).map(|owner| Whose.visit(owner.enter()).ok());
                    prop_assert_eq!(found, has[which].map(|open| open.then(|| Nid::new(which))));
                    last = has[which].map_or(last, |_| Some(which));
                }
                Step::Last(which) => {
                    let entered = with_last(key(which), Whose).map(Result::ok);
                    let there = has[which].filter(|_| last == Some(which));
                    prop_assert_eq!(entered, there.map(|open| open.then(|| Nid::new(which))));
                }
                Step::Keep => {
                    keep_all();
                    has = has.map(|open| open.map(|_| false));
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn a_thread_finds_the_cache_of_the_allocator_that_it_names(steps in prop::collection::vec(step(), 1..40)) {
            thread::spawn(move || make(&steps)).join().expect("no panic")?;
        }

        #[test]
        fn each_allocator_has_a_key_of_its_own(numbers in prop::array::uniform2(1..=AllocatorNumber::MAX)) {
            let [first, second] = numbers.map(|number| key_of(AllocatorNumber::new(number).expect("in range")));
            prop_assert_eq!(first == second, numbers[0] == numbers[1]);
        }
    }
}
