//! The pending map: no bit is lost, and each is delivered once.

use gfp::sync::{Arc, PendingMap, SeededBug, thread};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[Model {
    name: "pending_map_and_lock_holder",
    property: "every frame that is left for the lock's next holder is delivered, once",
    bound: "two threads that leave a frame each, a holder; two words and a summary",
    preemptions: None,
    program: pending_map_and_lock_holder,
    bugs: &[
        (SeededBug::PendingClearedLate, "a pending frame was lost"),
        (SeededBug::PendingLostBit, "a pending frame was lost"),
    ],
}];

/// The lock holder is the main thread throughout: what the lock itself orders is the spinlock's model.
fn pending_map_and_lock_holder() {
    // Two words and one above them; two frames share a word, one has the other.
    let map = Arc::new(PendingMap::new(128).expect("models have memory"));
    map.set(70);
    let setters = [71, 3].map(|frame| {
        let map = Arc::clone(&map);
        thread::spawn(move || map.set(frame))
    });
    let mut delivered = Vec::new();
    map.drain(|frame| delivered.push(frame));
    for setter in setters {
        setter.join().unwrap();
    }
    if map.is_flagged() {
        map.drain(|frame| delivered.push(frame));
    }
    delivered.sort_unstable();
    assert_eq!(delivered, [3, 70, 71], "a pending frame was lost, or delivered twice");
    assert!(!map.is_flagged(), "nothing is pending");
}
