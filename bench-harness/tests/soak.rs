//! A short soak; `GFP_TEST_SCALE` makes it longer.

use bench_harness::soak::{Config, FAULTS_AVAILABLE, Kind, Limit, Summary, run};
use gfp_oracle::test_scale;

/// Of all threads together: several checkpoints, until memory is short, and the empty arena in the end.
const OPERATIONS: u64 = 8 * 20_000;

fn soak(seed: u64) -> Summary {
    let nodes = 2 + usize::try_from(seed % 3).expect("small");
    soak_in(seed, nodes, 48 << 20, OPERATIONS)
}

fn soak_in(seed: u64, nodes: usize, arena_bytes: usize, operations: u64) -> Summary {
    let config = Config { seed, threads: 8, nodes, arena_bytes, faults: FAULTS_AVAILABLE, spoil: None };
    let limit = Limit::Operations(operations * u64::from(test_scale()));
    let summary = run(&config, limit, &mut |_| {}).expect("memory and 8 threads");
    if let Some((violation, record)) = &summary.violation {
        let path = std::env::temp_dir().join(format!("gfp-soak-{seed}-{}.txt", std::process::id()));
        record.write(&path).expect("a file");
        panic!("{violation}\nagain with: gfp soak --replay {}", path.display());
    }
    summary
}

#[test]
fn nothing_is_wrong_after_many_operations_of_many_threads() {
    let summaries = [1, 2, 3].map(soak);
    for summary in &summaries {
        assert!(summary.tally.operations() >= OPERATIONS && summary.epochs > 0 && summary.checkpoints > 1);
    }
    // Together they have done everything, and some of everything that can be refused was.
    let count = |kind| {
        let of = |summary: &Summary| summary.tally.of(kind);
        summaries.iter().map(of).fold([0, 0], |[served, refused], [s, r]| [served + s, refused + r])
    };
    for kind in Kind::ALL {
        assert!(count(kind)[0] > 0, "{}: {:?}", kind.name(), count(kind));
    }
    for kind in [Kind::Alloc, Kind::NoLock, Kind::Contig, Kind::Offline, Kind::Unshare] {
        assert!(count(kind)[1] > 0, "{}: {:?}", kind.name(), count(kind));
    }
    assert!(summaries.iter().map(|summary| summary.churned).sum::<u64>() > 0);
    let faults: u64 = summaries.iter().flat_map(|summary| summary.tally.faults().values()).sum();
    assert_eq!(faults > 0, FAULTS_AVAILABLE);
}

#[test]
fn nothing_is_wrong_where_pageblocks_are_set_aside_for_who_cannot_wait() {
    // A hundredth of the zone is more than a pageblock.
    let summary = soak_in(5, 1, 240 << 20, OPERATIONS);
    assert!(summary.highatomic >= 512 && summary.epochs > 0, "{summary:?}");
}
