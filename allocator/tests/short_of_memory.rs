//! What a request does, and what it never does, when memory is short: the slow path through the public face.

use std::{
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use gfp::{
    Allocator, Builder, CancelToken, Gfp, Maintain, Order, Pages,
    error::{AllocError, FailReason},
    gfp::MemallocScope,
    reclaim::OomAction,
    slowpath::Step,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        thread,
    },
};

/// One zone of 4 MiB with a reserve.
fn builder() -> Builder {
    Allocator::builder(4 << 20).dma(0).min_free_kbytes(256).maintain(Maintain::ByHand)
}

fn small() -> Allocator {
    builder().build().expect("4 MiB")
}

/// Takes all that a request gets, and says why it got no more.
fn exhaust(allocator: &Allocator, gfp: Gfp) -> (Vec<Pages>, AllocError) {
    let mut held = Vec::new();
    loop {
        match allocator.alloc_page(gfp) {
            Ok(page) => held.push(page),
            Err(error) => return (held, error),
        }
    }
}

/// Steps that wait for somebody, or make somebody do something.
const EFFORTS: [Step; 6] = [
    Step::DirectReclaim,
    Step::DirectCompact,
    Step::ShouldReclaimRetry,
    Step::MayOom,
    Step::NofailAttempt,
    Step::CompactFirst,
];

#[test]
fn who_may_not_block_makes_no_effort_and_asks_nobody() {
    let asked = Arc::new(AtomicU64::new(0));
    let allocator = builder()
        .on_oom({
            let asked = Arc::clone(&asked);
            move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                OomAction::Freed
            }
        })
        .build()
        .expect("4 MiB");
    let mut held = Vec::new();
    for gfp in [Gfp::NOWAIT, Gfp::ATOMIC, Gfp::TRANSHUGE_LIGHT] {
        let (pages, error) = exhaust(&allocator, gfp);
        held.extend(pages);
        assert_eq!(error.reason(), FailReason::NoMemory, "{gfp}: {error}");
        assert_eq!(error.reclaim().rounds, 0, "{gfp}");
    }
    let memalloc = MemallocScope::enter();
    let (last, error) = exhaust(&allocator, Gfp::KERNEL);
    assert_eq!(error.reclaim().rounds, 0, "who frees memory does not reclaim: {error}");
    drop(memalloc);
    let steps = allocator.slowpath_report().steps;
    // S3 is passed, and does nothing.
    let efforts = EFFORTS.into_iter().filter(|&step| step != Step::CompactFirst);
    assert!(efforts.into_iter().all(|step| steps.of(step) == 0), "{steps}");
    assert_eq!(steps.of(Step::Fail), 4, "{steps}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(allocator.conservation().free(), 0, "the scope gave a right to all");
    drop((held, last));
}

#[test]
fn without_a_hook_a_request_ends_and_says_what_was_tried() {
    let allocator = small();
    let (held, error) = exhaust(&allocator, Gfp::KERNEL);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert_eq!(error.reclaim().rounds, 1);
    let text = error.to_string();
    assert!(
        text.contains("below its watermark") && text.contains("; 0 frames were reclaimed in a round; "),
        "{text}"
    );
    let steps = allocator.slowpath_report().steps;
    assert_eq!((steps.of(Step::MayOom), steps.of(Step::Fail)), (1, 1), "{steps}");
    assert!(steps.to_string().contains("\nslowpath_may_oom 1\n"));
    assert_eq!(allocator.slowpath_report().oom.asked, 0);
    drop(held);
}

#[test]
fn a_hook_that_frees_lets_the_request_be_served() {
    let cache = Arc::new(Mutex::new(Vec::<Pages>::new()));
    let allocator = builder()
        .on_oom({
            let cache = Arc::clone(&cache);
            move |report| {
                assert_eq!((report.gfp, report.order, report.round), (Gfp::KERNEL, Order::ZERO, 0));
                let text = report.to_string();
                assert!(
                    text.contains(" invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\nMem-Info:\n"),
                    "{text}"
                );
                let oldest = cache.lock().pop();
                match oldest {
                    Some(page) => {
                        drop(page);
                        OomAction::Freed
                    }
                    None => OomAction::Fail,
                }
            }
        })
        .build()
        .expect("4 MiB");
    let filled: Vec<_> = (0..64).map(|_| allocator.alloc_page(Gfp::KERNEL).expect("room")).collect();
    *cache.lock() = filled;
    let (held, error) = exhaust(&allocator, Gfp::KERNEL);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert!(cache.lock().is_empty(), "all of it was given up first");
    let report = allocator.slowpath_report();
    assert_eq!((report.oom.asked, report.oom.killed, report.oom.panics), (65, 0, 0));
    assert!(allocator.conservation().holds());
    drop(held);
}

