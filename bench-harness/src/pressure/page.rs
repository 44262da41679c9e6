//! Blocks with a word of their own in their memory.

use std::fmt;

use gfp::Pages;

use crate::stamp;

/// Who has a block: an owner, and which of its blocks it is. The word that is written into it follows from both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The page of a cache, by the cache's place among all and the page's key.
    Cache(usize, u64),
    /// The request of a thread, by the thread and the request's number.
    Thread(usize, u64),
}

impl Whose {
    /// Returns the word: a bit that is always set, one that tells caches from threads, 14 bits of which, 48 of the number.
    const fn word(self) -> u64 {
        let (kind, which, number) = match self {
            Self::Cache(cache, key) => (0, cache, key),
            Self::Thread(thread, number) => (1, thread, number),
        };
        1 << 63 | kind << 62 | (which as u64 & 0x3fff) << 48 | number & 0xffff_ffff_ffff
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(cache, key) => write!(f, "page {key} of cache {cache}"),
            Self::Thread(thread, number) => write!(f, "request {number} of thread {thread}"),
        }
    }
}

/// A block that was stamped when it came.
#[derive(Debug)]
pub(super) struct Stamped {
    pages: Pages,
    whose: Whose,
}

impl Stamped {
    /// Stamps a new block.
    pub(super) fn new(mut pages: Pages, whose: Whose) -> Self {
        stamp::write(whose.word(), pages.bytes_mut());
        Self { pages, whose }
    }

    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn frames(&self) -> u64 {
        u64::from(self.pages.order().frames())
    }

    /// Checks that the block has what was written to it.
    ///
    /// # Errors
    /// It has something else: what, and where.
    pub(super) fn verify(&self) -> Result<(), String> {
        let word = self.whose.word();
        // SAFETY: it was stamped when it came, and nobody has written to it since.
        unsafe { stamp::check(word, self.pages.bytes()) }.map_err(|(at, found)| {
            format!(
                "{}, frame {:#x}, has {found:#018x} instead of {word:#018x} at byte {at}",
                self.whose,
                self.pages.pfn().get()
            )
        })
    }

    /// Forgets what is in the block, so that it is wrong.
    #[cfg(test)]
    pub(super) fn spoil(&mut self) {
        stamp::write(0, self.pages.bytes_mut());
    }
}

#[cfg(test)]
mod tests {
    use gfp::{Allocator, Gfp, Order};

    use super::*;

    #[test]
    fn a_block_that_somebody_wrote_to_says_whose_it_is_and_what_it_has() {
        let allocator = Allocator::builder(16 << 20).build().unwrap();
        let pages = allocator.alloc_pages(Gfp::KERNEL, Order::new(1)).unwrap();
        let mut page = Stamped::new(pages, Whose::Cache(2, 77));
        assert_eq!(page.verify(), Ok(()));
        page.spoil();
        let text = page.verify().unwrap_err();
        assert!(text.starts_with("page 77 of cache 2, frame 0x"), "{text}");
        assert!(text.ends_with("has 0x0000000000000000 instead of 0x800200000000004d at byte 0"), "{text}");
    }

    #[test]
    fn no_two_owners_have_the_same_word() {
        let words = [Whose::Cache(0, 1), Whose::Cache(1, 0), Whose::Thread(0, 1), Whose::Thread(1, 0)]
            .map(Whose::word);
        let different: std::collections::BTreeSet<u64> = words.into_iter().collect();
        assert_eq!(different.len(), words.len());
    }
}
