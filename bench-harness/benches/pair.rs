//! Pair: one allocation with its free, again and again; see `bench_harness::workload`.

mod common;

use bench_harness::workload::Workload;
use criterion::{Criterion, criterion_group, criterion_main};

fn pair(criterion: &mut Criterion) {
    common::bench_workload(criterion, Workload::Pair, &[0, 3, 9]);
}

criterion_group!(benches, pair);
criterion_main!(benches);
