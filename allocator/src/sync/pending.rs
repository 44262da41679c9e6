//! Work left for the next lock holder.

use super::atomic::{AtomicU64, Ordering};
use super::seeded::{SeededBug, seeded};
use super::zeroed::{ZeroedSlice, ZeroedSliceError};

const BITS: usize = 64;

/// A set of frames whose free could not get the zone's lock: one bit a frame, and above it levels of
/// summaries, one bit a word of the level below, up to a single word that serves as the flag.
///
/// Any thread sets bits, also from a signal handler; whoever holds the lock empties the map. A setter writes
/// upwards from the frame's bit to the flag; the lock holder clears downwards from the flag to the frames.
/// Whatever the interleaving, a setter whose bit was missed at some level sets the levels above it after they
/// were cleared, so that the next lock holder finds it; and since words are swapped, each bit is delivered
/// once. All levels are changed by read-modify-writes only: these carry every earlier setter's release to the
/// lock holder, where plain stores would carry only the last one's.
///
/// A summary may be left set with nothing behind it; that costs one vain look.
///
/// ```
/// use gfp::sync::PendingMap;
///
/// let map = PendingMap::new(4096)?;
/// map.set(700);
/// map.set(7);
/// map.set(7);
/// assert!(map.is_flagged());
/// let mut found = Vec::new();
/// map.drain(|frame| found.push(frame));
/// assert_eq!((found, map.is_flagged()), (vec![7, 700], false));
///
/// // In the child of a fork:
/// map.set(7);
/// map.orphan();
/// assert!(!map.is_flagged());
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
#[derive(Debug)]
pub struct PendingMap {
    /// Level 0 has the frames; the last level is one word.
    levels: Vec<ZeroedSlice<AtomicU64>>,
}

impl PendingMap {
    /// Makes an empty map for the frames `0..frames`; its memory costs nothing until touched.
    ///
    /// # Errors
    ///
    /// When the memory cannot be had; the error says how many bytes were asked for.
    pub fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        let mut levels = Vec::new();
        let mut words = frames.div_ceil(BITS).max(1);
        levels.push(ZeroedSlice::new(words)?);
        while words > 1 {
            words = words.div_ceil(BITS);
            levels.push(ZeroedSlice::new(words)?);
        }
        Ok(Self { levels })
    }

    /// Leaves frame `index` for the next lock holder.
    ///
    /// # Panics
    ///
    /// When `index` is outside of the map.
    #[cold]
    pub fn set(&self, index: usize) {
        let mut index = index;
        for level in &self.levels {
            level[index / BITS].fetch_or(1 << (index % BITS), Ordering::Release);
            index /= BITS;
        }
    }

    /// Forgets that anything is in the map, with one store: for the child of a fork, where nothing is freed any more.
    pub fn orphan(&self) {
        if let Some(flag) = self.levels.last() {
            flag[0].store(0, Ordering::Relaxed);
        }
    }

    /// Answers whether something may be pending: one relaxed load.
    #[inline(always)]
    pub fn is_flagged(&self) -> bool {
        self.levels.last().is_some_and(|flag| flag[0].load(Ordering::Relaxed) != 0)
    }

    /// Calls `f` with every pending frame and forgets it; the caller holds the lock that frees need.
    #[cold]
    pub fn drain(&self, mut f: impl FnMut(usize)) {
        drain_word(&self.levels, 0, &mut f);
    }
}

/// Empties word `index` of the topmost of `levels` and what it sums up.
fn drain_word(levels: &[ZeroedSlice<AtomicU64>], index: usize, f: &mut impl FnMut(usize)) {
    let Some((level, below)) = levels.split_last() else {
        // Below level 0, what looks like a word is a frame.
        return f(index);
    };
    let word = &level[index];
    let late = seeded(SeededBug::PendingClearedLate) && !below.is_empty();
    let set = if late { word.load(Ordering::Acquire) } else { take(word) };
    for bit in bits(set) {
        drain_word(below, index * BITS + bit, f);
    }
    if late {
        word.fetch_and(!set, Ordering::AcqRel);
    }
}

fn take(word: &AtomicU64) -> u64 {
    if seeded(SeededBug::PendingLostBit) {
        let seen = word.load(Ordering::Acquire);
        word.store(0, Ordering::Release);
        return seen;
    }
    word.swap(0, Ordering::AcqRel)
}

/// Gives the positions of the set bits of `word`, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        (word != 0).then(|| {
            word &= word - 1;
            bit as usize
        })
    })
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::Mutex;
    use std::thread;

    fn drained(map: &PendingMap) -> Vec<usize> {
        let mut frames = Vec::new();
        map.drain(|frame| frames.push(frame));
        frames
    }

    #[test]
    fn what_was_set_is_delivered_once_in_order() {
        // Three levels.
        let map = PendingMap::new(300_000).unwrap();
        assert!(!map.is_flagged());
        let frames = [0, 63, 64, 4095, 4096, 299_999];
        for frame in frames.into_iter().rev() {
            map.set(frame);
            map.set(frame);
        }
        assert!(map.is_flagged());
        assert_eq!(drained(&map), frames);
        assert!(!map.is_flagged());
        assert!(drained(&map).is_empty());
    }

    #[test]
    fn an_orphaned_map_says_that_nothing_is_left() {
        let map = PendingMap::new(5000).unwrap();
        map.set(4999);
        map.orphan();
        assert!(!map.is_flagged());
        assert!(drained(&map).is_empty());
    }

    #[test]
    fn the_smallest_map_is_its_own_flag() {
        let map = PendingMap::new(1).unwrap();
        map.set(0);
        assert!(map.is_flagged());
        assert_eq!(drained(&map), [0]);
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_frame_outside_is_refused() {
        PendingMap::new(64).unwrap().set(64);
    }

    #[test]
    fn nothing_is_lost_or_delivered_twice_under_contention() {
        const FRAMES: usize = 20_000;
        let map = PendingMap::new(4 * FRAMES).unwrap();
        let seen = Mutex::new(vec![0_u8; 4 * FRAMES]);
        let drain = || {
            let mut seen = seen.lock();
            map.drain(|frame| seen[frame] += 1);
        };
        thread::scope(|scope| {
            for setter in 0..4 {
                let map = &map;
                scope.spawn(move || (0..FRAMES).for_each(|frame| map.set(frame * 4 + setter)));
            }
            scope.spawn(|| (0..2_000).for_each(|_| drain()));
        });
        drain();
        assert!(seen.lock().iter().all(|&count| count == 1));
    }
}
