//! Who has which frame: a bit for each.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use gfp::Pfn;

use super::violation::Problem;

/// A bit for each frame of the arena: whether somebody owns it. Set after a request, cleared before a free.
#[derive(Debug)]
pub(super) struct Owners {
    words: Box<[AtomicU64]>,
}

/// Frames whose bits are set for one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "its bits stay set until it is released"]
pub(super) struct Claim {
    start: Pfn,
    frames: u32,
}

impl Claim {
    pub(super) const fn start(&self) -> Pfn {
        self.start
    }

    /// Returns each word that the frames have bits in, and those bits.
    fn bits(&self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (start, end) = (self.start.index(), self.start.index() + self.frames as usize);
        (start / 64..end.div_ceil(64)).map(move |word| {
            let low = start.saturating_sub(word * 64);
            let high = (end - word * 64).min(64);
            (word, (u64::MAX >> (64 - (high - low))) << low)
        })
    }
}

impl Owners {
    pub(super) fn new(frames: usize) -> Self {
        Self { words: (0..frames.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Sets the frames' bits, each of which must be clear.
    pub(super) fn claim(&self, start: Pfn, frames: u32) -> Result<Claim, Problem> {
        let claim = Claim { start, frames };
        for (word, bits) in claim.bits() {
            let Some(owned) = self.words.get(word) else {
                return Err(Problem::at(start, format!("{frames} frames from here on are not of the arena")));
            };
            let twice = owned.fetch_or(bits, Ordering::AcqRel) & bits;
            if twice != 0 {
                let frame = word * 64 + twice.trailing_zeros() as usize;
                let frame = Pfn::new(u32::try_from(frame).expect("a frame of the arena"));
                return Err(Problem::at(frame, "was handed out while somebody owned it"));
            }
        }
        Ok(claim)
    }

    /// Clears the frames' bits.
    pub(super) fn release(&self, claim: &Claim) {
        for (word, bits) in claim.bits() {
            self.words[word].fetch_and(!bits, Ordering::AcqRel);
        }
    }

    /// Returns how many frames somebody owns.
    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.load(Ordering::Acquire).count_ones())).sum()
    }

    /// Returns the first multiple of `step` from `start` on, and from 0 on when there is none, at which so many frames begin
    /// that nobody owns now; all three are multiples of 64.
    pub(super) fn unowned(&self, start: u32, step: u32, frames: u32) -> Option<Pfn> {
        let all = u32::try_from(self.words.len() * 64).expect("an arena of few frames");
        let starts = (start..all).chain(0..start).step_by(64);
        let whole = starts.filter(|start| start.is_multiple_of(step) && start + frames <= all).map(Pfn::new);
        whole.into_iter().find(|&start| self.first_in(start, start.add(frames)).is_none())
    }

    /// Returns the first frame from `start` to before `end`, both multiples of 64, that somebody owns.
    pub(super) fn first_in(&self, start: Pfn, end: Pfn) -> Option<Pfn> {
        let words = start.index() / 64..end.index() / 64;
        words.into_iter().find_map(|word| {
            let bits = self.words[word].load(Ordering::Acquire);
            let frame = u32::try_from(word * 64).expect("a frame of the arena") + bits.trailing_zeros();
            (bits != 0).then(|| Pfn::new(frame))
        })
    }
}

/// Frames that several own together, as references to one block.
#[derive(Debug)]
pub(super) struct Joint {
    claim: Claim,
    owners: Mutex<u32>,
}

impl Joint {
    /// Frames with one owner so far.
    pub(super) const fn new(claim: Claim) -> Self {
        Self { claim, owners: Mutex::new(1) }
    }

    pub(super) const fn claim(&self) -> &Claim {
        &self.claim
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, u32> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many own the frames.
    pub(super) fn count(&self) -> u32 {
        *self.owners()
    }

    /// Adds an owner, unless there is none any more.
    pub(super) fn join(&self) -> bool {
        let mut owners = self.owners();
        *owners += u32::from(*owners > 0);
        *owners > 0
    }

    /// Removes an owner; with the last one, the frames have none.
    pub(super) fn leave(&self, all: &Owners) {
        let mut owners = self.owners();
        *owners -= 1;
        if *owners == 0 {
            // Under the lock: who finds that there is no owner finds the bits cleared.
            all.release(&self.claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_handed_out_twice_is_named() {
        let owners = Owners::new(1024);
        let first = owners.claim(Pfn::new(100), 300).unwrap();
        assert_eq!(owners.count(), 300);
        assert_eq!(owners.claim(Pfn::new(0), 101).unwrap_err().frame, Some(Pfn::new(100)));
        let owners = Owners::new(1024);
        let _last = owners.claim(Pfn::new(399), 1).unwrap();
        assert_eq!(owners.claim(Pfn::new(100), 300).unwrap_err().frame, Some(Pfn::new(399)));
        owners.release(&first);
        assert_eq!(owners.count(), 0);
        assert!(owners.claim(Pfn::new(1000), 100).is_err(), "beyond the arena");
    }

    #[test]
    fn frames_are_found_in_a_range() {
        let owners = Owners::new(1024);
        let _claim = owners.claim(Pfn::new(511), 2).unwrap();
        assert_eq!(owners.first_in(Pfn::new(0), Pfn::new(448)), None);
        assert_eq!(owners.first_in(Pfn::new(448), Pfn::new(512)), Some(Pfn::new(511)));
        assert_eq!(owners.first_in(Pfn::new(512), Pfn::new(1024)), Some(Pfn::new(512)));
        assert_eq!(owners.unowned(320, 64, 128), Some(Pfn::new(320)));
        assert_eq!(owners.unowned(384, 64, 128), Some(Pfn::new(576)));
        assert_eq!(owners.unowned(576, 64, 448), Some(Pfn::new(576)));
        assert_eq!(owners.unowned(960, 64, 128), Some(Pfn::new(0)));
        assert_eq!(owners.unowned(0, 512, 512), None);
    }

    #[test]
    fn frames_of_several_owners_are_released_with_the_last() {
        let owners = Owners::new(64);
        let joint = Joint::new(owners.claim(Pfn::new(0), 8).unwrap());
        assert!(joint.join());
        joint.leave(&owners);
        assert_eq!((joint.count(), owners.count()), (1, 8));
        joint.leave(&owners);
        assert_eq!(owners.count(), 0);
        assert!(!joint.join());
    }
}
