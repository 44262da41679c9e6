//! The lists of a thread's cache: stacks of blocks, hot end last.
//!
//! A cached block is kept as the [`Block`] that its next owner gets, descriptor and all, so that handing it out does not wait
//! for the frame table, which is only compared with it.

use core::ptr::NonNull;

use super::{Block, FrameBatch, PcpList};
use crate::sync::{
    Arc, ZeroedSlice, ZeroedSliceError,
    atomic::{AtomicU64, Ordering},
};

/// Most frames that one list of a cache may hold: 16 MiB.
pub const LIST_FRAMES_MAX: u32 = 4096;
/// Entries of a stack whose memory is committed at once: one page.
const CHUNK: u32 = 512;

/// The memory behind the lists of one zone in one cache: 180 KiB of address space, committed page by page.
#[derive(Debug)]
pub struct StackMemory {
    words: ZeroedSlice<AtomicU64>,
}

impl StackMemory {
    /// Reserves the memory.
    ///
    /// # Errors
    /// When the address space cannot be had.
    pub fn new() -> Result<Arc<Self>, ZeroedSliceError> {
        let words = (0..PcpList::COUNT).map(|list| entries(list) as usize).sum();
        Ok(Arc::new(Self { words: ZeroedSlice::new(words)? }))
    }

    /// Commits the memory of the next entries of a list that holds `capacity` so far, by writing behind its end.
    ///
    /// The entries behind a list's capacity are never read, so this may run while the list itself is in use.
    #[cold]
    pub fn commit(&self, list: PcpList, capacity: u32) -> u32 {
        let (start, entries) = (start(list.index()), entries(list.index()));
        let grown = capacity.saturating_add(CHUNK).min(entries);
        if capacity < grown {
            self.words[start + grown as usize - 1].store(0, Ordering::Relaxed);
            self.words[start + capacity as usize].store(0, Ordering::Relaxed);
        }
        grown
    }
}

/// Returns how many blocks a list may hold.
fn entries(list: usize) -> u32 {
    let (_, order) = PcpList::with_index(list);
    LIST_FRAMES_MAX / order.frames()
}

fn start(list: usize) -> usize {
    (0..list).map(|list| entries(list) as usize).sum()
}

/// One list: a stack with its hot end on top, whose cold end can be cut off.
#[derive(Debug)]
#[repr(C)]
pub struct FrameStack {
    /// Words, of which those from `bottom` to before `top` are blocks, and the first `capacity` are committed.
    base: Option<NonNull<AtomicU64>>,
    top: u16,
    bottom: u16,
    capacity: u16,
}

// SAFETY: the words are atomic, and they live as long as the `FrameLists` that every stack is part of.
unsafe impl Send for FrameStack {}

impl FrameStack {
    /// A list of an order that no cache holds: it is always empty and always full.
    const NONE: Self = Self { base: None, top: 0, bottom: 0, capacity: 0 };

