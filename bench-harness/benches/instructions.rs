//! Instructions of the hot paths, counted by gungraun under valgrind: the same on every run of one thread, however busy the machine.
//!
//! A figure is of 1000 operations, with the few instructions of the loop around them. Skipped with a message where valgrind or the
//! runner is missing (`cargo install gungraun-runner --version 0.20.0`); what must hold everywhere is gated by
//! `tests/instructions.rs`, which needs valgrind alone.

#![expect(unused_qualifications, missing_docs, reason = "of what gungraun's macros expand to")]

use std::hint::black_box;
use std::process::Command;

use gfp::{Allocator, Gfp, Handle, Maintain, Order, Pages};
use gungraun::{LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};

/// Operations of a figure; a multiple of a batch would hide what its ends cost.
const OPERATIONS: usize = 1000;
/// Blocks of a batch, and frames of a request for many.
const BATCH: usize = 64;

/// A thread's way into an allocator, warm.
struct Ready {
    handle: Handle,
    order: Order,
}

impl Ready {
    fn new(order: u8) -> Self {
        // Nothing else happens in this process.
        let built = Allocator::builder(256 << 20).maintain(Maintain::ByHand).build();
        let handle = built.expect("256 MiB can be had").handle().expect("a thread gets a cache");
        let ready = Self { handle, order: Order::new(order) };
        ready.pairs(100);
        ready.batches(2 * BATCH);
        ready
    }

    /// Allocates and frees a block at a time.
    fn pairs(&self, count: usize) {
        for _ in 0..count {
            self.handle.free_pages(black_box(self.block()));
        }
    }

    /// Allocates a batch and frees it, the last block first, until there were so many blocks.
    fn batches(&self, count: usize) {
        let mut blocks: Vec<Pages> = Vec::with_capacity(BATCH);
        for first in (0..count).step_by(BATCH) {
            for _ in 0..BATCH.min(count - first) {
                blocks.push(self.block());
            }
            while let Some(block) = blocks.pop() {
                self.handle.free_pages(block);
            }
        }
    }

    fn block(&self) -> Pages {
        self.handle.alloc_pages(Gfp::KERNEL, self.order).expect("there is memory")
    }
}

#[library_benchmark]
#[bench::order_0(Ready::new(0))]
#[bench::order_3(Ready::new(3))]
#[bench::order_9(Ready::new(9))]
fn pair(ready: Ready) -> Ready {
    ready.pairs(OPERATIONS);
    ready
}

#[library_benchmark]
#[bench::order_0(Ready::new(0))]
fn batch(ready: Ready) -> Ready {
    ready.batches(OPERATIONS);
    ready
}

#[library_benchmark]
#[bench::order_0(Ready::new(0))]
fn bulk_api(ready: Ready) -> Ready {
    let mut slots: [Option<Pages>; BATCH] = [const { None }; BATCH];
    for first in (0..OPERATIONS).step_by(BATCH) {
        let wanted = &mut slots[..BATCH.min(OPERATIONS - first)];
        let filled = ready.handle.alloc_pages_bulk(Gfp::KERNEL, wanted);
        assert_eq!(filled, wanted.len(), "there is memory");
        ready.handle.free_pages_bulk(wanted);
    }
    ready
}

/// Ends the process with a message where something is missing: this is asked for before anything is run.
fn configuration() -> LibraryBenchmarkConfig {
    for (program, remedy) in [
        ("valgrind", "Debian: apt install valgrind"),
        ("gungraun-runner", "cargo install gungraun-runner --version 0.20.0"),
    ] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("instruction counts: skipped: {program} is missing ({remedy})");
            std::process::exit(0);
        }
    }
    LibraryBenchmarkConfig::default()
}

library_benchmark_group!(name = hot_paths, benchmarks = [pair, batch, bulk_api]);
main!(config = configuration(), library_benchmark_groups = hot_paths);
