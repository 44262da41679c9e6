//! Another allocator, which lives as long as an operation.

use gfp::{Allocator, Gfp, Maintain, Order, Pages, error::Misuse};

use super::super::{seat::Seat, stamp::Stamp, violation::Problem};
use crate::workload::Rng;

/// Builds an allocator, uses it, closes it while its blocks are in use, and frees some of them through the handle of the
/// first one.
pub(super) fn come_and_go(stamp: Stamp, seat: &mut Seat<'_>, rng: &mut Rng) -> Result<bool, Problem> {
    let maintain = if rng.below(2) == 0 { Maintain::EverySecond } else { Maintain::ByHand };
    let built = Allocator::builder((2 + rng.below(3)) << 21)
        .dma(rng.below(2) << 21)
        .max_order(u8::try_from(9 + rng.below(4)).expect("small"))
        .maintain(maintain)
        .build();
    let Ok(other) = built else { return Ok(false) };
    let mut blocks: Vec<Pages> = (0..rng.below(40))
        .filter_map(|_| {
            let order = Order::new(u8::try_from(rng.below(5)).expect("small"));
            other.alloc_pages(Gfp::KERNEL, order).ok()
        })
        .collect();
    blocks.iter_mut().for_each(|pages| stamp.write(pages.bytes_mut()));
    if let Some(pages) = blocks.pop() {
        let parts = pages.into_raw_parts();
        // SAFETY: parts of another allocator's block are refused.
        let refused = unsafe { seat.allocator().free_raw(parts) };
        if !refused.is_err_and(|error| error.misuse == Misuse::Foreign) {
            return Err(Problem::at(parts.pfn, "of another allocator was taken for its own"));
        }
        // SAFETY: the parts are of a block of this allocator that was taken apart.
        unsafe { other.free_raw(parts) }.map_err(|error| Problem::at(parts.pfn, error.to_string()))?;
    }
    let conservation = other.conservation();
    if !conservation.holds() {
        return Err(Problem::new(format!("another allocator has lost frames:\n{conservation}")));
    }
    drop(other);
    for pages in blocks {
        // SAFETY: it was stamped above.
        unsafe { stamp.check(pages.bytes()) }.map_err(|(_, found)| {
            Problem::at(pages.pfn(), format!("of another allocator holds {found:?}"))
        })?;
        match seat.handle() {
            Some(handle) => handle.free_pages(pages),
            None => drop(pages),
        }
    }
    Ok(true)
}