    /// Takes the hottest block.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Block> {
        if self.top == self.bottom {
            return None;
        }
        self.top -= 1;
        // SAFETY: there was a block, so the stack has memory.
        let base = unsafe { self.base.unwrap_unchecked() };
        // SAFETY: the entry lies below the old top, inside the stack's memory.
        let word = unsafe { base.add(usize::from(self.top)) };
        // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
        let bits = unsafe { word.as_ref() }.load(Ordering::Relaxed);
        // SAFETY: entries between bottom and top are blocks that were pushed.
        Some(unsafe { Block::from_bits(bits) })
    }

    /// Puts a block on the hot end; gives it back when the top has reached the end of the committed memory.
    #[inline(always)]
    pub fn push(&mut self, block: Block) -> Result<(), Block> {
        if self.top == self.capacity {
            return Err(block);
        }
        // SAFETY: `capacity` is above 0, so the stack has memory.
        let base = unsafe { self.base.unwrap_unchecked() };
        // SAFETY: `top` lies below the capacity, inside the stack's memory.
        let word = unsafe { base.add(usize::from(self.top)) };
        // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
        unsafe { word.as_ref() }.store(block.to_bits(), Ordering::Relaxed);
        self.top += 1;
        Ok(())
    }

    /// Puts a block on the cold end; gives it back when the committed memory is full. All others may move up, at most
    /// 32 KiB.
    pub fn push_cold(&mut self, block: Block) -> Result<(), Block> {
        self.push(block)?;
        self.entries_mut().rotate_right(1);
        Ok(())
    }

    /// Returns the blocks, coldest first.
    fn entries_mut(&mut self) -> &mut [u64] {
        let Some(base) = self.base else { return &mut [] };
        // SAFETY: `bottom` is not above `top`, which lies inside the stack's memory.
        let bottom = unsafe { base.add(usize::from(self.bottom)) };
        // SAFETY: the words up to `top` are initialised and belong to this stack alone; `&mut self` and the handshake around
        // the cache keep everybody else away. AtomicU64 has the layout of u64.
        unsafe { core::slice::from_raw_parts_mut(bottom.as_ptr().cast::<u64>(), self.len()) }
    }

    /// Returns the number of blocks.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        (self.top - self.bottom) as usize
    }

    /// Tells whether there is no block.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.top == self.bottom
    }

    /// Returns how many blocks fit into the committed memory.
    pub const fn capacity(&self) -> u32 {
        self.capacity as u32
    }

    /// Returns how many blocks can be pushed as things lie.
    pub const fn room(&self) -> usize {
        (self.capacity - self.top) as usize
    }

    /// Moves all blocks down to the beginning of the memory, at most 32 KiB, so that more can be pushed.
    ///
    /// What is taken from the cold end leaves a gap there, which costs nothing until the top has reached the end.
    pub fn close_gap(&mut self) {
        let (gap, len) = (usize::from(self.bottom), self.len());
        self.bottom = 0;
        self.entries_mut().copy_within(gap.., 0);
        self.top = u16::try_from(len).expect("a list holds at most 4096 blocks");
    }

    /// Moves the `count` coldest blocks, or fewer if there are fewer, into `batch` as far as it has room.
    pub fn take_cold(&mut self, count: usize, batch: &mut FrameBatch) -> usize {
        let taken = count.min(self.len()).min(batch.room());
        for &mut entry in &mut self.entries_mut()[..taken] {
            // SAFETY: the entries are blocks that were pushed.
            batch.push(unsafe { Block::from_bits(entry) }.pfn());
        }
        self.bottom += u16::try_from(taken).expect("a list holds at most 4096 blocks");
        if self.is_empty() {
            (self.bottom, self.top) = (0, 0);
        }
        taken
    }
}

/// The lists of one zone in one cache, with their memory.
#[derive(Debug)]
#[repr(C)]
pub struct FrameLists {
    /// 14 lists, and two that stand for the orders without one: indexing with 4 bits needs no check.
    stacks: [FrameStack; 16],
    memory: Arc<StackMemory>,
}

impl FrameLists {
    /// Makes empty lists in `memory`, which must be used by these lists alone.
    pub fn new(memory: Arc<StackMemory>) -> Self {
        assert_eq!(Arc::strong_count(&memory), 1, "each cache has its own memory for lists");
        let mut stacks = [const { FrameStack::NONE }; 16];
        for (list, stack) in stacks.iter_mut().enumerate().take(PcpList::COUNT) {
            *stack = FrameStack {
                base: NonNull::new(memory.words[start(list)..].as_ptr().cast_mut()),
                top: 0,
                bottom: 0,
                capacity: 0,
            };
        }
        Self { stacks, memory }
    }

    /// Returns a list.
    #[inline(always)]
    pub const fn list(&self, list: PcpList) -> &FrameStack {
        &self.stacks[list.index() & 15]
    }

    /// Returns a list for change.
    #[inline(always)]
    pub const fn list_mut(&mut self, list: PcpList) -> &mut FrameStack {
        &mut self.stacks[list.index() & 15]
    }

