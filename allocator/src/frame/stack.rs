//! The lists of a thread's cache: stacks of blocks, hot end last.
//!
//! A cached block is kept as the [`Block`] that its next owner gets, so that neither handing it out nor taking it back looks at
//! anything else.

use core::ptr::NonNull;

use super::{Block, PcpList};
use crate::sync::{Arc, ZeroedSlice, ZeroedSliceError, atomic::Ordering};

/// Most frames that one list of a cache may hold: 16 MiB; 2 MiB in models, where memory is built element by element.
pub const LIST_FRAMES_MAX: u32 = if cfg!(any(loom, shuttle)) { 512 } else { 4096 };
/// Entries of a stack whose memory is committed at once: one page.
const CHUNK: u32 = 512;

/// An entry: a block as a number. Atomic because the memory is committed through shared references; the handshake around the cache
/// orders all else, so that no model needs to see it, and it has the layout of a u64 there as well.
#[expect(clippy::disallowed_types, reason = "the original, which has the layout of a u64")]
type Word = core::sync::atomic::AtomicU64;

/// The memory behind the lists of one zone in one cache: 180 KiB of address space, committed page by page.
///
/// ```
/// use gfp::frame::{PcpList, StackMemory};
///
/// let memory = StackMemory::new().expect("180 KiB");
/// let first = memory.commit(PcpList::MOVABLE, 0);
/// assert!(first > 0 && memory.commit(PcpList::MOVABLE, first) > first);
/// ```
#[derive(Debug)]
pub struct StackMemory {
    words: ZeroedSlice<Word>,
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
///
/// ```
/// use gfp::{Order, Pfn};
/// use gfp::frame::{AllocatorNumber, Block, Descriptor, FrameLists, PcpList, StackMemory, ZoneNumber};
///
/// let (allocator, list) = (AllocatorNumber::new(1).expect("1 to 16383"), PcpList::MOVABLE);
/// let tag = Descriptor::of(list, ZoneNumber::new(0), Order::ZERO);
/// let block = |pfn| Block::new(allocator, Pfn::new(pfn), tag);
///
/// // No list has memory at first; a page of it is committed at a time.
/// let mut lists = FrameLists::new(StackMemory::new().expect("180 KiB"));
/// assert_eq!(lists.list_mut(list).push(block(0)), Err(block(0)));
/// let committed = lists.memory().commit(list, lists.committed(list));
/// lists.raise_capacity(list, committed);
///
/// let stack = lists.list_mut(list);
/// assert!(stack.is_empty() && stack.room() >= 5);
/// assert_eq!(stack.push_all([1, 2, 3].map(block).into_iter(), |_| unreachable!("there is room")), 3);
/// stack.push(block(4)).expect("room");
/// stack.push_cold(block(0)).expect("room");
/// assert_eq!((stack.len(), stack.pop()), (5, Some(block(4))));
///
/// let mut coldest = Vec::new();
/// assert_eq!(stack.take_cold(2, |block| coldest.push(block)), 2);
/// assert_eq!(coldest, [block(0), block(1)]);
/// let mut hottest = Vec::new();
/// assert_eq!(stack.pop_many(2, |block| hottest.push(block)), 2);
/// assert_eq!(hottest, [block(3), block(2)]);
///
/// // Blocks as long as they are of the list.
/// let mut freed = [5, 6].map(block).into_iter();
/// let (count, odd) = stack.push_while(10, &mut freed, |block| block.pfn() < Pfn::new(6));
/// assert_eq!((count, odd), (1, Some(block(6))));
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct FrameStack {
    /// Words, of which the first `len` are blocks and the first `capacity` are committed. Begins behind the list's own
    /// memory by as much as was taken from the cold end: so nothing moves then.
    base: Option<NonNull<Word>>,
    len: u32,
    capacity: u32,
}

// SAFETY: the words are atomic, and they live as long as the `FrameLists` that every stack is part of.
unsafe impl Send for FrameStack {}

impl FrameStack {
    /// A list of an order that no cache holds: it is always empty and always full.
    const NONE: Self = Self { base: None, len: 0, capacity: 0 };

    /// Takes the hottest block.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Block> {
        let (len, empty) = self.len.overflowing_sub(1);
        if empty {
            return None;
        }
        self.len = len;
        // SAFETY: `len` was above 0, so the stack has memory.
        let base = unsafe { self.base.unwrap_unchecked() };
        // SAFETY: the entry lies below the old length, inside the stack's memory.
        let word = unsafe { base.add(len as usize) };
        // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
        let bits = unsafe { word.as_ref() }.load(Ordering::Relaxed);
        // SAFETY: entries below the length are blocks that were pushed.
        Some(unsafe { Block::from_bits(bits) })
    }

