//! The whole public interface against a plain model: nodes, policies and allowed nodes that change between requests, frames
//! that are isolated, taken offline and brought back, areas for contiguous requests, and every way to ask and to free.
//!
//! A failure shrinks to a short list of calls.

mod call;
mod coverage;
mod machine;
mod model;

use gfp::{
    Allocator, Builder, DebugModes, Maintain, Spread,
    platform::{Binding, NodeId, Topology},
};
use proptest::{prelude::*, test_runner::TestRunner};

use self::{call::Call, coverage::Coverage, machine::Machine};

/// A machine, built with or without an area for contiguous requests.
type Shape = fn() -> Builder;

fn three_nodes(bytes: usize) -> Builder {
    let topology = Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine");
    let parts = (0..).take(call::NODES).map(|node| (NodeId(node), bytes)).collect();
    Allocator::builder(call::NODES * bytes)
        .topology(topology)
        .nodes(Spread::Nodes(parts))
        .bind(Binding::Preferred)
        .min_free_kbytes(0)
        .watermark_scale_factor(1)
        .maintain(Maintain::ByHand)
}

const SHAPES: [Shape; 4] = [
    || three_nodes(12 << 20).dma(0).cma("area", 4 << 20),
    || three_nodes(20 << 20).dma(8 << 20),
    || {
        // The last node is offline at first.
        let topology = Topology::synthetic("numa:3 core:2 pu:1").expect("a description of a machine");
        let parts = (0..).take(call::NODES).map(|node| (NodeId(node), 16 << 20)).collect();
        Allocator::builder(32 << 20)
            .maximum(48 << 20)
            .topology(topology)
            .nodes(Spread::Nodes(parts))
            .dma(0)
            .min_free_kbytes(0)
            .watermark_scale_factor(1)
            .cma("area", 6 << 20)
            .maintain(Maintain::ByHand)
    },
    // Every block is looked at on its way; but for the guard, which is a system call a frame.
    || three_nodes(12 << 20).dma(0).cma("area", 4 << 20).debug(DebugModes::all() - DebugModes::GUARD),
];

fn run(shape: Shape, calls: &[Call]) -> Coverage {
    let mut machine = Machine::new(shape().build().expect("small"));
    for call in calls {
        machine.run(call);
    }
    machine.check();
    machine.finish(&shape().build().expect("small"))
}

/// Times of plenty and of need.
fn calls() -> impl Strategy<Value = Vec<Call>> {
    let some = |greed| prop::collection::vec(call::call(greed), 0..=450);
    (some(60), some(200), some(40), some(300)).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

#[test]
fn every_call_does_what_the_model_says() {
    let config = ProptestConfig {
        cases: 20,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    };
    let total = gfp::sync::Mutex::new(Coverage::default());
    for shape in SHAPES {
        let result = TestRunner::new(config.clone()).run(&calls(), |calls| {
            total.lock().add(&run(shape, &calls));
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    }
    total.into_inner().check(&[
        ("request", &["served", "refused"]),
        ("policy of a request", &["served", "refused"]),
        (
            "policy",
            &[
                "no policy",
                "local",
                "preferred",
                "preferred many",
                "bind",
                "interleave",
                "weighted interleave",
            ],
        ),
        ("node", &["this node", "from this node on", "of a mask", "of none"]),
        ("zone", &["first zone", "later zone"]),
        ("bulk", &["all", "some"]),
        ("exact", &["served", "refused"]),
        ("nolock", &["served", "refused"]),
        ("free", &["Drop", "Handle", "Cold", "NoLock", "ThroughRawParts", "Shared", "Split"]),
        ("mems_allowed", &["all", "some"]),
        ("isolate", &["free", "in use", "refused"]),
        ("undo isolate", &["some", "none"]),
        ("offline", &["done", "in use", "refused"]),
        ("online", &["done", "refused"]),
        ("contig", &["served", "refused"]),
        ("cma", &["served", "refused"]),
        ("lent", &["by an area"]),
    ]);
}
