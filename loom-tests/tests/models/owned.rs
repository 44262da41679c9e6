//! The handshake between the owner of a cell and its drainers.
//!
//! The owner is the model's main thread. Its value counts what it put in; a drainer takes everything out.
//! Nothing may be lost, counted twice, or be touched by two at a time (loom's cell notices that).

use gfp::sync::{Arc, NotEntered, OwnedCell, Owner, SeededBug, asymmetric, fence_claims, thread};
use loom_tests::Model;
use std::time::Duration;

/// Passes after two looks.
const SHORT: Duration = Duration::from_micros(200);
/// Two are inside together, or one does not see what the other did.
const RACE: &str = "Causality violation";

pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "owner_and_drainer",
        property: "owner and drainer are never inside together, each sees what the other did, nothing is lost or counted twice",
        bound: "an owner that enters twice, a drainer whose wait may time out",
        preemptions: None,
        program: || owner_and_drainers(1, SHORT),
        bugs: &[
            (SeededBug::OwnerSkipsFence, RACE),
            (SeededBug::DrainerSkipsFence, RACE),
            (SeededBug::OwnerSkipsClaimedCheck, RACE),
            (SeededBug::OwnerLeavesRelaxed, RACE),
            (SeededBug::ClaimReleasedRelaxed, RACE),
        ],
    },
    Model {
        name: "owner_and_drainer_without_membarrier",
        property: "the same where the system refuses membarrier",
        bound: "an owner that enters twice, a drainer",
        preemptions: None,
        program: || asymmetric::with_fallback(|| owner_and_drainers(1, SHORT)),
        bugs: &[(SeededBug::FallbackSkipsFence, RACE), (SeededBug::OwnerSkipsClaimedCheck, RACE)],
    },
    Model {
        name: "two_drainers",
        property: "of several drainers one has the cell",
        bound: "an owner that enters twice, two drainers",
        preemptions: Some(3),
        program: || owner_and_drainers(2, SHORT),
        bugs: &[(SeededBug::ClaimLostCas, RACE), (SeededBug::ClaimReleasedRelaxed, RACE)],
    },
    Model {
        name: "drainer_with_an_older_fence",
        property: "a drainer whose fence is older than its claim has the cell as alone as any other",
        bound: "an owner that enters twice, a drainer",
        preemptions: None,
        program: drainer_with_an_older_fence,
        bugs: &[(SeededBug::WaitTakesOlderFence, RACE)],
    },
    Model {
        name: "drainer_times_out",
        property: "a drainer that waits no longer has neither the cell nor a claim on it",
        bound: "an owner that enters, a drainer without patience",
        preemptions: None,
        program: drainer_times_out,
        bugs: &[
            (SeededBug::TimeoutEntersAnyway, RACE),
            (SeededBug::TimeoutKeepsClaim, "the owner is shut out of a cell that nobody has"),
        ],
    },
    Model {
        name: "thread_exit_and_drainer",
        property: "a thread that ends empties its cell alone, and nobody enters it again",
        bound: "an owner that enters and retires, a drainer",
        preemptions: None,
        program: thread_exit_and_drainer,
        bugs: &[
            (SeededBug::ExitSkipsClaim, "a retired owner goes elsewhere"),
            (SeededBug::DrainerSkipsFence, RACE),
        ],
    },
    Model {
        name: "close_and_owner",
        property: "a closed cell is empty, and its owner goes elsewhere",
        bound: "an owner that enters, a closer",
        preemptions: None,
        program: close_and_owner,
        bugs: &[(SeededBug::KeepForgotten, "the owner entered a closed cell")],
    },
    Model {
        name: "close_and_thread_exit",
        property: "of a closer and a thread that ends, exactly one empties the cell",
        bound: "an owner that retires, a closer",
        preemptions: None,
        program: close_and_thread_exit,
        bugs: &[(SeededBug::ExitSkipsClaim, RACE)],
    },
];

