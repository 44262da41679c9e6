//! Pieces of pages.

use core::alloc::Layout;

use gfp::{Gfp, Order, PageFrag, PageFragCache, error::FragError};

use super::{Machine, frames, judge::Request};
use crate::{
    Stamped,
    model::{Page, Target},
};

/// Returns why no cache gives such a fragment.
fn refused(bytes: usize, align: usize) -> Option<FragError> {
    let (most, most_align) = (PageFragCache::MAX_BYTES, PageFragCache::MAX_ALIGN);
    match bytes {
        _ if align > most_align => Some(FragError::TooAligned { align, most: most_align }),
        0 => Some(FragError::Empty),
        _ if bytes > most => Some(FragError::TooLarge { bytes, most }),
        _ => None,
    }
}

/// The masks of the caches, and the nodes that they take pages from.
pub(super) const CACHES: [(Gfp, Option<usize>); 3] =
    [(Gfp::KERNEL, Some(0)), (Gfp::KERNEL.union(Gfp::ZERO), Some(2)), (Gfp::ATOMIC, None)];

impl Machine {
    /// Notes what the allocator knows before a cache asks for a page.
    fn page_request(&mut self, cache: usize, order: u8) -> Request {
        let (gfp, node) = CACHES[cache];
        let gfp = gfp.without(Gfp::ZERO);
        match node {
            Some(node) => self.request(Some(Target::node(node)), gfp, order),
            None => self.request_by_policy(gfp, order),
        }
    }

    pub(super) fn frag(&mut self, cache: usize, bytes: usize, align: usize) {
        // Where pages come from where the thread's policy says, nobody could tell how often a large one was asked for.
        let bytes = if CACHES[cache].1.is_none() { bytes % 4097 } else { bytes };
        let refused = refused(bytes, align);
        let needs_page = refused.is_none() && !self.model.fragments.must_serve(cache, bytes, align);
        let request = needs_page.then(|| self.page_request(cache, 3));
        let layout = Layout::from_size_align(bytes, align).expect("a power of two");
        let hand = &self.caches[cache];
        let result = if align == 1 { hand.alloc(bytes) } else { hand.alloc_align(layout) };
        let branch = match (result, request) {
            (Ok(fragment), Some(request)) => {
                let (pfn, order) = fragment.page();
                // A single frame is asked for when there was no larger page.
                let request =
                    if order == Order::ZERO { self.page_request(cache, 0).in_between() } else { request };
                assert_eq!(order.get(), request.order);
                self.check_served(&request, frames(pfn, order.frames()));
                self.gave(cache, fragment, bytes, align);
                let page = if order == Order::ZERO { "single frame" } else { "of order 3" };
                self.coverage.count("page for fragments", page);
                "another page"
            }
            (Ok(fragment), None) => {
                assert_eq!(refused, None);
                self.gave(cache, fragment, bytes, align);
                "page at hand"
            }
            (Err(FragError::NoMemory(error)), Some(_)) => {
                let request = self.page_request(cache, if bytes > 4096 { 3 } else { 0 });
                self.check_refused(&request, Some(error));
                let left = self.model.fragments.refused(cache, bytes);
                self.leave(left);
                self.coverage.count("page for fragments", "none");
                return;
            }
            (Err(error), None) if Some(error) == refused => "senseless",
            (Err(error), _) => panic!("{bytes} bytes: {error}"),
        };
        self.coverage.count("fragment", branch);
    }

    /// Checks a fragment, and notes that it was given.
    fn gave(&mut self, cache: usize, fragment: PageFrag, bytes: usize, align: usize) {
        if CACHES[cache].0.contains(Gfp::ZERO) {
            // SAFETY: with this mask, fragments are initialised.
            let zero = unsafe { fragment.assume_init_ref() }.iter().all(|byte| *byte == 0);
            assert!(zero, "{fragment:?} is not zero");
        }
        let start = self.start_of(&fragment);
        assert_eq!((fragment.len(), fragment.as_ptr().addr() % align), (bytes, 0));
        let (pfn, order) = fragment.page();
        let page = (pfn.index(), order.frames() as usize);
        let left = self.model.fragments.gave(cache, start..start + bytes, align, page);
        self.leave(left);
        let stamp = self.stamp();
        self.fragments.push(Stamped::new(fragment, stamp));
    }

    /// Returns where a fragment begins in the arena.
    fn start_of(&self, fragment: &PageFrag) -> usize {
        fragment.as_ptr().addr() - self.allocator.arena().base().addr().get()
    }

    /// Notes that a page is given back, if it is neither at hand nor has fragments.
    fn leave(&mut self, page: Option<Page>) {
        if let Some(page) = page.filter(|&page| !self.model.fragments.has(page)) {
            self.model.give(page.0..page.0 + page.1);
        }
    }

    pub(super) fn free_frag(&mut self, position: usize) {
        if !self.fragments.is_empty() {
            let fragment = self.fragments.swap_remove(position % self.fragments.len());
            fragment.check();
            let page = self.model.fragments.freed(self.start_of(&fragment.fragment));
            // Half of them elsewhere.
            if position.is_multiple_of(2) {
                drop(fragment)
            } else {
                self.worker.run(move |_| drop(fragment))
            }
            self.leave(Some(page));
        }
    }

    pub(super) fn drain_frags(&mut self, cache: usize) {
        self.caches[cache].drain();
        let left = self.model.fragments.drain(cache);
        self.leave(left);
    }
}
