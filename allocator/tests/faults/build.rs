//! Building, with every call refused alone, and every pair.

use gfp::{
    Allocator,
    error::BuildError,
    fault::{Errno, SystemCall},
    platform::{Arena, ArenaOptions, Topology},
};

use crate::{
    alone,
    answers::{Answer, SHAPES, Shape},
    common::snapshot::Snapshot,
    plan::{Call, Fault, calls_of, errno_of},
};

fn topology() -> Topology {
    Topology::load().expect("this machine")
}

/// Builds with some calls refused, and checks what comes of it and that nothing is left behind. Returns the calls that were made.
fn attempt(shape: &Shape, topology: &Topology, refused: &[Call], tally: &mut Tally) -> Vec<Call> {
    let builder = (shape.builder)(topology);
    let before = Snapshot::take();
    let faults: Vec<Fault> = refused.iter().map(|call| call.fail()).collect();
    let (built, calls) = calls_of(|| builder.build());
    let struck: Vec<Call> = faults.iter().filter(|fault| fault.struck()).map(|fault| fault.call).collect();
    drop(faults);
    let case = format!("{}, refused {struck:?}", shape.name);
    match &built {
        Ok(built) => check_built(shape, built, &struck, &case),
        Err(error) => check_error(shape, error, &struck, &case),
    }
    tally.note(&struck, built.is_ok());
    let threads = calls.iter().any(|made| made.call == SystemCall::ThreadSpawn) && built.is_ok();
    drop(built);
    let after = Snapshot::take();
    assert_eq!(after.files, before.files, "{case}: files are left open");
    // A thread that has ended leaves its stack to the next one.
    if !threads {
        assert_eq!(after.threads, before.threads, "{case}: a thread is left");
        // What cannot be unmapped stays.
        if struck.iter().all(|refused| refused.call != SystemCall::Munmap) {
            assert_eq!(after.named, before.named, "{case}: an arena is left");
            assert_eq!(after.mapped, before.mapped, "{case}: a mapping is left");
        }
    }
    calls
}

fn answer(shape: &Shape, refused: Call) -> Answer {
    let row = shape.rows.iter().find(|(call, nth, _)| *call == refused.call && nth.contains(&refused.nth));
    row.unwrap_or_else(|| panic!("{}: nobody says what comes of {refused:?}", shape.name)).2
}

fn check_built(shape: &Shape, built: &Allocator, struck: &[Call], case: &str) {
    for &refused in struck {
        match answer(shape, refused) {
            Answer::Fails(step) => panic!("{case}: it was built, and should have failed {step}"),
            Answer::Reports(reported) | Answer::Either(_, reported) => {
                assert!(
                    reported(built),
                    "{case}: nothing is said of {refused:?}: {:?}",
                    built.arena().obtained()
                );
            }
            Answer::Works | Answer::Unmaps(_) => {}
        }
    }
}

fn check_error(shape: &Shape, error: &BuildError, struck: &[Call], case: &str) {
    let text = error.to_string();
    let BuildError::Platform { doing, source } = error else { panic!("{case}: {text}") };
    // The error is of one of the calls that were refused, whose answer is to fail in that step.
    let explains = |refused: &&Call| match answer(shape, **refused) {
        Answer::Fails(step) | Answer::Either(step, _) | Answer::Unmaps(step) => step == *doing,
        Answer::Reports(_) | Answer::Works => false,
    };
    if !struck.iter().any(|refused| explains(&refused)) {
        assert!(shape.may_be_refused, "{case}: {text}");
        return;
    }
    let named =
        struck.iter().any(|refused| text.contains(refused.call.name()) && text.contains(&reason(*refused)));
    // Of pages that only certain ones would do for, it says which were asked for and why they cannot be had.
    let explained = text.contains("the arena cannot have");
    assert!(named || explained, "{case}: {text}");
    assert!(explained || text.contains("; "), "{case}: nothing is said of what to do: {text}");
    assert!(explained || source.source().is_some_and(|source| source.is::<Errno>()), "{case}: {text}");
}

fn reason(refused: Call) -> String {
    errno_of(refused.call).to_string()
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    built: u32,
    failed: u32,
    twice: u32,
}

impl Tally {
    fn note(&mut self, struck: &[Call], built: bool) {
        *if built { &mut self.built } else { &mut self.failed } += 1;
        self.twice += u32::from(struck.len() == 2);
    }
}

/// Refuses every call that a build makes, then with it every call that is made when it is refused.
fn refuse_alone_and_in_pairs(shape: &Shape) {
    let topology = topology();
    let mut tally = Tally::default();
    // The first build of a process leaves what is made once.
    drop((shape.builder)(&topology).build());
    for first in attempt(shape, &topology, &[], &mut tally) {
        for second in attempt(shape, &topology, &[first], &mut tally) {
            if second != first {
                attempt(shape, &topology, &[first, second], &mut tally);
            }
        }
    }
    assert!(tally.failed > 0 && tally.twice > 0, "{}: {tally:?}", shape.name);
    assert!(tally.built > 0 || shape.may_be_refused, "{}: {tally:?}", shape.name);
    println!("{}: {tally:?}", shape.name);
}

#[test]
fn a_call_that_fails_has_its_answer_and_a_build_that_fails_leaves_nothing() {
    for shape in &SHAPES {
        alone(|| refuse_alone_and_in_pairs(shape));
    }
}

#[test]
fn what_is_left_behind_is_seen() {
    alone(|| {
        let before = Snapshot::take();
        assert_eq!(Snapshot::take(), before);
        let arena = Arena::new(&ArenaOptions::new(1 << 20)).expect("1 MiB");
        assert_ne!(Snapshot::take().mapped, before.mapped);
        drop(arena);
        let file = std::fs::File::open("/proc/self/maps").expect("/proc is mounted");
        assert_ne!(Snapshot::take().files, before.files);
        drop(file);
        assert_eq!(Snapshot::take(), before);
        let (wait, go) = std::sync::mpsc::channel::<()>();
        let thread = gfp::sync::thread::spawn(move || go.recv().is_err());
        assert_ne!(Snapshot::take().threads, before.threads);
        drop(wait);
        assert!(thread.join().expect("no panic"));
    });
}
