//! A request that got no memory.

use core::fmt;

use crate::gfp::{BadRequest, Gfp, ZoneType};

/// How many zones an [`AllocError`] remembers.
pub const MAX_TRIED: usize = 8;

/// Why a zone gave nothing.
#[repr(u8)]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Taking the block would leave less free than the watermark that the request must respect.
    Watermark,
    /// No free block of the order, of any type that the request may use.
    NoBlock,
    /// The caller's cpuset or node mask excludes the zone's node.
    Cpuset,
    /// The zone's node is over its limit of dirty pages.
    DirtyLimit,
    /// Another thread held the zone's lock, and the request may not wait.
    LockBusy,
    /// The allocator was dropped, or belongs to another process.
    Closed,
    /// The zone has no memory.
    NotPopulated,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Watermark => "below its watermark",
            Self::NoBlock => "no free block large enough",
            Self::Cpuset => "not in the allowed nodes",
            Self::DirtyLimit => "its node is over the dirty limit",
            Self::LockBusy => "its lock was busy",
            Self::Closed => "closed",
            Self::NotPopulated => "has no memory",
        })
    }
}

/// A zone that was tried in vain.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TriedZone {
    /// The zone's NUMA node.
    pub node: u16,
    /// The zone's type.
    pub zone: ZoneType,
    /// Why it gave nothing.
    pub refusal: Refusal,
}

impl fmt::Display for TriedZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} {}: {}", self.node, self.zone, self.refusal)
    }
}

/// The kind of failure, which decides what the caller can do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailReason {
    /// The request means nothing; no zone was tried.
    BadRequest(BadRequest),
    /// No allowed zone could serve it, now and with all the effort that the mask permits.
    NoMemory,
    /// What its thread was inside of was cancelled: a [`CancelToken`](crate::CancelToken), or because memory ran out.
    Cancelled,
    /// Nothing was found before its deadline.
    DeadlineExceeded,
    /// A zone might have served it, but the request may not wait for a lock.
    WouldBlock,
    /// No zone is allowed at all: the node mask, the cpuset and THISNODE leave none.
    NoZone,
    /// The allocator has no node of that number.
    NoNode,
    /// The charge hook refused to account it.
    ChargeRefused,
    /// Free memory is guarded, and the system did not make the block accessible.
    Guarded,
    /// The allocator was dropped, or belongs to the parent of this process.
    Closed,
}

/// What a request did for memory before it was given up.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReclaimEffort {
    /// How often it reclaimed by itself; at most this many are counted.
    pub rounds: u32,
    /// Frames that were freed then, for it or for others; at most this many are counted.
    pub frames: u32,
}

/// A request that got no memory: what was asked, what was tried, and why each zone refused.
///
/// A value of fixed size, made without allocating. Remembers the first [`MAX_TRIED`] zones and counts the rest.
///
/// ```
/// use gfp::error::{AllocError, FailReason, Refusal, TriedZone};
/// use gfp::{Gfp, gfp::ZoneType};
///
/// // As the allocator makes one:
/// let mut error = AllocError::new(Gfp::ATOMIC, 4, FailReason::NoMemory);
/// error.record(TriedZone { node: 0, zone: ZoneType::Normal, refusal: Refusal::Watermark });
/// error.record(TriedZone { node: 0, zone: ZoneType::Normal, refusal: Refusal::NoBlock });
/// let error = error.with_reason(FailReason::WouldBlock);
///
/// // And as its user reads it; of one zone's refusals the last counts.
/// assert_eq!((error.gfp(), error.order(), error.reason()), (Gfp::ATOMIC, 4, FailReason::WouldBlock));
/// assert!(error.tried().map(|zone| zone.refusal).eq([Refusal::NoBlock]));
/// assert_eq!(
///     error.to_string(),
///     "cannot allocate 2^4 frames with GFP_ATOMIC: it would have had to wait for a lock \
///      (node 0 Normal: no free block large enough); retry, or use a request that may wait for locks"
/// );
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AllocError {
    gfp: Gfp,
    tried: [Option<TriedZone>; MAX_TRIED],
    reason: FailReason,
    reclaim: ReclaimEffort,
    order: u8,
    /// Zones tried, saturating.
    count: u8,
}

// The error travels by value through the request's whole way; one cache line is what that may cost.
const _: () = assert!(size_of::<AllocError>() <= 64);

impl AllocError {
    /// Returns an error for a request of 2^`order` frames with `gfp`, for which nothing was tried so far.
    #[must_use]
    #[inline]
    pub const fn new(gfp: Gfp, order: u8, reason: FailReason) -> Self {
        let reclaim = ReclaimEffort { rounds: 0, frames: 0 };
        Self { gfp, tried: [None; MAX_TRIED], reason, reclaim, order, count: 0 }
    }

