//! The binary buddy: which blocks of a zone are free, by order and migrate type.
//!
//! The kernel links free blocks through `struct page`. Here they are bits: `leaf` holds the map of 1 MiB with counts
//! for orders 0 to 7, `index` says for each type and order which leaves hold such a block, and for orders from 8 on
//! a bit of the index *is* the block. All that a request or a free touches is a line of a leaf and a few words
//! of the index, whatever the size of the zone; and zeroed memory means "all free", so that a huge zone costs
//! nothing until it is used. A search takes the lowest address.

mod content;
mod counts;
mod fallback;
mod free;
mod highatomic;
mod index;
mod isolate;
mod leaf;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

use self::{
    content::Contents,
    counts::CountsChange,
    index::{LeafSets, Set},
    isolate::PageblockFlags,
    leaf::{LEAF_FRAMES, LEAF_ORDER, Leaf},
};
use crate::{
    frame::{FrameBatch, MAX_MAX_ORDER, Mobility, Order, PAGEBLOCK_ORDER, Pfn},
    gfp::{MigrateType, NR_MIGRATE_TYPES},
    sync::{ZeroedSlice, ZeroedSliceError},
    trace,
};

pub use content::{Content, FREED};
pub use fallback::{Fallback, Grouping, RmqueueMode};

/// Number of orders that the tables have room for.
pub const ORDERS: usize = MAX_MAX_ORDER as usize + 1;
/// Number of migrate types.
pub const TYPES: usize = NR_MIGRATE_TYPES;
/// Order of the frames of one word of a leaf's map.
const WORD_ORDER: u8 = 6;
/// Frames of a pageblock.
pub const PAGEBLOCK_FRAMES: u32 = 1 << PAGEBLOCK_ORDER;

/// The free areas of one zone (`struct free_area` and the functions over it).
///
/// ```
/// use gfp::{Order, Pfn, frame::{FrameBatch, Mobility}, gfp::{AllocFlags, MigrateType}};
/// use gfp::zone::{Grouping, buddy::{Buddy, Fallback, RmqueueMode}};
///
/// // 16 pageblocks of 2 MiB, all free and movable, in blocks of at most 4 MiB.
/// let (movable, unmovable) = (MigrateType::Movable, MigrateType::Unmovable);
/// let (start, end) = (Pfn::new(0), Pfn::new(8192));
/// let mut buddy = Buddy::new(start, end, end, Order::new(10))?;
/// assert_eq!((buddy.start(), buddy.end(), buddy.free_frames()), (start, end, 8192));
/// assert_eq!((buddy.nr_free(Order::new(10), movable), buddy.available(movable)), (8, 1 << 10));
///
/// // The lowest block of the smallest order that fits is split; the rest stays free.
/// let pfn = buddy.rmqueue_smallest(Order::ZERO, movable, Mobility::Movable).expect("all is free");
/// assert_eq!((pfn, buddy.nr_free(Order::new(9), movable)), (Pfn::new(0), 1));
/// assert!(buddy.is_used(pfn, Order::ZERO) && buddy.is_free(Pfn::new(1)));
/// // A free merges with its buddies again; a second one is found.
/// assert!(buddy.free(pfn, Order::ZERO, Mobility::Movable));
/// assert_eq!(buddy.available(movable), 1 << 10);
/// assert!(!buddy.free(pfn, Order::ZERO, Mobility::Movable));
///
/// // A type without free blocks claims a pageblock of another.
/// assert_eq!(buddy.free_frames_of(unmovable), 0);
/// let (mut mode, mut done) = (RmqueueMode::default(), Fallback::default());
/// let flags = AllocFlags::empty();
/// let pfn = buddy.rmqueue(Order::new(3), unmovable, flags, Grouping::ByMobility, &mut mode, &mut done);
/// let pfn = pfn.expect("all is free");
/// assert_eq!((buddy.pageblock_type(pfn), done.claimed), (unmovable, 1));
/// assert!(buddy.pageblocks(unmovable) >= 1);
///
/// // Refills and drains work on many blocks at once.
/// let mut batch = FrameBatch::new();
/// buddy.rmqueue_bulk(Order::ZERO, 10, unmovable, flags, Grouping::ByMobility, &mut batch);
/// assert_eq!(buddy.rmqueue_frames(5, unmovable, Mobility::Fixed, &mut batch), 5);
/// assert_eq!(buddy.free_batch(batch.numbers(), Order::ZERO, Mobility::Fixed), 0, "none was free already");
/// assert_eq!(buddy.idle_frames(), 8192 - 8);
///
/// // A block of at least 1 MiB is one mark, until its frames are to come back one by one.
/// let large = buddy.rmqueue_smallest(Order::PAGEBLOCK, movable, Mobility::Movable).expect("there are more");
/// buddy.split_taken(large, Order::PAGEBLOCK, Mobility::Movable);
/// assert!(buddy.free(large.add(7), Order::ZERO, Mobility::Movable));
/// # Ok::<(), gfp::sync::ZeroedSliceError>(())
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Buddy {
    // What every request and free changes: few lines go from CPU to CPU with the lock.
    free_frames: [u64; TYPES],
    /// For each type, a bit for every order that has a free block.
    available: [u32; TYPES],
    nr_free: [[u32; ORDERS]; TYPES],
    contents: Contents,
    /// How many pageblocks have each type.
    pageblocks: [u32; TYPES],
    // What stays.
    start: Pfn,
    end: Pfn,
    max_order: Order,
    leaves: ZeroedSlice<Leaf>,
    sets: LeafSets,
    /// [`PageblockFlags`] of each pageblock.
    types: ZeroedSlice<u8>,
}

