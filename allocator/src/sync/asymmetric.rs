//! A fence that is free for one side: `membarrier` pays for both.
//!
//! Between two threads that each store and then load what the other stored, both need a full fence, or both
//! may miss the other's store. Here the frequent side (a thread that uses its own cache) has only a compiler
//! fence (`light`); the rare side ([`heavy`]: a drainer) makes the system run a full fence on every CPU that
//! runs a thread of this process: `membarrier(2)`, `MEMBARRIER_CMD_PRIVATE_EXPEDITED`, 0.4 µs when idle and
//! about 10 µs with a running peer. Threads that do not run have passed a full fence when they were switched
//! out.
//!
//! Only light–heavy and heavy–heavy pairs are ordered: two light fences order nothing.
//!
//! Where membarrier is refused (seccomp, an old kernel), both sides need SeqCst fences. Then [`available`] is
//! false, and the users of `light` arrange for a fence of their own on a cold path (the fallback bit of
//! [`OwnedCell`](super::OwnedCell)).
//!
//! ```
//! use gfp::sync::asymmetric;
//!
//! // Registers the process with the system, if that lets it; only then are the light fences of other threads enough.
//! let light_fences_suffice = asymmetric::available();
//! assert_eq!(asymmetric::heavy(), light_fences_suffice);
//! ```

#[cfg(loom)]
#[path = "asymmetric/rendezvous.rs"]
mod backend;
#[cfg(shuttle)]
#[path = "asymmetric/fences.rs"]
mod backend;
#[cfg(not(any(loom, shuttle)))]
#[path = "asymmetric/membarrier.rs"]
mod backend;

#[cfg(any(test, loom, feature = "fault-injection"))]
pub use backend::with_fallback;

/// Orders the caller's accesses before and after it for threads that run [`heavy`]; free at run time.
#[inline(always)]
pub(crate) fn light() {
    backend::light();
}

/// Runs a light fence, for the model of the fence itself.
#[cfg(loom)]
pub fn model_light() {
    light();
}

/// Orders the caller's accesses before and after it for all threads, those that run `light` included.
///
/// Returns false when the system refused: then it was a SeqCst fence for the caller, which orders threads
/// that ran one too, and nothing may be concluded about threads that ran `light` alone. That the system
/// refuses although [`available`] was true happens when a seccomp filter is installed later.
#[cold]
#[must_use = "when refused, nothing may be concluded about threads that ran a light fence"]
pub fn heavy() -> bool {
    backend::heavy()
}

/// Answers whether `light` suffices; if not, both sides need SeqCst fences.
///
/// The first call registers the process with the system.
#[must_use]
pub fn available() -> bool {
    backend::available()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::sync::Barrier;

    #[test]
    fn one_side_sees_the_other() {
        const ROUNDS: usize = 2_000;
        if !available() {
            return;
        }
        let words: Vec<[AtomicU32; 2]> = (0..ROUNDS).map(|_| Default::default()).collect();
        let start = Barrier::new(2);
        let (owner, drainer): (Vec<u32>, Vec<u32>) = std::thread::scope(|scope| {
            let owner = scope.spawn(|| {
                start.wait();
                let round = |word: &[AtomicU32; 2]| {
                    word[0].store(1, Relaxed);
                    light();
                    word[1].load(Relaxed)
                };
                words.iter().map(round).collect()
            });
            start.wait();
            let round = |word: &[AtomicU32; 2]| {
                word[1].store(1, Relaxed);
                assert!(heavy());
                word[0].load(Relaxed)
            };
            let drainer = words.iter().map(round).collect();
            (owner.join().unwrap(), drainer)
        });
        assert!(owner.iter().zip(&drainer).all(|saw| saw != (&0, &0)), "both missed the other");
    }

    #[test]
    fn a_refusal_is_reported() {
        let before = available();
        with_fallback(|| {
            assert!(!available());
            assert!(!heavy());
        });
        assert_eq!(available(), before);
    }
}
