//! Pages for fragments, and the fragments of each.

use core::ops::Range;
use std::collections::BTreeMap;

/// A page that fragments are taken from: its frames.
pub(crate) type Page = (usize, usize);

/// A cache of fragments: the page at hand, and how many of its bytes are used.
#[derive(Clone, Copy, Debug, Default)]
struct FragCache {
    page: Option<Page>,
    used: usize,
}

/// The caches, and all fragments: by their first byte in the arena their end and their page.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    caches: [FragCache; 3],
    live: BTreeMap<usize, (usize, Page)>,
}

fn bytes((_, frames): Page) -> usize {
    frames * 4096
}

impl Fragments {
    /// Tells whether a page is at hand or has fragments.
    pub(crate) fn has(&self, page: Page) -> bool {
        self.caches.iter().any(|cache| cache.page == Some(page)) || self.has_fragments(page)
    }

    fn has_fragments(&self, page: Page) -> bool {
        self.live.values().any(|&(_, other)| other == page)
    }

    /// Tells whether the page at hand of a cache has room, or may be used again from its start.
    pub(crate) fn must_serve(&self, cache: usize, size: usize, align: usize) -> bool {
        let FragCache { page, used } = self.caches[cache];
        page.is_some_and(|page| {
            let fits = used.next_multiple_of(align) + size <= bytes(page);
            fits || size <= bytes(page) && !self.has_fragments(page)
        })
    }

    /// Checks a fragment that a cache gave: its bytes in the arena, and its page. Returns the page that the cache left for it.
    pub(crate) fn gave(&mut self, cache: usize, at: Range<usize>, align: usize, page: Page) -> Option<Page> {
        let FragCache { page: hand, used } = self.caches[cache];
        let before = self.live.range(..at.end).next_back();
        assert!(before.is_none_or(|(_, &(end, _))| end <= at.start), "{at:?} overlaps another fragment");
        let start = at.start.checked_sub(page.0 * 4096).expect("it lies in its page");
        assert!(start + at.len() <= bytes(page), "{at:?} goes beyond its page");
        let next = used.next_multiple_of(align);
        match hand {
            Some(hand) if next + at.len() <= bytes(hand) => {
                assert_eq!((page, start), (hand, next), "the page at hand has room");
            }
            Some(hand) if at.len() <= bytes(hand) => {
                let again = !self.has_fragments(hand);
                assert_eq!((page == hand, start), (again, 0), "a page without fragments is used again");
            }
            hand => assert_eq!((hand == Some(page), start), (false, 0), "a new page is used from its start"),
        }
        self.caches[cache] = FragCache { page: Some(page), used: start + at.len() };
        self.live.insert(at.start, (at.end, page));
        hand.filter(|&hand| hand != page)
    }

    /// Notes that a cache found no page for a fragment. Returns the page that it left.
    pub(crate) fn refused(&mut self, cache: usize, size: usize) -> Option<Page> {
        // It is kept where it was too small anyway.
        let left = self.caches[cache].page.filter(|&page| size <= bytes(page));
        if left.is_some() {
            self.caches[cache].page = None;
        }
        left
    }

    /// Notes that a cache leaves the page at hand, and returns it.
    pub(crate) fn drain(&mut self, cache: usize) -> Option<Page> {
        self.caches[cache].page.take()
    }

    /// Notes that the fragment of these bytes is gone, and returns its page.
    pub(crate) fn freed(&mut self, start: usize) -> Page {
        self.live.remove(&start).expect("it was given").1
    }
}
