//! What must never happen, and what did.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use gfp::{AllocError, Conservation, Gfp};

/// How many sentences are kept.
const KEPT: usize = 4;

/// Rules that were broken, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// How many times.
    pub count: u64,
    /// What is to be said about the first few.
    pub sentences: Vec<String>,
}

/// Watches over the rules; for all threads.
#[derive(Debug, Default)]
pub(super) struct Rules {
    count: AtomicU64,
    sentences: Mutex<Vec<String>>,
}

impl Rules {
    /// Notes that a rule was broken.
    #[cold]
    pub(super) fn broken(&self, sentence: String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut sentences = self.sentences.lock().unwrap_or_else(PoisonError::into_inner);
        if sentences.len() < KEPT {
            sentences.push(sentence);
        }
    }

    /// Judges a request that failed while caches had so many pages that reclaim could have taken.
    ///
    /// A single page for which a request may wait, reclaim and let others be killed fails only when there is nothing to reclaim;
    /// the kernel calls such a request too small to fail. Blocks of more may fail, as nothing moves pages together, and so may
    /// requests that do not wait.
    #[cold]
    pub(super) fn judge_failure(&self, error: &AllocError, reclaimable: u64) {
        let may_fail = Gfp::NORETRY | Gfp::RETRY_MAYFAIL | Gfp::THISNODE;
        if error.order() == 0
            && error.gfp().contains(Gfp::KERNEL)
            && !error.gfp().intersects(may_fail)
            && reclaimable > 0
        {
            self.broken(format!("a request failed although caches had {reclaimable} pages to give: {error}"));
        }
    }

    /// Judges where all frames are when only caches have some, and when nobody has any.
    ///
    /// # Errors
    /// A frame is missing, or there is one too many.
    pub(super) fn judge_conservation(conservation: &Conservation, held: u64) -> Result<(), String> {
        let says = |what: String| Err(format!("{what}:\n{conservation}"));
        if !conservation.holds() {
            return says("free, cached, allocated and isolated frames are not all".into());
        }
        if conservation.allocated() != held {
            return says(format!("{held} frames are held and {} allocated", conservation.allocated()));
        }
        Ok(())
    }

    pub(super) fn report(&self) -> Broken {
        Broken {
            count: self.count.load(Ordering::Relaxed),
            sentences: self.sentences.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gfp::{ConservationZone, error::FailReason, gfp::ZoneType};

    use super::*;

    #[test]
    fn a_page_for_which_a_request_may_wait_must_not_fail_while_something_can_be_reclaimed() {
        let rules = Rules::default();
        let failure = |gfp, order| AllocError::new(gfp, order, FailReason::NoMemory);
        for (gfp, order, reclaimable) in [
            (Gfp::KERNEL, 0, 0),
            (Gfp::KERNEL, 1, 100),
            (Gfp::ATOMIC, 0, 100),
            (Gfp::NOWAIT, 0, 100),
            (Gfp::NOFS, 0, 100),
            (Gfp::KERNEL | Gfp::NORETRY, 0, 100),
        ] {
            rules.judge_failure(&failure(gfp, order), reclaimable);
            assert_eq!(rules.report(), Broken::default(), "{gfp:?} {order} {reclaimable}");
        }
        rules.judge_failure(&failure(Gfp::KERNEL | Gfp::MOVABLE, 0), 100);
        let broken = rules.report();
        assert_eq!(broken.count, 1);
        assert!(broken.sentences[0].contains("100 pages to give: cannot allocate 2^0"), "{broken:?}");
    }

    #[test]
    fn the_first_sentences_are_kept_and_all_are_counted() {
        let rules = Rules::default();
        (0..20).for_each(|number| rules.broken(number.to_string()));
        let broken = rules.report();
        assert_eq!((broken.count, broken.sentences.len()), (20, KEPT));
        assert_eq!(broken.sentences[0], "0");
    }

    #[test]
    fn a_frame_that_is_missing_or_held_twice_is_seen() {
        let zone = ConservationZone {
            node: 0,
            zone: ZoneType::Normal,
            free: 90,
            cached: 5,
            allocated: 5,
            isolated: 0,
            managed: 100,
        };
        let judge =
            |zone, held| Rules::judge_conservation(&Conservation { zones: vec![zone] }, held).unwrap_err();
        assert_eq!(Rules::judge_conservation(&Conservation { zones: vec![zone] }, 5), Ok(()));
        assert!(judge(zone, 4).starts_with("4 frames are held and 5 allocated"));
        assert!(judge(ConservationZone { free: 89, ..zone }, 5).contains("are not all"));
    }
}
