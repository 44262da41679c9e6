//! Who may be served from what, as the rules of Linux 6.3 and later have it, written down a second time.

use crate::{
    Gfp,
    error::{FailReason, Refusal},
    gfp::{BadRequest, MigrateType, NR_ZONE_TYPES, ZoneType, gfp_zone},
    zone::{ZoneEvents, ZoneReport, watermark::Watermarks},
};

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) gfp: Gfp,
    pub(super) order: u8,
}

/// What is known of a zone before or after a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZoneView {
    pub(super) kind: ZoneType,
    pub(super) free: u64,
    /// Those that are set aside for high-order requests that cannot wait, and all that are, free or not.
    pub(super) free_highatomic: u64,
    pub(super) reserved_highatomic: u64,
    /// Frames in the caches of all threads.
    pub(super) cached: u64,
    pub(super) marks: Watermarks,
    pub(super) reserve: [u64; NR_ZONE_TYPES],
    /// A bit for each order of which there is a free block.
    pub(super) orders: u32,
    /// The same of what is set aside.
    pub(super) highatomic_orders: u32,
    pub(super) events: ZoneEvents,
}

/// Masks, with how often each is asked for.
const MASKS: [(u64, Gfp); 21] = [
    (24, Gfp::KERNEL),
    (24, Gfp::HIGHUSER_MOVABLE),
    (12, Gfp::KERNEL.union(Gfp::RECLAIMABLE)),
    (6, Gfp::KERNEL.union(Gfp::MOVABLE)),
    (9, Gfp::ATOMIC),
    (4, Gfp::NOWAIT),
    (3, Gfp::NOWAIT.union(Gfp::MOVABLE)),
    (2, Gfp::ATOMIC.union(Gfp::NOMEMALLOC)),
    (4, Gfp::KERNEL.union(Gfp::HIGH)),
    (5, Gfp::KERNEL.union(Gfp::MEMALLOC)),
    (1, Gfp::KERNEL.union(Gfp::MEMALLOC).union(Gfp::NOMEMALLOC)),
    (2, Gfp::KERNEL.union(Gfp::ZERO)),
    (3, Gfp::KERNEL.union(Gfp::DMA)),
    (2, Gfp::NOWAIT.union(Gfp::DMA)),
    (4, Gfp::KERNEL.union(Gfp::DMA32)),
    (2, Gfp::USER.union(Gfp::HIGHMEM)),
    (2, Gfp::TRANSHUGE),
    (2, Gfp::TRANSHUGE_LIGHT),
    (1, Gfp::KERNEL.union(Gfp::DMA).union(Gfp::DMA32)),
    (1, Gfp::KERNEL.union(Gfp::MOVABLE).union(Gfp::RECLAIMABLE)),
    (1, Gfp::NOWAIT.union(Gfp::NOFAIL)),
];

impl Asked {
    /// Reads a request out of random words.
    pub(super) fn decode(words: (u64, u64), max_order: u8) -> Self {
        let total: u64 = MASKS.iter().map(|&(weight, _)| weight).sum();
        let mut at = (words.0 >> 16) % total;
        let (_, gfp) = MASKS
            .into_iter()
            .find(|&(weight, _)| {
                let here = at < weight;
                at = at.saturating_sub(weight);
                here
            })
            .expect("the weights add up");
        let byte = |shift: u64| (words.1 >> shift).to_le_bytes()[0];
        let order = match byte(0) {
            0..130 => 0,
            130..190 => 1 + byte(8) % 3,
            190..225 => 4 + byte(8) % 5,
            225..242 => 9,
            242..253 => (10 + byte(8) % 5).min(max_order),
            _ => max_order + 1,
        };
        Self { gfp, order }
    }

    /// Returns the highest zone that the request may use.
    pub(super) fn highest(self) -> Result<ZoneType, ()> {
        let bits = [Gfp::DMA, Gfp::DMA32, Gfp::HIGHMEM].map(|bit| self.gfp.contains(bit));
        match bits {
            [true, false, false] => Ok(ZoneType::Dma),
            [false, true, false] => Ok(ZoneType::Dma32),
            [false, false, true] if self.gfp.contains(Gfp::MOVABLE) => Ok(ZoneType::Movable),
            [false, false, true] => Ok(ZoneType::HighMem),
            [false, false, false] => Ok(ZoneType::Normal),
            _ => Err(()),
        }
    }

    /// Returns how a request that means nothing is refused.
    pub(super) fn expected_refusal(self, max_order: u8) -> Option<FailReason> {
        let Self { gfp, order } = self;
        let bad = if let Err(zones) = gfp_zone(gfp) {
            BadRequest::ZoneModifiers(zones)
        } else if gfp.contains(Gfp::MOVABLE | Gfp::RECLAIMABLE) {
            BadRequest::MovableAndReclaimable
        } else if gfp.contains(Gfp::NOFAIL) && !gfp.contains(Gfp::DIRECT_RECLAIM) {
            BadRequest::NoFailWithoutDirectReclaim
        } else if order > max_order {
            BadRequest::Order { order, max_order }
        } else {
            return None;
        };
        Some(FailReason::BadRequest(bad))
    }

