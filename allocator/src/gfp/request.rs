//! The requests that no allocator could serve sensibly.

use core::fmt;

use super::{BadZoneModifiers, Gfp, MovableAndReclaimable, gfp_migratetype, gfp_zone};

/// Why a request is refused before anything is tried.
///
/// The kernel warns about most of these and then does something; here the caller is told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRequest {
    /// More than one of DMA, DMA32 and HIGHMEM.
    ZoneModifiers(BadZoneModifiers),
    /// MOVABLE together with RECLAIMABLE.
    MovableAndReclaimable,
    /// NOFAIL without DIRECT_RECLAIM: it may not wait for what it insists on.
    NoFailWithoutDirectReclaim,
    /// An order above the allocator's largest.
    Order {
        /// The order asked for.
        order: u8,
        /// The largest order of the allocator.
        max_order: u8,
    },
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZoneModifiers(bad) => bad.fmt(f),
            Self::MovableAndReclaimable => MovableAndReclaimable.fmt(f),
            Self::NoFailWithoutDirectReclaim => {
                f.write_str("__GFP_NOFAIL needs __GFP_DIRECT_RECLAIM; a request that may not wait can fail")
            }
            Self::Order { order, max_order } => {
                write!(f, "order {order} is above the allocator's largest order, {max_order}")
            }
        }
    }
}

impl std::error::Error for BadRequest {}

/// Checks that a request means something; `const`, so that a constant request costs nothing.
///
/// # Errors
///
/// One [`BadRequest`] for: the 8 invalid combinations of zone modifiers, MOVABLE with RECLAIMABLE, NOFAIL without
/// DIRECT_RECLAIM, `order` above `max_order`. All other combinations have a meaning.
#[inline]
pub const fn check_request(gfp: Gfp, order: u8, max_order: u8) -> Result<(), BadRequest> {
    if let Err(bad) = gfp_zone(gfp) {
        return Err(BadRequest::ZoneModifiers(bad));
    }
    if gfp_migratetype(gfp).is_err() {
        return Err(BadRequest::MovableAndReclaimable);
    }
    if gfp.contains(Gfp::NOFAIL) && !gfp.contains(Gfp::DIRECT_RECLAIM) {
        return Err(BadRequest::NoFailWithoutDirectReclaim);
    }
    if order > max_order {
        return Err(BadRequest::Order { order, max_order });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meaningless_requests_are_refused_each_for_its_own_reason() {
        assert_eq!(check_request(Gfp::KERNEL, 10, 10), Ok(()));
        assert_eq!(check_request(Gfp::KERNEL, 11, 10), Err(BadRequest::Order { order: 11, max_order: 10 }));
        assert_eq!(
            check_request(Gfp::NOWAIT | Gfp::NOFAIL, 0, 10),
            Err(BadRequest::NoFailWithoutDirectReclaim)
        );
        assert_eq!(
            check_request(Gfp::HIGHUSER_MOVABLE | Gfp::RECLAIMABLE, 0, 10),
            Err(BadRequest::MovableAndReclaimable)
        );
        let zones = check_request(Gfp::KERNEL | Gfp::DMA | Gfp::DMA32, 0, 10);
        assert!(matches!(zones, Err(BadRequest::ZoneModifiers(_))));
    }

    #[test]
    fn contradictory_retry_flags_have_a_meaning() {
        let all_three = Gfp::KERNEL | Gfp::NOFAIL | Gfp::NORETRY | Gfp::RETRY_MAYFAIL;
        assert_eq!(check_request(all_three, 5, 10), Ok(()));
    }

    #[test]
    fn a_constant_request_is_checked_at_compile_time() {
        const CHECKED: Result<(), BadRequest> = check_request(Gfp::KERNEL.union(Gfp::ZERO), 9, 10);
        assert_eq!(CHECKED, Ok(()));
    }

    #[test]
    fn the_message_names_what_was_wrong() {
        let refused = check_request(Gfp::KERNEL | Gfp::DMA | Gfp::HIGHMEM, 0, 10).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the zone modifiers GFP_DMA|__GFP_HIGHMEM exclude each other; keep one of DMA, DMA32 and HIGHMEM"
        );
        let text = |gfp| check_request(gfp, 0, 10).unwrap_err().to_string();
        assert_eq!(
            text(Gfp::MOVABLE | Gfp::RECLAIMABLE),
            "__GFP_MOVABLE and __GFP_RECLAIMABLE exclude each other; keep one"
        );
        assert_eq!(
            text(Gfp::ATOMIC | Gfp::NOFAIL),
            "__GFP_NOFAIL needs __GFP_DIRECT_RECLAIM; a request that may not wait can fail"
        );
    }
}
