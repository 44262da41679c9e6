//! A shared block: the last putter, and nobody before, makes it one with an owner again; whoever is alone may write.

use gfp::{
    Order, Pfn,
    frame::{
        AllocatorNumber, Block, FrameState, FrameTable, PcpList, References, ZoneNumber, prep_new_page,
        put_page_testzero, put_together, share, unshare,
    },
    gfp::MigrateType,
    sync::{Arc, Put, SeededBug, UnsafeCell, thread},
};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "shared_block_and_its_putters",
        property: "a block is shared as long as it is held; its last putter, and nobody before, owns it",
        bound: "two holders, one of whom takes another reference meanwhile; forged numbers",
        preemptions: None,
        program: shared_block_and_its_putters,
        bugs: &[
            (SeededBug::RefPutLostUpdate, "one putter is the last"),
            (SeededBug::RefPutRelaxed, "Causality violation"),
            (SeededBug::PutUnsharesEarly, "shared as long as it is held"),
        ],
    },
    Model {
        name: "shared_block_and_who_is_alone",
        property: "whoever is told that it holds a block alone may write to it",
        bound: "a holder that gives back, one that asks",
        preemptions: None,
        program: shared_block_and_who_is_alone,
        bugs: &[
            (SeededBug::RefUniqueRelaxed, "Causality violation"),
            (SeededBug::RefPutRelaxed, "Causality violation"),
        ],
    },
    Model {
        name: "page_and_its_fragments",
        property: "a page of fragments ends once, or is used again by the cache that sees all fragments gone",
        bound: "two fragments, and the cache with the other references",
        preemptions: None,
        program: page_and_its_fragments,
        bugs: &[
            (SeededBug::RefPutLostUpdate, "the page ends once"),
            (SeededBug::RefPutRelaxed, "Causality violation"),
        ],
    },
];

const PFN: Pfn = Pfn::new(1);

/// An arena of two frames with a block, and its content.
struct Arena {
    frames: FrameTable,
    references: References,
    block: Block,
    content: UnsafeCell<u32>,
}

// SAFETY: holders of a reference read the content, and who owns the block or is alone writes it; loom checks that.
unsafe impl Sync for Arena {}
// SAFETY: the content is plain data.
unsafe impl Send for Arena {}

impl Arena {
    /// Shares a block, of which the caller has `count` references.
    fn shared(count: u32) -> Arc<Self> {
        let frames = FrameTable::new(AllocatorNumber::new(1).expect("not 0"), 2).expect("models have memory");
        let references = References::new(2).expect("models have memory");
        let list = PcpList::of(Order::ZERO, MigrateType::Movable);
        let block = prep_new_page(&frames, PFN, list, ZoneNumber::new(0), Order::ZERO);
        share(&frames, &references, block, count).expect("it has an owner");
        Arc::new(Self { frames, references, block, content: UnsafeCell::new(7) })
    }

    fn state(&self) -> Option<FrameState> {
        self.frames.get(PFN).and_then(|found| found.state())
    }

    fn read(&self) {
        assert_eq!(self.state(), Some(FrameState::Shared), "shared as long as it is held");
        // SAFETY: nobody writes while somebody else holds a reference.
        let content = self.content.with(|content| unsafe { *content });
        assert_eq!(content, 7, "nobody wrote while it was held");
    }

    fn write(&self) {
        // SAFETY: the caller is the only one who holds the block.
        self.content.with_mut(|content| unsafe { *content = 0 });
    }

    /// Reads, gives the reference back, and answers whether it was the last; whoever is the last uses the block.
    fn read_and_put(&self) -> bool {
        self.read();
        let owned = put_page_testzero(&self.frames, &self.references, self.block, 1);
        let last = owned.expect("shared as long as it is held").is_some();
        if last {
            assert_eq!(self.state(), Some(FrameState::Returned), "the block has an owner");
            self.write();
        }
        last
    }
}

fn shared_block_and_its_putters() {
    let arena = Arena::shared(1);
    assert_eq!(arena.references.get(PFN), Ok(2));
    let other = thread::spawn({
        let arena = Arc::clone(&arena);
        move || arena.read_and_put()
    });
    // Numbers that somebody kept from before free nothing.
    let forged = put_together(&arena.frames, PFN, Order::ZERO, 0);
    assert!(forged.is_err(), "a shared block is not made of plain numbers");
    // A holder may take and give back more meanwhile.
    arena.references.get(PFN).expect("this thread holds one");
    let owned = put_page_testzero(&arena.frames, &arena.references, arena.block, 1);
    assert_eq!(owned, Ok(None), "shared as long as it is held");
    let last = arena.read_and_put();
    let lasts = u32::from(last) + u32::from(other.join().unwrap());
    assert_eq!(lasts, 1, "one putter is the last");
}

fn shared_block_and_who_is_alone() {
    let arena = Arena::shared(2);
    // The one that starts later asks: loom does not bring a load forward over another thread's load and exchange.
    let other = thread::spawn({
        let arena = Arc::clone(&arena);
        move || {
            let alone = unshare(&arena.frames, &arena.references, arena.block).expect("it is shared");
            if alone {
                assert_eq!(arena.state(), Some(FrameState::Returned), "the block has an owner");
                arena.write();
            }
            alone || arena.read_and_put()
        }
    });
    let last = arena.read_and_put();
    assert_ne!(last, other.join().unwrap(), "one of them ends alone");
}

/// A cache has all references of its page and gives one away with each fragment; what is left, it gives back at once.
fn page_and_its_fragments() {
    let arena = Arena::shared(4);
    let other = thread::spawn({
        let arena = Arc::clone(&arena);
        move || arena.read_and_put()
    });
    // Another fragment, and the cache with the two references that are left.
    let ended_here = arena.read_and_put();
    arena.read();
    let reused = arena.references.put(PFN, 2) == Put::Last;
    if reused {
        arena.write();
        arena.references.set(PFN, 4);
    }
    let ended = [ended_here, reused, other.join().unwrap()];
    assert_eq!(ended.into_iter().filter(|&ended| ended).count(), 1, "the page ends once");
}
