//! What the machine does, by the reference and by single rules.
#![expect(clippy::disallowed_types, reason = "prop_oneof! names std's Arc")]

use proptest::{prelude::*, sample::select};

use super::{
    reference::slow_path,
    script::{Deed, Odds, Script},
};
use crate::{
    error::FailReason,
    frame::Order,
    gfp::{AllocFlags, Gfp, MigrateType, Scopes, ZoneType, gfp_migratetype, gfp_zone},
    slowpath::{Step, decide::Wish, effects::Pause, machine::Machine},
};

fn wish(gfp: Gfp, order: u8) -> Wish {
    Wish {
        gfp,
        order: Order::new(order),
        highest_zone: gfp_zone(gfp).expect("zones that go together"),
        migratetype: gfp_migratetype(gfp).expect("a type"),
        scopes: Scopes::empty(),
    }
}

fn run(script: &mut Script, wish: Wish) -> Result<usize, FailReason> {
    Machine::new(script, wish).run()
}

/// A world in which nothing is ever found.
fn barren() -> Script {
    Script::new(0, Odds { begins: 100, ..Odds::default() }, 10_000)
}

fn count(script: &Script, deed: impl Fn(&Deed) -> bool) -> usize {
    script.deeds.iter().filter(|one| deed(one)).count()
}

const BASES: [Gfp; 10] = [
    Gfp::KERNEL,
    Gfp::ATOMIC,
    Gfp::NOWAIT,
    Gfp::NOIO,
    Gfp::NOFS,
    Gfp::HIGHUSER_MOVABLE,
    Gfp::TRANSHUGE,
    Gfp::TRANSHUGE_LIGHT,
    Gfp::KERNEL.union(Gfp::DMA),
    Gfp::USER.union(Gfp::RECLAIMABLE),
];

const EXTRAS: [Gfp; 9] = [
    Gfp::empty(),
    Gfp::NORETRY,
    Gfp::RETRY_MAYFAIL,
    Gfp::NOFAIL,
    Gfp::MEMALLOC,
    Gfp::NOMEMALLOC,
    Gfp::THISNODE,
    Gfp::HIGH,
    Gfp::NOFAIL.union(Gfp::NOMEMALLOC),
];

fn any_wish() -> impl Strategy<Value = Wish> {
    let gfp = (select(&BASES[..]), select(&EXTRAS[..]), select(&EXTRAS[..]));
    let scopes = prop_oneof![2 => Just(Scopes::empty()), 1 => Just(Scopes::MEMALLOC)];
    (gfp, 0..=10_u8, scopes).prop_map(|((base, one, other), order, scopes)| {
        let gfp = base | one | other;
        let sensible = if gfp.allows_blocking() { gfp } else { gfp.without(Gfp::NOFAIL) };
        Wish { scopes, ..wish(sensible, order) }
    })
}

