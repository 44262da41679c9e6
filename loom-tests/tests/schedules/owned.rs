//! The handshake between the owner of a cell and more drainers than loom has threads for, none of whom waits for another.

use gfp::sync::{Arc, OwnedCell, Owner, SeededBug, fence_claims, thread};
use loom_tests::Model;
use std::time::Duration;

use crate::scenarios::BOTH;

pub(crate) const MODEL: Model = Model {
    name: "owner_and_six_drainers",
    property: "of an owner and several drainers one has the cell",
    bound: "an owner that enters and retires, six drainers, a cell",
    schedules: 1_000,
    program: owner_and_six_drainers,
    bugs: &[(SeededBug::ClaimLostCas, BOTH), (SeededBug::ExitSkipsClaim, BOTH)],
};

/// Takes out what the owner put in, unless another drainer has the cell or the owner is inside.
fn take(cell: &OwnedCell<u32>) -> u32 {
    let Some(claim) = cell.try_claim() else { return 0 };
    claim.wait(&fence_claims(), Duration::ZERO).map_or(0, |mut value| {
        // Somebody else may run here, and must not come in.
        thread::yield_now();
        std::mem::take(&mut *value)
    })
}

fn owner_and_six_drainers() {
    let owner = Owner::new(0);
    let drain = |_| {
        let cell = Arc::clone(owner.cell());
        thread::spawn(move || take(&cell))
    };
    let drainers: Vec<_> = (0..6).map(drain).collect();
    let put_in: u32 = (0..8)
        .map(|_| {
            owner.enter().map_or(0, |mut value| {
                *value += 1;
                1
            })
        })
        .sum();
    let left = owner.retire(std::mem::take).expect("nobody keeps the cell");
    let taken: u32 = drainers.into_iter().map(|drainer| drainer.join().expect("no panic")).sum();
    assert_eq!(put_in, taken + left, "nothing is lost");
}
