//! Fallback pollution: the share of pageblocks with more than one kind of block in them; see `bench_harness::pollution`.
//!
//! `cargo bench --bench pollution` runs 10⁷ operations with grouping by type and as many without, and fails unless the first
//! leaves at most half as large a share of mixed pageblocks as the second. `cargo test --benches` only tries it.

use std::process::ExitCode;

use bench_harness::pollution::Load;
use gfp::zone::Grouping;

fn main() -> anyhow::Result<ExitCode> {
    let mut load = Load::default();
    if !std::env::args().any(|argument| argument == "--bench") {
        load.operations /= 20;
    }
    println!(
        "{} operations, seed {}, {} MiB of which {} % are in use, orders 0 to 3, three kinds of blocks",
        load.operations,
        load.seed,
        load.bytes >> 20,
        load.full_percent
    );
    println!("{:<22}{:>12}{:>12}{:>10}{:>10}", "pageblocks", "in use", "mixed", "share", "failed");
    let mut shares = Vec::new();
    for (name, grouping) in [("grouped by type", Grouping::ByMobility), ("not grouped", Grouping::Disabled)] {
        let pollution = load.run(grouping)?;
        println!(
            "{name:<22}{:>12}{:>12}{:>9.1}%{:>10}",
            pollution.used,
            pollution.mixed,
            100.0 * pollution.share(),
            pollution.failed
        );
        shares.push(pollution.share());
    }
    let halved = 2.0 * shares[0] <= shares[1];
    println!(
        "{}",
        if halved { "at most half, as it must be" } else { "MORE THAN HALF of what it is without grouping" }
    );
    Ok(if halved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
