//! Contended: where nothing stands between a thread and the allocator's lock.

/// The orders that are asked for unless others are named. gfp's caches hold orders up to 3 and the order of a huge page, as the
/// kernel's do: each operation of these takes the lock of the zone, and so shows the buddy and its lock, not the caches.
///
/// All threads run [`Pair`](super::Pair) at once, on one allocator: a thread keeps one block alive at the most. General allocators
/// may well cache these sizes; what they are compared with then is their cache.
pub(super) const ORDERS: [u32; 2] = [4, 10];

#[cfg(test)]
mod tests {
    use super::*;
    use gfp::{Allocator, Gfp, Order};

    #[test]
    fn no_cache_of_gfp_holds_these_orders() {
        let allocator = Allocator::builder(64 << 20).build().unwrap();
        let handle = allocator.handle().unwrap();
        for order in ORDERS {
            let block = handle.alloc_pages(Gfp::KERNEL, Order::try_new(order).unwrap()).unwrap();
            handle.free_pages(block);
            assert_eq!(allocator.conservation().cached(), 0, "order {order}");
        }
    }
}