/// Puts one in unless the cell is claimed; returns how many went in.
fn put(owner: &Owner<u32>) -> u32 {
    match owner.enter() {
        Ok(mut inside) => {
            *inside += 1;
            1
        }
        Err(why) => {
            assert_eq!(why, NotEntered::Claimed, "nothing re-enters here");
            0
        }
    }
}

/// Takes everything out unless somebody else has the cell; returns how many came out.
fn drain(cell: &OwnedCell<u32>, timeout: Duration) -> u32 {
    let Some(claim) = cell.try_claim() else { return 0 };
    let fence = fence_claims();
    claim.wait(&fence, timeout).map_or(0, |mut claimed| std::mem::take(&mut *claimed))
}

fn spawn_drainer(owner: &Owner<u32>, timeout: Duration) -> thread::JoinHandle<u32> {
    let cell = Arc::clone(owner.cell());
    thread::spawn(move || drain(&cell, timeout))
}

fn owner_and_drainers(drainers: usize, timeout: Duration) {
    let owner = Owner::new(0);
    let drainers: Vec<_> = (0..drainers).map(|_| spawn_drainer(&owner, timeout)).collect();
    let put_in = put(&owner) + put(&owner);
    let taken: u32 = drainers.into_iter().map(|drainer| drainer.join().unwrap()).sum();
    let left = *owner.enter().expect("the drainers are gone");
    assert_eq!(put_in, taken + left, "nothing is lost or counted twice");
}

fn drainer_with_an_older_fence() {
    let owner = Owner::new(0);
    let cell = Arc::clone(owner.cell());
    let drainer = thread::spawn(move || {
        let fence = fence_claims();
        let claim = cell.try_claim().expect("nobody else claims");
        claim.wait(&fence, SHORT).map_or(0, |mut claimed| std::mem::take(&mut *claimed))
    });
    let put_in = put(&owner) + put(&owner);
    let taken = drainer.join().unwrap();
    let left = *owner.enter().expect("the drainer is gone");
    assert_eq!(put_in, taken + left, "nothing is lost or counted twice");
}

fn drainer_times_out() {
    let owner = Owner::new(0);
    let drainer = spawn_drainer(&owner, Duration::ZERO);
    let put_in = put(&owner);
    let taken = drainer.join().unwrap();
    let left = owner.enter().map(|inside| *inside).expect("the owner is shut out of a cell that nobody has");
    assert_eq!(put_in, taken + left, "nothing is lost or counted twice");
}

fn thread_exit_and_drainer() {
    let owner = Owner::new(0);
    let drainer = spawn_drainer(&owner, SHORT);
    let put_in = put(&owner);
    let emptied = owner.retire(std::mem::take).expect("nobody keeps the cell");
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed), "a retired owner goes elsewhere");
    let taken = drainer.join().unwrap();
    assert_eq!(put_in, taken + emptied, "nothing is lost or counted twice");
}

/// Takes everything out and closes the cell; returns how many came out.
fn close(cell: &OwnedCell<u32>) -> Option<u32> {
    let claim = cell.try_claim()?;
    let fence = fence_claims();
    let mut claimed = claim.wait(&fence, Duration::MAX)?;
    let taken = std::mem::take(&mut *claimed);
    claimed.keep();
    Some(taken)
}

fn close_and_owner() {
    let owner = Owner::new(0);
    let cell = Arc::clone(owner.cell());
    let closer = thread::spawn(move || close(&cell).expect("nobody else claims"));
    let put_in = put(&owner);
    let taken = closer.join().unwrap();
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed), "the owner entered a closed cell");
    assert!(owner.cell().is_kept(), "the cell is kept");
    assert_eq!(owner.retire(|_| ()), None, "a closed cell has nothing to retire");
    assert_eq!(put_in, taken, "nothing is lost or counted twice");
}

fn close_and_thread_exit() {
    let owner = Owner::new(1);
    let cell = Arc::clone(owner.cell());
    let closer = thread::spawn(move || close(&cell));
    let emptied = owner.retire(std::mem::take);
    let taken = closer.join().unwrap();
    assert_eq!(emptied.unwrap_or(0) + taken.unwrap_or(0), 1, "exactly one of them emptied the cell");
}