impl Buddy {
    /// Makes the free areas of the frames from `start` to before `end`, all free and movable up to `online_end`, which ends a
    /// pageblock unless it is `end`, and offline from there on.
    ///
    /// # Errors
    /// When the address space for the maps, 0.3 bytes a frame, cannot be had.
    pub fn new(start: Pfn, end: Pfn, online_end: Pfn, max_order: Order) -> Result<Self, ZeroedSliceError> {
        let leaves = (end.index().div_ceil(LEAF_FRAMES as usize)) - (start.index() >> LEAF_ORDER);
        let blocks = (end.index().div_ceil(PAGEBLOCK_FRAMES as usize)) - (start.index() >> PAGEBLOCK_ORDER);
        let mut buddy = Self {
            start,
            end,
            max_order,
            leaves: ZeroedSlice::new(leaves)?,
            sets: LeafSets::new(TYPES, max_order.index() + 1, leaves)?,
            types: ZeroedSlice::new(blocks)?,
            contents: Contents::new(blocks)?,
            pageblocks: [0; TYPES],
            nr_free: [[0; ORDERS]; TYPES],
            available: [0; TYPES],
            free_frames: [0; TYPES],
        };
        buddy.pageblocks[MigrateType::Movable as usize] = u32::try_from(blocks).expect("fewer than frames");
        buddy.free_span(start, online_end);
        buddy.begin_offline(online_end);
        Ok(buddy)
    }

    /// Frees a span as the largest aligned blocks (`memblock_free_pages` at boot).
    fn free_span(&mut self, start: Pfn, end: Pfn) {
        let mut at = start.get();
        while at < end.get() {
            let fits = (end.get() - at).ilog2();
            let order = at.trailing_zeros().min(fits).min(u32::from(self.max_order.get()));
            let order = Order::try_new(order).expect("at most the maximum order");
            let pfn = Pfn::new(at);
            if order.get() < LEAF_ORDER {
                let leaf = self.leaf_of(pfn);
                if self.leaves[leaf].is_whole() {
                    self.leaves[leaf].mark_all_used();
                }
                self.free(pfn, order, Mobility::Fixed);
            } else {
                self.insert(pfn, order.get(), MigrateType::Movable);
                self.free_frames[MigrateType::Movable as usize] += u64::from(order.frames());
            }
            at += order.frames();
        }
    }

    /// Returns the first frame.
    pub const fn start(&self) -> Pfn {
        self.start
    }

    /// Returns the frame behind the last.
    pub const fn end(&self) -> Pfn {
        self.end
    }

    /// Returns how many blocks of `order` and `migratetype` are free.
    pub const fn nr_free(&self, order: Order, migratetype: MigrateType) -> u32 {
        self.nr_free[migratetype as usize][order.index()]
    }

    /// Returns, for a type, a bit for every order that has a free block.
    pub const fn available(&self, migratetype: MigrateType) -> u32 {
        self.available[migratetype as usize]
    }

