//! The series of the workload fragmentation: a table of how they end, and their records.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{BenchArgs, Emit};
use crate::rivals::{Memory, with_rival};
use crate::terminal::print;
use crate::workload::fragmentation::{Load, Point, Series};

/// The orders that the table has a column for.
const COLUMNS: [usize; 4] = [1, 3, 6, 9];

/// Runs the load on every allocator that has an arena, prints how the arenas fared, and emits two records for each; says whether
/// all allocators did as they must.
///
/// # Errors
/// An arena cannot be had, or a record cannot be written.
pub(super) fn run(args: &BenchArgs, allocators: &[&str], emit: &mut Emit<'_>) -> anyhow::Result<bool> {
    let load = Load::default();
    let memory = Memory { bytes: args.arena.unwrap_or(load.bytes), backing: args.backing };
    let load = Load { bytes: memory.bytes, ..load };
    print(format_args!("{}", head(&load)))?;
    let (mut sound, mut without_arena) = (true, Vec::new());
    for name in allocators {
        match with_rival(name, memory, load)? {
            None => without_arena.push(*name),
            Some(Err(defect)) => {
                sound = false;
                eprintln!("fragmentation: {name}: {defect}");
            }
            Some(Ok(series)) => {
                print(format_args!("{}\n", row(name, &series)))?;
                emit(series_record(name, &load, &series))?;
                emit(blocks_record(name, &load, &series))?;
            }
        }
    }
    if !without_arena.is_empty() {
        print(format_args!("no arena to look at: {}\n", without_arena.join(", ")))?;
    }
    Ok(sound)
}

fn head(Load { seed, operations, bytes }: &Load) -> String {
    let mut head = format!(
        "\nfragmentation: {operations} operations in {} MiB, seed {seed}; unusable share of the free memory by order, mean of the \
         second half\n{:<14}",
        bytes >> 20,
        "allocator"
    );
    COLUMNS.iter().for_each(|order| _ = write!(head, "{:>9}", format!("order {order}")));
    _ = writeln!(head, "{:>16}{:>10}", "largest, least", "failed");
    head
}

/// Makes the line of an allocator: how it was in the second half, when the arena was full.
fn row(name: &str, series: &Series) -> String {
    let late = &series.points[series.points.len() / 2..];
    let mut row = format!("{name:<14}");
    for order in COLUMNS {
        _ = write!(row, "{:>9.3}", mean(late, order));
    }
    let least = late.iter().filter_map(|point| point.largest_free_order).min();
    let least = least.map_or_else(|| "-".to_owned(), |order| format!("order {order}"));
    _ = write!(row, "{least:>16}{:>10}", series.failed);
    row
}

#[expect(clippy::cast_precision_loss, reason = "a hundred points")]
fn mean(points: &[Point], order: usize) -> f64 {
    points.iter().map(|point| point.unusable_index[order]).sum::<f64>() / points.len().max(1) as f64
}

fn series_record(name: &str, load: &Load, series: &Series) -> Value {
    let point = |point: &Point| {
        json!({
            "operations": point.operations,
            "live_frames": point.live_frames,
            "unusable_index": point.unusable_index,
            "largest_free_order": point.largest_free_order,
        })
    };
    json!({
        "kind": "series",
        "allocator": name,
        "seed": load.seed,
        "operations": load.operations,
        "arena_bytes": load.bytes,
        "failed": series.failed,
        "points": series.points.iter().map(point).collect::<Vec<_>>(),
    })
}

fn blocks_record(name: &str, load: &Load, series: &Series) -> Value {
    let pageblocks = series.pageblocks.iter();
    json!({
        "kind": "blocks",
        "allocator": name,
        "when": format!("after {} operations", load.operations),
        "pageblocks": pageblocks.map(|block| json!({ "type": block.kind, "used_frames": block.used_frames })).collect::<Vec<_>>(),
    })
}
