//! The records of `gfp bench`: one for each figure.

use serde_json::{Map, Value, json};

use super::row::Figure;
use super::table::million_ops_per_second;
use crate::measure::{Cpus, Fault, Placement, Plan, Seating, Summary};
use crate::record::Row;

/// Where the threads of a row were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where<'a> {
    pub(super) placement: Placement,
    pub(super) cpus: &'a Cpus,
}

/// Makes what every record of a row says of it. `workers` is the number of threads that ran, where `threads` is
/// what was asked for.
fn head(plan: Plan, place: Where<'_>, allocator: &str) -> Value {
    let seating = Seating::of(plan, place.cpus);
    let mut record = json!({
        "kind": "bench",
        "workload": plan.workload.name(),
        "order": plan.order,
        "allocator": allocator,
        "threads": plan.threads,
        "workers": plan.workers(),
        "placement": place.placement.name(),
        "cpus": seating.cpus.of_members(plan.workers()),
        "simulated": seating.simulated,
    });
    plan.variant.describe(&mut record);
    record
}

/// Returns how records name a row.
pub(super) fn row(plan: Plan, place: Where<'_>) -> anyhow::Result<Row> {
    Ok(serde_json::from_value(head(plan, place, ""))?)
}

/// Makes the record of an allocator's figure of a visit.
pub(super) fn record(
    plan: Plan,
    place: Where<'_>,
    visit: usize,
    allocator: &str,
    figure: &Result<Figure, Fault>,
) -> Value {
    let mut record = head(plan, place, allocator);
    record["visit"] = json!(visit);
    match figure {
        Ok(figure) => measured(&mut record, plan, figure),
        Err(Fault::TooSlow { above_ns_per_op }) => record["ns_per_op_above"] = json!(above_ns_per_op),
        Err(fault) => record["failed"] = json!(fault.to_string()),
    }
    record
}

/// Adds what was measured. What was not is left out.
fn measured(record: &mut Value, plan: Plan, figure: &Figure) {
    let Summary { min, median, max, samples } = figure.ns_per_op;
    record["ns_per_op"] = json!({ "min": min, "median": median, "max": max });
    record["samples"] = json!(samples);
    record["samples_ns"] = json!(figure.samples_ns);
    record["mops_per_s"] = json!(million_ops_per_second(plan.streams(), median));
    record["ops_per_sample"] = json!(figure.cycles * plan.cycle_ops());
    record["pinned"] = json!(figure.pinned);
    if let Some(latency) = figure.latency {
        record["latency_ns"] = json!(latency);
    }
    if let Some(lock) = figure.lock {
        record["lock"] = json!(lock);
    }
    if let Some(memory) = figure.memory {
        record["memory"] = json!(memory);
    }
    if let Some(counts) = &figure.perf {
        let counts = counts.iter().map(|(name, count)| (name.to_owned(), json!(count)));
        record["perf"] = counts.collect::<Map<_, _>>().into();
    }
}