#[test]
fn a_hook_may_use_the_reserve_and_never_comes_here_again() {
    let allocator = Arc::new(Mutex::new(None::<Allocator>));
    let mine = builder()
        .on_oom({
            let allocator = Arc::clone(&allocator);
            move |_| {
                let allocator = allocator.lock().clone().expect("it was built");
                let page = allocator.alloc_page(Gfp::KERNEL).expect("the reserve is open");
                drop(page);
                while allocator.alloc_pages(Gfp::KERNEL, Order::new(3)).map(std::mem::forget).is_ok() {}
                OomAction::Fail
            }
        })
        .build()
        .expect("4 MiB");
    *allocator.lock() = Some(mine.clone());
    let (held, error) = exhaust(&mine, Gfp::KERNEL);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert_eq!(mine.slowpath_report().oom.asked, 1);
    drop(held);
    *allocator.lock() = None;
}

#[test]
fn a_hook_that_panics_or_lies_ends_with_a_failure() {
    let panics = builder().on_oom(|_| panic!("the hook's own")).build().expect("4 MiB");
    let (held, error) = exhaust(&panics, Gfp::KERNEL);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert_eq!(panics.slowpath_report().oom.panics, 1);
    drop(held);
    let lies = builder().on_oom(|_| OomAction::Freed).build().expect("4 MiB");
    let (held, error) = exhaust(&lies, Gfp::KERNEL);
    assert_eq!(error.reason(), FailReason::NoMemory);
    assert_eq!(lies.slowpath_report().oom.asked, 256);
    drop(held);
}

/// A thread that asks for what may not fail inside a token's scope, and says how it ended; it keeps `held` until then.
fn waiter(
    allocator: &Allocator,
    token: &CancelToken,
    held: Vec<Pages>,
    ended: Sender<Result<(), FailReason>>,
) -> thread::JoinHandle<()> {
    let (allocator, token) = (allocator.clone(), token.clone());
    thread::spawn(move || {
        let _scope = token.enter();
        let result = allocator.alloc_pages(Gfp::KERNEL | Gfp::NOFAIL, Order::ZERO);
        drop(held);
        ended.send(result.map(drop).map_err(|error| error.reason())).expect("somebody waits");
    })
}

/// Waits until a request has waited.
fn until_it_waits(allocator: &Allocator) {
    let waits = || allocator.slowpath_report().steps.of(Step::Retry);
    let before = waits();
    while waits() < before + 4 {
        thread::yield_now();
    }
}

#[test]
fn a_hook_cancels_a_scope_whose_request_ends_and_whose_memory_serves() {
    let token = CancelToken::new();
    let only_now = Arc::new(AtomicBool::new(false));
    let allocator = builder()
        .on_oom({
            let (token, only_now) = (token.clone(), Arc::clone(&only_now));
            move |_| match only_now.load(Ordering::Acquire) {
                true => OomAction::Cancel(token.clone()),
                false => OomAction::Fail,
            }
        })
        .build()
        .expect("4 MiB");
    // All to the last frame: no reserve serves anybody.
    let (mut held, _) = exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC);
    let theirs = held.split_off(held.len() - 300);
    let (ended, has_ended) = channel();
    let victim = waiter(&allocator, &token, theirs, ended);
    until_it_waits(&allocator);
    assert!(has_ended.try_recv().is_err(), "it waits");
    only_now.store(true, Ordering::Release);
    // This one waits until the victim's memory is there.
    let page = allocator.alloc_page(Gfp::KERNEL).expect("the victim's memory");
    assert_eq!(has_ended.recv(), Ok(Err(FailReason::Cancelled)));
    victim.join().expect("no panic");
    assert!(token.is_cancelled());
    assert_eq!(allocator.slowpath_report().oom.killed, 1);
    assert!(allocator.vmstat().to_string().contains("\noom_kill 1\n"));
    drop((page, held));
    assert!(allocator.conservation().holds());
}

