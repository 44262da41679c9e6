//! What a request takes when its own migrate type has nothing left: claim a whole pageblock, or steal a block.
//!
//! The rules are those of `__rmqueue` and its helpers since 6.15: a claim looks for the largest block first and turns
//! its pageblock over, so that pollution stays together; a steal takes the smallest and leaves the pageblock's
//! type alone. A refill remembers which of them worked.

use super::{Buddy, LEAF_ORDER, PAGEBLOCK_FRAMES};
use crate::{
    frame::{FrameBatch, Mobility, Order, PAGEBLOCK_ORDER, Pfn},
    gfp::{AllocFlags, MigrateType},
    trace,
};

/// A claim converts at most a block of this order, however large the block that it splits (MAX_PAGE_ORDER).
const CLAIM_ORDER_MAX: u8 = 10;

/// Whether pageblocks are kept apart by migrate type (`page_group_by_mobility_disabled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// They are.
    ByMobility,
    /// The arena is too small for it: every claim succeeds.
    Disabled,
}

/// Where a refill looks first; it keeps what worked while the lock is held (`enum rmqueue_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RmqueueMode {
    /// The request's own type.
    #[default]
    Normal,
    /// The CMA areas.
    Cma,
    /// A pageblock of another type.
    Claim,
    /// A block of another type.
    Steal,
}

/// What the fallbacks of one critical section did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Fallback {
    /// Pageblocks, or larger blocks, that changed type.
    pub claimed: u32,
    /// Blocks taken from another type.
    pub stolen: u32,
    /// Claims attempted below a pageblock: each asks for a boost of the watermarks.
    pub boosts: u32,
}

/// For each type of a request, the types that it may take from, best first (`fallbacks`).
const fn fallbacks(migratetype: MigrateType) -> &'static [MigrateType] {
    match migratetype {
        MigrateType::Unmovable => &[MigrateType::Reclaimable, MigrateType::Movable],
        MigrateType::Movable => &[MigrateType::Reclaimable, MigrateType::Unmovable],
        MigrateType::Reclaimable => &[MigrateType::Unmovable, MigrateType::Movable],
        MigrateType::HighAtomic | MigrateType::Cma | MigrateType::Isolate => &[],
    }
}

/// Tells whether a block of `order` is worth claiming its pageblock for (`should_try_claim_block`).
const fn should_try_claim_block(order: u8, migratetype: MigrateType, grouping: Grouping) -> bool {
    order >= PAGEBLOCK_ORDER / 2
        || matches!(migratetype, MigrateType::Unmovable | MigrateType::Reclaimable)
        || matches!(grouping, Grouping::Disabled)
}

impl Buddy {
    /// Takes a block for a request: from its own type, the CMA areas, a claimed pageblock or another type's list
    /// (`__rmqueue`).
    #[doc(alias = "__rmqueue")]
    #[doc(alias = "_rmqueue")]
    pub fn rmqueue(
        &mut self,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
        grouping: Grouping,
        mode: &mut RmqueueMode,
        done: &mut Fallback,
    ) -> Option<Pfn> {
        let mobility = Mobility::of(migratetype);
        // CMA lends to movable requests before the rest is used up (balance between the two, 2010).
        if flags.contains(AllocFlags::CMA)
            && self.free_frames_of(MigrateType::Cma) > self.free_frames() / 2
            && let Some(pfn) = self.rmqueue_smallest(order, MigrateType::Cma, mobility)
        {
            return Some(pfn);
        }
        if *mode == RmqueueMode::Normal {
            if let Some(pfn) = self.rmqueue_smallest(order, migratetype, mobility) {
                return Some(pfn);
            }
            *mode = RmqueueMode::Cma;
        }
        if *mode == RmqueueMode::Cma {
            if flags.contains(AllocFlags::CMA)
                && let Some(pfn) = self.rmqueue_smallest(order, MigrateType::Cma, mobility)
            {
                return Some(pfn);
            }
            *mode = RmqueueMode::Claim;
        }
        if *mode == RmqueueMode::Claim {
            if let Some(pfn) = self.try_to_claim_block(order, migratetype, flags, grouping, done) {
                // The claimed pageblock is of our type now: the next one comes from there.
                *mode = RmqueueMode::Normal;
                return Some(pfn);
            }
            *mode = RmqueueMode::Steal;
        }
        if flags.contains(AllocFlags::NOFRAGMENT) {
            return None;
        }
        self.try_to_steal_block(order, migratetype, done)
    }

