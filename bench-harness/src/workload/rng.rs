//! Random numbers that cost less than a nanosecond.

/// A wyrand generator (Wang Yi, 2019): one addition from number to number, so that the multiplications of
/// several numbers overlap.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts the sequence that belongs to the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the next number.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product are what is wanted")]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// Returns a number below `bound`, which is at most 2^32; the bias is below 2^-32.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the result is below the bound")]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_are_spread_evenly() {
        let mut rng = Rng::new(7);
        let mut hits = [0_u32; 16];
        for _ in 0..16_000 {
            hits[rng.below(16)] += 1;
        }
        assert!(hits.iter().all(|hits| (800..1200).contains(hits)), "{hits:?}");
    }
}
