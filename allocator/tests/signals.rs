//! Signal handlers that allocate and free, wherever in the allocator they interrupt their thread.

mod common;

use std::{cell::Cell, ptr, sync::OnceLock, time::Instant};

use common::LiveMap;
use gfp::{
    Allocator, Gfp, Maintain, Order,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        hint, thread,
    },
};

/// How many signals the thread gets.
const SIGNALS: u64 = 100_000;
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
static SERVED: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

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
    if let Ok(mut pages) = allocator.alloc_pages(Gfp::NOWAIT, order) {
        live.take(&mut pages, HANDLER);
        live.give(&mut pages, HANDLER);
        drop(pages);
        SERVED.fetch_add(1, Ordering::Relaxed);
    }
    HANDLED.fetch_add(1, Ordering::Release);
}

fn install() {
    // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the action is initialised, and its handler keeps to what a handler may do.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends the signals one after the other, each when the one before has been handled.
fn send(target: libc::pthread_t) {
    for sent in 1..=SIGNALS {
        // SAFETY: the thread runs until it is told that all have been sent.
        let result = unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
        assert_eq!(result, 0);
        let (mut spins, sent_at) = (0u32, Instant::now());
        while HANDLED.load(Ordering::Acquire) < sent {
            spins += 1;
            if spins.is_multiple_of(64) {
                thread::yield_now()
            } else {
                hint::spin_loop()
            }
            if spins.is_multiple_of(1 << 16) && sent_at.elapsed().as_secs() > 20 {
                eprintln!("signal {sent} is still being handled: the thread waits for itself");
                std::process::abort();
            }
        }
    }
    DONE.store(true, Ordering::Relaxed);
}

/// Runs `work` over and over on this thread while it gets all the signals.
fn interrupted(mut work: impl FnMut(&Arena)) {
    let _alone = ALONE.lock();
    let arena = arena();
    for counter in [&HANDLED, &SERVED] {
        counter.store(0, Ordering::Relaxed);
    }
    DONE.store(false, Ordering::Relaxed);
    // The thread's first use registers it and takes memory from the heap, which no handler may interrupt.
    let warm: Vec<_> =
        [0, 0, 1, 3].map(|order| arena.allocator.alloc_pages(Gfp::KERNEL, Order::new(order))).into();
    drop(warm);
    install();
    // SAFETY: no requirements.
    let me = unsafe { libc::pthread_self() };
    let sender = thread::spawn(move || send(me));
    while !DONE.load(Ordering::Relaxed) {
        work(arena);
    }
    sender.join().expect("no panic");
    assert_eq!(HANDLED.load(Ordering::Relaxed), SIGNALS);
    let served = SERVED.load(Ordering::Relaxed);
    assert!(served > SIGNALS / 2, "{served} of {SIGNALS} requests were served");
    common::assert_all_free(&arena.allocator);
}

#[test]
fn a_handler_allocates_and_frees_wherever_it_interrupts_a_pair() {
    let mut pairs = 0;
    interrupted(|Arena { allocator, live }| {
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
    interrupted(|Arena { allocator, .. }| {
        // More than a cache of this arena holds: an eighth of 16384 frames.
        let held: Vec<_> =
            (0..4000).map(|_| allocator.alloc_page(Gfp::KERNEL).expect("there is memory")).collect();
        drop(held);
        // And an order that no cache holds.
        drop(allocator.alloc_pages(Gfp::KERNEL, Order::new(5)).expect("there is memory"));
    });
}
