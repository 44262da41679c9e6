//! Fallback pollution: the share of pageblocks with more than one kind of block in them; see `bench_harness::pollution`.
//!
//! `cargo bench --bench pollution` runs 10⁷ operations with grouping by type and as many without, at several fills, and fails
//! unless all together the first leave at most half as large a share of mixed pageblocks as the second. `cargo test --benches` only
//! tries it.

use std::process::ExitCode;

use bench_harness::pollution::{FULL_PERCENT, Load, Pollution};
use gfp::zone::Grouping;

fn main() -> anyhow::Result<ExitCode> {
    let mut load = Load::default();
    if !std::env::args().any(|argument| argument == "--bench") {
        load.operations /= 20;
    }
    let Load { seed, operations, bytes } = load;
    println!(
        "{operations} operations, seed {seed}, {} MiB; pageblocks that hold more than one kind",
        bytes >> 20
    );
    println!("{:>8}{:>18}{:>18}", "in use", "grouped by type", "not grouped");
    let mut sums = [Pollution::default(); 2];
    for full_percent in FULL_PERCENT {
        let mut shares = [0.0; 2];
        for (place, grouping) in [Grouping::ByMobility, Grouping::Disabled].into_iter().enumerate() {
            let pollution = load.run(grouping, full_percent)?;
            sums[place].add(pollution);
            shares[place] = 100.0 * pollution.share();
        }
        println!("{full_percent:>7}%{:>17.1}%{:>17.1}%", shares[0], shares[1]);
    }
    let [with, without] = sums.map(|sum| sum.share());
    println!("{:>8}{:>17.1}%{:>17.1}%", "all", 100.0 * with, 100.0 * without);
    if sums.iter().any(|sum| sum.failed > 0) {
        println!("requests failed: {}", sums.iter().map(|sum| sum.failed).sum::<u64>());
    }
    let halved = 2.0 * with <= without;
    println!("{}", if halved { "at most half of it, as it must be" } else { "MORE THAN HALF of it" });
    Ok(if halved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
