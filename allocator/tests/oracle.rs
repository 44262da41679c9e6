//! Programs of calls do what the plain model says: random ones, those that once did not, and any that is given.
//!
//! `GFP_TEST_SCALE` is how many times as many random programs are tried. `GFP_ORACLE_PROGRAM` names a file with a program for
//! `replay`.

use std::{env, fs, path::Path};

use gfp_oracle::{Coverage, Program, SHAPES, calls, run, shrink, test_scale};
use proptest::{
    prelude::*,
    test_runner::{TestError, TestRunner},
};

/// Random programs for each machine; fewer where they take longer.
const PROGRAMS: u32 = 16;

#[test]
fn every_call_does_what_the_model_says() {
    let total = gfp::sync::Mutex::new(Coverage::default());
    for shape in SHAPES {
        let config = ProptestConfig {
            cases: PROGRAMS * test_scale() / shape.cost,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..ProptestConfig::default()
        };
        let result = TestRunner::new(config).run(&calls(), |program| {
            total.lock().add(&run(shape, &program));
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, calls)) => {
                let program = Program { shape, calls };
                panic!("{reason}\n\n{}", shrink(&program).unwrap_or(program));
            }
            Err(error) => panic!("{error}"),
        }
    }
    total.into_inner().check();
}

fn replay_file(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let program: Program = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    println!("{}: {} calls", path.display(), program.calls.len());
    let _: Coverage = program.run();
}

#[test]
fn programs_that_once_failed_do_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/programs");
    let files = fs::read_dir(folder).expect("there are programs");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|path| replay_file(path));
}

#[test]
fn replay() {
    if let Some(path) = env::var_os("GFP_ORACLE_PROGRAM") {
        replay_file(Path::new(&path));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_program_is_read_back_from_its_text(calls in calls()) {
        for shape in SHAPES {
            let program = Program { shape, calls: calls.clone() };
            let again: Program = program.to_string().parse().expect("it was written");
            prop_assert_eq!((again.shape.name, &again.calls), (shape.name, &calls));
        }
    }
}
