//! What the benches have in common: every allocator, on 1, 2 and all CPUs, with its threads pinned in the
//! order of the topology.

use std::collections::BTreeSet;
use std::time::Duration;

use bench_harness::commands::topo::pin_order;
use bench_harness::measure::{Cpus, Fault, Plan, StartTeam, Team};
use bench_harness::rivals;
use bench_harness::workload::Workload;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

/// Operations of a criterion iteration, at least: far more than it takes to read the clock.
const OPS_PER_ITERATION: u64 = 1024;

/// Benches a workload for some orders: one group an order, one line an allocator, one point a number of
/// threads, which gives the scaling curves. An iteration is 1024 operations (one cycle, where that is longer)
/// on every thread at once. An allocator that takes seconds for one iteration is shown with the time after
/// which it was left alone: a lower bound.
///
/// # Panics
/// An allocator cannot be made, refuses a request, or hands out overlapping blocks.
pub(crate) fn bench_workload(criterion: &mut Criterion, workload: Workload, orders: &[u32]) {
    let cpus = pin_order().expect("the system names the CPUs");
    for &order in orders {
        let mut group = criterion.benchmark_group(format!("{workload}/order {order}"));
        group
            .sample_size(10)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(50))
            .measurement_time(Duration::from_millis(200));
        for allocator in rivals::NAMES {
            for threads in BTreeSet::from([1, 2, cpus.count()]) {
                let plan = Plan::new(workload, order, threads);
                group.throughput(Throughput::Elements(ops_per_iteration(plan) * plan.streams() as u64));
                // Made by the first call, so that points which the command line filters out cost nothing.
                let mut point = None;
                group.bench_function(BenchmarkId::new(*allocator, threads), |bencher| {
                    let point = point.get_or_insert_with(|| Point::new(allocator, plan, &cpus));
                    bencher.iter_custom(|iterations| point.sample(iterations));
                });
            }
        }
        group.finish();
    }
}

/// Returns how many operations each thread does in an iteration: whole cycles.
fn ops_per_iteration(plan: Plan) -> u64 {
    OPS_PER_ITERATION.next_multiple_of(plan.cycle_ops())
}

/// One allocator with one number of threads.
enum Point {
    Ready(Team),
    /// The nanoseconds that an iteration takes at least, of an allocator that was not waited for.
    TooSlow(f64),
}

impl Point {
    fn new(allocator: &str, plan: Plan, cpus: &Cpus) -> Self {
        let mut team = rivals::with_rival(allocator, plan.arena_bytes(), StartTeam { plan, cpus })
            .expect("the name is a listed one, and the arena can be mapped");
        team.verify().unwrap_or_else(|fault| panic!("{allocator}: {fault}"));
        Self::Ready(team)
    }

    fn sample(&mut self, iterations: u64) -> Duration {
        let team = match self {
            Self::Ready(team) => team,
            Self::TooSlow(ns_per_iteration) => return iterations_of(*ns_per_iteration, iterations),
        };
        let plan = team.plan();
        let cycles = iterations * ops_per_iteration(plan) / plan.cycle_ops();
        match team.sample(cycles) {
            Ok(wall) => wall,
            Err(Fault::TooSlow { above_ns_per_op }) => {
                let ns_per_iteration = above_ns_per_op * ops_per_iteration(plan) as f64;
                *self = Self::TooSlow(ns_per_iteration);
                iterations_of(ns_per_iteration, iterations)
            }
            Err(fault) => panic!("{fault}"),
        }
    }
}

/// Returns the time of iterations of which each takes so many nanoseconds.
fn iterations_of(ns_per_iteration: f64, iterations: u64) -> Duration {
    Duration::from_secs_f64(ns_per_iteration * 1e-9 * iterations as f64)
}
