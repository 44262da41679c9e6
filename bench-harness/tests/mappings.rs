//! The rival that maps each block, in a process that has all the mappings it may have; alone, as nobody else could start a thread.

use std::{fs, time::Duration};

use bench_harness::rival::{Migrate, Request, Rival, RivalThread, Zeroing};
use bench_harness::rivals::SystemCalls;

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count()
}

#[test]
fn a_process_with_too_many_mappings_has_few_again_when_all_is_freed() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").expect("/proc is mounted");
    let limit: usize = limit.trim().parse().expect("a number");
    if limit > 100_000 {
        return println!("skipped: vm.max_map_count is {limit}, which would take too long to reach");
    }
    let rival = SystemCalls::default();
    let mut thread = rival.thread();
    let request = Request { order: 0, migrate: Migrate::Unmovable, zeroed: Zeroing::Untouched };
    let before = mappings();
    let blocks: Vec<_> = (0..2 * limit + 1000).map(|_| thread.alloc(request).expect("addresses")).collect();
    // Without every other one of them each is a mapping of its own.
    let (even, odd): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    even.into_iter().for_each(|(_, block)| thread.free(block, 0));
    assert!(mappings() > limit - 100, "{} mappings", mappings());
    odd.into_iter().for_each(|(_, block)| thread.free(block, 0));
    thread.end_sample(Duration::ZERO);
    assert!(mappings() < before + 1000, "{} mappings", mappings());
}