    /// Adds a zone that was tried and refused.
    ///
    /// A zone that is already there gets the new refusal: the last attempt counts.
    #[cold]
    pub fn record(&mut self, zone: TriedZone) {
        let same = |slot: &&mut TriedZone| slot.node == zone.node && slot.zone == zone.zone;
        if let Some(known) = self.tried.iter_mut().flatten().find(same) {
            *known = zone;
            return;
        }
        if let Some(slot) = self.tried.get_mut(usize::from(self.count)) {
            *slot = Some(zone);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Adds a round of reclaim that freed so many frames.
    ///
    /// ```
    /// use gfp::{Gfp, error::{AllocError, FailReason, ReclaimEffort}};
    ///
    /// let mut error = AllocError::new(Gfp::KERNEL, 0, FailReason::NoMemory);
    /// error.record_reclaim(12);
    /// error.record_reclaim(0);
    /// assert_eq!(error.reclaim(), ReclaimEffort { rounds: 2, frames: 12 });
    /// assert!(error.to_string().contains("; 12 frames were reclaimed in 2 rounds; "));
    /// ```
    #[cold]
    pub fn record_reclaim(&mut self, frames: u64) {
        let ReclaimEffort { rounds, frames: before } = &mut self.reclaim;
        *rounds = rounds.saturating_add(1);
        *before = before.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
    }

    /// Returns what the request did for memory. An example is at [`record_reclaim`](Self::record_reclaim).
    #[must_use]
    pub const fn reclaim(&self) -> ReclaimEffort {
        self.reclaim
    }

    /// Returns `self` with another reason, as when a later step knows better.
    #[must_use]
    pub const fn with_reason(self, reason: FailReason) -> Self {
        Self { reason, ..self }
    }

    /// Returns the request's mask.
    #[must_use]
    pub const fn gfp(&self) -> Gfp {
        self.gfp
    }

    /// Returns the request's order.
    #[must_use]
    pub const fn order(&self) -> u8 {
        self.order
    }

    /// Returns the kind of failure.
    #[must_use]
    pub const fn reason(&self) -> FailReason {
        self.reason
    }

    /// Returns the zones that were tried, in order of trying, at most [`MAX_TRIED`].
    pub fn tried(&self) -> impl Iterator<Item = TriedZone> + '_ {
        self.tried.iter().flatten().copied()
    }

    /// Returns what the caller can do about it.
    fn advice(&self) -> &'static str {
        match self.reason {
            FailReason::BadRequest(_) => "correct the request",
            FailReason::NoMemory if !self.gfp.allows_blocking() => {
                "free blocks, retry where waiting is allowed (GFP_KERNEL), or build a larger arena"
            }
            FailReason::NoMemory
                if self.count > 0 && self.tried().all(|zone| zone.refusal == Refusal::NoBlock) =>
            {
                "free neighbouring blocks, ask for a lower order, or build a larger arena"
            }
            FailReason::NoMemory => "free blocks, register a shrinker, or build a larger arena",
            FailReason::Cancelled => {
                "give up what it was for, or leave the scope of the token that was cancelled"
            }
            FailReason::DeadlineExceeded => "allow it more time, free blocks, or build a larger arena",
            FailReason::WouldBlock => "retry, or use a request that may wait for locks",
            FailReason::NoZone => "widen the node mask or cpuset, or drop THISNODE",
            FailReason::NoNode => "name one of the allocator's nodes",
            FailReason::ChargeRefused => "raise the quota, or leave out ACCOUNT",
            FailReason::Guarded => "raise vm.max_map_count, or build without DebugModes::GUARD",
            FailReason::Closed => "build an allocator in this process and keep it while requests are made",
        }
    }
}

impl From<BadRequest> for FailReason {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad)
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(bad) => bad.fmt(f),
            Self::NoMemory => f.write_str("no zone could serve it"),
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::DeadlineExceeded => f.write_str("its deadline has passed"),
            Self::WouldBlock => f.write_str("it would have had to wait for a lock"),
            Self::NoZone => f.write_str("no zone is allowed"),
            Self::NoNode => f.write_str("there is no such node"),
            Self::ChargeRefused => f.write_str("its charge was refused"),
            Self::Guarded => f.write_str("the system did not make its memory accessible"),
            Self::Closed => f.write_str("the allocator is closed"),
        }
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot allocate 2^{} frames with {}: {}", self.order, self.gfp, self.reason)?;
        for (i, zone) in self.tried().enumerate() {
            write!(f, "{}{zone}", if i == 0 { " (" } else { "; " })?;
        }
        let left_out = usize::from(self.count).saturating_sub(MAX_TRIED);
        if left_out > 0 {
            write!(f, "; and {left_out} more")?;
        }
        if self.count > 0 {
            f.write_str(")")?;
        }
        match self.reclaim {
            ReclaimEffort { rounds: 0, .. } => {}
            ReclaimEffort { rounds: 1, frames } => write!(f, "; {frames} frames were reclaimed in a round")?,
            ReclaimEffort { rounds, frames } => {
                write!(f, "; {frames} frames were reclaimed in {rounds} rounds")?
            }
        }
        write!(f, "; {}", self.advice())
    }
}

