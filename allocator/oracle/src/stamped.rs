//! Fragments whose holder knows them again.

use core::mem::MaybeUninit;

use gfp::PageFrag;

/// A fragment, and the byte that its holder has written all over it.
#[derive(Debug)]
pub struct Stamped {
    /// The fragment.
    pub fragment: PageFrag,
    stamp: u8,
}

impl Stamped {
    /// Writes `stamp` all over a fragment.
    #[must_use]
    pub fn new(mut fragment: PageFrag, stamp: u8) -> Self {
        fragment.fill(MaybeUninit::new(stamp));
        Self { fragment, stamp }
    }

    /// Checks that nobody has written into it since.
    ///
    /// # Panics
    /// When somebody has.
    pub fn check(&self) {
        // SAFETY: all of it was written when it was stamped.
        let bytes = unsafe { self.fragment.assume_init_ref() };
        assert!(bytes.iter().all(|byte| *byte == self.stamp), "somebody wrote into {:?}", self.fragment);
    }
}