    /// Takes up to `count` blocks, hottest first, and calls `got` with each; returns how many there were.
    pub fn pop_many(&mut self, count: usize, mut got: impl FnMut(Block)) -> u32 {
        let Some(base) = self.base else { return 0 };
        let before = self.len;
        let least = before.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        // First of all: whatever `got` does, the blocks are gone from here.
        self.len = least;
        for index in (least..before).rev() {
            // SAFETY: the entry lies below the old length, inside the stack's memory.
            let word = unsafe { base.add(index as usize) };
            // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
            let bits = unsafe { word.as_ref() }.load(Ordering::Relaxed);
            // SAFETY: entries below the length are blocks that were pushed.
            got(unsafe { Block::from_bits(bits) });
        }
        before - least
    }

    /// Puts a block on the hot end; gives it back when the end of the committed memory is reached.
    #[inline(always)]
    pub fn push(&mut self, block: Block) -> Result<(), Block> {
        if self.len == self.capacity {
            return Err(block);
        }
        // SAFETY: `capacity` is above 0, so the stack has memory.
        let base = unsafe { self.base.unwrap_unchecked() };
        // SAFETY: `len` lies below the capacity, inside the stack's memory.
        let word = unsafe { base.add(self.len as usize) };
        // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
        unsafe { word.as_ref() }.store(block.to_bits(), Ordering::Relaxed);
        self.len += 1;
        Ok(())
    }

    /// Puts up to `most` blocks on the hot end as long as they fit the list and `fits` says so; returns how many, and the one
    /// that did not fit.
    #[inline]
    pub fn push_while(
        &mut self,
        most: u32,
        blocks: &mut impl Iterator<Item = Block>,
        fits: impl Fn(Block) -> bool,
    ) -> (u32, Option<Block>) {
        let Some(base) = self.base else { return (0, None) };
        let most = most.min(self.capacity - self.len);
        // In a local: what is written through `base` might be the stack itself, as far as the compiler knows.
        let (before, mut len) = (self.len, self.len);
        let mut other = None;
        while len - before < most
            && let Some(block) = blocks.next()
        {
            if !fits(block) {
                other = Some(block);
                break;
            }
            // SAFETY: `len` lies below the capacity, inside the stack's memory.
            let word = unsafe { base.add(len as usize) };
            // SAFETY: the entry lies inside the memory that `FrameLists` keeps.
            unsafe { word.as_ref() }.store(block.to_bits(), Ordering::Relaxed);
            len += 1;
        }
        self.len = len;
        (len - before, other)
    }

    /// Puts blocks on the hot end, one after the other, and calls `refused` with those that are left when the end of the
    /// committed memory is reached. Returns how many there was room for.
    #[inline]
    pub fn push_all(&mut self, mut blocks: impl Iterator<Item = Block>, refused: impl FnMut(Block)) -> u32 {
        let (pushed, _) = self.push_while(u32::MAX, &mut blocks, |_| true);
        blocks.for_each(refused);
        pushed
    }

    /// Puts a block on the cold end; gives it back when the end of the committed memory is reached. All others move up, at
    /// most 32 KiB.
    pub fn push_cold(&mut self, block: Block) -> Result<(), Block> {
        self.push(block)?;
        self.entries_mut().rotate_right(1);
        Ok(())
    }

    /// Returns the blocks, coldest first.
    fn entries_mut(&mut self) -> &mut [u64] {
        let Some(base) = self.base else { return &mut [] };
        // SAFETY: the first `len` words are initialised and belong to this stack alone; `&mut self` and the handshake around
        // the cache keep everybody else away. A word has the layout of a u64.
        unsafe { core::slice::from_raw_parts_mut(base.as_ptr().cast::<u64>(), self.len()) }
    }

    /// Returns the number of blocks.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Tells whether there is no block.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many blocks can be pushed as things lie.
    pub const fn room(&self) -> usize {
        (self.capacity - self.len) as usize
    }

    /// Takes the `count` coldest blocks, or fewer if there are fewer, and calls `f` with each, coldest first. Returns how many
    /// there were.
    pub fn take_cold(&mut self, count: usize, mut f: impl FnMut(Block)) -> usize {
        let taken = count.min(self.len());
        let Some(base) = self.base else { return 0 };
        for &mut entry in &mut self.entries_mut()[..taken] {
            // SAFETY: the entries are blocks that were pushed.
            f(unsafe { Block::from_bits(entry) });
        }
        // SAFETY: as many words as were taken lie in the stack's memory.
        self.base = Some(unsafe { base.add(taken) });
        let taken = u32::try_from(taken).expect("a list holds at most 4096 blocks");
        self.len -= taken;
        self.capacity -= taken;
        taken as usize
    }
}

