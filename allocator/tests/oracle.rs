//! Random programs of calls do what the plain model says.

use gfp_oracle::{Coverage, SHAPES, calls, run};
use proptest::{prelude::*, test_runner::TestRunner};

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
        let result = TestRunner::new(config.clone()).run(&calls(), |program| {
            total.lock().add(&run(shape, &program));
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