    /// Takes `count` blocks for a refill; stops early when nothing is left (`rmqueue_bulk`).
    pub fn rmqueue_bulk(
        &mut self,
        order: Order,
        count: u32,
        migratetype: MigrateType,
        flags: AllocFlags,
        grouping: Grouping,
        batch: &mut FrameBatch,
    ) -> Fallback {
        let mut done = Fallback::default();
        let mut mode = RmqueueMode::default();
        let mut left = count;
        while left > 0 {
            if order == Order::ZERO
                && mode == RmqueueMode::Normal
                && self.free_frames_of(MigrateType::Cma) == 0
            {
                left -= self.rmqueue_frames(left, migratetype, Mobility::of(migratetype), batch);
                if left == 0 {
                    break;
                }
            }
            let Some(pfn) = self.rmqueue(order, migratetype, flags, grouping, &mut mode, &mut done) else {
                break;
            };
            batch.push(pfn);
            left -= 1;
        }
        done
    }

    fn try_to_claim_block(
        &mut self,
        order: Order,
        migratetype: MigrateType,
        flags: AllocFlags,
        grouping: Grouping,
        done: &mut Fallback,
    ) -> Option<Pfn> {
        let least = if flags.contains(AllocFlags::NOFRAGMENT) { order.max(Order::PAGEBLOCK) } else { order };
        for current in (least.get()..=self.max_order.get()).rev() {
            if !should_try_claim_block(current, migratetype, grouping) {
                break;
            }
            let victim =
                fallbacks(migratetype).iter().find(|&&kind| self.available(kind) >> current & 1 == 1);
            let Some(&victim) = victim else { continue };
            let claimed = if current >= PAGEBLOCK_ORDER {
                self.claim_whole(order, current, migratetype, victim)
            } else {
                done.boosts += 1;
                self.claim_pageblock(order, current, migratetype, victim, grouping)
            };
            if let Some(pfn) = claimed {
                done.claimed += 1;
                let now = || self.pageblock_type(pfn);
                trace::mm_page_alloc_extfrag(pfn, order, current, migratetype, victim, now);
                return claimed;
            }
        }
        None
    }

    /// Turns a free block of at least a pageblock over to the request's type and takes its low part.
    fn claim_whole(
        &mut self,
        order: Order,
        current: u8,
        migratetype: MigrateType,
        victim: MigrateType,
    ) -> Option<Pfn> {
        let pfn = self.take_lowest(current, victim)?;
        let converted = current.min(CLAIM_ORDER_MAX.max(order.get()));
        self.expand(pfn, converted, current, victim);
        self.retag(pfn, converted, migratetype);
        self.free_frames[victim as usize] -= 1 << converted;
        self.free_frames[migratetype as usize] += 1 << converted;
        self.expand(pfn, order.get(), converted, migratetype);
        self.hand_out(pfn, order, migratetype, Mobility::of(migratetype));
        Some(pfn)
    }

