//! What a real kernel asked for and freed, asked for and freed in an arena that is at times too small: each answer is one that
//! the plain model of the oracle allows.

use std::{fs::File, path::Path};

use bench_harness::{
    rival::{Migrate, Zeroing},
    trace::{Event, Op, Trace},
};
use gfp::Gfp;
use gfp_oracle::{By, Call, Coverage, Free, Mask, SHAPES, run, test_scale};

/// How many events are played on each machine; the blocks that are live then do not fit into some.
const EVENTS: usize = 4_000;

/// Every so many events, something else happens beside them.
const BESIDE: usize = 97;

fn gfp(migrate: Migrate, zeroing: Zeroing) -> Mask {
    let mobility = match migrate {
        Migrate::Unmovable => Gfp::empty(),
        Migrate::Movable => Gfp::MOVABLE,
        Migrate::Reclaimable => Gfp::RECLAIMABLE,
    };
    let zero = if matches!(zeroing, Zeroing::Zeroed) { Gfp::ZERO } else { Gfp::empty() };
    Mask(Gfp::KERNEL | mobility | zero)
}

/// Makes a call of an event; the kernel's CPUs free in different ways.
fn call(event: &Event) -> Call {
    let key = event.slot;
    match event.op {
        Op::Alloc(migrate, zeroing) => Call::Keep { key, gfp: gfp(migrate, zeroing), order: event.order },
        Op::Free => Call::Release { key, how: if event.cpu == 0 { Free::Drop } else { Free::Thread } },
    }
}

/// Makes calls of events, with some beside them that the trace does not have: need comes and goes.
fn program(events: &[Event]) -> Vec<Call> {
    let mut calls = Vec::new();
    for (number, events) in events.chunks(BESIDE).enumerate() {
        calls.extend(events.iter().map(call));
        calls.push(match number % 8 {
            0..4 => Call::Bulk { by: By::Thread, gfp: Mask(Gfp::KERNEL), count: 2500 },
            4 => Call::DrainAll,
            5 | 6 => Call::FreeBulk { by: By::Thread, count: 5000 },
            _ => Call::Check,
        });
    }
    calls
}

#[test]
fn what_a_kernel_asked_for_is_served_as_the_model_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/python-startup.ftrace.gz");
    let trace = Trace::read(File::open(path).expect("it is committed"), None).expect("a trace");
    let scale = test_scale() as usize;
    let mut total = Coverage::default();
    for (part, shape) in SHAPES.into_iter().enumerate() {
        // Another part for each. What is freed in one that begins later was not asked for in it, and is passed over.
        let events = (EVENTS * scale / shape.cost as usize).min(trace.events.len());
        let start = part * (trace.events.len() - events) / (SHAPES.len() - 1);
        total.add(&run(shape, &program(&trace.events[start..start + events])));
    }
    for answer in ["served", "refused"] {
        assert!(total.times("answer", answer) > 0, "{total:#?}");
    }
}
