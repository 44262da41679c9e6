//! Frames as bits, 64 of them in a word, and words in chunks.

use std::ops::Range;

/// Returns where frames have their bits: the number of the chunk of `WORDS` words, the word in it, and the bits. Frame 0 is the lowest bit
/// of all.
pub(super) fn bits_of<const WORDS: usize>(frames: Range<u64>) -> impl Iterator<Item = (u64, usize, u64)> {
    let mut frame = frames.start;
    std::iter::from_fn(move || {
        (frame < frames.end).then(|| {
            let (word, end) = (frame / 64, frames.end.min((frame / 64 + 1) * 64));
            let bits = u64::MAX >> (64 - (end - frame)) << (frame % 64);
            frame = end;
            #[expect(clippy::cast_possible_truncation, reason = "it is below WORDS")]
            let in_chunk = (word % WORDS as u64) as usize;
            (word / WORDS as u64, in_chunk, bits)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_one_bit() {
        for range in [0..0, 5..5, 0..1, 63..64, 63..65, 1..130, 64..128, 1000..1700] {
            let frames = |(chunk, word, bits): (u64, usize, u64)| {
                let first = (chunk * 3 + word as u64) * 64;
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| first + bit)
            };
            let found: Vec<u64> = bits_of::<3>(range.clone()).flat_map(frames).collect();
            assert_eq!(found, range.clone().collect::<Vec<_>>(), "{range:?}");
        }
    }
}
