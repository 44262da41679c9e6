//! Handoff: one thread allocates, another one frees; see `bench_harness::workload`.

mod common;

use bench_harness::workload::Workload;
use criterion::{Criterion, criterion_group, criterion_main};

fn handoff(criterion: &mut Criterion) {
    common::bench_workload(criterion, Workload::Handoff, &[0]);
}

criterion_group!(benches, handoff);
criterion_main!(benches);
