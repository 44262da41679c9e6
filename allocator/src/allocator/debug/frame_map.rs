//! A bit for each frame.

use crate::{
    frame::{Block, Pfn},
    sync::{
        ZeroedSlice, ZeroedSliceError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bits in a word.
const BITS: usize = 64;

/// A set of frames that any thread changes without a lock; its memory is committed as it is used.
///
/// The accesses are relaxed: what hands a block from one thread to another orders them.
#[derive(Debug)]
pub(super) struct FrameMap(ZeroedSlice<AtomicU64>);

impl FrameMap {
    /// Makes an empty set for so many frames.
    pub(super) fn new(frames: usize) -> Result<Self, ZeroedSliceError> {
        ZeroedSlice::new(frames.div_ceil(BITS)).map(Self)
    }

    /// Tells whether a frame is in the set.
    pub(super) fn contains(&self, pfn: Pfn) -> bool {
        self.0[pfn.index() / BITS].load(Ordering::Relaxed) >> (pfn.index() % BITS) & 1 == 1
    }

    /// Adds one frame; tells whether it is new.
    pub(super) fn insert(&self, pfn: Pfn) -> bool {
        let bit = 1 << (pfn.index() % BITS);
        self.0[pfn.index() / BITS].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Takes one frame out; tells whether it was there.
    pub(super) fn remove(&self, pfn: Pfn) -> bool {
        let bit = 1 << (pfn.index() % BITS);
        self.0[pfn.index() / BITS].fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }

    /// Adds all frames of a block.
    pub(super) fn insert_all(&self, block: Block) {
        self.each_word(block, |word, mask| _ = word.fetch_or(mask, Ordering::Relaxed));
    }

    /// Takes all frames of a block out.
    pub(super) fn remove_all(&self, block: Block) {
        self.each_word(block, |word, mask| _ = word.fetch_and(!mask, Ordering::Relaxed));
    }

    /// Calls `f` with each word that the block has bits in, and with these.
    fn each_word(&self, block: Block, f: impl Fn(&AtomicU64, u64)) {
        let (start, frames) = (block.pfn().index(), block.order().frames() as usize);
        // A block is aligned to its size: it is a part of one word, or whole words.
        let mask = if frames < BITS { ((1 << frames) - 1) << (start % BITS) } else { !0 };
        self.0[start / BITS..][..frames.div_ceil(BITS)].iter().for_each(|word| f(word, mask));
    }

    /// Returns the frames of the set, lowest first, as they are when they are come by.
    pub(super) fn iter(&self) -> impl Iterator<Item = Pfn> {
        let words = self.0.iter().map(|word| word.load(Ordering::Relaxed)).zip(0u32..);
        words.filter(|&(bits, _)| bits != 0).flat_map(|(bits, word)| {
            (0..u64::BITS)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| Pfn::new(word * u64::BITS + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{AllocatorNumber, Descriptor, Order, PcpList, ZoneNumber},
        gfp::MigrateType,
    };

    fn block(pfn: u32, order: u8) -> Block {
        let order = Order::new(order);
        let kind = Descriptor::of(PcpList::of(order, MigrateType::Movable), ZoneNumber::new(0), order);
        Block::new(AllocatorNumber::new(1).expect("not 0"), Pfn::new(pfn), kind)
    }

    #[test]
    fn a_block_is_all_its_frames_and_nothing_else() {
        let map = FrameMap::new(1 << 12).unwrap();
        for (pfn, order) in [(0, 0), (63, 0), (64, 1), (56, 3), (128, 6), (256, 8), (1024, 10)] {
            map.insert_all(block(pfn, order));
            let frames: Vec<_> = map.iter().map(Pfn::get).collect();
            assert_eq!(frames, (pfn..pfn + (1 << order)).collect::<Vec<_>>());
            map.remove_all(block(pfn, order));
            assert_eq!(map.iter().next(), None);
        }
    }

    #[test]
    fn a_frame_is_new_once() {
        let map = FrameMap::new(100).unwrap();
        let pfn = Pfn::new(99);
        assert!(!map.contains(pfn) && !map.remove(pfn));
        assert!(map.insert(pfn) && map.contains(pfn) && !map.insert(pfn));
        assert!(map.remove(pfn) && !map.contains(pfn));
    }
}
