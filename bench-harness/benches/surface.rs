//! The other ways to ask, each beside the one that it is to be compared with: 64 frames at a time against one by one, and the
//! calls that never wait against those that may.

use std::{hint::black_box, mem::MaybeUninit};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gfp::{Allocator, Gfp, Order, Pages};

/// Frames of one request.
const FRAMES: usize = 64;

fn allocator() -> Allocator {
    Allocator::builder(1 << 30).build().expect("1 GiB of address space")
}

fn bulk(criterion: &mut Criterion) {
    let allocator = allocator();
    let mut group = criterion.benchmark_group("64 frames");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("alloc_page, free_page", |bencher| {
        let mut slots: [MaybeUninit<Pages>; FRAMES] = [const { MaybeUninit::uninit() }; FRAMES];
        bencher.iter(|| {
            for slot in &mut slots {
                slot.write(black_box(&allocator).alloc_page(Gfp::KERNEL).expect("there is memory"));
            }
            black_box(&mut slots);
            for slot in &slots {
                // SAFETY: all were written above, and each is read once.
                black_box(&allocator).free_page(unsafe { slot.assume_init_read() });
            }
        });
    });
    group.bench_function("alloc_pages_bulk, free_pages_bulk", |bencher| {
        let mut slots: [Option<Pages>; FRAMES] = [const { None }; FRAMES];
        bencher.iter(|| {
            let filled = black_box(&allocator).alloc_pages_bulk(Gfp::KERNEL, &mut slots);
            assert_eq!(filled, FRAMES, "there is memory");
            black_box(&mut slots);
            black_box(&allocator).free_pages_bulk(&mut slots);
        });
    });
    group.finish();
}

fn nolock(criterion: &mut Criterion) {
    let allocator = allocator();
    let mut group = criterion.benchmark_group("pair");
    group.bench_function("alloc_page, free_page", |bencher| {
        bencher.iter(|| {
            let pages = black_box(&allocator).alloc_page(Gfp::KERNEL).expect("there is memory");
            black_box(&allocator).free_page(black_box(pages));
        });
    });
    group.bench_function("alloc_pages_nolock, free_pages_nolock", |bencher| {
        bencher.iter(|| {
            let pages = black_box(&allocator).alloc_pages_nolock(Order::ZERO).expect("there is memory");
            black_box(&allocator).free_pages_nolock(black_box(pages));
        });
    });
    group.finish();
}

criterion_group!(benches, bulk, nolock);
criterion_main!(benches);