impl std::error::Error for AllocError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            FailReason::BadRequest(bad) => Some(bad),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gfp::check_request;

    fn tried(node: u16, zone: ZoneType, refusal: Refusal) -> TriedZone {
        TriedZone { node, zone, refusal }
    }

    #[test]
    fn the_message_says_what_was_asked_what_was_tried_and_what_to_do() {
        let mut error = AllocError::new(Gfp::ATOMIC, 3, FailReason::NoMemory);
        error.record(tried(0, ZoneType::Normal, Refusal::Watermark));
        error.record(tried(0, ZoneType::Dma32, Refusal::NoBlock));
        assert_eq!(
            error.to_string(),
            "cannot allocate 2^3 frames with GFP_ATOMIC: no zone could serve it (node 0 Normal: below its \
             watermark; node 0 DMA32: no free block large enough); free blocks, retry where waiting is allowed \
             (GFP_KERNEL), or build a larger arena"
        );
    }

    #[test]
    fn the_last_refusal_of_a_zone_counts() {
        let mut error = AllocError::new(Gfp::KERNEL, 0, FailReason::NoMemory);
        error.record(tried(1, ZoneType::Normal, Refusal::Watermark));
        error.record(tried(1, ZoneType::Normal, Refusal::NoBlock));
        let zones: Vec<TriedZone> = error.tried().collect();
        assert_eq!(zones, [tried(1, ZoneType::Normal, Refusal::NoBlock)]);
    }

    #[test]
    fn zones_beyond_the_eighth_are_counted() {
        let mut error = AllocError::new(Gfp::KERNEL, 0, FailReason::NoMemory);
        for node in 0..300 {
            error.record(tried(node, ZoneType::Normal, Refusal::Watermark));
        }
        assert_eq!(error.tried().count(), MAX_TRIED);
        assert!(error.to_string().contains("; and 247 more)"), "{error}");
    }

    #[test]
    fn a_bad_request_is_the_source_of_its_error() {
        let bad = check_request(Gfp::KERNEL, 11, 10).unwrap_err();
        let error = AllocError::new(Gfp::KERNEL, 11, bad.into());
        assert_eq!(
            error.to_string(),
            "cannot allocate 2^11 frames with GFP_KERNEL: order 11 is above the allocator's largest order, 10; \
             correct the request"
        );
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), bad.to_string());
    }

    #[test]
    fn every_refusal_of_a_zone_has_words_of_its_own() {
        let told = |refusal| tried(2, ZoneType::Movable, refusal).to_string();
        let table = [
            (Refusal::Watermark, "node 2 Movable: below its watermark"),
            (Refusal::NoBlock, "node 2 Movable: no free block large enough"),
            (Refusal::Cpuset, "node 2 Movable: not in the allowed nodes"),
            (Refusal::DirtyLimit, "node 2 Movable: its node is over the dirty limit"),
            (Refusal::LockBusy, "node 2 Movable: its lock was busy"),
            (Refusal::Closed, "node 2 Movable: closed"),
            (Refusal::NotPopulated, "node 2 Movable: has no memory"),
        ];
        for (refusal, text) in table {
            assert_eq!(told(refusal), text);
        }
    }

    #[test]
    fn every_failure_says_what_to_do_about_it() {
        let table = [
            (
                FailReason::WouldBlock,
                "it would have had to wait for a lock; retry, or use a request that may wait",
            ),
            (FailReason::NoZone, "no zone is allowed; widen the node mask or cpuset, or drop THISNODE"),
            (FailReason::NoNode, "there is no such node; name one of the allocator's nodes"),
            (FailReason::ChargeRefused, "its charge was refused; raise the quota, or leave out ACCOUNT"),
            (FailReason::Guarded, "the system did not make its memory accessible; raise vm.max_map_count"),
            (FailReason::Closed, "the allocator is closed; build an allocator in this process"),
            (
                FailReason::NoMemory,
                "no zone could serve it; free blocks, register a shrinker, or build a larger",
            ),
        ];
        for (reason, text) in table {
            let error = AllocError::new(Gfp::KERNEL, 1, reason);
            assert!(
                error.to_string().starts_with(&format!("cannot allocate 2^1 frames with GFP_KERNEL: {text}"))
            );
            assert!(std::error::Error::source(&error).is_none());
        }
    }

    #[test]
    fn a_lower_order_is_advised_where_only_large_blocks_are_missing() {
        let mut error = AllocError::new(Gfp::KERNEL, 9, FailReason::NoMemory);
        error.record(tried(0, ZoneType::Normal, Refusal::NoBlock));
        let lower = "free neighbouring blocks, ask for a lower order, or build a larger arena";
        assert!(error.to_string().ends_with(lower), "{error}");
        error.record(tried(0, ZoneType::Dma32, Refusal::Watermark));
        assert!(!error.to_string().ends_with(lower), "{error}");
    }
}
