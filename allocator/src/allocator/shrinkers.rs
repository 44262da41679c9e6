//! Caches that give memory back when it is short.

use super::Allocator;
use crate::{
    alloc::Busy,
    reclaim::{RegisteredShrinker, Shrinker, ShrinkerReport},
};

impl Allocator {
    /// Registers a shrinker: a cache that is asked for memory when it is short, until what is returned is dropped.
    ///
    /// The name is for reports and tracers. The allocator keeps the shrinker, so a shrinker that keeps the allocator would never let it
    /// end; [`Shrinker`] shows how a cache refers to both.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use gfp::{Allocator, Gfp, Maintain, Pages};
    /// use gfp::reclaim::{ObjectCount, ShrinkControl, Shrinker};
    ///
    /// struct Spare(Arc<Mutex<Vec<Pages>>>);
    /// impl Shrinker for Spare {
    ///     fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
    ///         ObjectCount::Objects(self.0.lock().unwrap().len() as u64)
    ///     }
    ///     fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
    ///         let mut spare = self.0.lock().unwrap();
    ///         let given = (0..control.nr_to_scan()).map_while(|_| spare.pop()).count();
    ///         Some(given as u64)
    ///     }
    /// }
    ///
    /// let allocator = Allocator::builder(16 << 20).maintain(Maintain::ByHand).build()?;
    /// let spare = Arc::new(Mutex::new(Vec::new()));
    /// while let Ok(page) = allocator.alloc_page(Gfp::KERNEL) {
    ///     spare.lock().unwrap().push(page);
    /// }
    /// let _registered = allocator.register_shrinker("spare", Spare(spare));
    /// assert!(allocator.alloc_page(Gfp::KERNEL).is_ok(), "a spare one");
    /// # Ok::<(), gfp::BuildError>(())
    /// ```
    #[doc(alias = "shrinker_register")]
    pub fn register_shrinker(
        &self,
        name: &'static str,
        shrinker: impl Shrinker + 'static,
    ) -> RegisteredShrinker {
        let core = self.core();
        core.reclaim.shrinkers.register(name, Box::new(shrinker), core.domain.zonelists().nodes())
    }

    /// Says what is known of each registered shrinker, in the order of registration.
    ///
    /// ```
    /// # use gfp::Allocator;
    /// let allocator = Allocator::builder(64 << 20).build()?;
    /// for shrinker in allocator.shrinkers() {
    ///     println!("{}: {} frames in {} scans", shrinker.name, shrinker.freed_frames, shrinker.scans);
    /// }
    /// # Ok::<(), gfp::BuildError>(())
    /// ```
    pub fn shrinkers(&self) -> Vec<ShrinkerReport> {
        let _busy = Busy::enter();
        self.core().reclaim.shrinkers.reports()
    }
}
