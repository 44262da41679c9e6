//! Who reclaims when memory is short: kswapd, requests by themselves, and requests before they go to another node.

mod common;

use std::{collections::VecDeque, iter, sync::mpsc, thread::scope};

use common::{is_mapped, threads_named};
use gfp::{
    Allocator, Builder, Gfp, Maintain, Nid, Order, Pages, Spread,
    gfp::MemallocScope,
    platform::{
        NodeId, Topology,
        pin::{current_cpu, pin_current},
    },
    reclaim::{ObjectCount, RegisteredShrinker, ShrinkControl, Shrinker},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        thread,
    },
};

/// Threads of the whole process are looked at: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

fn builder() -> Builder {
    Allocator::builder(16 << 20).dma(0).cpus(2)
}

fn by_hand() -> Allocator {
    builder().maintain(Maintain::ByHand).build().expect("16 MiB")
}

/// Pages that could be read again, the oldest first.
#[derive(Default)]
struct Cache {
    pages: Mutex<VecDeque<Pages>>,
    scans: AtomicU64,
    /// The masks of all scans.
    masks: AtomicU32,
}

/// The cache as the allocator has it, with what is done at each scan besides.
struct CacheShrinker<F> {
    cache: Arc<Cache>,
    at_scan: F,
}

impl<F: Fn() + Send + Sync> Shrinker for CacheShrinker<F> {
    fn count_objects(&self, _: &ShrinkControl) -> ObjectCount {
        ObjectCount::Objects(self.cache.pages.lock().len() as u64)
    }

    fn scan_objects(&self, control: &mut ShrinkControl) -> Option<u64> {
        (self.at_scan)();
        self.cache.scans.fetch_add(1, Ordering::Relaxed);
        self.cache.masks.fetch_or(control.gfp().bits(), Ordering::Relaxed);
        let mut pages = self.cache.pages.lock();
        let wanted = usize::try_from(control.nr_to_scan()).expect("64 bits").min(pages.len());
        let given: Vec<_> = pages.drain(..wanted).collect();
        drop(pages);
        Some(given.len() as u64)
    }
}

impl Cache {
    fn register(
        self: &Arc<Self>,
        allocator: &Allocator,
        at_scan: impl Fn() + Send + Sync + 'static,
    ) -> RegisteredShrinker {
        let cache = Arc::clone(self);
        allocator.register_shrinker("cache", CacheShrinker { cache, at_scan })
    }

    fn add(&self, page: Pages) {
        self.pages.lock().push_back(page);
    }

    /// Takes all that there is until a scan has begun that says so.
    fn fill_until(&self, allocator: &Allocator, is_inside: &mpsc::Receiver<()>) {
        while is_inside.try_recv().is_err() {
            self.fill(allocator, None, Gfp::NOWAIT);
            thread::yield_now();
        }
    }

    fn scans(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// Fills itself until requests of this kind get nothing, and the caller's cache has nothing either. Page by page: a kswapd
    /// that looks meanwhile, as it does when it starts late, must find something, or it soon gives up.
    fn fill(&self, allocator: &Allocator, node: Option<Nid>, gfp: Gfp) {
        let next = || allocator.alloc_pages_node(node, gfp, Order::ZERO).ok();
        while let Some(page) = next() {
            self.add(page);
            iter::from_fn(next).for_each(|page| self.add(page));
            _ = allocator.drain_all();
        }
    }
}

/// Cached pages go with the cache, and all is free in the end.
fn assert_all_free(allocator: &Allocator, cache: &Cache) {
    cache.pages.lock().clear();
    common::assert_all_free(allocator);
}

/// Requests that neither wait nor reclaim, and do not wake anybody either.
fn quiet() -> Gfp {
    Gfp::NOWAIT.without(Gfp::KSWAPD_RECLAIM)
}

fn kswapds_of_this_process() -> usize {
    threads_named("gfp-kswapd").len()
}

fn is_kswapd() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("gfp-kswapd"))
}

