//! The machine cannot be read, or not all of it.

use gfp::{
    Allocator, Maintain,
    fault::{Occurrence, SystemCall, fail},
    platform::{
        Arena, ArenaOptions, Binding, Errno, PlatformError, Topology, arena::NodeSpan, pin::pin_current,
    },
};

use crate::{
    alone,
    common::snapshot::Snapshot,
    plan::{Call, Fault, calls_of, errno_of},
};

/// Calls of which every pair is refused: a machine of many CPUs has thousands of files.
const IN_PAIRS: usize = 40;

fn load(refused: &[Call]) -> (Result<Topology, PlatformError>, Vec<Call>) {
    let before = Snapshot::take();
    let faults: Vec<Fault> = refused.iter().map(|call| call.fail()).collect();
    let (loaded, calls) = calls_of(Topology::load);
    let struck: Vec<Call> = faults.iter().filter(|fault| fault.struck()).map(|fault| fault.call).collect();
    drop(faults);
    match &loaded {
        Ok(topology) => assert!(!topology.cpus().is_empty() && !topology.nodes().is_empty(), "{struck:?}"),
        Err(error) => {
            let text = error.to_string();
            let named = |refused: &Call| {
                let by_hwloc = refused.call == SystemCall::HwlocLoad;
                by_hwloc
                    || (text.contains(refused.call.name())
                        && text.contains(&errno_of(refused.call).to_string()))
            };
            assert!(struck.iter().any(named), "{struck:?}: {text}");
            assert!(text.contains("; "), "{struck:?}: nothing is said of what to do: {text}");
        }
    }
    assert_eq!(Snapshot::take(), before, "{struck:?}: something is left");
    (loaded, calls)
}

#[test]
fn a_machine_that_cannot_be_read_is_an_error_or_less_is_known_of_it() {
    alone(|| {
        let whole = Topology::load().expect("this machine");
        let (_, calls) = load(&[]);
        let outcomes: Vec<bool> = calls.iter().map(|&call| load(&[call]).0.is_ok()).collect();
        assert!(outcomes.contains(&true), "some files are not needed");
        for (index, &first) in calls.iter().enumerate().take(IN_PAIRS) {
            for &second in calls.iter().take(index) {
                _ = load(&[first, second]);
            }
        }
        assert_eq!(load(&[]).0, Ok(whole), "a fault is not remembered");
        for needed in [SystemCall::SchedGetaffinity, SystemCall::ReadFile] {
            let _hwloc = fail(SystemCall::HwlocLoad, Occurrence::Always, Errno::NOSYS);
            let _all = fail(needed, Occurrence::Always, errno_of(needed));
            let error = Topology::load().expect_err("nothing can be read");
            assert!(
                matches!(error, PlatformError::SystemCall { call, errno, .. } if call == needed && errno == errno_of(needed)),
                "{error}"
            );
        }
    });
}

#[test]
fn what_a_process_needs_once_is_asked_for_again_after_a_refusal() {
    alone(|| {
        let builder = || Allocator::builder(1 << 20).dma(0).maintain(Maintain::ByHand);
        for (call, step) in [
            (SystemCall::AtFork, "preparing for forks"),
            (SystemCall::SchedGetaffinity, "reading the topology"),
        ] {
            // Whatever is loaded lazily is there afterwards.
            let refuse = || {
                let fault = Call { call, nth: 0 }.fail();
                let error = builder().build().expect_err("it was refused").to_string();
                assert!(fault.struck());
                error
            };
            let error = refuse();
            for part in [step, call.name(), &errno_of(call).to_string(), "; "] {
                assert!(error.contains(part), "{part:?} is missing in {error:?}");
            }
            let before = Snapshot::take();
            assert_eq!(refuse(), error);
            assert_eq!(Snapshot::take(), before, "{call}: something is left");
        }
        drop(builder().build().expect("nothing is refused any more"));
        let (built, calls) = calls_of(|| builder().build());
        drop(built);
        let once = |call: &&Call| matches!(call.call, SystemCall::AtFork | SystemCall::SchedGetaffinity);
        assert_eq!(calls.iter().find(once), None, "once is enough");
    });
}

#[test]
fn of_two_parts_each_is_tied_or_nothing_is_mapped() {
    alone(|| {
        let options = ArenaOptions::new(8 << 20);
        let node = Topology::load().expect("this machine").nodes()[0].os_index;
        let span = |binding| NodeSpan { bytes: 4 << 20, os_node: node, binding };
        if let Err(error) = Arena::on_nodes(&options, &[span(Binding::Strict); 2]) {
            return println!("left out: this system does not tie memory to nodes: {error}");
        }
        let before = Snapshot::take();
        for nth in 0..2 {
            let _fault = Call { call: SystemCall::Mbind, nth }.fail();
            let offset = nth as usize * (4 << 20);
            let error = Arena::on_nodes(&options, &[span(Binding::Strict); 2])
                .expect_err("it was refused")
                .to_string();
            for part in ["mbind of 4194304 bytes", &format!("offset {offset:#x}"), &Errno::PERM.to_string()] {
                assert!(error.contains(part), "{part:?} is missing in {error:?}");
            }
            assert_eq!(Snapshot::take(), before);
        }
        for nth in 0..2 {
            let _fault = Call { call: SystemCall::Mbind, nth }.fail();
            let (_arena, tied) =
                Arena::on_nodes(&options, &[span(Binding::Preferred); 2]).expect("it was only preferred");
            assert_eq!([tied[0].is_err(), tied[1].is_err()], [nth == 0, nth == 1]);
        }
    });
}

#[test]
fn a_thread_that_cannot_be_pinned_is_told_why() {
    alone(|| {
        let _fault = Call { call: SystemCall::SchedSetaffinity, nth: 0 }.fail();
        let cpu = Topology::load().expect("this machine").cpus()[0].os_index;
        let error = pin_current(cpu).expect_err("it was refused").to_string();
        for part in ["sched_setaffinity", &format!("CPU {cpu}"), &Errno::PERM.to_string(), "cpuset"] {
            assert!(error.contains(part), "{part:?} is missing in {error:?}");
        }
        pin_current(cpu).expect("once is enough");
    });
}
