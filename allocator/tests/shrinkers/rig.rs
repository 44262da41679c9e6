//! Small arenas, and shrinkers made of closures.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use gfp::{
    Allocator, Gfp, Maintain, Order, Pages,
    error::FailReason,
    reclaim::{ObjectCount, ShrinkControl, Shrinker},
    sync::{Arc, Mutex},
};

/// Makes an allocator of 16 MiB of which every frame is had by ordinary requests.
pub(crate) fn small() -> Allocator {
    let builder = Allocator::builder(16 << 20).dma(0).cpus(1).min_free_kbytes(0).watermark_scale_factor(1);
    builder.maintain(Maintain::ByHand).build().expect("16 MiB can be had")
}

/// Takes all that can be had.
pub(crate) fn take_all(allocator: &Allocator) -> Vec<Pages> {
    std::iter::from_fn(|| allocator.alloc_page(Gfp::KERNEL).ok()).collect()
}

/// Asks for a page, of which there is none, so that all shrinkers have a turn; tells whether there was one in the end.
/// Who believes a shrinker that frees nothing asks again for ever: that is a failure, soon.
pub(crate) fn ask(allocator: &Allocator) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    let answer = allocator.request(Gfp::KERNEL, Order::ZERO).deadline(deadline).alloc();
    assert!(
        !matches!(&answer, Err(error) if error.reason() == FailReason::DeadlineExceeded),
        "it does not end"
    );
    answer.is_ok()
}

/// A shrinker of two closures.
pub(crate) struct Script<C, S> {
    pub(crate) count: C,
    pub(crate) scan: S,
}

impl<C, S> Shrinker for Script<C, S>
where
    C: Fn(&ShrinkControl) -> ObjectCount + Send + Sync,
    S: Fn(&mut ShrinkControl) -> Option<u64> + Send + Sync,
{
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        (self.count)(control)
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        (self.scan)(control)
    }
}

/// A shrinker that always counts the same.
pub(crate) fn of_objects<S>(objects: u64, scan: S) -> impl Shrinker
where
    S: Fn(&mut ShrinkControl) -> Option<u64> + Send + Sync,
{
    Script { count: move |_: &ShrinkControl| ObjectCount::Objects(objects), scan }
}

/// Pages that can be given up.
#[derive(Clone, Default)]
pub(crate) struct Spare(Arc<Mutex<VecDeque<Pages>>>);

impl Spare {
    pub(crate) fn of(pages: Vec<Pages>) -> Self {
        Self(Arc::new(Mutex::new(pages.into())))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes the oldest pages out.
    pub(crate) fn take(&self, pages: u64) -> Vec<Pages> {
        let mut spare = self.0.lock();
        let pages = usize::try_from(pages).unwrap_or(usize::MAX).min(spare.len());
        spare.drain(..pages).collect()
    }

    pub(crate) fn give(&self, page: Pages) {
        self.0.lock().push_back(page);
    }

    pub(crate) fn clear(&self) {
        self.take(u64::MAX);
    }
}

impl Shrinker for Spare {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        match self.len() {
            0 => ObjectCount::Empty,
            pages => ObjectCount::Objects(pages as u64),
        }
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        Some(self.take(control.nr_to_scan()).len() as u64)
    }
}
