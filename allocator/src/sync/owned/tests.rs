use super::*;
use std::sync::Barrier;
use std::thread;

const SHORT: Duration = Duration::from_micros(50);

fn claim<T>(cell: &OwnedCell<T>) -> Option<Claimed<'_, T>> {
    let claim = cell.try_claim()?;
    let fence = fence_claims();
    claim.wait(&fence, SHORT)
}

#[test]
fn an_owner_enters_once_at_a_time() {
    let owner = Owner::new(1);
    let mut inside = owner.enter().expect("nobody has it");
    *inside += 1;
    assert_eq!(owner.clone().enter().err(), Some(NotEntered::Reentered));
    drop(inside);
    assert_eq!(*owner.enter().expect("it was left"), 2);
}

#[test]
fn a_look_at_a_cell_neither_enters_nor_claims_it() {
    let owner = Owner::new(5);
    assert_eq!(format!("{owner:?}"), "Owner { cell: OwnedCell { kept: false, .. } }");
    let inside = owner.enter().expect("nobody has it");
    assert_eq!(format!("{inside:?} {:?}", owner.cell()), "5 OwnedCell { kept: false, .. }");
    drop(inside);
    let claimed = claim(owner.cell()).expect("the owner is outside");
    assert_eq!(format!("{claimed:?}"), "5");
    claimed.keep();
    assert_eq!(format!("{owner:?}"), "Owner { cell: OwnedCell { kept: true, .. } }");
}

#[test]
fn a_cell_that_its_owner_keeps_is_nobodys_any_more() {
    let owner = Owner::new(());
    owner.cell().keep_by_owner();
    assert!(owner.cell().is_kept() && owner.cell().try_claim().is_none());
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed));
}

#[test]
fn an_owner_leaves_on_unwind() {
    let owner = Owner::new(());
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _inside = owner.enter();
        panic!("inside");
    }));
    assert!(unwound.is_err());
    assert!(owner.enter().is_ok());
}

#[test]
fn a_claimed_cell_refuses_its_owner_until_it_is_given_back() {
    let owner = Owner::new(5);
    let mut claimed = claim(owner.cell()).expect("the owner is outside");
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed));
    assert!(owner.cell().try_claim().is_none(), "one claim at a time");
    *claimed = 6;
    drop(claimed);
    assert_eq!(*owner.enter().expect("it was given back"), 6);
}

#[test]
fn a_wait_for_an_owner_inside_times_out_and_gives_the_claim_up() {
    let owner = Owner::new(());
    let inside = owner.enter();
    let start = std::time::Instant::now();
    assert!(claim(owner.cell()).is_none());
    assert!(start.elapsed() >= SHORT);
    drop(inside);
    assert!(owner.enter().is_ok());
}

#[test]
fn a_claim_that_is_not_waited_for_is_given_up() {
    let owner = Owner::new(());
    drop(owner.cell().try_claim());
    assert!(owner.enter().is_ok());
}

#[test]
fn one_fence_covers_many_claims_and_a_stale_one_is_not_relied_on() {
    let owners = [Owner::new(1), Owner::new(2), Owner::new(3)];
    let stale = fence_claims();
    let claims: Vec<_> = owners.iter().filter_map(|owner| owner.cell().try_claim()).collect();
    let fresh = fence_claims();
    let [first, second, third] = <[_; 3]>::try_from(claims).unwrap();
    assert_eq!(*first.wait(&fresh, SHORT).unwrap(), 1);
    assert_eq!(*second.wait(&fresh, SHORT).unwrap(), 2);
    assert_eq!(*third.wait(&stale, SHORT).unwrap(), 3, "the wait runs a fence of its own");
}

#[test]
fn a_kept_cell_is_closed_for_ever() {
    let owner = Owner::new(1);
    claim(owner.cell()).expect("the owner is outside").keep();
    assert!(owner.cell().is_kept());
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed));
    assert!(owner.cell().try_claim().is_none());
    assert_eq!(owner.retire(|value| *value), None);
}

#[test]
fn a_claim_may_be_kept_without_its_owner() {
    let owner = Owner::new(());
    let inside = owner.enter();
    owner.cell().try_claim().expect("nobody claimed it").keep();
    drop(inside);
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed), "it left and does not come back");
}

#[test]
fn a_retired_owner_goes_elsewhere() {
    let owner = Owner::new(vec![1, 2]);
    let inside = owner.enter();
    assert_eq!(owner.retire(|_| ()), None, "not while inside");
    drop(inside);
    let left = owner.retire(|value| {
        assert_eq!(owner.enter().err(), Some(NotEntered::Claimed), "not even from within");
        std::mem::take(value)
    });
    assert_eq!(left, Some(vec![1, 2]));
    assert!(owner.cell().is_kept());
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed));
}

#[test]
fn without_membarrier_the_owner_still_enters() {
    let owner = asymmetric::with_fallback(|| Owner::new(1));
    assert_eq!(owner.cell().claimed.load(Ordering::Relaxed), FALLBACK);
    assert_eq!(*owner.enter().expect("nobody has it"), 1);
    let claimed = asymmetric::with_fallback(|| claim(owner.cell()).expect("the owner is outside"));
    assert_eq!(owner.enter().err(), Some(NotEntered::Claimed));
    drop(claimed);
    assert_eq!(owner.cell().claimed.load(Ordering::Relaxed), FALLBACK);
    assert!(owner.enter().is_ok());
}

#[test]
fn a_membarrier_that_is_refused_later_drains_nobody() {
    if asymmetric::available() {
        let owner = Owner::new(());
        assert!(asymmetric::with_fallback(|| claim(owner.cell()).is_none()));
        assert!(owner.enter().is_ok(), "the claim was given up");
    }
}

fn nothing_is_lost_between_an_owner_and_drainers(make: fn() -> Owner<u64>) {
    const ROUNDS: u64 = 100_000;
    let start = Barrier::new(3);
    let (cell_sender, cells) = std::sync::mpsc::channel::<Arc<OwnedCell<u64>>>();
    let (put_in, taken) = thread::scope(|scope| {
        let owner = scope.spawn({
            let start = &start;
            move || {
                let owner = make();
                cell_sender.send(Arc::clone(owner.cell())).unwrap();
                cell_sender.send(Arc::clone(owner.cell())).unwrap();
                start.wait();
                let put_in =
                    (0..ROUNDS).filter(|_| owner.enter().map(|mut value| *value += 1).is_ok()).count();
                (put_in as u64, owner.retire(|value| *value).unwrap())
            }
        });
        let drainers = [cells.recv().unwrap(), cells.recv().unwrap()].map(|cell| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let mut taken = 0;
                while !cell.is_kept() {
                    taken += claim(&cell).map_or(0, |mut value| std::mem::take(&mut *value));
                    crate::sync::thread::yield_now();
                }
                taken
            })
        });
        let (put_in, left) = owner.join().unwrap();
        (put_in, left + drainers.into_iter().map(|drainer| drainer.join().unwrap()).sum::<u64>())
    });
    assert!(put_in > 0);
    assert_eq!(put_in, taken);
}

#[test]
fn nothing_is_lost_with_membarrier() {
    nothing_is_lost_between_an_owner_and_drainers(|| Owner::new(0));
}

#[test]
fn nothing_is_lost_without_membarrier() {
    nothing_is_lost_between_an_owner_and_drainers(|| asymmetric::with_fallback(|| Owner::new(0)));
}
