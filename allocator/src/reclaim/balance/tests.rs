//! The decisions of a run against a node that is only numbers.

use core::cell::{Cell, RefCell};

use super::*;
use proptest::prelude::*;

/// A node of one zone whose cache frees what the priority asks for.
struct Numbers {
    free: Cell<u64>,
    high: u64,
    boost: Cell<u64>,
    /// Frames that the cache has, and those of them that can be freed.
    cached: Cell<u64>,
    pinned: u64,
    /// The largest order that is whole.
    whole: Order,
    priorities: RefCell<Vec<u8>>,
    active: Cell<bool>,
    rounds_left: Cell<u32>,
}

impl Numbers {
    fn new(free: u64, high: u64, cached: u64) -> Self {
        Self {
            free: Cell::new(free),
            high,
            boost: Cell::new(0),
            cached: Cell::new(cached),
            pinned: 0,
            whole: Order::new(10),
            priorities: RefCell::default(),
            active: Cell::new(false),
            rounds_left: Cell::new(u32::MAX),
        }
    }

    fn run(&self, order: u8) -> Balanced {
        let done = balance_pgdat(self, Order::new(order), ZoneType::Normal);
        assert!(!self.active.get(), "caches may grow again");
        done
    }
}

impl Node for Numbers {
    fn is_balanced(&self, order: Order, _: ZoneType) -> bool {
        self.free.get() > self.high + self.boost.get() && order <= self.whole
    }

    fn boosts(&self, _: ZoneType) -> Boosts {
        [0, 0, self.boost.get(), 0, 0]
    }

    fn end_boosts(&self, boosts: &Boosts) {
        self.boost.set(self.boost.get().saturating_sub(boosts[2]));
    }

    fn set_active(&self, _: ZoneType, now: bool) {
        self.active.set(now);
    }

    fn target(&self, _: ZoneType) -> u64 {
        (self.high + self.boost.get()).max(32)
    }

    fn shrink(&self, priority: u8, _: Order, _: ZoneType, _: u64) -> Shrunk {
        assert!(self.active.get(), "caches shrink meanwhile");
        self.priorities.borrow_mut().push(priority);
        let scanned = self.cached.get() >> priority << 1;
        let freed = scanned.min(self.cached.get().saturating_sub(self.pinned));
        self.cached.set(self.cached.get() - freed);
        self.free.set(self.free.get() + freed);
        Shrunk { scanned, freed }
    }

    fn note_progress(&self) {
        self.rounds_left.set(self.rounds_left.get() - 1);
    }

    fn must_stop(&self) -> bool {
        self.rounds_left.get() == 0
    }
}

#[test]
fn a_balanced_node_is_left_alone() {
    let node = Numbers::new(101, 100, 1 << 20);
    let done = node.run(0);
    assert_eq!(done, Balanced { order: Order::ZERO, total: Shrunk::default(), has_failed: false });
    assert!(node.priorities.borrow().is_empty());
}

#[test]
fn where_a_round_looks_at_enough_the_priority_stays() {
    // A 2048th of the cache is 512 frames, more than the target.
    let node = Numbers::new(0, 400, 1 << 20);
    assert!(!node.run(0).has_failed);
    assert_eq!(*node.priorities.borrow(), [12]);
    let node = Numbers::new(0, 1000, 4 << 20);
    node.boost.set(0);
    node.free.set(0);
    node.run(0);
    assert!(node.priorities.borrow().iter().all(|&priority| priority == 12));
}

#[test]
fn where_it_looks_at_less_it_tries_harder() {
    let node = Numbers::new(0, 1000, 1 << 16);
    assert!(!node.run(0).has_failed);
    assert!(node.free.get() > 1000);
    assert!(node.priorities.borrow().windows(2).all(|two| two[1] == two[0] - 1), "{:?}", node.priorities);
}