#[test]
fn kswapd_alone_keeps_a_cache_alive_whose_requests_do_not_wait() {
    let _alone = alone();
    let allocator = builder().build().expect("16 MiB");
    let cache = Arc::new(Cache::default());
    let registered = cache.register(&allocator, || assert!(is_kswapd(), "nobody else reclaims"));
    let mut left = 4 * allocator.arena().frames();
    while left > 0 {
        match allocator.alloc_page(Gfp::NOWAIT) {
            Ok(page) => {
                cache.add(page);
                left -= 1;
            }
            Err(_) => thread::yield_now(),
        }
    }
    let vmstat = allocator.vmstat();
    assert!(vmstat.pgsteal_kswapd > 0 && vmstat.pgscan_kswapd > 0 && vmstat.pageoutrun > 0);
    assert_eq!((vmstat.pgsteal_direct, vmstat.pgscan_direct, vmstat.allocstall), (0, 0, [0; 5]));
    let kswapd = allocator.kswapds().remove(0);
    assert_eq!((kswapd.hopeless, kswapd.reclaimed >= vmstat.pgsteal_kswapd), (false, true));
    assert!(kswapd.wakeups > 0);
    drop(registered);
    assert_all_free(&allocator, &cache);
}

#[test]
fn without_a_thread_requests_reclaim_by_themselves_and_by_hand_memory_comes_above_the_high_mark() {
    let allocator = by_hand();
    let cache = Arc::new(Cache::default());
    let registered = cache.register(&allocator, || {});
    for _ in 0..4 * allocator.arena().frames() {
        cache.add(allocator.alloc_page(Gfp::KERNEL).expect("there are pages to reclaim"));
    }
    let before = allocator.vmstat();
    assert!(before.pgsteal_direct > 0 && before.pgscan_direct >= before.pgsteal_direct);
    assert!(before.allocstall.iter().sum::<u64>() > 0);
    assert_eq!((before.pgsteal_kswapd, before.pageoutrun, before.pgscan_direct_throttle), (0, 0, 0));
    cache.fill(&allocator, None, quiet());
    assert!(allocator.kswapds()[0].running, "it was rung for");
    allocator.age();
    let zone = allocator.zone_stats().remove(0);
    assert!(zone.free > zone.marks.high + zone.marks.boost, "{zone:?}");
    let after = allocator.vmstat();
    assert!(after.pgsteal_kswapd > 0 && after.pgsteal_direct == before.pgsteal_direct);
    assert!(!allocator.kswapds()[0].running);
    drop(registered);
    assert_all_free(&allocator, &cache);
}

#[test]
fn who_may_not_wait_or_is_reclaiming_already_never_runs_a_shrinker() {
    let allocator = by_hand();
    let cache = Arc::new(Cache::default());
    let registered = cache.register(&allocator, || {});
    for gfp in [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::NOWAIT | Gfp::MEMALLOC] {
        cache.fill(&allocator, None, gfp);
    }
    let scope = MemallocScope::enter();
    assert!(allocator.alloc_page(Gfp::KERNEL).is_err(), "there is nothing left");
    drop(scope);
    assert_eq!((cache.scans(), allocator.vmstat().allocstall), (0, [0; 5]));
    // So much was taken that one turn may not be enough.
    assert!((0..16).any(|_| allocator.alloc_page(Gfp::KERNEL).is_ok()));
    assert!(cache.scans() > 0);
    drop(registered);
    assert_all_free(&allocator, &cache);
}

#[test]
fn a_request_that_would_take_the_last_waits_for_kswapd() {
    let _alone = alone();
    let allocator = builder().build().expect("16 MiB");
    let cache = Arc::new(Cache::default());
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let registered = cache.register(&allocator, move || {
        if is_kswapd() {
            // Until the other end is dropped.
            _ = wait.lock().recv();
        }
    });
    cache.fill(&allocator, None, quiet() | Gfp::MEMALLOC);
    let is_over = AtomicBool::new(false);
    let has_waited = || allocator.vmstat().pgscan_direct_throttle > 0;
    scope(|scope| {
        scope.spawn(|| {
            while !has_waited() && !is_over.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            drop(go);
        });
        // Waits before it reclaims by itself. So much was taken that one turn may not be enough.
        let is_served = (0..16).any(|_| allocator.alloc_page(Gfp::KERNEL).is_ok());
        is_over.store(true, Ordering::Relaxed);
        assert!(is_served && has_waited());
    });
    drop(registered);
    assert_all_free(&allocator, &cache);
}