    /// Returns the free frames that can be handed out: of all types but the isolated (NR_FREE_PAGES of the zone).
    pub fn free_frames(&self) -> u64 {
        self.idle_frames() - self.free_frames_of(MigrateType::Isolate)
    }

    /// Returns the frames that nobody holds, the isolated included.
    pub fn idle_frames(&self) -> u64 {
        self.free_frames.iter().sum()
    }

    /// Returns the free frames of one type.
    pub const fn free_frames_of(&self, migratetype: MigrateType) -> u64 {
        self.free_frames[migratetype as usize]
    }

    /// Returns the migrate type of the pageblock that `pfn` lies in (`get_pageblock_migratetype`).
    #[inline]
    pub fn pageblock_type(&self, pfn: Pfn) -> MigrateType {
        PageblockFlags(self.types[self.block_of(pfn)]).migratetype()
    }

    /// Returns how many pageblocks of the zone are of a type; those at its ends that it has only a part of are among them.
    pub const fn pageblocks(&self, migratetype: MigrateType) -> u32 {
        self.pageblocks[migratetype as usize]
    }

    fn set_pageblock_type(&mut self, pfn: Pfn, migratetype: MigrateType) {
        self.pageblocks[self.pageblock_type(pfn) as usize] -= 1;
        self.pageblocks[migratetype as usize] += 1;
        let block = self.block_of(pfn);
        self.types[block] = PageblockFlags::of(migratetype).0;
    }

    #[inline]
    const fn leaf_of(&self, pfn: Pfn) -> usize {
        (pfn.index() >> LEAF_ORDER) - (self.start.index() >> LEAF_ORDER)
    }

    #[inline]
    const fn block_of(&self, pfn: Pfn) -> usize {
        (pfn.index() >> PAGEBLOCK_ORDER) - (self.start.index() >> PAGEBLOCK_ORDER)
    }

    #[inline]
    fn leaf_start(&self, leaf: usize) -> Pfn {
        let leaf = leaf + (self.start.index() >> LEAF_ORDER);
        Pfn::new(u32::try_from(leaf << LEAF_ORDER).expect("a leaf lies in the arena"))
    }

    #[inline]
    const fn offset_of(pfn: Pfn) -> u32 {
        pfn.get() & (LEAF_FRAMES - 1)
    }

    #[inline]
    const fn set_of(order: u8, migratetype: MigrateType) -> Set {
        Set { kind: migratetype as usize, order: order as usize }
    }

    #[inline]
    fn count_blocks(&mut self, order: u8, migratetype: MigrateType, change: i32) {
        let count = &mut self.nr_free[migratetype as usize][usize::from(order)];
        *count = count.wrapping_add_signed(change);
        self.note_available(order, migratetype);
    }

    /// Notes whether there are free blocks of an order.
    #[inline]
    const fn note_available(&mut self, order: u8, migratetype: MigrateType) {
        let some = self.nr_free[migratetype as usize][order as usize] > 0;
        let orders = &mut self.available[migratetype as usize];
        *orders = *orders & !(1 << order) | (some as u32) << order;
    }

    /// Lists a free block. Its frames are already marked free.
    #[inline]
    fn insert(&mut self, pfn: Pfn, order: u8, migratetype: MigrateType) {
        self.list(self.leaf_of(pfn), order, migratetype, 1);
    }

    /// Takes a free block off its list. Its frames stay marked free.
    #[inline]
    fn remove(&mut self, pfn: Pfn, order: u8, migratetype: MigrateType) {
        self.list(self.leaf_of(pfn), order, migratetype, -1);
    }

    /// Lists that many blocks more of an order in a leaf, or less.
    #[inline]
    fn list(&mut self, leaf: usize, order: u8, migratetype: MigrateType, blocks: i32) {
        let set = Self::set_of(order, migratetype);
        let (before, since) = if order < LEAF_ORDER {
            self.leaves[leaf].count(order, blocks)
        } else {
            (u8::from(blocks < 0), u8::from(blocks > 0))
        };
        if before == 0 {
            self.sets.insert(set, leaf);
        } else if since == 0 {
            self.sets.remove(set, leaf);
        }
        self.count_blocks(order, migratetype, blocks);
    }

