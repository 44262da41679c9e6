//! Every way to give a block back, and blocks with several owners.

use gfp::{FreeError, Order, Pages, SharedPages, ZeroedPages};

use super::{Machine, frames, frames_of};
use crate::call::{By, Free};

impl Machine {
    pub(super) fn free_some(&mut self, position: usize, how: Free, times: u8) {
        for _ in 0..times {
            if self.pages.is_empty() {
                break;
            }
            let pages = self.pages.swap_remove(position % self.pages.len());
            self.free(pages, how);
        }
    }

    pub(super) fn free(&mut self, pages: Pages, how: Free) {
        self.model.give(frames_of(&pages));
        self.coverage.count("free", format!("{how:?}"));
        match how {
            Free::Drop => drop(pages),
            Free::Allocator if pages.order() == Order::ZERO => self.allocator.free_page(pages),
            Free::Allocator => self.allocator.free_pages(pages),
            Free::Handle => self.handles[0].free_pages(pages),
            Free::Stranger => self.stranger.free_pages(pages),
            Free::Thread => self.worker.run(move |_| drop(pages)),
            Free::Cold => self.allocator.free_pages_cold(pages),
            Free::NoLock => self.allocator.free_pages_nolock(pages),
            Free::RawParts => self.free_by_parts(pages).expect("its own parts"),
            Free::Shared => free_shared(pages),
            Free::Split => {
                let (first, order) = (pages.pfn(), pages.order());
                let mut got = Vec::new();
                pages.split_page(|frame| got.push(frame));
                assert!((0..order.frames()).map(|offset| first.add(offset)).eq(got.iter().map(Pages::pfn)));
                got.into_iter().rev().for_each(drop);
            }
        }
    }

    fn free_by_parts(&self, pages: Pages) -> Result<(), FreeError> {
        let parts = pages.into_raw_parts();
        // SAFETY: these parts are of a block that was taken apart.
        let again = unsafe { self.allocator.from_raw_parts(parts) }?;
        let parts = again.into_raw_parts();
        // SAFETY: as above.
        unsafe { self.allocator.free_raw(parts) }?;
        // SAFETY: parts that name no block are refused, which is what is tested.
        unsafe { self.allocator.free_raw(parts) }.expect_err("they are used up");
        Ok(())
    }

    pub(super) fn free_bulk(&mut self, by: By, count: usize) {
        let rest = self.pages.len().saturating_sub(count);
        let mut slots: Vec<Option<Pages>> = self.pages.drain(rest..).map(Some).collect();
        for pages in slots.iter().flatten() {
            self.model.give(frames_of(pages));
        }
        let emptied = match by {
            By::Allocator => {
                self.allocator.free_pages_bulk(&mut slots);
                slots
            }
            By::Handle => {
                self.handles[0].free_pages_bulk(&mut slots);
                slots
            }
            By::OtherHandle => {
                self.stranger.free_pages_bulk(&mut slots);
                slots
            }
            By::Thread => self.worker.run(move |handle| {
                handle.free_pages_bulk(&mut slots);
                slots
            }),
        };
        assert!(emptied.iter().all(Option::is_none));
    }

    pub(super) fn free_exact(&mut self, position: usize) {
        if !self.exact.is_empty() {
            let run = self.exact.swap_remove(position % self.exact.len());
            self.model.give(frames(run.pfn(), run.frames()));
        }
    }

    pub(super) fn share(&mut self, position: usize) {
        if !self.pages.is_empty() {
            let pages = self.pages.swap_remove(position % self.pages.len());
            self.shared.push(pages.into_shared());
        }
    }

    /// Returns how many references a block has that is shared.
    fn references(&self, one: &SharedPages) -> usize {
        self.shared.iter().filter(|other| other.pfn() == one.pfn()).count()
    }

    pub(super) fn get(&mut self, position: usize) {
        if !self.shared.is_empty() {
            let one = &self.shared[position % self.shared.len()];
            assert_eq!(one.references() as usize, self.references(one));
            let another =
                if position.is_multiple_of(2) { one.clone() } else { one.try_get().expect("few references") };
            self.shared.push(another);
        }
    }

    pub(super) fn put(&mut self, position: usize) {
        if self.shared.is_empty() {
            return;
        }
        let mut one = self.shared.swap_remove(position % self.shared.len());
        let others = self.references(&one);
        assert_eq!(one.get_mut().is_some(), others == 0);
        match one.try_into_pages() {
            Ok(pages) => {
                assert_eq!(others, 0);
                self.pages.push(pages);
                self.coverage.count("put", "the last");
            }
            Err(one) => {
                assert!(others > 0);
                assert_eq!(one.references() as usize, others + 1);
                drop(one);
                self.coverage.count("put", "not the last");
            }
        }
    }
}

fn free_shared(pages: Pages) {
    let zeroed: ZeroedPages = pages.zero();
    let first = zeroed.into_shared();
    let second = first.clone();
    assert_eq!((first.pages().references(), second.first()), (2, Some(&0)));
    drop(first);
    let mut others: Vec<_> = (0..3).map(|_| second.clone()).collect();
    others.push(second);
    others.into_iter().for_each(drop);
}