#[test]
fn an_allocator_whose_kswapd_is_in_a_shrinker_that_does_not_return_is_dropped_and_ends_later() {
    let _alone = alone();
    let allocator = builder().build().expect("16 MiB");
    let base = allocator.arena().base().addr().get();
    let cache = Arc::new(Cache::default());
    let (go, wait) = mpsc::channel::<()>();
    let (entered, is_inside) = mpsc::channel::<()>();
    let (wait, entered) = (Mutex::new(wait), Mutex::new(entered));
    let registered = cache.register(&allocator, move || {
        _ = entered.lock().send(());
        _ = wait.lock().recv();
    });
    cache.fill_until(&allocator, &is_inside);
    drop(allocator);
    assert!(is_mapped(base) && kswapds_of_this_process() == 1, "it uses the memory");
    drop(go);
    cache.pages.lock().clear();
    while is_mapped(base) || kswapds_of_this_process() > 0 {
        thread::yield_now();
        cache.pages.lock().clear();
    }
    drop(registered);
}

#[test]
fn a_shrinker_may_drop_the_last_clone_on_kswapds_own_thread() {
    let _alone = alone();
    let allocator = builder().build().expect("16 MiB");
    let base = allocator.arena().base().addr().get();
    let cache = Arc::new(Cache::default());
    let (last, here) = mpsc::channel::<Allocator>();
    let (entered, is_inside) = mpsc::channel::<()>();
    let (here, entered) = (Mutex::new(here), Mutex::new(entered));
    let registered = cache.register(&allocator, move || {
        _ = entered.lock().send(());
        drop(here.lock().recv());
    });
    cache.fill_until(&allocator, &is_inside);
    last.send(allocator).expect("the shrinker is there");
    drop(last);
    while is_mapped(base) || kswapds_of_this_process() > 0 {
        thread::yield_now();
        cache.pages.lock().clear();
    }
    drop(registered);
}

fn two_nodes(mode: u32) -> Allocator {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a machine");
    let parts = vec![(NodeId(0), 16 << 20), (NodeId(1), 16 << 20)];
    let builder = Allocator::builder(32 << 20).dma(0).cpus(2).topology(topology).nodes(Spread::Nodes(parts));
    builder.maintain(Maintain::ByHand).node_reclaim_mode(mode).build().expect("32 MiB")
}

#[test]
fn while_kswapd_reclaims_a_node_requests_turn_to_others() {
    let allocator = two_nodes(0);
    let (home, other) = (Nid::new(0), Nid::new(1));
    let cache = Arc::new(Cache::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    cache.fill(&allocator, Some(home), quiet() | Gfp::THISNODE);
    assert!(allocator.alloc_pages_node(Some(home), Gfp::NOWAIT | Gfp::THISNODE, Order::ZERO).is_err());
    let registered = {
        let (allocator, seen) = (allocator.clone(), Arc::clone(&seen));
        cache.register(&allocator.clone(), move || {
            let page =
                allocator.alloc_pages_node(Some(home), Gfp::KERNEL, Order::ZERO).expect("the other has room");
            seen.lock().push(allocator.node_of(&page));
        })
    };
    allocator.age();
    // The shrinker keeps the allocator: that ends now.
    drop(registered);
    let seen = core::mem::take(&mut *seen.lock());
    assert!(!seen.is_empty() && seen.iter().all(|&node| node == other), "{seen:?}");
    let page = allocator.alloc_pages_node(Some(home), Gfp::KERNEL, Order::ZERO).expect("room");
    assert_eq!(allocator.node_of(&page), home);
    drop(page);
    assert_all_free(&allocator, &cache);
}

/// Runs a test on a thread that stays on one CPU.
fn pinned(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        pin_current(current_cpu()).expect("it runs there");
        test();
    });
    thread.join().expect("the test passes");
}

/// Fills the caller's own node with cached pages, has a request for it, and says where that was served and what was counted.
fn ask_at_home(mode: u32, gfp: Gfp) -> (bool, u64, u64, Gfp) {
    let allocator = two_nodes(mode);
    let home = allocator.numa_mem_id();
    let cache = Arc::new(Cache::default());
    let registered = cache.register(&allocator, || {});
    cache.fill(&allocator, Some(home), quiet() | Gfp::THISNODE);
    let page = allocator.alloc_pages_node(Some(home), gfp, Order::ZERO).expect("one node has room");
    let (is_home, vmstat) = (allocator.node_of(&page) == home, allocator.vmstat());
    drop((page, registered));
    assert_eq!(vmstat.allocstall, [0; 5], "nobody is on the slow path");
    let mask = Gfp::from_bits_retain(cache.masks.load(Ordering::Relaxed));
    assert_all_free(&allocator, &cache);
    (is_home, vmstat.zone_reclaim_success, vmstat.zone_reclaim_failed, mask)
}

