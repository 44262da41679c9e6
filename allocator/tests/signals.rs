//! Signal handlers that allocate and free, wherever in the allocator they interrupt their thread.

mod common;

use std::{
    cell::Cell,
    ptr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use common::LiveMap;
use gfp::{
    Allocator, Gfp, Maintain, Order,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
        thread,
    },
};

/// How many signals the thread gets, and how many in the test of calls that never wait: a million, once in a run of all tests, of
/// which some are without default features.
const SIGNALS: u64 = 50_000;
const NOLOCK_SIGNALS: u64 = if cfg!(feature = "hwloc") { 1_000_000 } else { SIGNALS };
/// What the handler's blocks are marked with, and what the interrupted thread's are.
const HANDLER: u32 = 2;
const THREAD: u32 = 1;

struct Arena {
    allocator: Allocator,
    live: LiveMap,
}

/// The signal's handler is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());
static ARENA: OnceLock<Arena> = OnceLock::new();
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// How many signals are wanted.
static WANTED: AtomicU64 = AtomicU64::new(0);
static SERVED: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);
/// Whether the handler uses the calls that never wait.
static NOLOCK: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// What the handler asks for next.
    static TURN: Cell<u8> = const { Cell::new(0) };
}

fn arena() -> &'static Arena {
    ARENA.get_or_init(|| {
        let allocator =
            Allocator::builder(64 << 20).dma(0).cpus(1).maintain(Maintain::ByHand).build().expect("64 MiB");
        Arena { live: LiveMap::new(&allocator), allocator }
    })
}

/// Allocates a block as one who may not wait, marks it and frees it: no lock, no heap, no panic that unwinds.
extern "C" fn on_signal(_: libc::c_int) {
    let Some(Arena { allocator, live }) = ARENA.get() else { return };
    let turn = TURN.get();
    TURN.set(turn.wrapping_add(1));
    let order = Order::new([0, 0, 0, 1, 3][usize::from(turn) % 5]);
    let nolock = NOLOCK.load(Ordering::Relaxed);
    let asked =
        if nolock { allocator.alloc_pages_nolock(order) } else { allocator.alloc_pages(Gfp::NOWAIT, order) };
    if let Ok(mut pages) = asked {
        live.take(&mut pages, HANDLER);
        live.give(&mut pages, HANDLER);
        if nolock {
            allocator.free_pages_nolock(pages);
        } else {
            drop(pages);
        }
        SERVED.fetch_add(1, Ordering::Relaxed);
    }
    if HANDLED.fetch_add(1, Ordering::Release) + 1 < WANTED.load(Ordering::Relaxed) {
        set_next(TIMER.load(Ordering::Relaxed), turn);
    }
}

fn install() {
    // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the action is initialised, and its handler keeps to what a handler may do.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// A timer of the system's that interrupts the thread which made it; each handler sets it for the next.
///
/// Not one that repeats: where a signal takes longer than the interval, the thread would hardly come to do anything between two.
struct Interrupts(libc::timer_t);

/// The timer, for the handler.
static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

/// Sets the timer for a moment that differs from signal to signal: 2 to 18 µs from now.
fn set_next(timer: libc::timer_t, turn: u8) {
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 2_000 + 64 * i64::from(turn.wrapping_mul(167)) };
    let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: soon };
    // SAFETY: the timer lives as long as signals come; the call is one that a handler may make.
    unsafe { libc::timer_settime(timer, 0, &raw const once, ptr::null_mut()) };
}

impl Interrupts {
    fn start() -> Self {
        // SAFETY: all-zero is a valid sigevent, of which the rest is set.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR1;
        // SAFETY: no requirements.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both are valid for the call.
        let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        assert_eq!(made, 0);
        TIMER.store(timer, Ordering::Relaxed);
        set_next(timer, 0);
        Self(timer)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `start` and is deleted once; the last handler has not set it again.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Ends the process, on a thread of its own, when no signal is handled any more: the thread waits for itself.
fn watch(signals: u64) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut seen, mut seen_at) = (0, Instant::now());
        while !DONE.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(20));
            let handled = HANDLED.load(Ordering::Relaxed);
            if handled != seen {
                (seen, seen_at) = (handled, Instant::now());
            } else if seen_at.elapsed().as_secs() > 60 {
                eprintln!(
                    "signal {handled} of {signals} is still being handled: the thread waits for itself"
                );
                std::process::abort();
            }
        }
    })
}

/// Runs `work` over and over on this thread while it gets all the signals.
fn interrupted(nolock: bool, mut work: impl FnMut(&Arena)) {
    let _alone = ALONE.lock();
    NOLOCK.store(nolock, Ordering::Relaxed);
    let signals = if nolock { NOLOCK_SIGNALS } else { SIGNALS };
    let arena = arena();
    for counter in [&HANDLED, &SERVED] {
        counter.store(0, Ordering::Relaxed);
    }
    DONE.store(false, Ordering::Relaxed);
    WANTED.store(signals, Ordering::Relaxed);
    // The thread's first use registers it and takes memory from the heap, which no handler may interrupt.
    let warm: Vec<_> =
        [0, 0, 1, 3].map(|order| arena.allocator.alloc_pages(Gfp::KERNEL, Order::new(order))).into();
    drop(warm);
    install();
    let watcher = watch(signals);
    let interrupts = Interrupts::start();
    while HANDLED.load(Ordering::Relaxed) < signals {
        work(arena);
    }
    drop(interrupts);
    DONE.store(true, Ordering::Relaxed);
    watcher.join().expect("no panic");
    let served = SERVED.load(Ordering::Relaxed);
    assert!(served > signals / 2, "{served} of {signals} requests were served");
    common::assert_all_free(&arena.allocator);
}

#[test]
fn a_handler_allocates_and_frees_wherever_it_interrupts_a_pair() {
    let mut pairs = 0;
    interrupted(false, |Arena { allocator, live }| {
        let order = Order::new([0, 0, 0, 1, 3][pairs % 5]);
        let mut pages = allocator.alloc_pages(Gfp::KERNEL, order).expect("there is memory");
        live.take(&mut pages, THREAD);
        live.give(&mut pages, THREAD);
        drop(pages);
        pairs += 1;
    });
}

#[test]
fn a_handler_allocates_and_frees_wherever_it_interrupts_a_refill_or_a_drain() {
    interrupted(false, |Arena { allocator, .. }| {
        // More than a cache of this arena holds: an eighth of 16384 frames.
        let held: Vec<_> =
            (0..4000).map(|_| allocator.alloc_page(Gfp::KERNEL).expect("there is memory")).collect();
        drop(held);
        // And an order that no cache holds.
        drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(5)).expect("there is memory"));
    });
}

#[test]
fn a_million_handlers_use_the_calls_that_never_wait() {
    let mut turn = 0_usize;
    interrupted(true, |Arena { allocator, live }| {
        // Mostly pairs on the shortest way; now and then all that lies behind it.
        let count = if turn.is_multiple_of(2000) { 3000 } else { 1 };
        let order = Order::new([0, 0, 0, 1, 3][if count == 1 { turn % 5 } else { 0 }]);
        let mut held: Vec<_> =
            (0..count).map(|_| allocator.alloc_pages(Gfp::KERNEL, order).expect("there is memory")).collect();
        for pages in &mut held {
            live.take(pages, THREAD);
            live.give(pages, THREAD);
        }
        drop(held);
        turn += 1;
    });
}
