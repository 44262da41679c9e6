//! An order-0 pair, again and again: what the instruction gate counts.
use gfp::{Allocator, Gfp, Maintain, Order};
use std::hint::black_box;

fn main() {
    let mut args = std::env::args().skip(1);
    let way = args.next().unwrap_or_else(|| "handle".into());
    let pairs: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let allocator = Allocator::builder(256 << 20).maintain(Maintain::ByHand).build().expect("256 MiB");
    let handle = allocator.handle().expect("a cache");
    for _ in 0..100 {
        handle.free_pages(handle.alloc_page(Gfp::KERNEL).expect("memory"));
    }
    let t = std::time::Instant::now();
    match way.as_str() {
        "handle" => by_handle(&handle, pairs),
        "tls" => by_thread(&allocator, pairs),
        _ => {
            for _ in 0..pairs {
                black_box(Order::ZERO);
            }
        }
    }
    eprintln!("{way} {:.2} ns", t.elapsed().as_nanos() as f64 / pairs as f64);
}
#[inline(never)]
fn by_handle(handle: &gfp::Handle, pairs: u64) {
    for _ in 0..pairs {
        if let Ok(pages) = handle.alloc_pages(Gfp::KERNEL, Order::ZERO) {
            black_box(&pages);
            handle.free_pages(pages);
        }
    }
}
#[inline(never)]
fn by_thread(allocator: &Allocator, pairs: u64) {
    for _ in 0..pairs {
        if let Ok(pages) = allocator.alloc_pages(Gfp::KERNEL, Order::ZERO) {
            black_box(&pages);
            drop(pages);
        }
    }
}
