//! The buddy against a plain picture of which frames are free.

use super::*;
use crate::gfp::AllocFlags;

/// A buddy with a plain map of its free frames.
struct Checked {
    buddy: Buddy,
    free: Vec<bool>,
    held: Vec<(Pfn, Order, MigrateType)>,
    seed: u64,
}

impl Checked {
    fn new(start: u32, end: u32, max_order: u8) -> Self {
        let buddy = Buddy::new(Pfn::new(start), Pfn::new(end), Order::new(max_order)).expect("small");
        let free = (0..end).map(|pfn| pfn >= start).collect();
        Self { buddy, free, held: Vec::new(), seed: 0x9e37_79b9_7f4a_7c15 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn take(&mut self, pfn: Pfn, order: Order, kind: MigrateType) {
        assert!(pfn.is_aligned(order), "{pfn} of {order:?}");
        for frame in pfn.index()..pfn.add(order.frames()).index() {
            assert!(self.free[frame], "frame {frame:#x} handed out twice");
            self.free[frame] = false;
        }
        self.held.push((pfn, order, kind));
    }

    fn give_back(&mut self, index: usize) {
        let (pfn, order, kind) = self.held.swap_remove(index);
        self.free[pfn.index()..pfn.add(order.frames()).index()].fill(true);
        self.buddy.free(pfn, order, Mobility::of(kind));
    }

    /// Computes all maximal free blocks from the plain map, and compares their counts.
    fn verify(&self) {
        let mut expected = [[0u32; ORDERS]; TYPES];
        let max = self.buddy.max_order.get();
        let end = self.buddy.end.get();
        let all_free = |start: u32, order: u8| {
            start >= self.buddy.start.get()
                && u64::from(start) + (1 << order) <= u64::from(end)
                && self.free[start as usize..(start + (1 << order)) as usize].iter().all(|&free| free)
        };
        let kind = |start: u32| self.buddy.pageblock_type(Pfn::new(start));
        let mut at = self.buddy.start.get();
        while at < end {
            if !self.free[at as usize] {
                at += 1;
                continue;
            }
            let mut order = 0u8;
            while order < max {
                let parent = at & !((1 << (order + 1)) - 1);
                if parent == at && all_free(at, order + 1) { order += 1 } else { break }
            }
            expected[kind(at) as usize][usize::from(order)] += 1;
            at += 1 << order;
        }
        for migratetype in MigrateType::ALL {
            for order in 0..=max {
                assert_eq!(
                    self.buddy.nr_free(Order::new(order), migratetype),
                    expected[migratetype as usize][usize::from(order)],
                    "{migratetype} blocks of order {order}"
                );
            }
        }
        assert_eq!(self.buddy.free_frames(), self.free.iter().filter(|&&free| free).count() as u64);
    }
}

#[test]
fn counts_and_merging_are_exact_under_a_random_load() {
    for (start, end, max_order) in
        [(0, 8192, 10), (4096, 12_000, 10), (3, 5000, 9), (0, 1 << 15, 14), (0, 1, 10)]
    {
        let mut checked = Checked::new(start, end, max_order);
        checked.verify();
        let mut batch = FrameBatch::new();
        for step in 0..20_000 {
            let kind = [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable]
                [usize::try_from(checked.random(3)).expect("small")];
            let roll = checked.random(100);
            if roll < 40 {
                let order = Order::try_new(
                    u32::try_from(
                        [0, 0, 0, 1, 2, 3, 5, 9][usize::try_from(checked.random(8)).expect("small")],
                    )
                    .expect("small"),
                )
                .expect("small");
                let flags = if checked.random(2) == 0 { AllocFlags::empty() } else { AllocFlags::NOFRAGMENT };
                let (mut mode, mut done) = (RmqueueMode::default(), Fallback::default());
                let pfn =
                    checked.buddy.rmqueue(order, kind, flags, Grouping::ByMobility, &mut mode, &mut done);
                if let Some(pfn) = pfn {
                    checked.take(pfn, order, kind);
                }
            } else if roll < 50 {
                batch.clear();
                let count = u32::try_from(checked.random(500)).expect("small") + 1;
                let _ = checked.buddy.rmqueue_bulk(
                    Order::ZERO,
                    count,
                    kind,
                    AllocFlags::empty(),
                    Grouping::ByMobility,
                    &mut batch,
                );
                for pfn in batch.iter().collect::<Vec<_>>() {
                    checked.take(pfn, Order::ZERO, kind);
                }
            } else if !checked.held.is_empty() {
                for _ in 0..4 {
                    if checked.held.is_empty() {
                        break;
                    }
                    let count = checked.held.len() as u64;
                    let index = usize::try_from(checked.random(count)).expect("small");
                    checked.give_back(index);
                }
            }
            if step % 500 == 0 {
                checked.verify();
            }
        }
        while !checked.held.is_empty() {
            let last = checked.held.len() - 1;
            checked.give_back(last);
        }
        checked.verify();
    }
}
