//! Programs out of bytes.

use arbitrary::{Arbitrary, Result, Unstructured};
use gfp::Gfp;

use super::{
    Call, Mask,
    mask::{COMMON, EXTRA},
};
use crate::shapes::{NODES, SHAPES, Shape};

/// The most calls that bytes are turned into, so that a program is soon done.
const MOST_CALLS: usize = 250;

/// Reads a machine and a program out of bytes: any bytes give one, of at most 250 calls.
///
/// The first byte chooses the machine, and what follows is one call behind the other; so a change of the bytes of one call leaves
/// those before it as they are.
#[must_use]
pub fn from_bytes(data: &[u8]) -> (Shape, Vec<Call>) {
    let mut bytes = Unstructured::new(data);
    let shape = bytes.choose(&SHAPES).map_or(SHAPES[0], |shape| *shape);
    let mut calls = Vec::new();
    while !bytes.is_empty() && calls.len() < MOST_CALLS {
        let Ok(call) = Call::arbitrary(&mut bytes) else { break };
        calls.push(call);
    }
    (shape, calls)
}

type Bytes<'a, 'b> = &'a mut Unstructured<'b>;

impl<'a> Arbitrary<'a> for Mask {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let mut gfp: Gfp = *bytes.choose(&COMMON)?;
        // Most requests make sense.
        for _ in 0..bytes.int_in_range(0..=8_u8)?.saturating_sub(6) {
            gfp |= *bytes.choose(&EXTRA)?;
        }
        Ok(Self::new(gfp))
    }
}

/// Reads a number below `end`, small ones more often.
fn small(bytes: Bytes<'_, '_>, end: u32) -> Result<u32> {
    let bits = bytes.int_in_range(0..=end.ilog2())?;
    Ok(bytes.int_in_range(0..=(2 << bits) - 1)?.min(end - 1))
}

pub(super) fn order(bytes: Bytes<'_, '_>) -> Result<u8> {
    // One above the largest is refused.
    bytes.choose(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11]).copied()
}

pub(super) fn times(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.choose(&[1, 1, 1, 1, 2, 7, 70]).copied()
}

pub(super) fn batch(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.choose(&[0, 1, 7, 128]).copied()
}

pub(super) fn node(bytes: Bytes<'_, '_>) -> Result<Option<usize>> {
    bytes.choose(&[None, Some(0), Some(1), Some(2), Some(0), Some(1), Some(2), Some(NODES)]).copied()
}

pub(super) fn any_node(bytes: Bytes<'_, '_>) -> Result<usize> {
    bytes.choose_index(NODES + 1)
}

pub(super) fn maybe_bits(bytes: Bytes<'_, '_>) -> Result<Option<u8>> {
    bytes.choose(&[None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), Some(7)]).copied()
}

pub(super) fn delta(bytes: Bytes<'_, '_>) -> Result<i64> {
    Ok(i64::from(bytes.int_in_range(-2000..=2000_i16)?))
}

pub(super) fn beyond(bytes: Bytes<'_, '_>) -> Result<i8> {
    bytes.int_in_range(-1..=1)
}

pub(super) fn known_node(bytes: Bytes<'_, '_>) -> Result<usize> {
    bytes.choose_index(NODES)
}

pub(super) fn bits(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.int_in_range(0..=7)
}

pub(super) fn some_bits(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.int_in_range(1..=7)
}

pub(super) fn weights(bytes: Bytes<'_, '_>) -> Result<[u8; NODES]> {
    Ok([bytes.int_in_range(1..=3)?, bytes.int_in_range(0..=3)?, bytes.int_in_range(0..=3)?])
}

pub(super) fn count(bytes: Bytes<'_, '_>) -> Result<u16> {
    bytes.int_in_range(1..=300)
}

pub(super) fn exact(bytes: Bytes<'_, '_>) -> Result<usize> {
    small(bytes, 90 << 12).map(|bytes| bytes as usize)
}

pub(super) fn key(bytes: Bytes<'_, '_>) -> Result<u32> {
    bytes.int_in_range(0..=15)
}

pub(super) fn cache(bytes: Bytes<'_, '_>) -> Result<usize> {
    bytes.choose_index(NODES)
}

pub(super) fn fragment(bytes: Bytes<'_, '_>) -> Result<usize> {
    small(bytes, 34_000).map(|bytes| bytes as usize)
}

pub(super) fn frag_align(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.int_in_range(0..=13)
}

pub(super) fn layout(bytes: Bytes<'_, '_>) -> Result<usize> {
    small(bytes, 1 << 20).map(|bytes| bytes as usize)
}

pub(super) fn align(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.choose(&[0, 3, 4, 6, 12, 13, 15, 18, 21, 40]).copied()
}

pub(super) fn pageblocks(bytes: Bytes<'_, '_>) -> Result<u32> {
    bytes.int_in_range(1..=3)
}

pub(super) fn frames(bytes: Bytes<'_, '_>) -> Result<u32> {
    bytes.int_in_range(1..=700)
}

pub(super) fn cma_align(bytes: Bytes<'_, '_>) -> Result<u8> {
    bytes.int_in_range(0..=5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_are_a_program(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let (shape, calls) = from_bytes(&bytes);
            prop_assert!(calls.len() <= MOST_CALLS);
            let _ = run(shape, &calls);
        }
    }
}
