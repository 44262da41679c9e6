//! What the calling thread frees and takes past its cache.

use core::{cell::Cell, marker::PhantomData};

use crate::{frame::AllocatorNumber, sync::thread_local};

/// Of which allocator frames are counted, 0 for none; and how many were freed, less those that were taken.
type Count = (u16, i64);

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new((0, 0)) };
}

/// A thread's stay in code of which somebody wants to know what it gives back: what does not go through the thread's cache is
/// counted here, because the zone, which counts it too, does not know the thread.
#[derive(Debug)]
pub(crate) struct PastCache {
    /// What was counted before, further out.
    outer: Count,
    /// Bound to its thread.
    _not_send: PhantomData<*mut ()>,
}

impl PastCache {
    /// Counts the frames of an allocator until the guard is dropped.
    pub(crate) fn count(allocator: AllocatorNumber) -> Self {
        Self { outer: COUNT.replace((allocator.get(), 0)), _not_send: PhantomData }
    }

    /// Returns how many frames the thread freed past its cache since, less those that it took.
    pub(crate) fn balance(&self) -> i64 {
        COUNT.with(Cell::get).1
    }
}

impl Drop for PastCache {
    fn drop(&mut self) {
        COUNT.set(self.outer);
    }
}

/// Notes that the calling thread freed frames past its cache, or took some if there are less than none.
pub(super) fn note_past_cache(allocator: AllocatorNumber, frames: i64) {
    // A thread that is ending counts nothing.
    let _: Result<(), _> = COUNT.try_with(|count| {
        let (counted, balance) = count.get();
        if counted == allocator.get() {
            count.set((counted, balance.wrapping_add(frames)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_allocator_in_question_are_counted_and_only_inside() {
        let number = |number| AllocatorNumber::new(number).expect("not 0");
        note_past_cache(number(1), 5);
        let outer = PastCache::count(number(1));
        note_past_cache(number(1), 3);
        let inner = PastCache::count(number(2));
        note_past_cache(number(1), 100);
        note_past_cache(number(2), -2);
        assert_eq!(inner.balance(), -2);
        drop(inner);
        note_past_cache(number(1), 4);
        assert_eq!(outer.balance(), 7);
    }
}