    /// Returns the lowest free block of exactly this order and type.
    #[inline]
    fn lowest(&self, order: u8, migratetype: MigrateType) -> Option<Pfn> {
        let leaf = self.sets.first(Self::set_of(order, migratetype))?;
        let offset = if order < LEAF_ORDER { self.leaves[leaf].find(order)? } else { 0 };
        Some(self.leaf_start(leaf).add(offset))
    }

    /// Takes the lowest free block of exactly this order and type off its list, for its low part to be taken. Its frames stay marked free.
    #[inline]
    fn take_lowest(&mut self, order: u8, migratetype: MigrateType) -> Option<Pfn> {
        if order < LEAF_ORDER {
            let pfn = self.lowest(order, migratetype)?;
            self.remove(pfn, order, migratetype);
            return Some(pfn);
        }
        let leaf = self.sets.take_first(Self::set_of(order, migratetype))?;
        let pfn = self.leaf_start(leaf);
        self.count_blocks(order, migratetype, -1);
        self.touch_first(pfn);
        Some(pfn)
    }

    /// Takes the lowest block of the smallest order that has one of the type, and splits it
    /// (`__rmqueue_smallest`).
    #[doc(alias = "__rmqueue_smallest")]
    #[doc(alias = "expand")]
    #[inline]
    pub fn rmqueue_smallest(
        &mut self,
        order: Order,
        migratetype: MigrateType,
        taken_for: Mobility,
    ) -> Option<Pfn> {
        let fitting = self.available[migratetype as usize] >> order.get();
        if fitting == 0 {
            return None;
        }
        let current = order.get() + fitting.trailing_zeros().to_le_bytes()[0];
        let pfn = self.take_lowest(current, migratetype)?;
        if current > order.get() {
            self.expand(pfn, order.get(), current, migratetype);
        }
        self.hand_out(pfn, order, migratetype, taken_for);
        trace::mm_page_alloc_zone_locked(&[pfn.get()], order, migratetype);
        Some(pfn)
    }

    /// Splits a block that is off its list down to `low`; the upper halves become free blocks (`expand`).
    #[inline]
    fn expand(&mut self, pfn: Pfn, low: u8, high: u8, migratetype: MigrateType) {
        for order in low.max(LEAF_ORDER)..high {
            self.sets.insert(Self::set_of(order, migratetype), self.leaf_of(pfn.add(1 << order)));
        }
        let top = high.min(LEAF_ORDER);
        if low < top {
            let leaf = self.leaf_of(pfn);
            let changed = self.leaves[leaf].change_counts(CountsChange::split(top, low));
            self.sets.flip(migratetype as usize, changed, leaf);
        }
        for count in &mut self.nr_free[migratetype as usize][usize::from(low)..usize::from(high)] {
            *count += 1;
        }
        self.available[migratetype as usize] |= (1 << high) - (1 << low);
    }

    /// Marks a block that is off its list in use.
    #[inline]
    fn hand_out(&mut self, pfn: Pfn, order: Order, migratetype: MigrateType, taken_for: Mobility) {
        self.free_frames[migratetype as usize] -= u64::from(order.frames());
        if order.get() <= LEAF_ORDER {
            let leaf = self.leaf_of(pfn);
            let leaf = &mut self.leaves[leaf];
            leaf.account_taken(order.frames(), taken_for);
            if order.get() < LEAF_ORDER {
                leaf.mark_used(Self::offset_of(pfn), order.get());
            }
        } else {
            self.touch_others(pfn, order);
        }
    }

    /// Takes up to `count` single frames of a type, the same frames in the same order as that many calls of
    /// [`rmqueue_smallest`](Self::rmqueue_smallest), but whole blocks and words at a time. Returns how many were there.
    pub fn rmqueue_frames(
        &mut self,
        count: u32,
        migratetype: MigrateType,
        taken_for: Mobility,
        batch: &mut FrameBatch,
    ) -> u32 {
        let before = batch.len();
        let mut left = count;
        while left > 0 && self.available[migratetype as usize] != 0 {
            let order = self.available[migratetype as usize].trailing_zeros().to_le_bytes()[0];
            let taken = match order {
                // With a constant order: most of what is in pieces is single frames.
                0 => self.take_whole(0, left, migratetype, taken_for, batch),
                1..WORD_ORDER if left >> order > 0 => {
                    self.take_whole(order, left, migratetype, taken_for, batch)
                }
                _ => self.take_run(order, left, migratetype, taken_for, batch),
            };
            left -= taken;
        }
        self.free_frames[migratetype as usize] -= u64::from(count - left);
        trace::mm_page_alloc_zone_locked(&batch.numbers()[before..], Order::ZERO, migratetype);
        count - left
    }