/// The lists of one zone in one cache, with their memory.
///
/// ```
/// use gfp::{Order, Pfn};
/// use gfp::frame::{AllocatorNumber, Block, Descriptor, FrameLists, PcpList, StackMemory, ZoneNumber};
///
/// // No list has memory at first; a page of it is committed at a time.
/// let (mut lists, list) = (FrameLists::new(StackMemory::new().expect("180 KiB")), PcpList::MOVABLE);
/// assert_eq!((lists.committed(list), lists.list(list).room()), (0, 0));
/// let committed = lists.memory().commit(list, lists.committed(list));
/// lists.raise_capacity(list, committed);
/// assert_eq!(lists.committed(list), committed);
///
/// // What is taken from the cold end leaves a gap, which moving the rest closes.
/// let tag = Descriptor::of(list, ZoneNumber::new(0), Order::ZERO);
/// let allocator = AllocatorNumber::new(1).expect("1 to 16383");
/// let mut blocks = (0..10).map(|pfn| Block::new(allocator, Pfn::new(pfn), tag));
/// lists.list_mut(list).push_all(&mut blocks, |_| unreachable!("there is room"));
/// lists.list_mut(list).take_cold(4, drop);
/// let room = lists.list(list).room();
/// lists.close_gap(list);
/// assert_eq!((lists.list(list).room(), lists.frames()), (room + 4, 6));
/// ```
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
                len: 0,
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
    pub fn raise_capacity(&mut self, list: PcpList, committed: u32) {
        if list.is_listed() {
            let gap = self.gap(list);
            let stack = &mut self.stacks[list.index()];
            stack.capacity = stack.capacity.max(committed.min(entries(list.index())) - gap);
        }
    }

    /// Returns how many entries of a list's memory are committed.
    pub fn committed(&self, list: PcpList) -> u32 {
        self.gap(list) + self.list(list).capacity
    }

    /// Moves the blocks of a list to the beginning of its memory, at most 32 KiB, so that more can be pushed: what was taken
    /// from the cold end has left a gap there.
    pub fn close_gap(&mut self, list: PcpList) {
        let (gap, origin) = (self.gap(list), self.origin(list));
        let stack = self.list_mut(list);
        let len = stack.len;
        (stack.base, stack.len, stack.capacity) = (origin, gap + len, gap + stack.capacity);
        stack.entries_mut().copy_within(gap as usize.., 0);
        stack.len = len;
    }

    /// Returns where the memory of a list begins; `None` if there is no such list.
    fn origin(&self, list: PcpList) -> Option<NonNull<Word>> {
        let words = list.is_listed().then(|| self.memory.words[start(list.index())..].as_ptr())?;
        NonNull::new(words.cast_mut())
    }

    /// Returns by how many entries a list begins behind its memory's beginning.
    fn gap(&self, list: PcpList) -> u32 {
        let (Some(base), Some(origin)) = (self.list(list).base, self.origin(list)) else { return 0 };
        let bytes = base.addr().get() - origin.addr().get();
        u32::try_from(bytes / size_of::<Word>()).expect("a list has at most 4096 entries")
    }

    /// Returns the memory behind the lists.
    pub const fn memory(&self) -> &Arc<StackMemory> {
        &self.memory
    }

    /// Returns the frames in all lists.
    pub fn frames(&self) -> u32 {
        let lists = (0..PcpList::COUNT).map(PcpList::with_index);
        lists.map(|(list, order)| self.list(list).len * order.frames()).sum()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::frame::{AllocatorNumber, Descriptor, Order, Pfn, ZoneNumber};
    use crate::gfp::MigrateType;

    fn lists() -> FrameLists {
        FrameLists::new(StackMemory::new().expect("180 KiB"))
    }

    fn block(pfn: u32) -> Block {
        let list = PcpList::of(Order::ZERO, MigrateType::Movable);
        let descriptor = Descriptor::of(list, ZoneNumber::new(0), Order::ZERO);
        Block::new(AllocatorNumber::new(1).expect("not 0"), Pfn::new(pfn), descriptor)
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
        let take_cold = |lists: &mut FrameLists, count| {
            let mut pfns = Vec::new();
            let taken = lists.list_mut(list).take_cold(count, |block| pfns.push(block.pfn().get()));
            assert_eq!(taken, pfns.len());
            pfns
        };
        lists.list_mut(list).push_cold(block(100)).expect("room");
        assert_eq!(take_cold(&mut lists, 1), [100]);
        assert_eq!(take_cold(&mut lists, 30), Vec::from_iter(0..30));
        assert_eq!(lists.list_mut(list).pop(), Some(block(99)));
        assert_eq!(lists.list(list).len(), 69);
        let room = lists.list(list).room();
        lists.close_gap(list);
        assert_eq!((lists.list(list).len(), lists.list(list).room()), (69, room + 31));
        assert_eq!(take_cold(&mut lists, 1000), Vec::from_iter(30..99));
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
                        let capacity = lists.committed(list);
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
