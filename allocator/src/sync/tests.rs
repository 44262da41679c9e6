//! What is shown of locks and cells: nothing that whoever looks would have to wait for.

use core::time::Duration;

use super::{LockRank, Owner, Registry, SpinLock, ZeroedSlice, fence_claims};

#[test]
fn who_looks_waits_for_nobody() {
    let lock = SpinLock::new(LockRank::Leaf, 7);
    let guard = lock.lock();
    assert_eq!(format!("{lock:?} {guard:?}"), "SpinLock { rank: Leaf, .. } 7");
    drop(guard);

    let owner = Owner::new(7);
    let inside = owner.enter().expect("nobody drains");
    assert_eq!(format!("{owner:?} {inside:?}"), "Owner { cell: OwnedCell { kept: false, .. } } 7");
    drop(inside);
    let claim = owner.cell().try_claim().expect("nobody else drains");
    let claimed = claim.wait(&fence_claims(), Duration::MAX).expect("the owner is outside");
    assert_eq!(format!("{owner:?} {claimed:?}"), "Owner { cell: OwnedCell { kept: false, .. } } 7");
    drop(claimed);
    owner.cell().keep_by_owner();
    assert_eq!(format!("{owner:?}"), "Owner { cell: OwnedCell { kept: true, .. } }");

    let registry = Registry::<u32>::default();
    registry.with_entries(|_| assert_eq!(format!("{registry:?}"), "Registry { .. }"));
}

#[test]
fn of_a_table_only_the_length_is_shown() {
    let table = ZeroedSlice::<u64>::new(1 << 20).expect("8 MiB of addresses");
    assert_eq!(format!("{table:?}"), "ZeroedSlice { len: 1048576, .. }");
}