    /// Takes whole blocks of `order`, at most 5, from the lowest leaf that has some, when there is no smaller block.
    #[inline(always)]
    fn take_whole(
        &mut self,
        order: u8,
        want: u32,
        migratetype: MigrateType,
        taken_for: Mobility,
        batch: &mut FrameBatch,
    ) -> u32 {
        let Some(index) = self.sets.first(Self::set_of(order, migratetype)) else { return 0 };
        let start = self.leaf_start(index);
        let leaf = &mut self.leaves[index];
        let (most, ones) = (want >> order, (1u64 << (1u32 << order)) - 1);
        let mut blocks = u32::from(leaf.counts().get(order));
        if order == 0 && blocks <= most {
            for word in 0..4u32 {
                let starts = leaf.starts(word as usize, order);
                batch.push_bits(start.add(word * 64), starts);
                leaf.mark_mask_used(word as usize, starts);
            }
            leaf.account_taken(blocks, taken_for);
            self.list(index, order, migratetype, -blocks.cast_signed());
            return blocks;
        }
        blocks = 0;
        for word in 0..4u32 {
            let mut starts = leaf.starts(word as usize, order);
            let mut mask = 0;
            while starts != 0 && blocks < most {
                let bit = starts.trailing_zeros();
                let first = start.add(word * 64 + bit);
                if order == 0 {
                    batch.push(first);
                } else {
                    batch.push_run(first, 1 << order);
                }
                mask |= ones << bit;
                starts &= starts - 1;
                blocks += 1;
            }
            leaf.mark_mask_used(word as usize, mask);
        }
        leaf.account_taken(blocks << order, taken_for);
        self.list(index, order, migratetype, -blocks.cast_signed());
        blocks << order
    }

    /// Takes the low frames of the lowest block of `order`, when there is no smaller block. Out of line: not what most refills do.
    #[inline(never)]
    fn take_run(
        &mut self,
        order: u8,
        want: u32,
        migratetype: MigrateType,
        taken_for: Mobility,
        batch: &mut FrameBatch,
    ) -> u32 {
        let Some(pfn) = self.take_lowest(order, migratetype) else { return 0 };
        let inside = order.min(LEAF_ORDER);
        self.expand(pfn, inside, order, migratetype);
        let taken = want.min(1 << inside);
        // What stays free behind the taken frames are the blocks whose orders are the bits of its length.
        let mut rest = (1 << inside) - taken;
        while rest != 0 {
            let part = rest.trailing_zeros().to_le_bytes()[0];
            self.insert(pfn, part, migratetype);
            rest &= rest - 1;
        }
        let leaf = self.leaf_of(pfn);
        let leaf = &mut self.leaves[leaf];
        leaf.mark_run_used(Self::offset_of(pfn), taken);
        leaf.account_taken(taken, taken_for);
        batch.push_run(pfn, taken);
        taken
    }

    /// Notes that the frames of a block that somebody owns will come back one by one: from a leaf on, a block in use has no mark
    /// in the maps, and its frames are given theirs.
    pub fn split_taken(&mut self, pfn: Pfn, order: Order, taken_for: Mobility) {
        if order.get() < LEAF_ORDER {
            return;
        }
        let first = self.leaf_of(pfn);
        for leaf in &mut self.leaves[first..first + (1 << (order.get() - LEAF_ORDER))] {
            leaf.mark_all_used();
            if order.get() > LEAF_ORDER {
                leaf.account_taken(LEAF_FRAMES, taken_for);
            }
        }
    }

    /// Sets the type of every pageblock of a block of at least that size (`change_pageblock_range`).
    fn retag(&mut self, pfn: Pfn, order: u8, migratetype: MigrateType) {
        for block in 0..1u32 << (order - PAGEBLOCK_ORDER) {
            self.set_pageblock_type(pfn.add(block << PAGEBLOCK_ORDER), migratetype);
        }
    }
}
