//! The numbers of allocators: each has one owner at a time, and the next sees what the one before did.

use gfp::sync::{Arc, Places, SeededBug, UnsafeCell, thread};
use loom_tests::Model;
use std::ptr::NonNull;

pub(crate) const MODELS: &[Model] = &[Model {
    name: "numbers_that_come_and_go",
    property: "a number is one allocator's at a time; whoever gets it next sees what was done with it before",
    bound: "two threads that each take a number, publish, withdraw and give back",
    preemptions: None,
    program: numbers_that_come_and_go,
    bugs: &[
        (SeededBug::PlaceLostCas, "Causality violation"),
        (SeededBug::PlaceTakenRelaxed, "Causality violation"),
    ],
}];

/// Two numbers, and what belongs to who has one.
struct Numbered {
    places: Places<4>,
    content: [UnsafeCell<u32>; 4],
}

// SAFETY: whoever has a number writes what belongs to it; loom checks that.
unsafe impl Sync for Numbered {}
// SAFETY: the content is plain data.
unsafe impl Send for Numbered {}

impl Numbered {
    /// Lives for a while as an allocator does.
    fn live(&self) {
        let number = self.places.take().expect("two threads, three numbers");
        // SAFETY: the number is this thread's.
        self.content[number].with_mut(|content| unsafe { *content += 1 });
        let here = NonNull::from(&self.content[number]).cast();
        self.places.publish(number, here);
        assert_eq!(self.places.get(number), Some(here), "another's place");
        self.places.withdraw(number);
        self.places.give_back(number);
    }
}

fn numbers_that_come_and_go() {
    let numbered = Arc::new(Numbered { places: Places::new(), content: [0; 4].map(UnsafeCell::new) });
    let other = thread::spawn({
        let numbered = Arc::clone(&numbered);
        move || numbered.live()
    });
    numbered.live();
    other.join().unwrap();
    assert_eq!(numbered.places.published().count(), 0, "both have gone");
    assert_eq!(numbered.places.take(), Some(1), "the lowest number is free again");
}
