//! Who has which frame, out of the scheduler's sight; and marks in what the frames hold.

use gfp::{ContigPages, ExactPages, PageFrag, Pages, SharedPages};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a word that is written into the first and the last frame of a block.
const WORD: usize = size_of::<u32>();

/// By frame, who has it: 0 for nobody.
#[derive(Debug)]
pub(crate) struct Stamps {
    holders: Box<[AtomicU32]>,
    last: AtomicU32,
}

impl Stamps {
    /// Makes the table of an arena of which nobody has a frame.
    pub(crate) fn new(frames: u64) -> Arc<Self> {
        Arc::new(Self { holders: (0..frames).map(|_| AtomicU32::new(0)).collect(), last: AtomicU32::new(0) })
    }

    /// Counts the frames that somebody has.
    pub(crate) fn held(&self) -> usize {
        self.holders.iter().filter(|holder| holder.load(Ordering::Relaxed) != 0).count()
    }
}

/// Frames that somebody has until this is dropped.
#[derive(Debug)]
struct Stamp {
    stamps: Arc<Stamps>,
    frames: Range<usize>,
    holder: u32,
}

impl Stamp {
    /// Notes who has the frames from now on, and marks their memory.
    fn new(stamps: &Arc<Stamps>, frames: Range<usize>, memory: &mut [MaybeUninit<u8>]) -> Self {
        let holder = stamps.last.fetch_add(1, Ordering::Relaxed) + 1;
        for (pfn, frame) in frames.clone().zip(&stamps.holders[frames.clone()]) {
            let before = frame.swap(holder, Ordering::Relaxed);
            assert_eq!(before, 0, "frame {pfn:#x} was handed out twice");
        }
        let stamp = Self { stamps: Arc::clone(stamps), frames, holder };
        stamp.mark(memory);
        stamp
    }

    fn mark(&self, memory: &mut [MaybeUninit<u8>]) {
        let end = memory.len();
        for at in [0, end - WORD] {
            memory[at..at + WORD].write_copy_of_slice(&self.holder.to_ne_bytes());
        }
    }

    fn check(&self, memory: &[MaybeUninit<u8>]) {
        for bytes in [memory.first_chunk::<WORD>(), memory.last_chunk::<WORD>()] {
            // SAFETY: `mark` wrote them.
            let bytes = bytes.map(|bytes| bytes.map(|byte| unsafe { byte.assume_init() }));
            assert_eq!(
                bytes.map(u32::from_ne_bytes),
                Some(self.holder),
                "somebody wrote into a block of another"
            );
        }
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        for (pfn, frame) in self.frames.clone().zip(&self.stamps.holders[self.frames.clone()]) {
            let before = frame.swap(0, Ordering::Relaxed);
            assert_eq!(before, self.holder, "frame {pfn:#x} has another holder");
        }
    }
}

/// What has whole frames.
pub(crate) trait Frames {
    /// Returns which.
    fn frames(&self) -> Range<usize>;
    /// Returns their memory.
    fn memory(&mut self) -> &mut [MaybeUninit<u8>];
}

impl Frames for Pages {
    fn frames(&self) -> Range<usize> {
        self.pfn().index()..self.pfn().add(self.order().frames()).index()
    }

    fn memory(&mut self) -> &mut [MaybeUninit<u8>] {
        self.bytes_mut()
    }
}

impl Frames for ExactPages {
    fn frames(&self) -> Range<usize> {
        self.pfn().index()..self.pfn().add(Self::frames(self)).index()
    }

    fn memory(&mut self) -> &mut [MaybeUninit<u8>] {
        self
    }
}

impl Frames for ContigPages {
    fn frames(&self) -> Range<usize> {
        self.pfn().index()..self.pfn().add(Self::frames(self)).index()
    }

    fn memory(&mut self) -> &mut [MaybeUninit<u8>] {
        self
    }
}

/// Frames with an owner.
pub(crate) struct Owned<T: Frames> {
    // Dropped in this order: from the moment that the frames are on their way back, others may get them.
    stamp: Stamp,
    block: T,
}

impl<T: Frames> Owned<T> {
    /// Takes a block over from the allocator.
    pub(crate) fn new(stamps: &Arc<Stamps>, mut block: T) -> Self {
        Self { stamp: Stamp::new(stamps, block.frames(), block.memory()), block }
    }

    /// Gives the block away.
    pub(crate) fn into_inner(mut self) -> T {
        self.check();
        self.block
    }

    /// Looks whether anybody wrote into it.
    pub(crate) fn check(&mut self) {
        self.stamp.check(self.block.memory());
    }
}

/// A reference to a shared block.
pub(crate) struct Reference {
    // In this order, as above: while there is a stamp, there is a reference.
    stamp: Arc<Stamp>,
    pages: SharedPages,
}

impl Owned<Pages> {
    /// Shares the block.
    pub(crate) fn share(mut self) -> Reference {
        self.check();
        Reference { stamp: Arc::new(self.stamp), pages: self.block.into_shared() }
    }
}

impl Reference {
    /// Takes one more reference.
    pub(crate) fn again(&self) -> Self {
        self.check();
        let pages = self.pages.try_get().expect("there are few references");
        Self { stamp: Arc::clone(&self.stamp), pages }
    }

    /// Makes the block one with an owner if this is the only reference.
    pub(crate) fn unshare(self) -> Result<Owned<Pages>, Self> {
        let Self { stamp, pages } = self;
        match pages.try_into_pages() {
            Ok(block) => {
                let stamp = Arc::try_unwrap(stamp).expect("whoever is alone has the only reference");
                stamp.check(block.bytes());
                Ok(Owned { stamp, block })
            }
            Err(pages) => Err(Self { stamp, pages }),
        }
    }

    /// Writes to the block if this is the only reference.
    pub(crate) fn write(&mut self) {
        if let Some(memory) = self.pages.get_mut() {
            assert_eq!(Arc::strong_count(&self.stamp), 1, "whoever is alone has the only reference");
            self.stamp.mark(memory);
        }
    }

    /// Looks whether anybody wrote into it.
    pub(crate) fn check(&self) {
        self.stamp.check(self.pages.bytes());
        assert!(self.pages.references() > 0);
    }
}

/// A fragment, filled.
pub(crate) struct Fragment {
    fragment: PageFrag,
    fill: u8,
}

impl Fragment {
    /// Takes a fragment over from its cache.
    pub(crate) fn new(mut fragment: PageFrag, fill: u8) -> Self {
        fragment.fill(MaybeUninit::new(fill));
        Self { fragment, fill }
    }
}

impl Drop for Fragment {
    fn drop(&mut self) {
        let intact = self.fragment.iter().all(|byte| {
            // SAFETY: `new` wrote all of them.
            unsafe { byte.assume_init() == self.fill }
        });
        assert!(intact, "somebody wrote into a fragment of another");
    }
}

/// What a thread has; dropping it looks at it, and gives it back.
pub(crate) enum Held {
    Pages(Owned<Pages>),
    Exact(Owned<ExactPages>),
    Contig(Owned<ContigPages>),
    Shared(Reference),
    Fragment(#[expect(dead_code, reason = "its drop matters")] Fragment),
}

impl Held {
    /// Looks whether anybody wrote into it.
    pub(crate) fn check(&mut self) {
        match self {
            Self::Pages(pages) => pages.check(),
            Self::Exact(pages) => pages.check(),
            Self::Contig(pages) => pages.check(),
            Self::Shared(pages) => pages.check(),
            Self::Fragment(_) => {}
        }
    }
}