    /// Turns the pageblock around a free block over to the request's type, if half of it is free or alike, and takes
    /// from the request's type again.
    fn claim_pageblock(
        &mut self,
        order: Order,
        current: u8,
        migratetype: MigrateType,
        victim: MigrateType,
        grouping: Grouping,
    ) -> Option<Pfn> {
        let inside = self.lowest(current, victim)?;
        let (free, movable) = self.pageblock_use(inside, victim);
        let alike = match (migratetype, victim) {
            (MigrateType::Movable, _) => movable,
            // What is neither free nor movable in a movable pageblock is taken to be like us.
            (_, MigrateType::Movable) => PAGEBLOCK_FRAMES.saturating_sub(free + movable),
            _ => 0,
        };
        if free + alike < PAGEBLOCK_FRAMES / 2 && grouping == Grouping::ByMobility {
            return None;
        }
        self.move_freepages_block(inside, victim, migratetype);
        self.rmqueue_smallest(order, migratetype, Mobility::of(migratetype))
    }

    /// Takes the lowest smallest block of another type; the rest of it stays of that type
    /// (`try_to_steal_block`).
    fn try_to_steal_block(
        &mut self,
        order: Order,
        migratetype: MigrateType,
        done: &mut Fallback,
    ) -> Option<Pfn> {
        for current in order.get()..=self.max_order.get() {
            let victim =
                fallbacks(migratetype).iter().find(|&&kind| self.available(kind) >> current & 1 == 1);
            if let Some(&victim) = victim {
                let pfn = self.take_lowest(current, victim)?;
                self.expand(pfn, order.get(), current, victim);
                self.hand_out(pfn, order, victim, Mobility::of(migratetype));
                done.stolen += 1;
                let now = || self.pageblock_type(pfn);
                trace::mm_page_alloc_extfrag(pfn, order, current, migratetype, victim, now);
                return Some(pfn);
            }
        }
        None
    }

    /// Returns the leaves of the pageblock around `pfn`, as far as they lie in the zone.
    fn pageblock_leaves(&self, pfn: Pfn) -> impl Iterator<Item = usize> + use<> {
        let first = pfn.index() >> PAGEBLOCK_ORDER << (PAGEBLOCK_ORDER - LEAF_ORDER);
        let base = self.start.index() >> LEAF_ORDER;
        let leaves = self.leaves.len();
        (first..first + 2).filter_map(move |leaf| leaf.checked_sub(base)).filter(move |&leaf| leaf < leaves)
    }

    /// Returns the free and the movable frames of a pageblock that is not free as a whole, in constant time.
    pub(super) fn pageblock_use(&self, pfn: Pfn, migratetype: MigrateType) -> (u32, u32) {
        let whole_leaves = Self::set_of(LEAF_ORDER, migratetype);
        self.pageblock_leaves(pfn).fold((0, 0), |(free, movable), index| {
            let leaf = &self.leaves[index];
            let free_here = if !leaf.is_whole() {
                leaf.free_frames()
            } else if self.sets.contains(whole_leaves, index) {
                super::LEAF_FRAMES
            } else {
                0
            };
            (free + free_here, movable + leaf.movable_frames())
        })
    }

    /// Moves all free blocks of a pageblock, none of which is larger than it, to another type's lists and retags it
    /// (`__move_freepages_block`).
    pub(super) fn move_freepages_block(&mut self, pfn: Pfn, from: MigrateType, to: MigrateType) {
        let mut moved = 0;
        for index in self.pageblock_leaves(pfn) {
            for order in 0..=LEAF_ORDER {
                let listed = if order < LEAF_ORDER {
                    u32::from(self.leaves[index].counts().get(order))
                } else {
                    u32::from(self.sets.contains(Self::set_of(order, from), index))
                };
                if listed > 0 {
                    self.sets.remove(Self::set_of(order, from), index);
                    self.sets.insert(Self::set_of(order, to), index);
                    self.count_blocks(order, from, -listed.cast_signed());
                    self.count_blocks(order, to, listed.cast_signed());
                    moved += listed << order;
                }
            }
        }
        self.free_frames[from as usize] -= u64::from(moved);
        self.free_frames[to as usize] += u64::from(moved);
        self.set_pageblock_type(pfn, to);
    }
}
