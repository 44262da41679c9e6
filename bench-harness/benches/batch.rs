//! Batch: 64 allocations, then 64 frees; see `bench_harness::workload`.

mod common;

use bench_harness::workload::Workload;
use criterion::{Criterion, criterion_group, criterion_main};

fn batch(criterion: &mut Criterion) {
    common::bench_workload(criterion, Workload::Batch, &[0, 3]);
}

criterion_group!(benches, batch);
criterion_main!(benches);
