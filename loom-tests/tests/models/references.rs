//! The reference count of a shared block: exactly one putter is the last, and sees what the others did.

use gfp::sync::atomic::{AtomicU32, Ordering};
use gfp::sync::{Arc, Put, RefField, SeededBug, UnsafeCell, thread};
use loom_tests::Model;

const FIELD: RefField = RefField::new(8, 4);

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "get_and_put_of_a_shared_block",
        property: "one putter is the last, and sees what all others did",
        bound: "two holders, one of whom takes another reference meanwhile",
        preemptions: None,
        program: get_and_put_of_a_shared_block,
        bugs: &[
            (SeededBug::RefPutLostUpdate, "exactly one putter is the last"),
            (SeededBug::RefPutRelaxed, "Causality violation"),
        ],
    },
    Model {
        name: "block_whose_references_are_not_counted",
        property: "once the count of a block has been given up, no putter is the last, those that were under way included",
        bound: "a holder that gives up counting and gives back, one that gives back",
        preemptions: None,
        program: block_whose_references_are_not_counted,
        bugs: &[(SeededBug::RefPutLostUpdate, "a block without a count is counted again")],
    },
];

struct Block {
    word: AtomicU32,
    /// One place a holder; the last putter looks at all of them.
    content: [UnsafeCell<u32>; 2],
}

// SAFETY: each holder writes its own place, and the last putter reads them; loom checks that.
unsafe impl Sync for Block {}
// SAFETY: the content is plain data.
unsafe impl Send for Block {}

impl Block {
    /// Writes place `holder`, gives a reference back, and answers whether it was the last.
    fn use_and_put(&self, holder: usize) -> bool {
        // SAFETY: nobody else uses this holder's place before the last put.
        self.content[holder].with_mut(|place| unsafe { *place = 1 });
        let last = FIELD.put(&self.word) == Put::Last;
        if last {
            // SAFETY: the other holders have put, and so released, before.
            let sum: u32 = self.content.iter().map(|place| place.with(|place| unsafe { *place })).sum();
            assert_eq!(sum, 2, "the last putter sees what the others did");
        }
        last
    }
}

fn get_and_put_of_a_shared_block() {
    let others = 0xf000_00ff;
    let block = Arc::new(Block {
        word: AtomicU32::new(FIELD.with_count(others, 1)),
        content: [UnsafeCell::new(0), UnsafeCell::new(0)],
    });
    assert_eq!(FIELD.get(&block.word), Ok(2));
    let other = thread::spawn({
        let block = Arc::clone(&block);
        move || block.use_and_put(1)
    });
    // A holder may take and give back more meanwhile.
    FIELD.get(&block.word).expect("this thread holds one");
    assert_eq!(FIELD.put(&block.word), Put::StillShared, "this thread holds another");
    let last = block.use_and_put(0);
    let lasts = u32::from(last) + u32::from(other.join().unwrap());
    assert_eq!(lasts, 1, "exactly one putter is the last");
    assert_eq!(block.word.load(Ordering::Relaxed), others, "the other bits are left alone");
}

fn block_whose_references_are_not_counted() {
    let word = Arc::new(AtomicU32::new(FIELD.with_count(0, 2)));
    let other = thread::spawn({
        let word = Arc::clone(&word);
        move || FIELD.put(&word)
    });
    assert!(FIELD.saturate(&word), "nobody has done so before");
    let puts = [FIELD.put(&word), other.join().unwrap()];
    assert_eq!(puts, [Put::StillShared; 2], "somebody is the last of a block without a count");
    let count = FIELD.count(word.load(Ordering::Relaxed));
    assert_eq!(count, FIELD.saturated(), "a block without a count is counted again");
}