    const fn ignores_marks(self) -> bool {
        self.gfp.contains(Gfp::MEMALLOC) && !self.gfp.contains(Gfp::NOMEMALLOC)
    }

    /// Returns what must stay free for this request, of a minimum.
    const fn least(self, min: u64) -> u64 {
        let high = self.gfp.contains(Gfp::HIGH);
        match (high, self.is_non_block()) {
            (true, true) => min - min / 2 - (min - min / 2) / 4,
            (true, false) => min - min / 2,
            _ => min,
        }
    }

    const fn is_non_block(self) -> bool {
        !self.gfp.contains(Gfp::DIRECT_RECLAIM) && !self.gfp.contains(Gfp::NOMEMALLOC)
    }

    /// Tells whether, in its second attempt, the request may count on what is set aside; not that it may have it.
    const fn has_reserves(self) -> bool {
        self.gfp.contains(Gfp::HIGH) || self.is_non_block()
    }

    /// Tells whether it may have what is set aside.
    pub(super) const fn may_have_highatomic(self) -> bool {
        self.is_non_block() && (self.order == 0 || self.gfp.contains(Gfp::HIGH))
    }

    /// Tells whether more than `mark` and the zone's reserve stay of `free` frames, all of the block but one counted off.
    fn leaves(self, free: u64, mark: u64, view: &ZoneView) -> bool {
        let highest = self.highest().expect("the request is sound");
        free > mark + view.reserve[highest.index()] + (1 << self.order) - 1
    }

    /// Tells whether the minimum lets the request pass, with what it may have of it.
    fn passes_min(self, free: u64, view: &ZoneView) -> bool {
        let Watermarks { min, boost, .. } = view.marks;
        // A boost does not keep an order-0 request from the reserve that it is entitled to.
        let unboosted = self.order == 0 && self.gfp.contains(Gfp::HIGH);
        let free = if self.has_reserves() { free } else { free - view.free_highatomic };
        self.leaves(free, self.least(min + boost), view)
            || (unboosted && self.leaves(free, self.least(min), view))
    }
}

impl ZoneView {
    /// Puts together what the zone says of itself with what is known to be out of it.
    pub(super) fn new(report: &ZoneReport, live: u64) -> Self {
        let orders_of = |kinds: &[MigrateType]| {
            let has = |order: usize| kinds.iter().any(|kind| report.nr_free[kind.index()][order] > 0);
            (0..report.nr_free[0].len()).fold(0, |bits, order| bits | u32::from(has(order)) << order)
        };
        Self {
            kind: report.span.kind,
            free: report.free,
            free_highatomic: report.free_highatomic,
            reserved_highatomic: u64::from(report.pageblocks[MigrateType::HighAtomic.index()]) * 512,
            cached: report.span.frames() - report.free - live,
            marks: report.marks,
            reserve: report.lowmem_reserve,
            orders: orders_of(&MigrateType::PCP),
            highatomic_orders: orders_of(&[MigrateType::HighAtomic]),
            events: report.events,
        }
    }

    /// Tells whether the zone would serve the request at the low mark if types were of no matter.
    pub(super) fn is_willing(&self, asked: Asked) -> bool {
        asked.leaves(self.free - self.free_highatomic, self.marks.low + self.marks.boost, self)
            && self.orders >> asked.order != 0
    }

    /// Tells whether a single frame may be taken at the low mark.
    pub(super) fn is_above_low(&self, highest: ZoneType) -> bool {
        self.free - self.free_highatomic > self.marks.low + self.marks.boost + self.reserve[highest.index()]
    }
}

/// Says by what right a request was served from a zone that was in this state before; `None` if it had none.
pub(super) fn granted_by_the_rules(asked: Asked, view: &ZoneView, in_list: usize) -> Option<&'static str> {
    let highest = asked.highest().ok()?;
    let low = view.marks.low + view.marks.boost;
    let plain = ZoneView { free_highatomic: 0, ..*view };
    let usable = view.free - view.free_highatomic;
    if asked.leaves(usable, low, view) {
        Some("at the low mark")
    } else if in_list > 0 && view.is_above_low(highest) {
        Some("cached, at the low mark of order 0")
    } else if asked.leaves(usable, view.marks.min + view.marks.boost, view) {
        Some("at the minimum")
    } else if asked.passes_min(view.free, view) {
        Some("with a reserve")
    } else if asked.ignores_marks() {
        Some("without marks")
    } else if asked.gfp.allows_blocking() && asked.passes_min(view.free + view.cached, &plain) {
        // When the caches were empty, what was set aside was given up too.
        Some("after a drain")
    } else {
        None
    }
}

/// Says how a zone in this state refuses a request that it has nothing for.
pub(super) fn refused_by_the_rules(asked: Asked, view: &ZoneView) -> Option<Refusal> {
    let orders = view.orders | if asked.may_have_highatomic() { view.highatomic_orders } else { 0 };
    if orders >> asked.order != 0 {
        return (!asked.ignores_marks() && !asked.passes_min(view.free, view)).then_some(Refusal::Watermark);
    }
    // The test of a single frame does not look whose the free frames are.
    let passed = asked.order == 0 && asked.passes_min(view.free, view);
    Some(if passed { Refusal::NoBlock } else { Refusal::Watermark })
}
