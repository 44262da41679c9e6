use super::*;

fn small() -> Allocator {
    Allocator::builder(64 << 20).maintain(Maintain::ByHand).build().expect("64 MiB")
}

#[test]
fn blocks_do_not_overlap_and_come_back() {
    let allocator = small();
    let mut held = Vec::new();
    for turn in 0..2000_usize {
        let order = Order::new([0, 0, 0, 1, 2, 3, 4, 9][turn % 8]);
        if let Ok(mut pages) = allocator.alloc_pages(Gfp::KERNEL, order) {
            pages.bytes_mut()[0].write(7);
            held.push(pages);
        }
    }
    let mut spans: Vec<_> = held.iter().map(|p| (p.offset(), p.offset() + p.len())).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(allocator.conservation().holds(), "{}", allocator.conservation());
    held.clear();
    allocator.drain_all();
    let after = allocator.conservation();
    assert!(after.holds() && after.allocated() == 0 && after.cached() == 0, "{after}");
    assert_eq!(allocator.bad_pages(), 0);
}