#[test]
fn a_cache_that_frees_nothing_is_asked_with_each_priority_once_and_the_run_has_failed() {
    let mut node = Numbers::new(0, 400, 1 << 20);
    node.pinned = u64::MAX;
    let done = node.run(3);
    assert_eq!((done.total.freed, done.has_failed, done.order), (0, true, Order::new(3)));
    assert_eq!(*node.priorities.borrow(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn a_high_order_is_given_up_after_twice_the_block_was_reclaimed() {
    let mut node = Numbers::new(10_000, 100, 1 << 20);
    node.whole = Order::new(4);
    let done = node.run(9);
    assert_eq!(done.order, Order::ZERO);
    assert!((1024..1024 + 512).contains(&done.total.freed), "{done:?}");
    assert!(!done.has_failed);
}

#[test]
fn a_boost_is_reclaimed_for_with_little_effort_and_ends() {
    let node = Numbers::new(10_000, 1000, 1 << 14);
    node.boost.set(512);
    let done = node.run(0);
    assert!((512..600).contains(&done.total.freed), "{done:?}");
    assert!(node.priorities.borrow().iter().all(|&priority| priority >= 10), "{:?}", node.priorities);
    assert_eq!(node.boost.get(), 0);
}

#[test]
fn a_boost_for_which_nothing_can_be_reclaimed_ends_at_once_and_that_is_no_failure() {
    let node = Numbers::new(10_000, 1000, 0);
    node.boost.set(512);
    assert!(!node.run(0).has_failed);
    assert_eq!((node.priorities.borrow().len(), node.boost.get()), (1, 0));
}

#[test]
fn a_node_that_is_short_is_not_boosted_at_its_expense() {
    // Above the high mark only without the boost: reclaim in earnest, up to the boosted mark.
    let node = Numbers::new(1200, 1000, 1 << 12);
    node.boost.set(512);
    assert!(!node.run(0).has_failed);
    assert!(node.free.get() > 1512);
    assert!(*node.priorities.borrow().last().expect("rounds") < 10, "{:?}", node.priorities);
    assert_eq!(node.boost.get(), 0);
}

#[test]
fn a_boost_that_is_raised_meanwhile_stays() {
    struct Raises(Numbers);
    impl Node for Raises {
        fn is_balanced(&self, order: Order, highest: ZoneType) -> bool {
            self.0.is_balanced(order, highest)
        }
        fn boosts(&self, highest: ZoneType) -> Boosts {
            self.0.boosts(highest)
        }
        fn end_boosts(&self, boosts: &Boosts) {
            self.0.end_boosts(boosts);
        }
        fn set_active(&self, highest: ZoneType, now: bool) {
            self.0.set_active(highest, now);
        }
        fn target(&self, highest: ZoneType) -> u64 {
            self.0.target(highest)
        }
        fn shrink(&self, priority: u8, order: Order, highest: ZoneType, boost: u64) -> Shrunk {
            self.0.boost.set(self.0.boost.get() + 7);
            self.0.shrink(priority, order, highest, boost)
        }
        fn note_progress(&self) {}
        fn must_stop(&self) -> bool {
            false
        }
    }
    let node = Raises(Numbers::new(10_000, 1000, 0));
    node.0.boost.set(512);
    balance_pgdat(&node, Order::ZERO, ZoneType::Normal);
    assert_eq!(node.0.boost.get(), 7);
}

#[test]
fn who_must_stop_stops_after_the_round() {
    let node = Numbers::new(0, 1 << 20, 1 << 20);
    node.rounds_left.set(3);
    assert!(!node.run(0).has_failed);
    assert_eq!(node.priorities.borrow().len(), 3);
}

proptest! {
    #[test]
    fn a_run_ends_and_is_either_balanced_or_out_of_priorities(
        free in 0_u64..5000, high in 0_u64..5000, cached in 0_u64..1 << 22, pinned in 0_u64..1 << 22,
        boost in 0_u64..2000, order in 0_u8..=10, whole in 0_u8..=10,
    ) {
        let mut node = Numbers::new(free, high, cached);
        node.pinned = pinned;
        node.whole = Order::new(whole);
        node.boost.set(boost);
        let done = balance_pgdat(&node, Order::new(order), ZoneType::Normal);
        let priorities = node.priorities.borrow();
        prop_assert_eq!(node.boost.get(), 0);
        prop_assert_eq!(done.total.freed, cached - node.cached.get());
        prop_assert!(priorities.iter().all(|priority| (1..=12).contains(priority)));
        prop_assert!(done.has_failed <= (done.total.freed == 0));
        let is_balanced = node.is_balanced(done.order, ZoneType::Normal);
        prop_assert!(is_balanced || priorities.last() == Some(&1) || boost > 0, "{:?} {:?}", done, priorities);
        if boost == 0 {
            // Never back, and only as far as it is needed.
            prop_assert!(priorities.is_sorted_by(|a, b| a >= b));
        }
    }
}