#[test]
fn with_node_reclaim_a_request_stays_at_home() {
    pinned(|| {
        let without_io = Gfp::KERNEL.without(Gfp::IO).without(Gfp::FS);
        assert_eq!(ask_at_home(1, Gfp::KERNEL), (true, 1, 0, without_io));
        assert_eq!(ask_at_home(2, Gfp::KERNEL), (true, 1, 0, Gfp::KERNEL), "caches may write");
        assert_eq!(ask_at_home(4, Gfp::KERNEL), (true, 1, 0, without_io));
    });
}

#[test]
fn without_it_and_for_those_who_may_not_wait_the_next_node_serves() {
    pinned(|| {
        assert_eq!(ask_at_home(0, Gfp::KERNEL), (false, 0, 0, Gfp::empty()));
        assert_eq!(ask_at_home(7, Gfp::NOWAIT), (false, 0, 0, Gfp::empty()));
        let _scope = MemallocScope::enter();
        assert_eq!(ask_at_home(7, Gfp::KERNEL).1, 0);
    });
}

#[test]
fn a_node_of_other_cpus_and_one_with_little_cached_are_not_reclaimed() {
    pinned(|| {
        let allocator = two_nodes(1);
        let home = allocator.numa_mem_id();
        let other = Nid::new(1 - home.index());
        let cache = Arc::new(Cache::default());
        let registered = cache.register(&allocator, || {});
        cache.fill(&allocator, Some(other), quiet() | Gfp::THISNODE);
        let page = allocator.alloc_pages_node(Some(other), Gfp::KERNEL, Order::ZERO).expect("home has room");
        assert_eq!((allocator.node_of(&page), cache.scans()), (home, 0), "its own CPUs see to it");
        // The same at home, where all but 40 pages, less than 1 %, belong to somebody.
        cache.fill(&allocator, Some(home), quiet() | Gfp::THISNODE);
        let mut cached = cache.pages.lock();
        let all = cached.len();
        let held: Vec<_> = cached.drain(..all - 40).collect();
        drop(cached);
        assert!(allocator.alloc_pages_node(Some(home), Gfp::KERNEL | Gfp::THISNODE, Order::ZERO).is_ok());
        assert_eq!(allocator.vmstat().zone_reclaim_success + allocator.vmstat().zone_reclaim_failed, 0);
        drop((held, page, registered));
        assert_all_free(&allocator, &cache);
    });
}

/// Says that it has so many objects on one node, and frees none of them.
struct Promises(Nid);

impl Shrinker for Promises {
    fn count_objects(&self, control: &ShrinkControl) -> ObjectCount {
        if control.nid() == self.0 { ObjectCount::Objects(4096) } else { ObjectCount::Empty }
    }

    fn scan_objects(&self, _: &mut ShrinkControl) -> Option<u64> {
        Some(0)
    }

    fn numa_aware(&self) -> bool {
        true
    }
}

#[test]
fn what_caches_of_any_node_have_makes_another_round_worth_it() {
    let topology = Topology::synthetic("numa:2 core:2 pu:1").expect("a machine");
    let parts = vec![(NodeId(0), 8 << 20), (NodeId(1), 8 << 20)];
    let builder = builder().topology(topology).nodes(Spread::Nodes(parts)).maintain(Maintain::ByHand);
    let allocator = builder.build().expect("16 MiB");
    let [first, second] = [Nid::new(0), Nid::new(1)];
    let ask = || allocator.alloc_pages_node(Some(first), Gfp::KERNEL, Order::ZERO);
    let held: Vec<_> = iter::from_fn(|| ask().ok()).collect();
    let rounds = || ask().expect_err("nothing is free").reclaim().rounds;
    assert_eq!(rounds(), 1, "no cache has anything");
    for node in [first, second] {
        let registered = allocator.register_shrinker("promises", Promises(node));
        assert_eq!(rounds(), 17, "{node:?}: 16 more without progress");
        drop(registered);
    }
    drop(held);
}
