//! The rival that maps each block, in a process that is short of mappings; alone, as all that a process maps counts.

use std::{fs, iter, thread as system};

use bench_harness::rival::{Migrate, Request, Rival, RivalThread, Zeroing};
use bench_harness::rivals::SystemCalls;

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count()
}

/// How many mappings the rival spares for others.
const SPARE: usize = 1 << 14;

/// Starts threads, each of which needs some mappings, and aborts the process where it gets none.
fn start_threads() {
    let threads: Vec<_> = iter::repeat_with(|| system::spawn(|| ())).take(64).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does nothing"));
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
    // It had all that it may but for some, until it gave up those it had spared.
    assert!(mappings() + SPARE > limit - 100 && !rival.is_at_system_limit(), "{} mappings", mappings());
    start_threads();
    // What was kept is handed out again, then a number of new ones is, then none.
    let more: Vec<_> = iter::from_fn(|| thread.alloc(request)).take(2 * limit).collect();
    assert!(more.len() < 2 * limit && rival.is_at_system_limit());
    start_threads();
    odd.into_iter().for_each(|(_, block)| thread.free(block, 0));
    more.into_iter().for_each(|block| thread.free(block, 0));
    drop(rival);
    assert!(mappings() < before + 1000, "{} mappings", mappings());
}
