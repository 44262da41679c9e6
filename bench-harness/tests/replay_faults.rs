//! A replay finds what is wrong with an allocator, whatever it is, and never hangs.

use std::{
    alloc::System,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bench_harness::{
    measure::Cpus,
    replay::{Contestant, Job, Measured, Passes, Threads, Verified, measure},
    rival::{Request, Rival, RivalThread, Zeroing},
    rivals::Global,
    trace::Trace,
};

/// What the allocator does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Every hundredth block is one that was handed out before.
    Overlap,
    /// Blocks are never zeroed.
    Dirty,
    /// Every hundredth request is refused.
    Refusal,
    /// The thousandth request panics.
    Panic,
}

/// The process's allocator with a fault.
struct Faulty {
    inner: Global<System>,
    fault: Fault,
    requests: AtomicU64,
    /// Blocks that were freed wait here, so that their contents stay as they were, and are used again.
    freed: Mutex<VecDeque<(u32, Block)>>,
    last_address: AtomicU64,
}

type Inner<'a> = <Global<System> as Rival>::Thread<'a>;

enum Block {
    Owned(<Inner<'static> as RivalThread>::Block),
    /// The address of another block.
    Alias(u64),
}

struct FaultyThread<'a> {
    inner: Inner<'a>,
    shared: &'a Faulty,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            inner: Global::new("faulty", System),
            fault,
            requests: AtomicU64::new(0),
            freed: Mutex::default(),
            last_address: AtomicU64::new(0),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let mut inner = self.inner.thread();
        for (order, block) in self.freed.get_mut().unwrap().drain(..) {
            if let Block::Owned(block) = block {
                inner.free(block, order);
            }
        }
    }
}

impl Rival for Faulty {
    type Thread<'a> = FaultyThread<'a>;

    fn name(&self) -> &'static str {
        "faulty"
    }

    fn thread(&self) -> FaultyThread<'_> {
        FaultyThread { inner: self.inner.thread(), shared: self }
    }

    fn base(&self) -> Option<usize> {
        None
    }
}

impl RivalThread for FaultyThread<'_> {
    type Block = Block;

    fn alloc(&mut self, mut request: Request) -> Option<Block> {
        let shared = self.shared;
        let number = shared.requests.fetch_add(1, Ordering::Relaxed);
        match shared.fault {
            Fault::Refusal if number % 100 == 99 => return None,
            Fault::Panic if number == 1000 => panic!("as the test wants it"),
            Fault::Overlap if number % 100 == 99 && request.order == 0 => {
                return Some(Block::Alias(shared.last_address.load(Ordering::Relaxed)));
            }
            Fault::Dirty => {
                request.zeroed = Zeroing::Untouched;
                let mut freed = shared.freed.lock().unwrap();
                if freed.front().is_some_and(|&(order, _)| order == request.order) {
                    return freed.pop_front().map(|(_, block)| block);
                }
            }
            _ => {}
        }
        let block = self.inner.alloc(request)?;
        shared.last_address.store(self.inner.address(&block).addr() as u64, Ordering::Relaxed);
        Some(Block::Owned(block))
    }

    fn free(&mut self, block: Block, order: u32) {
        match block {
            Block::Alias(_) => {}
            // Memory that is still written through an alias must not go back.
            block if matches!(self.shared.fault, Fault::Dirty | Fault::Overlap) => {
                self.shared.freed.lock().unwrap().push_back((order, block));
            }
            Block::Owned(block) => self.inner.free(block, order),
        }
    }

    fn address(&self, block: &Block) -> *mut u8 {
        match block {
            Block::Owned(block) => self.inner.address(block),
            Block::Alias(address) => {
                std::ptr::with_exposed_provenance_mut(usize::try_from(*address).unwrap())
            }
        }
    }
}

static TRACE: LazyLock<Trace> = LazyLock::new(|| {
    let file = include_bytes!("../traces/python-startup.ftrace.gz");
    Trace::read(&file[..], None).unwrap()
});

fn replay(fault: Fault, threads: Threads) -> Measured {
    let job = Job::new(&TRACE, threads, Cpus::allowed().unwrap());
    let rival = Faulty::new(fault);
    let passes = Passes { least: 1, most: 1, enough: Duration::ZERO, at_most: Duration::ZERO };
    let mut measured = thread::scope(|scope| {
        let contestants = vec![Contestant::start(scope, &rival, &job)];
        measure(&TRACE, &job, contestants, passes, |_| {})
    });
    measured.remove(0)
}

const BOTH: [Threads; 2] = [Threads::One, Threads::Trace];

#[test]
fn a_sound_allocator_is_clean_in_both_thread_modes() {
    for threads in BOTH {
        let measured = replay(Fault::None, threads);
        assert!(measured.is_clean(), "{measured:?}");
        assert_eq!(measured.ns_per_event.len(), 1);
        assert!(measured.placement.unwrap().blocks.mean >= 1.0);
    }
}

#[test]
fn a_block_handed_out_twice_is_an_overlap_and_spoils_the_stamps() {
    for threads in BOTH {
        let verified = replay(Fault::Overlap, threads).verified.unwrap();
        assert!(verified.overlaps > 0 && verified.overwritten > 0, "{verified:?}");
        assert_eq!((verified.failed, verified.misaligned), (0, 0));
    }
}

#[test]
fn memory_that_is_not_zeroed_is_found() {
    for threads in BOTH {
        let measured = replay(Fault::Dirty, threads);
        let verified = measured.verified.unwrap();
        assert!(verified.not_zeroed > 0 && !measured.is_clean(), "{verified:?}");
        assert_eq!(Verified { not_zeroed: 0, ..verified }, Verified::default());
    }
}

#[test]
fn refused_requests_are_counted_and_their_frees_left_out() {
    for threads in BOTH {
        let measured = replay(Fault::Refusal, threads);
        assert!(!measured.is_clean());
        assert_eq!(measured.verified.unwrap().failed, 316);
        assert!((316..=317).contains(&measured.failed), "{}", measured.failed);
    }
}

#[test]
fn a_panic_in_one_thread_ends_the_replay() {
    for threads in BOTH {
        assert!(catch_unwind(AssertUnwindSafe(|| replay(Fault::Panic, threads))).is_err());
    }
}
