//! The asymmetric fence: light–heavy pairs are ordered, light–light pairs are not.

use gfp::sync::atomic::{AtomicU32, Ordering::Relaxed};
use gfp::sync::{Arc, SeededBug, asymmetric, seeded, thread};
use loom_tests::Model;

pub(crate) const MODELS: &[Model] = &[Model {
    name: "light_fence_meets_heavy_fence",
    property: "of two threads that store and then look at what the other stored, one sees the other, if one of them runs the heavy fence",
    bound: "an owner and a drainer, a word each",
    preemptions: None,
    program: light_meets_heavy,
    bugs: &[
        (SeededBug::LightMeetsLight, "both missed the other"),
        (SeededBug::OwnerSkipsFence, "both missed the other"),
        (SeededBug::DrainerSkipsFence, "both missed the other"),
    ],
}];

fn light_meets_heavy() {
    assert!(asymmetric::available(), "the model has membarrier");
    let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let owner = thread::spawn({
        let words = Arc::clone(&words);
        move || {
            words[0].store(1, Relaxed);
            asymmetric::model_light();
            words[1].load(Relaxed)
        }
    });
    words[1].store(1, Relaxed);
    if seeded(SeededBug::LightMeetsLight) {
        asymmetric::model_light();
    } else {
        assert!(asymmetric::heavy(), "the model has membarrier");
    }
    let drainer_saw = words[0].load(Relaxed);
    let owner_saw = owner.join().unwrap();
    assert!(owner_saw == 1 || drainer_saw == 1, "both missed the other");
}