fn any_odds() -> impl Strategy<Value = Odds> {
    let rare = || prop_oneof![3 => Just(0_u8), 2 => 1..10_u8];
    let any = || prop_oneof![2 => Just(0_u8), 1 => 1..50_u8, 2 => 50..=100_u8];
    let first = (prop_oneof![9 => Just(100_u8), 1 => 0..100_u8], rare(), rare(), any(), rare(), any());
    let second = (any(), rare(), any(), rare(), prop_oneof![4 => Just(0_u8), 1 => 1..=100_u8]);
    (first, second).prop_map(|((begins, changes, finds, reclaims, unreserves, passes), second)| {
        let (compactable, oom_locked, helps, cancelled, victim) = second;
        Odds {
            begins,
            changes,
            finds,
            reclaims,
            unreserves,
            passes,
            compactable,
            oom_locked,
            helps,
            cancelled,
            victim,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_goes_as_the_rules_read(wish in any_wish(), odds in any_odds(), seed: u64, patience in 1..2500_usize) {
        let (mut one, mut other) = (Script::new(seed, odds, patience), Script::new(seed, odds, patience));
        let (by_machine, by_rules) = (run(&mut one, wish), slow_path(&mut other, wish));
        prop_assert_eq!(&one.deeds, &other.deeds);
        prop_assert_eq!(by_machine, by_rules);
        if let Ok(at) = by_machine {
            prop_assert_eq!(at + 1, one.deeds.len(), "nothing is done once there is a block");
        }
    }

    #[test]
    fn who_may_not_block_and_who_frees_memory_wait_for_nothing(wish in any_wish(), odds in any_odds(), seed: u64) {
        let gfp = wish.gfp.without(Gfp::NOFAIL);
        let scopes = if wish.may_reclaim() { Scopes::MEMALLOC } else { wish.scopes };
        let wish = Wish { gfp, scopes, ..wish };
        let mut script = Script::new(seed, odds, 1000);
        let _served = run(&mut script, wish);
        let at_once = |deed: &Deed| match deed {
            Deed::Begin | Deed::Wake | Deed::Attempt(_) | Deed::LiftNodemask => true,
            // It is skipped: what may block has not come to S8 yet.
            Deed::Compact(_) => wish.may_reclaim(),
            _ => false,
        };
        prop_assert!(script.deeds.iter().all(at_once), "{:?}", script.deeds);
    }
}

#[test]
fn an_atomic_request_asks_twice_and_fails() {
    let mut script = barren();
    assert_eq!(run(&mut script, wish(Gfp::ATOMIC, 0)), Err(FailReason::NoMemory));
    let flags = AllocFlags::MIN_RESERVE | AllocFlags::NON_BLOCK | AllocFlags::KSWAPD;
    use Deed::{Attempt, Begin, LiftNodemask, Wake};
    assert_eq!(script.deeds, [Begin, Wake, Attempt(flags), Wake, LiftNodemask, Attempt(flags)]);
    let steps = [Step::AttemptWithReserves, Step::MayBlock, Step::NoPage, Step::Fail];
    assert_eq!(script.steps[script.steps.len() - 4..], steps);
}

#[test]
fn an_ordinary_request_gives_up_when_nothing_can_be_reclaimed() {
    let mut script = barren();
    assert_eq!(run(&mut script, wish(Gfp::KERNEL, 0)), Err(FailReason::NoMemory));
    assert_eq!(count(&script, |deed| *deed == Deed::Reclaim), 1);
    assert_eq!(count(&script, |deed| *deed == Deed::OutOfMemory(0)), 1);
    assert_eq!(count(&script, |deed| matches!(deed, Deed::Pause(_))), 0);
}

#[test]
fn sixteen_rounds_without_progress_are_enough_and_most_sleep() {
    let mut script = barren();
    script.odds.passes = 100;
    assert_eq!(run(&mut script, wish(Gfp::KERNEL, 0)), Err(FailReason::NoMemory));
    assert_eq!(count(&script, |deed| *deed == Deed::Reclaim), 17);
    assert_eq!(count(&script, |deed| *deed == Deed::Pause(Pause::Yield)), 2);
    assert_eq!(count(&script, |deed| *deed == Deed::Pause(Pause::Tick)), 14);
}

#[test]
fn noretry_reclaims_once_and_a_costly_one_not_at_all() {
    for (order, rounds) in [(0, 1), (3, 1), (4, 0)] {
        let mut script = barren();
        script.odds.passes = 100;
        assert_eq!(run(&mut script, wish(Gfp::KERNEL | Gfp::NORETRY, order)), Err(FailReason::NoMemory));
        assert_eq!(count(&script, |deed| *deed == Deed::Reclaim), rounds, "order {order}");
    }
}

#[test]
fn a_costly_request_tries_again_only_if_it_says_so_and_nobody_is_asked_for_it() {
    for (gfp, rounds) in [(Gfp::KERNEL, 1), (Gfp::KERNEL | Gfp::RETRY_MAYFAIL, 17)] {
        let mut script = barren();
        script.odds.passes = 100;
        script.odds.reclaims = 100;
        assert_eq!(run(&mut script, wish(gfp, 4)), Err(FailReason::NoMemory));
        assert_eq!(count(&script, |deed| *deed == Deed::Reclaim), rounds, "{gfp}");
        assert_eq!(count(&script, |deed| matches!(deed, Deed::OutOfMemory(_))), 0);
    }
}

#[test]
fn memory_does_not_run_out_for_what_may_fail_or_is_bound() {
    let bound = Gfp::KERNEL | Gfp::THISNODE;
    for gfp in [bound, Gfp::KERNEL | Gfp::RETRY_MAYFAIL, Gfp::KERNEL | Gfp::DMA, Gfp::NOFS, Gfp::NOIO] {
        let mut script = barren();
        assert_eq!(run(&mut script, wish(gfp, 0)), Err(FailReason::NoMemory));
        assert_eq!(count(&script, |deed| *deed == Deed::AttemptBeforeOom), 1, "{gfp}");
        assert_eq!(count(&script, |deed| matches!(deed, Deed::OutOfMemory(_))), 0, "{gfp}");
    }
}

#[test]
fn an_application_that_always_says_that_it_helped_is_asked_256_times() {
    let mut script = barren();
    script.odds.helps = 100;
    assert_eq!(run(&mut script, wish(Gfp::KERNEL, 0)), Err(FailReason::NoMemory));
    assert_eq!(count(&script, |deed| matches!(deed, Deed::OutOfMemory(_))), 256);
    assert!(script.deeds.contains(&Deed::OutOfMemory(255)));
}

#[test]
fn what_may_not_fail_goes_on_until_it_is_cancelled() {
    for (gfp, order) in [(Gfp::KERNEL, 0), (Gfp::NOFS, 1), (Gfp::KERNEL | Gfp::NORETRY, 5)] {
        let mut script = barren();
        assert_eq!(run(&mut script, wish(gfp | Gfp::NOFAIL, order)), Err(FailReason::Cancelled));
        assert!(script.deeds.len() >= 10_000, "as long as the world has patience");
        let half = AllocFlags::MIN_RESERVE | AllocFlags::CPUSET;
        let takes_reserves =
            |deed: &Deed| [Deed::Attempt(half), Deed::Attempt(AllocFlags::NO_WATERMARKS)].contains(deed);
        assert!(count(&script, takes_reserves) > 100);
        assert!(count(&script, |deed| *deed == Deed::Pause(Pause::Tick)) > 100, "it sleeps in between");
    }
}

#[test]
fn a_cancelled_request_asks_once_more_and_takes_nothing_it_does_not_return() {
    for gfp in [Gfp::KERNEL, Gfp::ATOMIC, Gfp::KERNEL | Gfp::NOFAIL] {
        let mut script = Script { patience: 0, ..barren() };
        assert_eq!(run(&mut script, wish(gfp, 0)), Err(FailReason::Cancelled));
        assert_eq!(count(&script, |deed| matches!(deed, Deed::Attempt(_))), 1, "{gfp}");
        let mut script = Script { patience: 0, ..barren() };
        script.odds.finds = 100;
        assert_eq!(run(&mut script, wish(gfp, 0)), Ok(2), "{gfp}");
    }
}

#[test]
fn a_victim_gets_a_part_of_the_reserve_and_ends_if_that_is_not_enough() {
    for gfp in [Gfp::KERNEL, Gfp::KERNEL | Gfp::NOFAIL] {
        let mut script = barren();
        script.odds.victim = 100;
        assert_eq!(run(&mut script, wish(gfp, 0)), Err(FailReason::Cancelled));
        assert_eq!(script.deeds.last(), Some(&Deed::Attempt(AllocFlags::OOM | AllocFlags::KSWAPD)), "{gfp}");
    }
    let mut script = barren();
    script.odds.victim = 100;
    assert_eq!(run(&mut script, wish(Gfp::KERNEL | Gfp::NOMEMALLOC, 0)), Err(FailReason::Cancelled));
    assert!(script.steps.ends_with(&[Step::OomVictim, Step::NoPage, Step::Fail]));
}

#[test]
fn a_change_of_the_allowed_nodes_begins_anew() {
    let mut script = Script { patience: 60, ..barren() };
    script.odds.changes = 100;
    assert_eq!(run(&mut script, wish(Gfp::ATOMIC, 0)), Err(FailReason::Cancelled));
    assert!(count(&script, |deed| *deed == Deed::Begin) > 10, "{:?}", script.deeds);
    // No zone may serve it, and that does not change.
    let mut script = barren();
    script.odds.begins = 0;
    assert_eq!(run(&mut script, wish(Gfp::KERNEL, 0)), Err(FailReason::NoMemory));
    assert_eq!(script.deeds, [Deed::Begin]);
}

#[test]
fn a_block_that_is_short_of_neighbours_is_compacted_for_first() {
    let first = |gfp, order| {
        let mut script = barren();
        let _: Result<_, _> = run(&mut script, wish(gfp, order));
        script.deeds.get(3).is_some_and(|deed| matches!(deed, Deed::Compact(_)))
    };
    assert!(first(Gfp::KERNEL, 1) && first(Gfp::HIGHUSER_MOVABLE, 9));
    let not =
        [(Gfp::KERNEL, 0), (Gfp::HIGHUSER_MOVABLE, 3), (Gfp::NOIO, 9), (Gfp::KERNEL | Gfp::MEMALLOC, 9)];
    assert!(not.into_iter().all(|(gfp, order)| !first(gfp, order)));
    assert_eq!(wish(Gfp::HIGHUSER_MOVABLE, 0).migratetype, MigrateType::Movable);
    assert_eq!(wish(Gfp::KERNEL | Gfp::DMA, 0).highest_zone, ZoneType::Dma);
}