#[test]
fn what_may_not_fail_waits_for_memory_and_ends_when_it_is_cancelled() {
    let allocator = small();
    let (mut held, _) = exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC);
    let token = CancelToken::new();
    let (ended, has_ended) = channel();
    let waiting = waiter(&allocator, &token, Vec::new(), ended.clone());
    until_it_waits(&allocator);
    assert!(has_ended.try_recv().is_err(), "it waits");
    token.cancel();
    assert_eq!(has_ended.recv(), Ok(Err(FailReason::Cancelled)));
    waiting.join().expect("no panic");

    let waiting = waiter(&allocator, &CancelToken::new(), Vec::new(), ended);
    until_it_waits(&allocator);
    held.truncate(100);
    assert_eq!(has_ended.recv(), Ok(Ok(())), "somebody has freed memory");
    waiting.join().expect("no panic");
    assert!(allocator.slowpath_report().steps.of(Step::MayOom) > 4, "it tried again and again");
    drop(held);
    assert!(allocator.conservation().holds());
}

#[test]
fn a_deadline_ends_one_request() {
    let allocator = small();
    let (held, _) = exhaust(&allocator, Gfp::KERNEL | Gfp::MEMALLOC);
    let deadline = Instant::now() + Duration::from_millis(5);
    let request = allocator.request(Gfp::KERNEL | Gfp::NOFAIL, Order::ZERO).deadline(deadline);
    let error = request.alloc().expect_err("there is nothing");
    assert_eq!(error.reason(), FailReason::DeadlineExceeded);
    assert!(Instant::now() >= deadline, "it waited until then");
    let text = error.to_string();
    assert!(text.contains("its deadline has passed") && text.contains("allow it more time"), "{text}");
    let token = CancelToken::new();
    token.cancel();
    let error = request.deadline(Instant::now() + Duration::from_secs(3600)).cancel(&token).alloc();
    assert_eq!(error.expect_err("it was cancelled").reason(), FailReason::Cancelled);
    // The limits were that request's.
    let error = allocator.alloc_page(Gfp::KERNEL).expect_err("there is nothing");
    assert_eq!(error.reason(), FailReason::NoMemory);
    drop(held);
    drop(request.alloc().expect("a hit, or what is had at once, is had also after the deadline"));
}

#[test]
fn a_failure_is_reported_once_in_ten_seconds_and_not_if_it_is_to_be_silent() {
    let texts = Arc::new(Mutex::new(Vec::<String>::new()));
    let allocator = builder()
        .on_alloc_failure({
            let texts = Arc::clone(&texts);
            move |failure| texts.lock().push(failure.to_string())
        })
        .build()
        .expect("4 MiB");
    let (held, _) = exhaust(&allocator, Gfp::NOWAIT);
    assert!(texts.lock().is_empty(), "GFP_NOWAIT is silent");
    let thread = thread::Builder::new().name("asker".to_owned());
    let (more, ()) = thread::Builder::spawn(thread, {
        let allocator = allocator.clone();
        move || (exhaust(&allocator, Gfp::ATOMIC).0, drop(exhaust(&allocator, Gfp::KERNEL)))
    })
    .expect("a thread")
    .join()
    .expect("no panic");
    let texts = texts.lock();
    let [text] = &texts[..] else { panic!("{texts:?}") };
    let start = "asker: page allocation failure: order:0, mode:0x820(GFP_ATOMIC), nodemask=(null),cpuset=/,mems_allowed=0\n";
    assert!(text.starts_with(start), "{text}");
    assert!(
        text.contains("\nMem-Info:\n") && !text.contains("free_pcp:0kB"),
        "it looked into no cache: {text}"
    );
    assert!(text.contains("\nNode 0 DMA32: "), "{text}");
    let warn = allocator.slowpath_report().warn;
    assert_eq!((warn.reported, warn.suppressed, warn.panics), (1, 1, 0));
    drop((held, more));
}
