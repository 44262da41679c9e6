//! Bulk: 2^17 allocations, then as many frees; see `bench_harness::workload`.

mod common;

use bench_harness::workload::Workload;
use criterion::{Criterion, criterion_group, criterion_main};

fn bulk(criterion: &mut Criterion) {
    common::bench_workload(criterion, Workload::Bulk, &[0]);
}

criterion_group!(benches, bulk);
criterion_main!(benches);
