//! What whoever registered a shrinker holds.

use core::fmt;

use super::{ShrinkerReport, entry::Entry};
use crate::sync::{Arc, Registry};

/// A shrinker that is registered with an allocator; dropping this removes it (`unregister_shrinker`).
///
/// The drop waits until no callback of it runs on another thread, and then drops the shrinker's object. So it must not be dropped under a
/// lock that a callback waits for. Inside a callback, of the same shrinker or another, it returns at once; the object is dropped when the
/// last callback of the shrinker has returned.
///
/// It does not keep the allocator open. When the allocator is closed all its shrinkers are removed, and this only has the report.
/// Forgetting it leaves the shrinker registered until then.
///
/// ```
/// use gfp::{Allocator, reclaim::{ObjectCount, ShrinkControl, Shrinker}};
///
/// struct Nothing;
/// impl Shrinker for Nothing {
///     fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
///         ObjectCount::Empty
///     }
///     fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
///         None
///     }
/// }
///
/// let allocator = Allocator::builder(64 << 20).build()?;
/// let registered = allocator.register_shrinker("nothing", Nothing);
/// assert_eq!(allocator.shrinkers(), [registered.report()]);
/// drop(registered);
/// assert!(allocator.shrinkers().is_empty());
/// # Ok::<(), gfp::BuildError>(())
/// ```
#[doc(alias = "unregister_shrinker")]
#[doc(alias = "shrinker_free")]
#[must_use = "the shrinker is removed when this is dropped"]
pub struct RegisteredShrinker {
    registry: Arc<Registry<Entry>>,
    entry: Arc<Entry>,
}

impl RegisteredShrinker {
    pub(super) const fn new(registry: Arc<Registry<Entry>>, entry: Arc<Entry>) -> Self {
        Self { registry, entry }
    }

    /// Says what is known of the shrinker.
    ///
    /// ```
    /// # use gfp::{Allocator, reclaim::{ObjectCount, ShrinkControl, Shrinker}};
    /// # struct Nothing;
    /// # impl Shrinker for Nothing {
    /// #     fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
    /// #         ObjectCount::Empty
    /// #     }
    /// #     fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
    /// #         None
    /// #     }
    /// # }
    /// # let allocator = Allocator::builder(64 << 20).build()?;
    /// let registered = allocator.register_shrinker("nothing", Nothing);
    /// assert_eq!(registered.report().panics, 0);
    /// # Ok::<(), gfp::BuildError>(())
    /// ```
    pub fn report(&self) -> ShrinkerReport {
        self.entry.report()
    }
}

impl Drop for RegisteredShrinker {
    fn drop(&mut self) {
        if self.registry.is_orphaned() {
            // The callbacks that it would wait for may be those of threads that this process does not have.
            return core::mem::forget(Arc::clone(&self.entry));
        }
        self.registry.unregister(&self.entry, |_| ());
        self.entry.remove();
    }
}

impl fmt::Debug for RegisteredShrinker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegisteredShrinker").field(&self.entry).finish()
    }
}