    /// Lets a list use the memory that [`StackMemory::commit`] committed for it.
    pub fn raise_capacity(&mut self, list: PcpList, capacity: u32) {
        if list.is_listed() {
            let stack = &mut self.stacks[list.index()];
            let capacity = u16::try_from(capacity.min(entries(list.index()))).expect("at most 4096");
            stack.capacity = stack.capacity.max(capacity);
        }
    }

    /// Returns the memory behind the lists.
    pub const fn memory(&self) -> &Arc<StackMemory> {
        &self.memory
    }

    /// Returns the frames in all lists.
    pub fn frames(&self) -> u32 {
        let lists = (0..PcpList::COUNT).map(PcpList::with_index);
        lists
            .map(|(list, order)| u32::from(self.list(list).top - self.list(list).bottom) * order.frames())
            .sum()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::frame::{Descriptor, Order, Pfn, ZoneNumber};
    use crate::gfp::MigrateType;

    fn lists() -> FrameLists {
        FrameLists::new(StackMemory::new().expect("180 KiB"))
    }

    fn block(pfn: u32) -> Block {
        let list = PcpList::of(Order::ZERO, MigrateType::Movable);
        Block::new(Pfn::new(pfn), Descriptor::from_bits(0).allocated(list, ZoneNumber::new(0), Order::ZERO))
    }

    #[test]
    fn the_hot_end_is_last_in_first_out_and_the_cold_end_goes_first() {
        let mut lists = lists();
        let list = PcpList::of(Order::ZERO, MigrateType::Movable);
        let grown = lists.memory().commit(list, 0);
        lists.raise_capacity(list, grown);
        for pfn in 0..100 {
            lists.list_mut(list).push(block(pfn)).expect("room");
        }
        let mut batch = FrameBatch::new();
        lists.list_mut(list).push_cold(block(100)).expect("room");
        assert_eq!(lists.list_mut(list).take_cold(1, &mut batch), 1);
        assert!(batch.iter().map(Pfn::get).eq([100]));
        batch.clear();
        assert_eq!(lists.list_mut(list).take_cold(30, &mut batch), 30);
        assert!(batch.iter().map(Pfn::get).eq(0..30));
        assert_eq!(lists.list_mut(list).pop(), Some(block(99)));
        assert_eq!(lists.list(list).len(), 69);
        batch.clear();
        let room = lists.list(list).room();
        lists.list_mut(list).close_gap();
        assert_eq!((lists.list(list).len(), lists.list(list).room()), (69, room + 31));
        assert_eq!(lists.list_mut(list).take_cold(1000, &mut batch), 69);
        assert!(batch.iter().map(Pfn::get).eq(30..99));
        assert_eq!(lists.frames(), 0);
    }

    #[test]
    fn a_list_grows_by_pages_up_to_4096_frames() {
        let mut lists = lists();
        for index in 0..PcpList::COUNT {
            let (list, order) = PcpList::with_index(index);
            let mut pushed = 0;
            loop {
                match lists.list_mut(list).push(block(pushed)) {
                    Ok(()) => pushed += 1,
                    Err(_) => {
                        let capacity = lists.list(list).capacity();
                        let grown = lists.memory().commit(list, capacity);
                        if grown == capacity {
                            break;
                        }
                        lists.raise_capacity(list, grown);
                    }
                }
            }
            assert_eq!(pushed * order.frames(), LIST_FRAMES_MAX);
        }
        assert_eq!(lists.frames(), LIST_FRAMES_MAX * 14);
        assert_eq!(lists.list_mut(PcpList::with_index(3).0).pop(), Some(block(2047)));
    }

    #[test]
    fn an_order_without_a_list_is_always_empty_and_always_full() {
        let mut lists = lists();
        let list = PcpList::of(Order::new(5), MigrateType::Unmovable);
        lists.raise_capacity(list, 7);
        assert_eq!(lists.list_mut(list).pop(), None);
        assert_eq!(lists.list_mut(list).push(block(1)), Err(block(1)));
    }
}
